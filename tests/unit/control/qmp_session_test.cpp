#include "vmm/control/qmp_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/unit/fakes/fake_guest.h"

namespace vmm::control {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Qmp : public testing::Test {
 protected:
  Qmp() { session_.answer(R"({"execute":"qmp_capabilities"})"); }

  json ask(const std::string& text) { return json::parse(session_.answer(text)); }
  json run(const char* command, const json& arguments = json::object()) {
    return ask(json{{"execute", command}, {"arguments", arguments}}.dump());
  }
  static std::string error_class(const json& answer) { return answer["error"]["class"]; }
  static std::string description(const json& answer) { return answer["error"]["desc"]; }

  FakeGuest guest_;
  QmpSession session_{guest_};
};

TEST_F(Qmp, GreetsWithItsVersion) {
  const json greeting = json::parse(QmpSession::greeting());
  EXPECT_TRUE(greeting["QMP"]["version"]["qemu"]["major"].is_number());
  EXPECT_EQ(greeting["QMP"]["capabilities"], json::array({"oob"}));
}

TEST_F(Qmp, NeedsTheNegotiationFirst) {
  QmpSession fresh(guest_);
  EXPECT_EQ(error_class(json::parse(fresh.answer(R"({"execute":"query-status"})"))), "CommandNotFound");
  EXPECT_EQ(json::parse(fresh.answer(R"({"execute":"qmp_capabilities"})")), json::parse(R"({"return":{}})"));
  EXPECT_TRUE(json::parse(fresh.answer(R"({"execute":"query-status"})")).contains("return"));
  EXPECT_EQ(error_class(run("qmp_capabilities")), "CommandNotFound");
}

TEST_F(Qmp, GivesTheIdBack) {
  const json answer = ask(R"({"execute":"query-name","id":{"a":[1]}})");
  EXPECT_EQ(answer["id"], json::parse(R"({"a":[1]})"));
  EXPECT_EQ(answer["return"]["name"], "fake");
  EXPECT_EQ(ask(R"({"execute":"nonsense","id":7})")["id"], 7);
}

TEST_F(Qmp, WhatIsNotThereIsNotFound) { EXPECT_EQ(error_class(run("migrate")), "CommandNotFound"); }

TEST_F(Qmp, MalformedMessagesAreErrors) {
  for (const char* text :
       {"{", "{\"execute\"}", "[]", "{}", R"({"execute":1})", R"({"execute":"quit","more":1})",
        R"({"execute":"quit","arguments":[]})", "{\"execute\":\"\xff\"}", "null"}) {
    const json answer = ask(text);
    EXPECT_TRUE(answer.contains("error")) << text;
  }
  EXPECT_TRUE(guest_.done_.empty());
}

TEST_F(Qmp, ArgumentsThatDoNotFitAreErrors) {
  EXPECT_THAT(description(run("quit", {{"now", true}})), HasSubstr("'now' is unexpected"));
  EXPECT_THAT(description(run("eject", {{"id", 1}})), HasSubstr("'id'"));
  EXPECT_THAT(description(run("eject", {{"id", "hdc"}, {"force", "yes"}})), HasSubstr("'force'"));
  EXPECT_THAT(description(run("eject")), HasSubstr("exactly one of 'device' and 'id'"));
  EXPECT_THAT(description(run("eject", {{"id", "hdc"}, {"device", "hdc"}})), HasSubstr("exactly one"));
  EXPECT_THAT(description(run("blockdev-change-medium", {{"id", "hdc"}})), HasSubstr("'filename'"));
  EXPECT_THAT(
      description(run("blockdev-change-medium", {{"id", "hdc"}, {"filename", "/x"}, {"format", "vmdk"}})),
      HasSubstr("vmdk"));
  EXPECT_TRUE(guest_.done_.empty());
}

TEST_F(Qmp, WhatIsNoCommandIsToldWithItsId) {
  EXPECT_EQ(ask(R"({"execute":7,"id":"a"})")["id"], "a");
  EXPECT_FALSE(ask("[1]").contains("id"));
}

TEST_F(Qmp, TextsEndWhereTheyEndAndNotAtANul) {
  const json answer = ask(R"({"execute":"blockdev-change-medium",)"
                          R"("arguments":{"id":"hdc","filename":"/two.iso\u0000junk"}})");
  EXPECT_EQ(error_class(answer), "GenericError");
  EXPECT_THAT(description(answer), HasSubstr("'filename' holds a NUL"));
  EXPECT_THAT(description(ask(R"({"execute":"x-vmm-boot-once","arguments":{"id":"hdc\u0000"}})")),
              HasSubstr("'id' holds a NUL"));
  EXPECT_EQ(guest_.find("hdc").file, "/one.iso");
  EXPECT_TRUE(guest_.done_.empty());
}

TEST_F(Qmp, TellsTheState) {
  EXPECT_EQ(run("query-status")["return"], json::parse(R"({"running":true,"status":"running"})"));
  guest_.state_ = Guest::State::kPausedForDisk;
  EXPECT_EQ(run("query-status")["return"]["status"], "io-error");
  guest_.state_ = Guest::State::kKept;
  EXPECT_EQ(run("query-status")["return"]["status"], "shutdown");
  guest_.state_ = Guest::State::kWatchdog;
  EXPECT_EQ(run("query-status")["return"], json::parse(R"({"running":false,"status":"watchdog"})"));
}

TEST_F(Qmp, OutOfBandIsTakenWhereItIsEnabledAndNoCommandNeedsIt) {
  EXPECT_THAT(description(ask(R"({"exec-oob":"query-status"})")), HasSubstr("'exec-oob' is unexpected"));
  QmpSession fresh(guest_);
  const auto ask_fresh = [&fresh](const char* text) { return json::parse(fresh.answer(text)); };
  EXPECT_TRUE(
      ask_fresh(R"({"execute":"qmp_capabilities","arguments":{"enable":["more"]}})").contains("error"));
  EXPECT_TRUE(ask_fresh(R"({"execute":"qmp_capabilities","arguments":{"enable":"oob"}})").contains("error"));
  EXPECT_TRUE(
      ask_fresh(R"({"execute":"qmp_capabilities","arguments":{"enable":["oob"]}})").contains("return"));
  EXPECT_THAT(description(ask_fresh(R"({"exec-oob":"query-status","id":1})")),
              HasSubstr("does not support OOB"));
  EXPECT_EQ(error_class(ask_fresh(R"({"exec-oob":"nonsense","id":1})")), "CommandNotFound");
  EXPECT_TRUE(ask_fresh(R"({"exec-oob":"stop","execute":"stop"})").contains("error"));
  EXPECT_EQ(guest_.state_, Guest::State::kRunning);
}

TEST_F(Qmp, TellsTheMachine) {
  EXPECT_EQ(run("query-kvm")["return"], json::parse(R"({"enabled":true,"present":true})"));
  EXPECT_EQ(run("query-uuid")["return"]["UUID"], "00000000-0000-0000-0000-000000000000");
  guest_.domain_.uuid = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(run("query-uuid")["return"]["UUID"], "01234567-89ab-cdef-0001-020304050607");
  EXPECT_EQ(run("query-events")["return"].size(), 7U);
}

TEST_F(Qmp, NumbersCpusByTheirTopology) {
  guest_.domain_.topology = {.sockets = 1, .dies = 1, .cores = 1, .threads = 2};
  const json cpus = run("query-cpus-fast")["return"];
  ASSERT_EQ(cpus.size(), 2U);
  EXPECT_EQ(cpus[1]["cpu-index"], 1);
  EXPECT_EQ(cpus[1]["thread-id"], 102);
  EXPECT_EQ(cpus[1]["props"], json::parse(R"({"core-id":0,"thread-id":1,"die-id":0,"socket-id":0})"));
  guest_.domain_.topology = {.sockets = 2, .dies = 1, .cores = 1, .threads = 1};
  EXPECT_EQ(run("query-cpus-fast")["return"][1]["props"],
            json::parse(R"({"core-id":0,"thread-id":0,"die-id":0,"socket-id":1})"));
}

TEST_F(Qmp, StopsAndGoesOn) {
  EXPECT_TRUE(run("stop").contains("return"));
  EXPECT_EQ(run("query-status")["return"], json::parse(R"({"running":false,"status":"paused"})"));
  EXPECT_TRUE(run("cont").contains("return"));
  EXPECT_EQ(run("query-status")["return"]["running"], true);
  guest_.state_ = Guest::State::kKept;
  EXPECT_EQ(error_class(run("cont")), "GenericError");
}

TEST_F(Qmp, ListsDrives) {
  const json drives = run("query-block")["return"];
  ASSERT_EQ(drives.size(), 3U);
  EXPECT_EQ(drives[0]["inserted"]["drv"], "qcow2");
  EXPECT_FALSE(drives[0].contains("tray_open"));
  EXPECT_EQ(drives[1]["inserted"]["file"], "/one.iso");
  EXPECT_EQ(drives[1]["tray_open"], false);
  EXPECT_FALSE(drives[2].contains("inserted"));
}

TEST_F(Qmp, TellsWhatThrowawayDisksTakeAndLimitsIt) {
  EXPECT_EQ(error_class(run("x-vmm-query-throwaway")), "GenericError");
  EXPECT_EQ(error_class(run("x-vmm-set-throwaway-limit", {{"bytes", 1}})), "GenericError");
  guest_.throwaway_ = Guest::Throwaway{.used_bytes = 7};
  EXPECT_EQ(run("x-vmm-query-throwaway")["return"], json::parse(R"({"used":7})"));
  run("x-vmm-set-throwaway-limit", {{"bytes", 1 << 20}});
  EXPECT_EQ(run("x-vmm-query-throwaway")["return"], json::parse(R"({"used":7,"limit":1048576})"));
  EXPECT_EQ(error_class(run("x-vmm-set-throwaway-limit", {{"bytes", 10}})), "GenericError");
  EXPECT_EQ(error_class(run("x-vmm-set-throwaway-limit", {{"bytes", -1}})), "GenericError");
  EXPECT_EQ(error_class(run("x-vmm-set-throwaway-limit", {{"bytes", "1"}})), "GenericError");
  EXPECT_EQ(guest_.throwaway_->limit_bytes, 1U << 20U);
  run("x-vmm-set-throwaway-limit");
  EXPECT_FALSE(guest_.throwaway_->limit_bytes);
}

TEST_F(Qmp, PressesButtons) {
  run("system_powerdown");
  run("system_reset");
  run("x-vmm-boot-once", {{"device", "vda"}});
  run("inject-nmi");
  run("quit");
  EXPECT_THAT(guest_.done_, ElementsAre("power_down", "reset", "boot once vda", "nmi", "quit"));
}

TEST_F(Qmp, MovesTrays) {
  EXPECT_TRUE(run("blockdev-remove-medium", {{"id", "hdc"}}).contains("error"));
  EXPECT_TRUE(run("blockdev-open-tray", {{"id", "hdc"}}).contains("return"));
  EXPECT_TRUE(run("blockdev-remove-medium", {{"id", "hdc"}}).contains("return"));
  EXPECT_TRUE(guest_.find("hdc").file.empty());
  EXPECT_TRUE(run("blockdev-change-medium", {{"device", "hdc"}, {"filename", "/two"}, {"format", "qcow2"}})
                  .contains("return"));
  EXPECT_EQ(guest_.find("hdc").file, "/two");
  EXPECT_EQ(guest_.find("hdc").format, domain::ImageFormat::kQcow2);
  EXPECT_FALSE(guest_.find("hdc").is_tray_open);
}

TEST_F(Qmp, EjectFailsWhereTheGuestHoldsTheDisc) {
  guest_.find("hdc").is_locked = true;
  EXPECT_THAT(description(run("eject", {{"id", "hdc"}})), HasSubstr("is locked and force was not specified"));
  EXPECT_EQ(guest_.find("hdc").file, "/one.iso");
  EXPECT_TRUE(run("eject", {{"id", "hdc"}, {"force", true}}).contains("return"));
  EXPECT_TRUE(guest_.find("hdc").file.empty());
}

TEST_F(Qmp, TraysAreThoseOfCdromDrives) {
  EXPECT_EQ(error_class(run("eject", {{"id", "sdx"}})), "DeviceNotFound");
  EXPECT_THAT(description(run("eject", {{"id", "vda"}})), HasSubstr("not removable"));
}

TEST_F(Qmp, EveryListedCommandIsThere) {
  const json commands = run("query-commands")["return"];
  for (const json& command : commands) {
    const std::string name = command["name"];
    const json answer = run(name.c_str());
    guest_.state_ = Guest::State::kRunning;
    EXPECT_FALSE(answer.contains("error") && name != "qmp_capabilities" &&
                 error_class(answer) == "CommandNotFound")
        << name;
  }
}

}  // namespace
}  // namespace vmm::control
