#include "vmm/control/qmp_events.h"

#include <array>
#include <iterator>

namespace vmm::control {
namespace {

constexpr const char* kShutdownCauses[] = {"guest-shutdown", "guest-reset",   "guest-panic",
                                           "host-signal",    "host-qmp-quit", "host-qmp-system-reset"};
constexpr Type kShutdownCause = enum_of("ShutdownCause", kShutdownCauses);
constexpr std::array kEndMembers = {Member{"guest", &kBoolType}, Member{"reason", &kShutdownCause}};
constexpr const char* kPanicActions[] = {"pause", "poweroff", "run"};
constexpr Type kPanicAction = enum_of("GuestPanicAction", kPanicActions);
constexpr std::array kPanickedMembers = {Member{"action", &kPanicAction}};
constexpr const char* kWatchdogActions[] = {"reset", "shutdown", "poweroff", "pause", "inject-nmi", "none"};
constexpr Type kWatchdogAction = enum_of("WatchdogAction", kWatchdogActions);
constexpr std::array kWatchdogMembers = {Member{"action", &kWatchdogAction}};

constexpr std::array kTrayMembers = {Member{"device", &kStringType}, Member{"id", &kStringType},
                                     Member{"tray-open", &kBoolType}};
constexpr const char* kOperations[] = {"read", "write"};
constexpr Type kOperation = enum_of("IoOperationType", kOperations);
constexpr const char* kErrorActions[] = {"ignore", "report", "stop"};
constexpr Type kErrorAction = enum_of("BlockErrorAction", kErrorActions);
constexpr std::array kDiskErrorMembers = {Member{"device", &kStringType},   Member{"node-name", &kStringType},
                                          Member{"operation", &kOperation}, Member{"action", &kErrorAction},
                                          Member{"nospace", &kBoolType},    Member{"reason", &kStringType}};
constexpr std::array kFilterMembers = {Member{"name", &kStringType, kOptional}, Member{"path", &kStringType}};

// By MachineEvent::Kind.
constexpr EventSchema kEvents[] = {
    {"STOP", {}},
    {"RESUME", {}},
    {"POWERDOWN", {}},
    {"RESET", kEndMembers},
    {"SHUTDOWN", kEndMembers},
    {"GUEST_PANICKED", kPanickedMembers},
    {"WATCHDOG", kWatchdogMembers},
    {"DEVICE_TRAY_MOVED", kTrayMembers},
    {"BLOCK_IO_ERROR", kDiskErrorMembers},
    {"NIC_RX_FILTER_CHANGED", kFilterMembers},
};
static_assert(std::size(kEvents) == static_cast<size_t>(MachineEvent::Kind::kFilterChanged) + 1);

const char* name_of(MachineEvent::Kind kind) { return kEvents[static_cast<size_t>(kind)].name; }

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

const char* error_action_name(domain::ErrorPolicy action) {
  switch (action) {
    case domain::ErrorPolicy::kStop:
      return "stop";
    case domain::ErrorPolicy::kIgnore:
      return "ignore";
    case domain::ErrorPolicy::kReport:
    case domain::ErrorPolicy::kEnospace:
      break;
  }
  return "report";
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
    case MachineEvent::Kind::kTrayMoved:
      return Json{{"device", event.disk}, {"id", event.disk}, {"tray-open", event.is_tray_open}};
    case MachineEvent::Kind::kDiskError:
      return Json{{"device", event.disk},
                  {"node-name", "#" + event.disk},
                  {"operation", event.is_write ? "write" : "read"},
                  {"action", error_action_name(event.error_action)},
                  {"nospace", event.is_no_space},
                  {"reason", event.is_no_space ? "No space left on device" : "Input/output error"}};
    case MachineEvent::Kind::kFilterChanged:
      return Json{{"name", event.interface},
                  {"path", "/machine/peripheral/" + event.interface + "/virtio-backend"}};
    case MachineEvent::Kind::kStopped:
    case MachineEvent::Kind::kResumed:
    case MachineEvent::Kind::kPowerdown:
      break;
  }
  return {};
}

}  // namespace

std::span<const EventSchema> event_schemas() { return kEvents; }

std::string event_line(const char* name, Json data, std::chrono::system_clock::time_point when) {
  constexpr int64_t kMicroseconds = 1'000'000;
  const int64_t time = std::chrono::duration_cast<std::chrono::microseconds>(when.time_since_epoch()).count();
  Json json{{"timestamp", {{"seconds", time / kMicroseconds}, {"microseconds", time % kMicroseconds}}},
            {"event", name}};
  if (!data.is_null()) {
    json["data"] = std::move(data);
  }
  return line_of(json);
}

std::string event_line(const MachineEvent& event, std::chrono::system_clock::time_point when) {
  return event_line(name_of(event.kind), data_of(event), when);
}

}  // namespace vmm::control
