#include "devices/virtio/block.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/virtio/rig.h"

namespace vmm::virtio {
namespace {

using block::BlockOp;
using block::IoStatus;

class Block : public testing::Test {
 protected:
  Rig& make(RigOptions options = {}, uint64_t features = kUsualFeatures) {
    rig_ = std::make_unique<Rig>(std::move(options));
    rig_->start(features);
    EXPECT_EQ(rig_->driver->status(), 0x0f);
    return *rig_;
  }
  // Segments of a discard or write-zeroes request, in the data area of head 0.
  struct Segment {
    uint64_t sector = 0;
    uint32_t sectors = 0;
    uint32_t flags = 0;
  };
  uint8_t run_segments(uint32_t type, const std::vector<Segment>& segments) {
    for (size_t i = 0; i < segments.size(); ++i) {
      std::array<std::byte, 16> bytes{};
      store_le<uint64_t>(&bytes[0], segments[i].sector);
      store_le<uint32_t>(&bytes[8], segments[i].sectors);
      store_le<uint32_t>(&bytes[12], segments[i].flags);
      EXPECT_TRUE(rig_->memory.write_bytes(GuestAddress(Rig::data_of(0) + 16 * i), bytes));
    }
    return rig_->run(0, type, 0, {{Rig::data_of(0), static_cast<uint32_t>(16 * segments.size()), false}});
  }
  FakeVirtqueue::Used only_used() {
    const auto all = rig_->queues[0].take_all_used();
    EXPECT_EQ(all.size(), 1U);
    return all.empty() ? FakeVirtqueue::Used{} : all[0];
  }

  std::unique_ptr<Rig> rig_;
};

// --- Reading and writing ---

TEST_F(Block, ReadBringsTheSectorsAndCountsThemWithTheStatus) {
  Rig& rig = make();
  rig.fill_disk(2 * 512, 1024, 0xab);
  EXPECT_EQ(rig.run(4, kIn, 2, {{Rig::data_of(4), 1024, true}}), kOk);
  EXPECT_EQ(rig.byte(Rig::data_of(4)), 0xab);
  EXPECT_EQ(rig.byte(Rig::data_of(4) + 1023), 0xab);
  EXPECT_EQ(rig.byte(Rig::data_of(4) + 1024), 0);
  EXPECT_EQ(only_used(), (FakeVirtqueue::Used{4, 1025}));
}

TEST_F(Block, CountsWhatItsDriverDoes) {
  block::DiskCounters counters;
  Rig& rig = make({.block = {.counters = &counters}});
  EXPECT_EQ(rig.run(0, kIn, 0, {{Rig::data_of(0), 1024, true}}), kOk);
  EXPECT_EQ(rig.run(1, kOut, 3, {{Rig::data_of(1), 512, false}}), kOk);
  EXPECT_EQ(rig.run(2, kFlushRequest, 0, {}), kOk);
  EXPECT_EQ(run_segments(kDiscardRequest, {{.sector = 0, .sectors = 2}, {.sector = 8, .sectors = 2}}), kOk);
  EXPECT_EQ(run_segments(kWriteZeroesRequest, {{.sector = 6, .sectors = 2}}), kOk);
  EXPECT_EQ(rig.run(3, kIn, kDiskBytes / 512, {{Rig::data_of(3), 512, true}}), kIoError);
  EXPECT_EQ(run_segments(kDiscardRequest, {{.sector = kDiskBytes, .sectors = 1}}), kIoError);
  rig.disk.fail_next(BlockOp::kWrite, IoStatus::kNoSpace);
  EXPECT_EQ(rig.run(4, kOut, 100, {{Rig::data_of(4), 512, false}}), kIoError);
  const auto values = counters.values();
  const auto& [reads, writes, flushes, unmaps] = values.operations;
  EXPECT_EQ(reads.count, 1U);
  EXPECT_EQ(reads.bytes, 1024U);
  EXPECT_EQ(reads.invalid, 1U);
  EXPECT_EQ(writes.count, 2U);
  EXPECT_EQ(writes.bytes, 1536U);
  EXPECT_EQ(writes.failed, 1U);
  EXPECT_EQ(flushes.count, 1U);
  EXPECT_EQ(unmaps.count, 1U);
  EXPECT_EQ(unmaps.bytes, 2048U);
  EXPECT_EQ(unmaps.invalid, 1U);
  EXPECT_EQ(values.highest_write_end, 8U * 512);
  EXPECT_EQ(values.in_flight, 0U);
}

TEST_F(Block, WhatAResetAbandonsIsInFlightNoMore) {
  block::DiskCounters counters;
  Rig& rig = make({.block = {.counters = &counters}});
  rig.disk.set_deferred(true);
  rig.add(0, kIn, 0, {{Rig::data_of(0), 512, true}});
  rig.kick();
  EXPECT_EQ(counters.values().in_flight, 1U);
  rig.driver->set_status(0);
  rig.turn();
  rig.disk.complete_all();
  rig.turn();
  EXPECT_EQ(counters.values().in_flight, 0U);
  EXPECT_EQ(counters.values().operations[block::DiskCounters::kRead].count, 0U);
}

TEST_F(Block, WriteStoresTheSectorsAndCountsTheStatusOnly) {
  Rig& rig = make();
  rig.fill(Rig::data_of(0), 512, 0xcd);
  EXPECT_EQ(rig.run(0, kOut, 3, {{Rig::data_of(0), 512, false}}), kOk);
  EXPECT_EQ(rig.disk_byte(3 * 512), 0xcd);
  EXPECT_EQ(rig.disk_byte(4 * 512), 0);
  EXPECT_EQ(only_used(), (FakeVirtqueue::Used{0, 1}));
}

TEST_F(Block, DataMayLieInAnyPieces) {
  Rig& rig = make();
  rig.fill_disk(0, 1024, 0x77);
  const uint64_t data = Rig::data_of(0);
  EXPECT_EQ(rig.run(0, kIn, 0, {{data, 1, true}, {data + 1, 510, true}, {data + 511, 513, true}}), kOk);
  EXPECT_EQ(rig.byte(data + 1023), 0x77);
  ASSERT_EQ(rig.disk.history().size(), 1U);
  EXPECT_EQ(rig.disk.history()[0].buffer_count, 3U);
}

TEST_F(Block, HeaderInSingleBytesAndStatusBehindTheDataAreFound) {
  Rig& rig = make();
  rig.fill_disk(512, 512, 0x66);
  rig.write_header(0, kIn, 1);
  std::vector<FakeBuffer> chain;
  for (uint64_t i = 0; i < 16; ++i) {
    chain.push_back({kHeaders + i, 1, false});
  }
  chain.push_back({Rig::data_of(0), 513, true});
  rig.queues[0].add(0, chain);
  rig.kick();
  EXPECT_EQ(rig.byte(Rig::data_of(0) + 511), 0x66);
  EXPECT_EQ(rig.byte(Rig::data_of(0) + 512), kOk);
  EXPECT_EQ(only_used().length, 513U);
}

TEST_F(Block, HeaderAndDataInOneDescriptorAreTakenApart) {
  Rig& rig = make();
  rig.write_header(0, kOut, 5);
  rig.fill(kHeaders + 16, 512, 0x55);
  rig.queues[0].add(0, {{kHeaders, 16 + 512, false}, Rig::status_of(0)});
  rig.kick();
  EXPECT_EQ(rig.status(0), kOk);
  EXPECT_EQ(rig.disk_byte(5 * 512), 0x55);
  EXPECT_EQ(rig.disk_byte(5 * 512 + 511), 0x55);
}

TEST_F(Block, IndirectRequestsAreServed) {
  Rig& rig = make();
  rig.fill_disk(0, 512, 0x42);
  rig.write_header(9, kIn, 0);
  const std::array<FakeBuffer, 3> buffers = {
      {Rig::header_of(9), {Rig::data_of(9), 512, true}, Rig::status_of(9)}};
  rig.queues[0].add_indirect(9, 0x22'0000, buffers);
  rig.kick();
  EXPECT_EQ(rig.status(9), kOk);
  EXPECT_EQ(rig.byte(Rig::data_of(9)), 0x42);
  EXPECT_EQ(only_used(), (FakeVirtqueue::Used{9, 513}));
}

TEST_F(Block, MemoryAboveFourGigabytesIsReached) {
  Rig& rig = make();
  rig.fill_disk(0, 512, 0x31);
  const uint64_t high = uint64_t{1} << 32;
  EXPECT_EQ(rig.run(0, kIn, 0, {{high, 512, true}}), kOk);
  EXPECT_EQ(rig.byte(high + 511), 0x31);
}

TEST_F(Block, RequestsPastTheEndFail) {
  Rig& rig = make();
  const uint64_t sectors = kDiskBytes / 512;
  const FakeBuffer two_sectors{Rig::data_of(0), 1024, true};
  EXPECT_EQ(rig.run(0, kIn, sectors - 2, {two_sectors}), kOk);
  EXPECT_EQ(only_used().length, 1025U);
  for (const uint64_t sector : {sectors - 1, sectors, uint64_t{1} << 55, UINT64_MAX, UINT64_MAX - 1}) {
    EXPECT_EQ(rig.run(0, kIn, sector, {two_sectors}), kIoError) << sector;
    EXPECT_EQ(only_used().length, 1U);
  }
  EXPECT_EQ(rig.disk.history().size(), 1U);
}

TEST_F(Block, LengthsThatAreNotWholeSectorsFail) {
  Rig& rig = make();
  for (const uint32_t length : {1U, 511U, 513U}) {
    EXPECT_EQ(rig.run(0, kIn, 0, {{Rig::data_of(0), length, true}}), kIoError);
    EXPECT_EQ(rig.run(0, kOut, 0, {{Rig::data_of(0), length, false}}), kIoError);
  }
  EXPECT_TRUE(rig.disk.history().empty());
}

TEST_F(Block, NothingToTransferSucceeds) {
  Rig& rig = make();
  EXPECT_EQ(rig.run(0, kIn, 0), kOk);
  EXPECT_TRUE(rig.disk.history().empty());
}

TEST_F(Block, AShortHeaderFails) {
  Rig& rig = make();
  rig.write_header(0, kIn, 0);
  rig.queues[0].add(0, {{kHeaders, 15, false}, {Rig::data_of(0), 512, true}, Rig::status_of(0)});
  rig.kick();
  EXPECT_EQ(rig.status(0), kIoError);
}

TEST_F(Block, UnknownRequestsAreUnsupportedAndReturned) {
  Rig& rig = make();
  for (const uint32_t type : {2U, 5U, 14U, 0x8000'0000U}) {
    EXPECT_EQ(rig.run(0, type, 0), kUnsupported);
    EXPECT_EQ(only_used(), (FakeVirtqueue::Used{0, 1}));
  }
}

TEST_F(Block, HostErrorsBecomeErrorsOfTheRequestOnly) {
  Rig& rig = make();
  const FakeBuffer data{Rig::data_of(0), 512, false};
  for (const IoStatus status : {IoStatus::kIoError, IoStatus::kNoSpace, IoStatus::kOutOfRange}) {
    rig.disk.fail_next(BlockOp::kWrite, status);
    EXPECT_EQ(rig.run(0, kOut, 0, {data}), kIoError);
    EXPECT_EQ(only_used().length, 1U);
  }
  rig.disk.fail_next(BlockOp::kWrite, IoStatus::kUnsupported);
  EXPECT_EQ(rig.run(0, kOut, 0, {data}), kUnsupported);
  EXPECT_EQ(rig.run(0, kOut, 0, {data}), kOk);
}

// --- Flush and the write cache ---

TEST_F(Block, FlushReachesTheDisk) {
  Rig& rig = make();
  EXPECT_EQ(rig.run(0, kFlushRequest, 0), kOk);
  EXPECT_EQ(rig.disk.flushes(), 1U);
}

TEST_F(Block, WithAWriteCacheWritesAreNotForced) {
  Rig& rig = make();
  EXPECT_EQ(rig.driver->config8(32), 1);
  rig.run(0, kOut, 0, {{Rig::data_of(0), 512, false}});
  EXPECT_FALSE(rig.disk.history()[0].force_unit_access);
}

TEST_F(Block, WhenTheGuestClearsWritebackWritesAreForced) {
  Rig& rig = make();
  rig.driver->set_config8(32, 0);
  rig.run(0, kOut, 0, {{Rig::data_of(0), 512, false}});
  EXPECT_TRUE(rig.disk.history()[0].force_unit_access);
  EXPECT_EQ(run_segments(kWriteZeroesRequest, {{0, 1, 0}}), kOk);
  EXPECT_TRUE(rig.disk.history()[1].force_unit_access);
  rig.driver->set_config8(32, 1);
  rig.run(0, kOut, 0, {{Rig::data_of(0), 512, false}});
  EXPECT_FALSE(rig.disk.history()[2].force_unit_access);
}

TEST_F(Block, ADriverWithoutFlushGetsWriteThrough) {
  Rig& rig = make({}, kVersion1);
  rig.run(0, kOut, 0, {{Rig::data_of(0), 512, false}});
  EXPECT_TRUE(rig.disk.history()[0].force_unit_access);
  EXPECT_EQ(rig.run(0, kFlushRequest, 0), kUnsupported);
}

TEST_F(Block, AnUnsafeCacheOffersNoFlushAndForcesNothing) {
  Rig& rig = make({.block = {.is_cache_unsafe = true}}, kVersion1);
  EXPECT_EQ(rig.driver->device_features() & (kFlush | kConfigWce), 0U);
  rig.run(0, kOut, 0, {{Rig::data_of(0), 512, false}});
  EXPECT_FALSE(rig.disk.history()[0].force_unit_access);
}

TEST_F(Block, AWriteThroughCacheIsShownAndComesBackAfterReset) {
  Rig& rig = make({.block = {.has_write_cache = false}});
  EXPECT_EQ(rig.driver->config8(32), 0);
  rig.driver->set_config8(32, 1);
  EXPECT_EQ(rig.driver->config8(32), 1);
  rig.driver->set_status(0);
  EXPECT_EQ(rig.driver->config8(32), 0);
}

// --- Identity ---

TEST_F(Block, GetIdGivesTheSerialPaddedWithZeroes) {
  Rig& rig = make({.block = {.serial = "abc"}});
  rig.fill(Rig::data_of(0), 20, 0xff);
  EXPECT_EQ(rig.run(0, kGetId, 0, {{Rig::data_of(0), 20, true}}), kOk);
  EXPECT_EQ(rig.byte(Rig::data_of(0)), 'a');
  EXPECT_EQ(rig.byte(Rig::data_of(0) + 2), 'c');
  EXPECT_EQ(rig.byte(Rig::data_of(0) + 19), 0);
  EXPECT_EQ(only_used().length, 21U);
}

TEST_F(Block, ALongSerialIsCutAndAShortBufferNotOverrun) {
  Rig& rig = make({.block = {.serial = std::string(40, 'x')}});
  rig.fill(Rig::data_of(0), 64, 0xff);
  EXPECT_EQ(rig.run(0, kGetId, 0, {{Rig::data_of(0), 64, true}}), kOk);
  EXPECT_EQ(rig.byte(Rig::data_of(0) + 19), 'x');
  EXPECT_EQ(rig.byte(Rig::data_of(0) + 20), 0xff);
  EXPECT_EQ(rig.run(0, kGetId, 0, {{Rig::data_of(0) + 100, 4, true}}), kOk);
  EXPECT_EQ(rig.byte(Rig::data_of(0) + 104), 0);
}

// --- Discard and write-zeroes ---

TEST_F(Block, DiscardReachesTheDiskRangeByRange) {
  Rig& rig = make();
  rig.fill_disk(0, kDiskBytes, 0x99);
  EXPECT_EQ(run_segments(kDiscardRequest, {{8, 8, 0}, {64, 1, 0}, {100, 0, 0}}), kOk);
  ASSERT_EQ(rig.disk.history().size(), 2U);
  EXPECT_EQ(rig.disk.history()[0].op, BlockOp::kDiscard);
  EXPECT_EQ(rig.disk.history()[0].offset.bytes(), 8U * 512);
  EXPECT_EQ(rig.disk.history()[0].length_bytes, 8U * 512);
  EXPECT_EQ(rig.disk.history()[1].offset.bytes(), 64U * 512);
  EXPECT_EQ(only_used(), (FakeVirtqueue::Used{0, 1}));
}

TEST_F(Block, WriteZeroesSaysWhetherItMayUnmap) {
  Rig& rig = make();
  rig.fill_disk(0, kDiskBytes, 0x99);
  EXPECT_EQ(run_segments(kWriteZeroesRequest, {{1, 1, 0}, {2, 1, 1}}), kOk);
  EXPECT_EQ(rig.disk_byte(511), 0x99);
  EXPECT_EQ(rig.disk_byte(512), 0);
  EXPECT_EQ(rig.disk_byte(3 * 512 - 1), 0);
  EXPECT_EQ(rig.disk_byte(3 * 512), 0x99);
  EXPECT_FALSE(rig.disk.history()[0].may_unmap);
  EXPECT_TRUE(rig.disk.history()[1].may_unmap);
}

TEST_F(Block, RangesAreDoneOneAfterTheOtherAndStopAtTheFirstError) {
  Rig& rig = make();
  rig.disk.set_deferred(true);
  run_segments(kDiscardRequest, {{0, 1, 0}, {1, 1, 0}, {2, 1, 0}});
  EXPECT_EQ(rig.disk.in_flight(), 1U);
  rig.disk.complete_all();
  EXPECT_EQ(rig.disk.in_flight(), 1U);
  EXPECT_EQ(rig.disk.history()[1].offset.bytes(), 512U);
  rig.disk.fail_next(BlockOp::kDiscard, IoStatus::kIoError);
  rig.disk.complete_all();
  rig.turn();
  EXPECT_EQ(rig.status(0), kIoError);
  EXPECT_EQ(rig.disk.history().size(), 2U);
}

TEST_F(Block, BadFlagsAreUnsupportedAndNothingIsDone) {
  Rig& rig = make();
  EXPECT_EQ(run_segments(kDiscardRequest, {{0, 1, 0}, {1, 1, 1}}), kUnsupported);
  EXPECT_EQ(run_segments(kDiscardRequest, {{0, 1, 2}}), kUnsupported);
  EXPECT_EQ(run_segments(kWriteZeroesRequest, {{0, 1, 0}, {1, 1, 2}}), kUnsupported);
  EXPECT_EQ(run_segments(kWriteZeroesRequest, {{0, 1, 0x8000'0001}}), kUnsupported);
  EXPECT_TRUE(rig.disk.history().empty());
}

TEST_F(Block, RangesPastTheEndOrTheLimitsFailAndNothingIsDone) {
  Rig& rig = make();
  const uint64_t sectors = kDiskBytes / 512;
  const uint32_t most = rig.driver->config32(36);
  EXPECT_EQ(run_segments(kDiscardRequest, {{0, 1, 0}, {sectors, 1, 0}}), kIoError);
  EXPECT_EQ(run_segments(kDiscardRequest, {{UINT64_MAX, 2, 0}}), kIoError);
  EXPECT_EQ(run_segments(kDiscardRequest, {{UINT64_MAX / 512, UINT32_MAX, 0}}), kIoError);
  EXPECT_EQ(run_segments(kDiscardRequest, {{0, most + 1, 0}}), kIoError);
  const uint32_t most_ranges = rig.driver->config32(40);
  EXPECT_EQ(run_segments(kDiscardRequest, std::vector<Segment>(most_ranges, {0, 0, 0})), kOk);
  EXPECT_EQ(run_segments(kDiscardRequest, std::vector<Segment>(most_ranges + 1, {0, 0, 0})), kIoError);
  EXPECT_EQ(rig.run(0, kDiscardRequest, 0), kIoError);
  EXPECT_EQ(rig.run(0, kDiscardRequest, 0, {{Rig::data_of(0), 17, false}}), kIoError);
  EXPECT_TRUE(rig.disk.history().empty());
}

TEST_F(Block, WhatWasNotNegotiatedIsUnsupported) {
  make({}, kVersion1 | kFlush);
  EXPECT_EQ(run_segments(kDiscardRequest, {{0, 1, 0}}), kUnsupported);
  EXPECT_EQ(run_segments(kWriteZeroesRequest, {{0, 1, 0}}), kUnsupported);
}

TEST_F(Block, AReadOnlyDiskTakesNoChange) {
  Rig& rig = make({.is_read_only = true}, kVersion1 | kFlush | (1U << 5));
  EXPECT_EQ(rig.driver->device_features() & (kDiscard | kWriteZeroes), 0U);
  EXPECT_EQ(rig.run(0, kOut, 0, {{Rig::data_of(0), 512, false}}), kIoError);
  EXPECT_EQ(run_segments(kDiscardRequest, {{0, 1, 0}}), kIoError);
  EXPECT_EQ(rig.run(0, kIn, 0, {{Rig::data_of(0), 512, true}}), kOk);
  EXPECT_EQ(rig.disk.history().size(), 1U);
}

TEST_F(Block, ADiskThatCannotDiscardOffersNone) {
  Rig& rig = make({.limits = block::BlockLimits{}}, kVersion1);
  EXPECT_EQ(rig.driver->device_features() & (kDiscard | kWriteZeroes), 0U);
  EXPECT_EQ(rig.driver->config32(36), 0U);
}

// --- Configuration ---

TEST_F(Block, ConfigurationDescribesTheDisk) {
  const block::BlockLimits limits{.logical_block_bytes = 512,
                                  .physical_block_bytes = 4096,
                                  .optimal_io_bytes = 65536,
                                  .discard_alignment_bytes = 4096,
                                  .can_write_zeroes = true};
  Rig& rig =
      make({.block = {.queue_count = 4, .queue_size = 128}, .limits = limits}, kUsualFeatures | kMultiQueue);
  FakeVirtioDriver& driver = *rig.driver;
  EXPECT_EQ(driver.config32(0), kDiskBytes / 512);
  EXPECT_EQ(driver.config32(4), 0U);
  EXPECT_EQ(driver.config32(12), 126U);      // seg_max
  EXPECT_EQ(driver.config32(20), 512U);      // blk_size
  EXPECT_EQ(driver.config8(24), 3);          // 2^3 logical blocks in a physical one
  EXPECT_EQ(driver.config32(24) >> 16, 8U);  // min_io_size
  EXPECT_EQ(driver.config32(28), 128U);      // opt_io_size
  EXPECT_EQ(driver.config32(32) >> 16, 4U);  // num_queues
  EXPECT_EQ(driver.config32(44), 8U);        // discard_sector_alignment
  EXPECT_EQ(driver.config8(56), 1);          // write_zeroes_may_unmap
  EXPECT_EQ(driver.config32(60), 0U);
  EXPECT_EQ(driver.config32(0x0f00), 0U);
}

TEST_F(Block, TellsTheGeometryThatItIsGivenAndNoneOfItsOwn) {
  constexpr uint64_t kGeometry = 1U << 4;
  const VirtioBlock::Geometry geometry{.cylinders = 0x1234, .heads = 200, .sectors_per_track = 63};
  Rig& told = make({.block = {.geometry = geometry}});
  EXPECT_EQ(told.driver->device_features() & kGeometry, kGeometry);
  EXPECT_EQ(told.driver->config32(16), 0x3fc8'1234U);
  Rig& silent = make();
  EXPECT_EQ(silent.driver->device_features() & kGeometry, 0U);
  EXPECT_EQ(silent.driver->config32(16), 0U);
}

TEST_F(Block, OnlyTheWritebackFieldIsWritable) {
  Rig& rig = make();
  for (uint32_t offset = 0; offset < 64; ++offset) {
    rig.driver->set_config8(offset, offset == 32 ? 0 : 0xff);
  }
  EXPECT_EQ(rig.driver->config32(0), kDiskBytes / 512);
  EXPECT_EQ(rig.driver->config8(32), 0);
  EXPECT_EQ(rig.driver->config8(34), 1);
}

// --- Many at a time ---

TEST_F(Block, CompletionsAreUsedInTheOrderInWhichTheyCome) {
  Rig& rig = make();
  rig.disk.set_deferred(true);
  for (const uint16_t head : Heads{0, 4, 8}) {
    rig.add(head, kIn, head, {{Rig::data_of(head), 512, true}});
  }
  rig.kick();
  EXPECT_EQ(rig.disk.in_flight(), 3U);
  rig.disk.complete(1);
  rig.disk.complete(1);
  rig.disk.complete(0);
  rig.turn();
  EXPECT_EQ(rig.queues[0].take_all_used(), (std::vector<FakeVirtqueue::Used>{{4, 513}, {8, 513}, {0, 513}}));
}

TEST_F(Block, AFullDiskLeavesRequestsInTheRingUntilThereIsRoom) {
  Rig& rig = make();
  rig.disk.set_deferred(true);
  rig.disk.set_capacity(2);
  for (const uint16_t head : Heads{0, 4, 8, 12, 16}) {
    rig.add(head, kIn, 0, {{Rig::data_of(head), 512, true}});
  }
  rig.kick();
  EXPECT_EQ(rig.disk.in_flight(), 2U);
  rig.disk.complete_oldest();
  rig.turn();
  EXPECT_EQ(rig.disk.in_flight(), 2U);
  for (int i = 0; i < 5 && rig.disk.in_flight() > 0; ++i) {
    rig.disk.complete_all();
    rig.turn();
  }
  EXPECT_EQ(rig.queues[0].take_all_used().size(), 5U);
}

TEST_F(Block, SeveralQueuesFeedOneDisk) {
  Rig& rig = make({.block = {.queue_count = 3}}, kUsualFeatures | kMultiQueue);
  rig.fill_disk(0, 512, 0x21);
  for (const uint16_t queue : Heads{0, 1, 2}) {
    const auto head = static_cast<uint16_t>(4 * queue);
    rig.add(head, kIn, 0, {{Rig::data_of(head), 512, true}}, queue);
    rig.kick(queue);
    EXPECT_EQ(rig.queues[queue].take_all_used(), (std::vector<FakeVirtqueue::Used>{{head, 513}}));
    EXPECT_EQ(rig.byte(Rig::data_of(head)), 0x21);
  }
}

TEST_F(Block, OneBadRequestDoesNotStopTheQueue) {
  Rig& rig = make();
  rig.add(0, kIn, 0, {{kNoRam, 512, true}});
  rig.add(4, kIn, 0, {{Rig::data_of(4), 512, true}});
  rig.kick();
  EXPECT_EQ(rig.status(0), kIoError);
  EXPECT_EQ(rig.status(4), kOk);
  EXPECT_EQ(rig.queues[0].take_all_used(), (std::vector<FakeVirtqueue::Used>{{0, 1}, {4, 513}}));
}

TEST_F(Block, EventIndexServesARoundOfTheWholeRing) {
  Rig& rig = make({.block = {.queue_size = 16}}, kUsualFeatures | kEventIndex);
  FakeVirtqueue& queue = rig.queues[0];
  for (uint32_t i = 0; i < 66'000; ++i) {
    const uint16_t before = queue.available_index();
    const auto head = static_cast<uint16_t>(i % 4 * 4);
    rig.add(head, kGetId, 0, {{Rig::data_of(head), 20, true}});
    if (queue.must_notify(before, true)) {
      rig.driver->notify(0);
    }
    rig.loop->run_once(std::chrono::nanoseconds(0));
    rig.loop->run_once(std::chrono::nanoseconds(0));
    ASSERT_EQ(queue.take_used(), (FakeVirtqueue::Used{head, 21})) << i;
  }
}

}  // namespace
}  // namespace vmm::virtio
