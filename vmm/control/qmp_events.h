// The events of QMP: what happened, in QEMU's words (QEMU's docs/interop/qmp-ref, "Events").
//
// Threads: values.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "vmm/machine/machine_event.h"

namespace vmm::control {

// Of all that can be sent.
std::span<const std::string_view> event_names();

// A line with its end.
std::string event_line(const MachineEvent& event, std::chrono::system_clock::time_point when);

}  // namespace vmm::control
