#include "block/disk_counters.h"

#include <gtest/gtest.h>

#include <numeric>

namespace vmm::block {
namespace {

using Values = DiskCounters::Values;
using Operations = DiskCounters::Operations;

uint64_t sum_of(const Operations& operations) {
  return std::accumulate(operations.latencies.begin(), operations.latencies.end(), uint64_t{0});
}

TEST(DiskCounters, CountWhatWasDoneAndHowLongItTook) {
  DiskCounters counters;
  const uint64_t begun = counters.begin();
  EXPECT_EQ(counters.values().in_flight, 1U);
  counters.end(DiskCounters::kRead, begun, 4096, false);
  counters.end(DiskCounters::kRead, counters.begin(), 512, false);
  const Values values = counters.values();
  EXPECT_EQ(values.in_flight, 0U);
  EXPECT_EQ(values.operations[DiskCounters::kRead].count, 2U);
  EXPECT_EQ(values.operations[DiskCounters::kRead].bytes, 4608U);
  EXPECT_EQ(sum_of(values.operations[DiskCounters::kRead]), 2U);
  EXPECT_EQ(values.operations[DiskCounters::kWrite].count, 0U);
  EXPECT_GE(values.last_ns, begun);
}

TEST(DiskCounters, WhatFailsIsCountedApartAndMovesNothing) {
  DiskCounters counters;
  counters.end(DiskCounters::kWrite, counters.begin(), 512, true);
  counters.count_invalid(DiskCounters::kUnmap);
  const Values values = counters.values();
  EXPECT_EQ(values.operations[DiskCounters::kWrite].count, 0U);
  EXPECT_EQ(values.operations[DiskCounters::kWrite].bytes, 0U);
  EXPECT_EQ(values.operations[DiskCounters::kWrite].failed, 1U);
  EXPECT_EQ(sum_of(values.operations[DiskCounters::kWrite]), 1U);
  EXPECT_EQ(values.operations[DiskCounters::kUnmap].invalid, 1U);
}

TEST(DiskCounters, WhatWasDroppedIsInFlightNoMore) {
  DiskCounters counters;
  static_cast<void>(counters.begin());
  counters.drop();
  EXPECT_EQ(counters.values().in_flight, 0U);
  EXPECT_EQ(counters.values().last_ns, 0U);
}

TEST(DiskCounters, ALatencyIsInTheBucketThatItFitsIn) {
  DiskCounters counters;
  const uint64_t hour = uint64_t{3600} * 1'000'000'000;
  counters.end(DiskCounters::kFlush, counters.begin(), 0, false);
  counters.end(DiskCounters::kFlush, 1, 0, false, 1 + hour);
  const Operations flushes = counters.values().operations[DiskCounters::kFlush];
  EXPECT_EQ(flushes.latencies.back(), 1U);
  EXPECT_EQ(sum_of(flushes), 2U);
  EXPECT_GE(flushes.total_ns, hour);
}

TEST(DiskCounters, ABucketEndsWhereTheNextBegins) {
  DiskCounters counters;
  for (size_t bucket = 0; bucket + 1 < DiskCounters::kBuckets; ++bucket) {
    const uint64_t end = DiskCounters::bucket_end_ns(bucket);
    counters.end(DiskCounters::kRead, 0, 1, false, end - 1);
    counters.end(DiskCounters::kWrite, 0, 1, false, end);
  }
  const Values values = counters.values();
  for (size_t bucket = 0; bucket + 1 < DiskCounters::kBuckets; ++bucket) {
    EXPECT_EQ(values.operations[DiskCounters::kRead].latencies[bucket], 1U) << bucket;
    EXPECT_EQ(values.operations[DiskCounters::kWrite].latencies[bucket + 1], 1U) << bucket;
  }
}

TEST(DiskCounters, RememberWhereTheLastByteWasWritten) {
  DiskCounters counters;
  counters.note_written(4096);
  counters.note_written(512);
  EXPECT_EQ(counters.values().highest_write_end, 4096U);
}

}  // namespace
}  // namespace vmm::block
