// The events of QMP that tell of jobs (qmp_events.h).
//
// Threads: values.
#pragma once

#include <chrono>
#include <span>
#include <string>

#include "vmm/control/qmp_schema.h"
#include "vmm/machine/disk_jobs.h"

namespace vmm::control {

// Of all that can be sent.
std::span<const EventSchema> job_event_schemas();

// A line with its end.
std::string job_event_line(const DiskJobEvent& event, std::chrono::system_clock::time_point when);

}  // namespace vmm::control
