#include "vmm/control/qmp_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/unit/control/schema_check.h"
#include "tests/unit/fakes/fake_guest.h"

namespace vmm::control {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Qmp : public testing::Test {
 protected:
  json ask(const std::string& text) { return json::parse(session_.answer(text)); }
  // What is returned is what the schema says.
  json run(const char* command, const json& arguments = json::object()) {
    json answer = ask(json{{"execute", command}, {"arguments", arguments}}.dump());
    if (answer.contains("return")) {
      const json told = schema_.find(command, "command");
      EXPECT_EQ(schema_.complaint(told.value("arg-type", ""), arguments), "") << command;
      EXPECT_EQ(schema_.complaint(told.value("ret-type", ""), answer["return"]), "") << command;
    }
    return answer;
  }
  static std::string error_class(const json& answer) { return answer["error"]["class"]; }
  static std::string description(const json& answer) { return answer["error"]["desc"]; }

  FakeGuest guest_;
  QmpSession session_{guest_};
  const SchemaCheck schema_{read_schema()};

 private:
  json read_schema() {
    session_.answer(R"({"execute":"qmp_capabilities"})");
    return ask(R"({"execute":"query-qmp-schema"})")["return"];
  }
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
  EXPECT_EQ(run("query-events")["return"].size(), 15U);
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
  const json inserted = drives[0]["inserted"];
  EXPECT_EQ(inserted["drv"], "qcow2");
  EXPECT_EQ(inserted["node-name"], "#vda");
  EXPECT_EQ(inserted["backing_file"], "/base.raw");
  EXPECT_EQ(inserted["backing_file_depth"], 1);
  EXPECT_EQ(inserted["image"]["virtual-size"], 1 << 20);
  EXPECT_EQ(inserted["image"]["backing-filename"], "base.raw");
  EXPECT_EQ(inserted["image"]["backing-image"]["filename"], "/base.raw");
  EXPECT_EQ(inserted["bps"], 0);
  EXPECT_FALSE(inserted.contains("group"));
  EXPECT_FALSE(drives[0].contains("tray_open"));
  EXPECT_EQ(drives[1]["inserted"]["file"], "/one.iso");
  EXPECT_EQ(drives[1]["tray_open"], false);
  EXPECT_FALSE(drives[2].contains("inserted"));
}

TEST_F(Qmp, TellsTheDomainsWishesOfADisk) {
  domain::Disk disk;
  disk.target = "vda";
  disk.cache = domain::CacheMode::kDirectsync;
  disk.detect_zeroes = domain::DetectZeroes::kUnmap;
  guest_.domain_.disks = {disk};
  guest_.find("vda").limits = domain::IoTune{
      .total_bytes = {.per_second = 10, .burst_per_second = 20, .burst_seconds = 3}, .operation_bytes = 7};
  const json inserted = run("query-block")["return"][0]["inserted"];
  EXPECT_EQ(inserted["cache"], json::parse(R"({"writeback":false,"direct":true,"no-flush":false})"));
  EXPECT_EQ(inserted["detect_zeroes"], "unmap");
  EXPECT_EQ(inserted["bps"], 10);
  EXPECT_EQ(inserted["bps_max"], 20);
  EXPECT_EQ(inserted["bps_max_length"], 3);
  EXPECT_EQ(inserted["iops_size"], 7);
  EXPECT_EQ(inserted["group"], "vda");
}

TEST_F(Qmp, ListsTheNodesOfChains) {
  const json nodes = run("query-named-block-nodes")["return"];
  ASSERT_EQ(nodes.size(), 3U);
  EXPECT_EQ(nodes[1]["node-name"], "#vda.1");
  EXPECT_EQ(nodes[1]["file"], "/base.raw");
  EXPECT_EQ(nodes[1]["ro"], true);
  EXPECT_TRUE(nodes[0]["image"].contains("backing-image"));
  const json flat = run("query-named-block-nodes", {{"flat", true}})["return"];
  EXPECT_FALSE(flat[0]["image"].contains("backing-image"));
}

TEST_F(Qmp, CountsWhatDisksDo) {
  EXPECT_FALSE(run("query-blockstats")["return"][0]["stats"].contains("idle_time_ns"));
  guest_.counters_.end(block::DiskCounters::kRead, 1, 512, false, 1001);
  guest_.counters_.end(block::DiskCounters::kUnmap, 1, 512, true, 1001);
  guest_.counters_.note_written(4096);
  const json stats = run("query-blockstats")["return"][0]["stats"];
  EXPECT_EQ(stats["rd_operations"], 1);
  EXPECT_EQ(stats["rd_bytes"], 512);
  EXPECT_EQ(stats["rd_total_time_ns"], 1000);
  EXPECT_EQ(stats["failed_unmap_operations"], 1);
  EXPECT_EQ(stats["wr_highest_offset"], 4096);
  EXPECT_TRUE(stats.contains("idle_time_ns"));
  const json histogram = stats["rd_latency_histogram"];
  EXPECT_EQ(histogram["bins"].size(), histogram["boundaries"].size() + 1);
  EXPECT_EQ(histogram["bins"][0], 1);
  EXPECT_EQ(error_class(run("query-blockstats", {{"query-nodes", true}})), "GenericError");
  EXPECT_TRUE(run("query-blockstats", {{"query-nodes", false}}).contains("return"));
}

TEST_F(Qmp, TellsItsDevices) {
  EXPECT_EQ(run("query-chardev")["return"],
            json::parse(R"([{"label":"serial0","filename":"pty:/dev/pts/3","frontend-open":true}])"));
  const json device = run("query-pci")["return"][0]["devices"][0];
  EXPECT_EQ(device["class_info"], json::parse(R"({"class":257,"desc":"IDE controller"})"));
  EXPECT_EQ(device["id"]["vendor"], 0x8086);
  EXPECT_EQ(device["irq"], 11);
  EXPECT_EQ(device["regions"][0], json::parse(R"({"bar":4,"type":"io","address":49152,"size":16})"));
  EXPECT_EQ(device["regions"][1]["address"], -1);
  EXPECT_EQ(device["regions"][1]["mem_type_64"], true);
}

TEST_F(Qmp, TellsWhichFramesInterfacesReceive) {
  EXPECT_EQ(run("query-rx-filter")["return"], json::array());
  guest_.interfaces_ = {{.name = "net0",
                         .mac = {0x52, 0x54, 0, 0, 0, 1},
                         .is_promiscuous = false,
                         .multicast = InterfaceInfo::Receives::kAll,
                         .unicast_list = {{2, 0, 0, 0, 0, 9}},
                         .filters_vlans = true,
                         .vlans = {7}},
                        {.name = "net1"}};
  EXPECT_EQ(run("query-rx-filter")["return"].size(), 2U);
  const json filter = run("query-rx-filter", {{"name", "net0"}})["return"][0];
  EXPECT_EQ(filter["main-mac"], "52:54:00:00:00:01");
  EXPECT_EQ(filter["promiscuous"], false);
  EXPECT_EQ(filter["multicast"], "all");
  EXPECT_EQ(filter["unicast"], "normal");
  EXPECT_EQ(filter["unicast-table"], json::parse(R"(["02:00:00:00:00:09"])"));
  EXPECT_EQ(filter["vlan"], "normal");
  EXPECT_EQ(filter["vlan-table"], json::parse("[7]"));
  guest_.interfaces_[0].vlans.clear();
  EXPECT_EQ(run("query-rx-filter")["return"][0]["vlan"], "none");
  const json unknown = run("query-rx-filter", {{"name", "net9"}})["error"];
  EXPECT_EQ(unknown, json::parse(R"({"class":"GenericError","desc":"invalid net client name: net9"})"));
}

TEST_F(Qmp, WhoHasAskedForAFilterIsToldOfTheNextChange) {
  guest_.interfaces_ = {{.name = "net0"}, {.name = "net1"}};
  run("query-rx-filter", {{"name", "net1"}});
  EXPECT_EQ(guest_.done_, std::vector<std::string>{"watch filter of net1"});
  run("query-rx-filter");
  EXPECT_EQ(guest_.done_.size(), 3U);
}

TEST_F(Qmp, PullsCables) {
  guest_.interfaces_ = {{.name = "net0"}, {.name = "net1"}};
  EXPECT_EQ(run("set_link", {{"name", "net1"}, {"up", false}})["return"], json::object());
  EXPECT_TRUE(guest_.interfaces_[0].is_link_up);
  EXPECT_FALSE(guest_.interfaces_[1].is_link_up);
  const json unknown = run("set_link", {{"name", "net9"}, {"up", true}})["error"];
  EXPECT_EQ(unknown, json::parse(R"({"class":"DeviceNotFound","desc":"Device 'net9' not found"})"));
  EXPECT_EQ(error_class(run("set_link", {{"name", "net1"}})), "GenericError");
  EXPECT_EQ(error_class(run("set_link", {{"name", "net1"}, {"up", 1}})), "GenericError");
}

TEST_F(Qmp, TellsWhatItUses) {
  const json stats = run("x-vmm-query-stats")["return"];
  EXPECT_EQ(stats["resident-bytes"], 64 << 20);
  EXPECT_EQ(stats["balloon-bytes"], 16 << 20);
  EXPECT_EQ(stats["vcpus"][0]["exits"], json::parse(R"({"io":5,"mmio":4,"halt":3,"signal":2,"other":1})"));
  guest_.statistics_.balloon_bytes.reset();
  EXPECT_FALSE(run("x-vmm-query-stats")["return"].contains("balloon-bytes"));
}

TEST_F(Qmp, TellsWhatInterfacesReceiveAndSend) {
  EXPECT_EQ(run("x-vmm-query-stats")["return"]["interfaces"], json::array());
  guest_.interfaces_ = {{.name = "net0",
                         .target = "tap0",
                         .mac = {0x52, 0x54, 0, 0, 0, 1},
                         .counters = {.received = {.packets = 1, .bytes = 60, .dropped = 2},
                                      .sent = {.packets = 3, .bytes = 180, .dropped = 4},
                                      .received_filtered = 5,
                                      .sent_errors = 6}},
                        {.name = "net1", .is_link_up = false}};
  const json interfaces = run("x-vmm-query-stats")["return"]["interfaces"];
  EXPECT_EQ(interfaces[0], json::parse(R"({"name":"net0","mac":"52:54:00:00:00:01","link-up":true,
      "target":"tap0","received-packets":1,"received-bytes":60,"received-dropped":2,"received-filtered":5,
      "sent-packets":3,"sent-bytes":180,"sent-dropped":4,"sent-errors":6})"));
  EXPECT_EQ(interfaces[1]["link-up"], false);
  EXPECT_FALSE(interfaces[1].contains("target"));
}

TEST_F(Qmp, TellsItsSchema) {
  const json schema = run("query-qmp-schema")["return"];
  const json commands = run("query-commands")["return"];
  const json events = run("query-events")["return"];
  for (const json& command : commands) {
    EXPECT_FALSE(schema_.find(command["name"], "command").empty()) << command;
  }
  for (const json& event : events) {
    EXPECT_FALSE(schema_.find(event["name"], "event").empty()) << event;
  }
  for (const json& each : schema) {
    for (const char* named : {"arg-type", "ret-type", "element-type"}) {
      EXPECT_TRUE(!each.contains(named) || !schema_.find(each[named]).empty()) << each;
    }
    for (const json& member : each["meta-type"] == "object" ? each["members"] : json::array()) {
      EXPECT_FALSE(schema_.find(member["type"]).empty()) << each;
    }
  }
  const json eject = schema_.find("eject-arg");
  EXPECT_EQ(eject["members"][2], json::parse(R"({"name":"force","type":"bool","default":null})"));
  EXPECT_EQ(schema_.find("blockdev-change-medium-arg")["members"][3],
            json::parse(R"({"name":"filename","type":"str"})"));
}

// Of every argument of every command: a value of another type, and what nobody knows, are refused.
TEST_F(Qmp, TakesWhatItsSchemaSaysAndNothingElse) {
  const json commands = run("query-commands")["return"];
  for (const json& command : commands) {
    const std::string name = command["name"];
    const json type = schema_.find(schema_.find(name, "command")["arg-type"]);
    EXPECT_TRUE(run(name.c_str(), {{"no-such-argument", 1}}).contains("error")) << name;
    for (const json& member : type["members"]) {
      const json answer = run(name.c_str(), {{member["name"], json::object()}});
      EXPECT_TRUE(answer.contains("error")) << name << member;
    }
  }
  EXPECT_TRUE(guest_.done_.empty());
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

TEST_F(Qmp, ChangesWhatIsDoneWhenTheGuestEnds) {
  using domain::LifecycleAction;
  EXPECT_TRUE(run("set-action", {{"reboot", "shutdown"}, {"shutdown", "pause"}, {"panic", "pause"}})
                  .contains("return"));
  EXPECT_EQ(guest_.actions_.on_reboot, LifecycleAction::kDestroy);
  EXPECT_EQ(guest_.actions_.on_poweroff, LifecycleAction::kPreserve);
  EXPECT_EQ(guest_.actions_.on_crash, LifecycleAction::kPreserve);
  EXPECT_FALSE(guest_.actions_.watchdog);
  run("set-action", {{"reboot", "reset"}, {"shutdown", "poweroff"}, {"panic", "exit-failure"}});
  EXPECT_EQ(guest_.actions_.on_reboot, LifecycleAction::kRestart);
  EXPECT_EQ(guest_.actions_.on_poweroff, LifecycleAction::kDestroy);
  EXPECT_EQ(guest_.actions_.on_crash, LifecycleAction::kDestroy);
  EXPECT_FALSE(guest_.actions_.panic_is_only_told);
  run("set-action", {{"panic", "none"}, {"watchdog", "inject-nmi"}});
  EXPECT_TRUE(guest_.actions_.panic_is_only_told);
  EXPECT_EQ(guest_.actions_.watchdog, domain::WatchdogAction::kInjectNmi);
  run("set-action", {{"watchdog", "debug"}});
  EXPECT_EQ(guest_.actions_.watchdog, domain::WatchdogAction::kNone);
  EXPECT_THAT(description(run("set-action", {{"reboot", "dance"}})),
              HasSubstr("'reboot' does not accept value 'dance'"));
}

TEST_F(Qmp, LimitsDisks) {
  const json none = {{"id", "vda"}, {"bps", 0},     {"bps_rd", 0}, {"bps_wr", 0},
                     {"iops", 0},   {"iops_rd", 0}, {"iops_wr", 0}};
  const auto limit = [&](const json& more) {
    json arguments = none;
    arguments.update(more);
    return run("block_set_io_throttle", arguments);
  };
  EXPECT_TRUE(limit({{"bps_rd", 1000},
                     {"bps_rd_max", 2000},
                     {"bps_rd_max_length", 5},
                     {"iops", 7},
                     {"iops_size", 512},
                     {"group", "vda"}})
                  .contains("return"));
  const domain::IoTune tune = guest_.find("vda").limits.value();
  EXPECT_EQ(tune.read_bytes.per_second, 1000U);
  EXPECT_EQ(tune.read_bytes.burst_per_second, 2000U);
  EXPECT_EQ(tune.read_bytes.burst_seconds, 5U);
  EXPECT_EQ(tune.total_operations.per_second, 7U);
  EXPECT_EQ(tune.operation_bytes, 512U);
  EXPECT_EQ(run("query-block")["return"][0]["inserted"]["bps_rd_max_length"], 5);
  EXPECT_TRUE(limit(json::object()).contains("return"));
  EXPECT_FALSE(guest_.find("vda").limits);

  EXPECT_THAT(description(limit({{"bps", -1}})), HasSubstr("must be within"));
  EXPECT_THAT(description(limit({{"bps", 1'000'000'000'000'001}})), HasSubstr("must be within"));
  EXPECT_THAT(description(limit({{"bps", 1}, {"bps_wr", 1}})), HasSubstr("at the same time"));
  EXPECT_THAT(description(limit({{"iops", 2}, {"iops_max", 1}})), HasSubstr("cannot be lower"));
  EXPECT_THAT(description(limit({{"iops_max", 1}})), HasSubstr("needs the limit"));
  EXPECT_THAT(description(limit({{"iops", 1}, {"iops_max_length", 2}})), HasSubstr("needs a burst rate"));
  EXPECT_THAT(description(limit({{"iops", 1}, {"iops_max", 1}, {"iops_max_length", 0}})),
              HasSubstr("cannot be 0"));
  EXPECT_THAT(description(limit({{"bps", 1}, {"iops_size", 4096}})),
              HasSubstr("needs a limit of operations"));
  EXPECT_THAT(description(limit({{"bps", 1}, {"group", "vdb"}})), HasSubstr("'group'"));
  EXPECT_THAT(description(limit({{"bps", "1"}})), HasSubstr("'bps', expected: integer"));
  EXPECT_THAT(description(run("block_set_io_throttle", {{"id", "vda"}, {"bps", 1}})),
              HasSubstr("is missing"));
  EXPECT_FALSE(guest_.find("vda").limits);
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

TEST_F(Qmp, PutsADiscIntoAnOpenTrayAndLeavesItOpen) {
  const json two = {{"id", "hdc"}, {"filename", "/two.iso"}};
  EXPECT_TRUE(run("blockdev-insert-medium", two).contains("error"));
  run("blockdev-open-tray", {{"id", "hdc"}});
  EXPECT_TRUE(run("blockdev-insert-medium", two).contains("error"));
  run("blockdev-remove-medium", {{"id", "hdc"}});
  EXPECT_TRUE(run("blockdev-insert-medium", two).contains("return"));
  EXPECT_EQ(guest_.find("hdc").file, "/two.iso");
  EXPECT_TRUE(guest_.find("hdc").is_tray_open);
  EXPECT_THAT(description(run("blockdev-insert-medium", {{"id", "hdc"}, {"node-name", "x"}})),
              HasSubstr("'node-name' is unexpected"));
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
