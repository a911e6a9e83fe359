#include "vmm/control/qmp_events.h"

#include <array>

#include "vmm/control/qmp_json.h"

namespace vmm::control {
namespace {

constexpr std::array<std::string_view, 7> kNames = {"GUEST_PANICKED", "POWERDOWN", "RESET",   "RESUME",
                                                    "SHUTDOWN",       "STOP",      "WATCHDOG"};

std::string_view name_of(MachineEvent::Kind kind) {
  switch (kind) {
    case MachineEvent::Kind::kStopped:
      return "STOP";
    case MachineEvent::Kind::kResumed:
      return "RESUME";
    case MachineEvent::Kind::kPowerdown:
      return "POWERDOWN";
    case MachineEvent::Kind::kReset:
      return "RESET";
    case MachineEvent::Kind::kShutdown:
      return "SHUTDOWN";
    case MachineEvent::Kind::kPanicked:
      return "GUEST_PANICKED";
    case MachineEvent::Kind::kWatchdog:
      break;
  }
  return "WATCHDOG";
}

// Of QEMU's ShutdownCause.
const char* reason_of(const MachineEvent& event) {
  switch (event.cause) {
    case MachineEvent::Cause::kGuest:
      return event.kind == MachineEvent::Kind::kReset ? "guest-reset" : "guest-shutdown";
    case MachineEvent::Cause::kGuestReset:
      return "guest-reset";
    case MachineEvent::Cause::kPanic:
      return "guest-panic";
    case MachineEvent::Cause::kHostSignal:
      return "host-signal";
    case MachineEvent::Cause::kHostCommand:
      break;
  }
  return event.kind == MachineEvent::Kind::kReset ? "host-qmp-system-reset" : "host-qmp-quit";
}

bool is_by_guest(MachineEvent::Cause cause) {
  return cause != MachineEvent::Cause::kHostSignal && cause != MachineEvent::Cause::kHostCommand;
}

// Of QEMU's GuestPanicAction.
const char* panic_action(domain::LifecycleAction action) {
  switch (action) {
    case domain::LifecycleAction::kDestroy:
      return "poweroff";
    case domain::LifecycleAction::kPreserve:
      return "pause";
    case domain::LifecycleAction::kRestart:
      break;
  }
  return "run";
}

Json data_of(const MachineEvent& event) {
  switch (event.kind) {
    case MachineEvent::Kind::kReset:
    case MachineEvent::Kind::kShutdown:
      return Json{{"guest", is_by_guest(event.cause)}, {"reason", reason_of(event)}};
    case MachineEvent::Kind::kPanicked:
      return Json{{"action", panic_action(event.action)}};
    case MachineEvent::Kind::kWatchdog:
      return Json{{"action", domain::name_of(event.watchdog_action)}};
    case MachineEvent::Kind::kStopped:
    case MachineEvent::Kind::kResumed:
    case MachineEvent::Kind::kPowerdown:
      break;
  }
  return {};
}

}  // namespace

std::span<const std::string_view> event_names() { return kNames; }

std::string event_line(const MachineEvent& event, std::chrono::system_clock::time_point when) {
  constexpr int64_t kMicroseconds = 1'000'000;
  const int64_t time = std::chrono::duration_cast<std::chrono::microseconds>(when.time_since_epoch()).count();
  Json json{{"timestamp", {{"seconds", time / kMicroseconds}, {"microseconds", time % kMicroseconds}}},
            {"event", name_of(event.kind)}};
  if (Json data = data_of(event); !data.is_null()) {
    json["data"] = std::move(data);
  }
  return line_of(json);
}

}  // namespace vmm::control
