// What a guest and its vmm do, in Prometheus' text format (version 0.0.4).
//
// Threads: the main loop's.
#pragma once

#include <string>

#include "vmm/control/guest.h"

namespace vmm::control {

std::string metrics_text(const Guest& guest);

}  // namespace vmm::control
