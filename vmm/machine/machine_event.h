// MachineEvent: what happens to a guest that somebody outside may want to know.
//
// Threads: values.
#pragma once

#include <cstdint>
#include <string>

#include "vmm/domain/domain.h"

namespace vmm {

struct MachineEvent {
  enum class Kind : uint8_t {
    kStopped,        // its vCPUs run no more
    kResumed,        // they run again
    kPowerdown,      // its power button was pressed
    kReset,          // it begins anew
    kShutdown,       // it has ended; what is done then is `action`
    kPanicked,       // its kernel, or a vCPU, crashed; what is done then is `action`
    kWatchdog,       // its watchdog ran out; what is done then is `watchdog_action`
    kTrayMoved,      // of the CD-ROM drive `disk`; it is now where is_tray_open says
    kDiskError,      // the host could not do what `disk` was asked for; what is done then is error_action
    kFilterChanged,  // `interface` receives other frames than before, as its driver says
  };
  enum class Cause : uint8_t {
    kGuest,       // itself: it switched itself off, or pressed its own reset button
    kGuestReset,  // its reset, where <on_reboot> ends it
    kPanic,
    kHostSignal,
    kHostCommand,
  };

  Kind kind = Kind::kStopped;
  Cause cause = Cause::kGuest;  // of kReset and kShutdown
  domain::LifecycleAction action = domain::LifecycleAction::kDestroy;
  domain::WatchdogAction watchdog_action = domain::WatchdogAction::kNone;
  std::string disk;       // its target's name
  std::string interface;  // as in InterfaceInfo
  bool is_tray_open = false;
  bool is_write = false;  // or anything else that is no read
  bool is_no_space = false;
  domain::ErrorPolicy error_action = domain::ErrorPolicy::kReport;  // never kEnospace
};

}  // namespace vmm
