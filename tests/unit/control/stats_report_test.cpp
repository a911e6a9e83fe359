#include "vmm/control/stats_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmm::control {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;

StatsSample sample(uint64_t time_ns, uint64_t cpu_ns, uint64_t reads) {
  return {
      .name = {{"name", "fake"}},
      .status = {{"status", "running"}},
      .stats =
          {{"time-ns", time_ns},
           {"cpu-time-ns", cpu_ns},
           {"resident-bytes", 64U << 20U},
           {"memory-bytes", 256U << 20U},
           {"vcpus",
            {{{"cpu-index", 0}, {"cpu-time-ns", cpu_ns / 2}, {"exits", {{"io", reads}, {"mmio", reads}}}}}}},
      .disks = {
          {{"device", "vda"},
           {"stats",
            {{"rd_operations", reads}, {"rd_bytes", reads * 4096}, {"rd_total_time_ns", reads * 250'000}}}}}};
}

TEST(StatsReport, TellsWhatHappenedInTheTimeBetween) {
  const json report =
      stats_report(sample(1'000'000'000, 500'000'000, 100), sample(3'000'000'000, 1'500'000'000, 300));
  EXPECT_EQ(report["seconds"], 2.0);
  EXPECT_EQ(report["cpu-percent"], 50.0);
  EXPECT_EQ(report["vcpus"][0]["cpu-percent"], 25.0);
  EXPECT_EQ(report["vcpus"][0]["exits-per-second"], 200.0);
  const json& disk = report["disks"][0];
  EXPECT_EQ(disk["rd_operations"], 300);
  EXPECT_EQ(disk["rd_operations_per_second"], 100.0);
  EXPECT_EQ(disk["rd_bytes_per_second"], 409'600.0);
  EXPECT_EQ(disk["rd_average_ns"], 250'000.0);
  EXPECT_EQ(disk["wr_average_ns"], 0.0);
  EXPECT_FALSE(report.contains("balloon-bytes"));
}

TEST(StatsReport, IsATableForPeople) {
  const json report = stats_report(sample(1'000'000'000, 0, 0), sample(2'000'000'000, 1'000'000'000, 1000));
  EXPECT_THAT(
      stats_table(report),
      ElementsAre("fake: running, CPU 100.0 %", "  memory 256 MiB, of which vmm has 64 MiB",
                  "  VCPU       CPU    EXITS/S", "  0       50.0 %       2000",
                  "  DISK   READS/S          READ      TAKES WRITES/S       WRITTEN      TAKES  FLUSH/S   "
                  "ALL READ  ALL WRIT.",
                  "  vda       1000    3.91 MiB/s    0.25 ms        0         0 B/s    0.00 ms        0   "
                  "3.91 MiB        0 B"));
  EXPECT_EQ(stats_line(report), "fake running cpu 100.0 % memory 64 MiB vda r 1000/s 3.91 MiB/s w 0/s 0 B/s");
}

StatsSample with_interface(StatsSample sample, uint64_t packets) {
  sample.stats["interfaces"] = {{{"name", "net0"},
                                 {"link-up", packets != 0},
                                 {"received-packets", packets},
                                 {"received-bytes", packets * 512},
                                 {"received-dropped", packets / 10},
                                 {"sent-packets", packets / 2},
                                 {"sent-bytes", packets * 64}}};
  return sample;
}

TEST(StatsReport, TellsWhatInterfacesReceiveAndSend) {
  const json report = stats_report(with_interface(sample(1'000'000'000, 0, 0), 1000),
                                   with_interface(sample(3'000'000'000, 0, 0), 3000));
  const json& interface = report["interfaces"][0];
  EXPECT_EQ(interface["name"], "net0");
  EXPECT_EQ(interface["link-up"], true);
  EXPECT_EQ(interface["received-packets"], 3000);
  EXPECT_EQ(interface["received-packets-per-second"], 1000.0);
  EXPECT_EQ(interface["received-bytes-per-second"], 512'000.0);
  EXPECT_EQ(interface["received-dropped-per-second"], 100.0);
  EXPECT_EQ(interface["sent-packets-per-second"], 500.0);
  EXPECT_EQ(interface["sent-errors"], 0);
  const auto table = stats_table(report);
  ASSERT_GE(table.size(), 2U);
  EXPECT_EQ(
      table[table.size() - 2],
      "  NET   PACKETS/S     RECEIVED  DROPPED/S PACKETS/S         SENT  DROPPED/S ERRORS/S   ALL REC.   "
      "ALL SENT");
  EXPECT_EQ(table.back(),
            "  net0       1000    500 KiB/s        100       500   62.5 KiB/s          0        0   1.46 MiB "
            "   188 KiB");
  EXPECT_THAT(stats_line(report), testing::EndsWith(" net0 in 1000/s 500 KiB/s out 500/s 62.5 KiB/s"));
  const json down = stats_report(with_interface(sample(1, 0, 0), 0), with_interface(sample(2, 0, 0), 0));
  EXPECT_THAT(stats_table(down).back(), testing::EndsWith(" (link down)"));
}

TEST(StatsReport, ADiskThatHasJustComeHasDoneNothingYet) {
  StatsSample before = sample(1, 0, 0);
  before.disks = json::array();
  EXPECT_EQ(stats_report(before, sample(1'000'000'001, 0, 50))["disks"][0]["rd_operations_per_second"], 0.0);
}

TEST(StatsReport, WhatIsNotWhatItShouldBeCountsAsNothing) {
  for (const json& nonsense :
       {json(), json(1), json::array(), json("x"), json::array({1, "x", json::object()})}) {
    StatsSample wrong{.name = nonsense, .status = nonsense, .stats = nonsense, .disks = nonsense};
    if (nonsense.is_null()) {
      wrong.stats = {{"interfaces", {nonsense, 1, {{"name", 1}, {"sent-bytes", "x"}}}}};
    }
    const json report = stats_report(wrong, wrong);
    EXPECT_EQ(report["cpu-percent"], 0.0);
    EXPECT_FALSE(stats_table(report).empty());
    EXPECT_FALSE(stats_line(report).empty());
  }
}

}  // namespace
}  // namespace vmm::control
