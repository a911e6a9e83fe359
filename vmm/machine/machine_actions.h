// MachineActions: what is done when the guest ends, as the domain says, or somebody since its start.
//
// Threads: values.
#pragma once

#include <optional>

#include "vmm/domain/domain.h"

namespace vmm {

struct MachineActions {
  domain::LifecycleAction on_poweroff = domain::LifecycleAction::kDestroy;
  domain::LifecycleAction on_reboot = domain::LifecycleAction::kRestart;
  domain::LifecycleAction on_crash = domain::LifecycleAction::kDestroy;
  // A kernel that says that it has panicked goes on. A vCPU that cannot go on is a crash all the same.
  bool panic_is_only_told = false;
  domain::WatchdogAction watchdog = domain::WatchdogAction::kReset;

  static MachineActions of(const domain::Domain& domain) {
    return {.on_poweroff = domain.on_poweroff,
            .on_reboot = domain.on_reboot,
            .on_crash = domain.on_crash,
            .watchdog = domain.watchdog ? domain.watchdog->action : domain::WatchdogAction::kReset};
  }
};

// What is to be another one from now on.
struct MachineActionChange {
  std::optional<domain::LifecycleAction> on_poweroff, on_reboot, on_crash;
  bool panic_is_only_told = false;  // with on_crash
  std::optional<domain::WatchdogAction> watchdog;
};

}  // namespace vmm
