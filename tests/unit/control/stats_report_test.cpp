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

TEST(StatsReport, ADiskThatHasJustComeHasDoneNothingYet) {
  StatsSample before = sample(1, 0, 0);
  before.disks = json::array();
  EXPECT_EQ(stats_report(before, sample(1'000'000'001, 0, 50))["disks"][0]["rd_operations_per_second"], 0.0);
}

TEST(StatsReport, WhatIsNotWhatItShouldBeCountsAsNothing) {
  for (const json& nonsense :
       {json(), json(1), json::array(), json("x"), json::array({1, "x", json::object()})}) {
    const StatsSample wrong{.name = nonsense, .status = nonsense, .stats = nonsense, .disks = nonsense};
    const json report = stats_report(wrong, wrong);
    EXPECT_EQ(report["cpu-percent"], 0.0);
    EXPECT_FALSE(stats_table(report).empty());
    EXPECT_FALSE(stats_line(report).empty());
  }
}

}  // namespace
}  // namespace vmm::control
