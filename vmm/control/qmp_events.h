// The events of QMP: what happened, in QEMU's words (QEMU's docs/interop/qmp-ref, "Events").
//
// Threads: values.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>

#include "vmm/control/qmp_json.h"
#include "vmm/control/qmp_schema.h"
#include "vmm/machine/machine_event.h"

namespace vmm::control {

// Of all that can be sent.
std::span<const EventSchema> event_schemas();

// A line with its end.
std::string event_line(const MachineEvent& event, std::chrono::system_clock::time_point when);
// The same of any name and data; null: none.
std::string event_line(const char* name, Json data, std::chrono::system_clock::time_point when);

}  // namespace vmm::control
