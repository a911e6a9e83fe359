// Where devices get the time from: functions, so that tests can be the clock.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "vmm/base/error.h"

namespace vmm {

// Time since a fixed moment, never going back (CLOCK_MONOTONIC). Any thread.
using MonotonicClock = std::function<std::chrono::nanoseconds()>;
MonotonicClock host_monotonic_clock();

// Time since 1970-01-01 00:00:00 UTC (CLOCK_REALTIME). Any thread.
using WallClock = std::function<std::chrono::nanoseconds()>;
WallClock host_wall_clock();

// What to add to UTC for a zone's civil time, now. An empty zone is the host's own, others are names as
// "Europe/Paris". An error where the host's zone files do not know the name.
// REQUIRES: no other thread runs (the C library keeps one zone for the whole process).
Result<std::chrono::seconds> utc_offset_of_zone(const std::string& zone);

}  // namespace vmm
