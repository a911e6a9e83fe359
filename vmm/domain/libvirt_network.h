// Networks of libvirt's, as its files describe them (its "Network XML format"): the bridge that a guest's tap
// is to be put into.
//
// Threads: any; nothing of the host is changed. Errors are of ErrorKind::kConfiguration, name the network,
// and say what to do.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "vmm/base/error.h"

namespace vmm::domain {

// Of a <network>, or the <networkstatus> of one that runs. An error: it is malformed, or a network whose
// ports are no taps in a bridge of the kernel's.
Result<std::string> bridge_of_network_text(std::string_view text, const std::string& network);

// The network's file in the first of these folders that has one; where there are none, in libvirt's: those
// that run, then all that are defined. That its bridge is there is not looked at.
Result<std::string> find_network_bridge(const std::string& network,
                                        std::span<const std::filesystem::path> folders = {});

}  // namespace vmm::domain
