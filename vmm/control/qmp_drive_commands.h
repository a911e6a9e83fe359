// The commands of QMP that are about disks and discs.
//
// Threads: the main loop's.
#pragma once

#include <optional>
#include <string>

#include "vmm/control/guest.h"
#include "vmm/control/qmp_arguments.h"
#include "vmm/control/qmp_json.h"

namespace vmm::control {

// That there is no such drive, or that it is no CD-ROM drive where `takes` wants one.
std::optional<Fault> unknown_drive(const Guest& guest, const std::string& device, unsigned takes);

// Each has the name of its command.
Answer query_throwaway(Guest& guest, const Request& request);
Answer set_throwaway_limit(Guest& guest, const Request& request);
Answer boot_once(Guest& guest, const Request& request);
Answer open_tray(Guest& guest, const Request& request);
Answer close_tray(Guest& guest, const Request& request);
Answer remove_medium(Guest& guest, const Request& request);
Answer eject(Guest& guest, const Request& request);
Answer insert_medium(Guest& guest, const Request& request);
Answer change_medium(Guest& guest, const Request& request);

}  // namespace vmm::control
