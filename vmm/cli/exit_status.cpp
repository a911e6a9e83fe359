#include "vmm/cli/exit_status.h"

namespace vmm::cli {

int exit_status_of(const Error& error, const GuestReport& report) {
  if (report.is_expected) {
    return kNoStatus;
  }
  return error.kind() == ErrorKind::kConfiguration ? kBadConfiguration : kHostFailed;
}

int exit_status_of(MachineEnd end, const GuestReport& report) {
  switch (end) {
    case MachineEnd::kExit:
      return report.status.value_or(kNoStatus);
    case MachineEnd::kTimeout:
      return kTimedOut;
    case MachineEnd::kCrash:
      return report.is_expected ? kReporterCrashed : kGuestCrashed;
    case MachineEnd::kPowerOff:
    case MachineEnd::kQuit:
      return report.is_expected ? kNoStatus : kGuestEnded;
  }
  return kNoStatus;
}

}  // namespace vmm::cli
