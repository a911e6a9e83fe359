// vmm's exit statuses, which are a promise (README.md).
//
// Threads: values.
#pragma once

#include <cstdint>
#include <optional>

#include "vmm/base/error.h"
#include "vmm/machine/machine.h"

namespace vmm::cli {

enum ExitStatus : int {
  kGuestEnded = 0,
  kHostFailed = 1,
  kBadConfiguration = 2,
  kGuestCrashed = 3,
  kTimedOut = 124,  // 124 to 126 are what timeout(1) and env(1) have for the like
  // Of a guest with an exit port, whose own statuses may be any:
  kNoStatus = 125,  // vmm failed, or the guest ended without reporting one
  kReporterCrashed = 126,
};

// What a guest with an exit port said of itself.
struct GuestReport {
  bool is_expected = false;  // the domain, as far as it is known, has an exit port
  std::optional<uint8_t> status;
};

int exit_status_of(const Error& error, const GuestReport& report);
int exit_status_of(MachineEnd end, const GuestReport& report);

}  // namespace vmm::cli
