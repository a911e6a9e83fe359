// What QMP tells of disks: query-block, query-named-block-nodes, query-blockstats.
//
// Nodes are the images of a disk's chain: "#vda" is the image of vda, "#vda.1" what it stands on, and so on.
// Threads: the main loop's.
#pragma once

#include <cstddef>
#include <string>

#include "vmm/control/guest.h"
#include "vmm/control/qmp_arguments.h"
#include "vmm/control/qmp_json.h"

namespace vmm::control {

std::string node_name(const Guest::Drive& drive, size_t layer);

// Each has the name of its command.
Answer query_block(Guest& guest, const Request& request);
Answer query_named_block_nodes(Guest& guest, const Request& request);
Answer query_block_stats(Guest& guest, const Request& request);

}  // namespace vmm::control
