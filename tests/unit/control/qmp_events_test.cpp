#include "vmm/control/qmp_events.h"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/unit/control/schema_check.h"

namespace vmm::control {
namespace {

using nlohmann::json;
using Kind = MachineEvent::Kind;
using Cause = MachineEvent::Cause;

constexpr std::chrono::system_clock::time_point kWhen{std::chrono::microseconds(1'700'000'000'000'042)};

// It is what the schema says.
json event(const MachineEvent& machine_event) {
  json told = json::parse(event_line(machine_event, kWhen));
  const SchemaCheck schema(schema_of({}, event_schemas()));
  const std::string name = told["event"];
  EXPECT_EQ(schema.complaint(schema.find(name, "event")["arg-type"], told.value("data", json::object())), "");
  return told;
}

TEST(QmpEvents, HaveATimeAndDataOnlyWhereThereAreSome) {
  EXPECT_EQ(event({.kind = Kind::kStopped}),
            json::parse(R"({"timestamp":{"seconds":1700000000,"microseconds":42},"event":"STOP"})"));
  EXPECT_EQ(event({.kind = Kind::kResumed})["event"], "RESUME");
  EXPECT_EQ(event({.kind = Kind::kPowerdown})["event"], "POWERDOWN");
}

TEST(QmpEvents, SayWhoseDoingItWas) {
  const auto data = [](Kind kind, Cause cause) { return event({.kind = kind, .cause = cause})["data"]; };
  EXPECT_EQ(data(Kind::kShutdown, Cause::kGuest), json::parse(R"({"guest":true,"reason":"guest-shutdown"})"));
  EXPECT_EQ(data(Kind::kShutdown, Cause::kGuestReset),
            json::parse(R"({"guest":true,"reason":"guest-reset"})"));
  EXPECT_EQ(data(Kind::kShutdown, Cause::kPanic), json::parse(R"({"guest":true,"reason":"guest-panic"})"));
  EXPECT_EQ(data(Kind::kShutdown, Cause::kHostSignal),
            json::parse(R"({"guest":false,"reason":"host-signal"})"));
  EXPECT_EQ(data(Kind::kShutdown, Cause::kHostCommand),
            json::parse(R"({"guest":false,"reason":"host-qmp-quit"})"));
  EXPECT_EQ(data(Kind::kReset, Cause::kHostCommand),
            json::parse(R"({"guest":false,"reason":"host-qmp-system-reset"})"));
  EXPECT_EQ(data(Kind::kReset, Cause::kGuestReset), json::parse(R"({"guest":true,"reason":"guest-reset"})"));
}

TEST(QmpEvents, SayWhatIsDone) {
  EXPECT_EQ(event({.kind = Kind::kPanicked, .action = domain::LifecycleAction::kPreserve})["data"],
            json::parse(R"({"action":"pause"})"));
  EXPECT_EQ(event({.kind = Kind::kWatchdog, .watchdog_action = domain::WatchdogAction::kInjectNmi})["data"],
            json::parse(R"({"action":"inject-nmi"})"));
}

TEST(QmpEvents, SayWhichDiskItWas) {
  EXPECT_EQ(event({.kind = Kind::kTrayMoved, .disk = "hdc", .is_tray_open = true})["data"],
            json::parse(R"({"device":"hdc","id":"hdc","tray-open":true})"));
  EXPECT_EQ(event({.kind = Kind::kDiskError,
                   .disk = "vda",
                   .is_write = true,
                   .is_no_space = true,
                   .error_action = domain::ErrorPolicy::kStop})["data"],
            json::parse(R"({"device":"vda","node-name":"#vda","operation":"write","action":"stop",
                            "nospace":true,"reason":"No space left on device"})"));
  const json read = event({.kind = Kind::kDiskError, .disk = "vda"});
  EXPECT_EQ(read["event"], "BLOCK_IO_ERROR");
  EXPECT_EQ(read["data"]["action"], "report");
  EXPECT_EQ(read["data"]["reason"], "Input/output error");
}

TEST(QmpEvents, SayWhichInterfaceItWas) {
  EXPECT_EQ(event({.kind = Kind::kFilterChanged, .interface = "net0"})["data"],
            json::parse(R"({"name":"net0","path":"/machine/peripheral/net0/virtio-backend"})"));
}

}  // namespace
}  // namespace vmm::control
