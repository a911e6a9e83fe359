// The commands of the control socket, with the names, arguments, results and error classes of QEMU's schema
// (QEMU's docs/interop/qmp-ref). Those of vmm's own begin with "x-vmm-".
//
// Threads: the main loop's.
#pragma once

#include <string>

#include "vmm/control/guest.h"
#include "vmm/control/qmp_json.h"

namespace vmm::control {

// Negotiates; a session knows what to do with it (qmp_session.h).
inline constexpr const char* kNegotiate = "qmp_capabilities";

// Hands the connection over to a console; a session knows how, too.
inline constexpr const char* kAttachConsole = "x-vmm-console";

// The version that the greeting has, too.
Json version();

// What is not there is of the class CommandNotFound, out-of-band or not.
Answer run_command(Guest& guest, const std::string& name, const Json& arguments, bool is_out_of_band);

}  // namespace vmm::control
