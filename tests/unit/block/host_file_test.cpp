// HostFile over a file in memory that is as particular as O_DIRECT, and fails where it is told to.
#include "block/host_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <random>
#include <ranges>
#include <utility>
#include <vector>

#include "tests/unit/block/disk_harness.h"
#include "tests/unit/fakes/fake_engine.h"
#include "vmm/base/bytes.h"

namespace vmm::block {
namespace {

struct Conditions {
  uint64_t size_bytes = 64 << 10;
  uint32_t alignment = 1;
  uint32_t memory_alignment = 1;
  CacheMode cache = CacheMode::kWriteback;
  bool may_discard = true;
};

// A request with its own memory and its end.
struct Asked : FileRequest {
  std::vector<std::byte> memory;
  std::vector<iovec> vectors;
  std::optional<IoStatus> end;
};

class File {
 public:
  explicit File(const Conditions& conditions, uint32_t seed = 1)
      : engine_(std::make_shared<FakeEngine>(pattern_bytes(conditions.size_bytes, seed),
                                             conditions.memory_alignment)),
        conditions_(conditions),
        file_(engine_, files(conditions), geometry(conditions), conditions.cache, conditions.may_discard) {}

  FakeEngine& engine() { return *engine_; }
  HostFile& operator*() { return file_; }

  Asked& submit(BlockOp op, uint64_t offset, uint64_t length) {
    Asked& asked = prepare(op, offset, length, 0);
    file_.submit(asked);
    return asked;
  }

  // Data in memory that begins `misalignment` bytes after a page.
  Asked& prepare(BlockOp op, uint64_t offset, uint64_t length, size_t misalignment) {
    Asked& asked = *asked_.emplace_back(std::make_unique<Asked>());
    asked.op = op;
    asked.offset = FileOffset(offset);
    asked.length_bytes = length;
    asked.done = [](FileRequest& request, IoStatus status) {
      auto& ended = static_cast<Asked&>(request);
      EXPECT_FALSE(ended.end.has_value()) << "completed twice";
      ended.end = status;
    };
    if (op == BlockOp::kRead || op == BlockOp::kWrite) {
      asked.memory.resize(length + 8192);
      const auto address = reinterpret_cast<uintptr_t>(asked.memory.data());
      std::byte* start = asked.memory.data() + (align_up(address, 4096) - address) + misalignment;
      asked.vectors = {iovec{.iov_base = start, .iov_len = length}};
      asked.buffers = asked.vectors;
    }
    return asked;
  }

  static std::span<std::byte> data(Asked& asked) {
    return {static_cast<std::byte*>(asked.vectors[0].iov_base), asked.length_bytes};
  }

  IoStatus run(Asked& asked) {
    engine_->answer_all();
    return asked.end.value_or(IoStatus::kUnsupported);
  }
  IoStatus run(BlockOp op, uint64_t offset, uint64_t length) { return run(submit(op, offset, length)); }

  // Splits the data of a request at random places, most of them unaligned.
  void scatter(Asked& asked, std::mt19937& random) {
    const auto whole = data(asked);
    asked.vectors.clear();
    for (size_t at = 0; at < whole.size();) {
      const size_t part = std::min<size_t>(1 + random() % 3000, whole.size() - at);
      asked.vectors.push_back({.iov_base = whole.data() + at, .iov_len = part});
      at += part;
    }
    asked.buffers = asked.vectors;
  }

 private:
  static HostFile::Files files(const Conditions& conditions) {
    HostFile::Files files;
    files.main.direct_alignment_bytes = conditions.alignment;
    return files;
  }
  static HostFile::Geometry geometry(const Conditions& conditions) {
    HostFile::Geometry geometry;
    geometry.memory_alignment_bytes = conditions.memory_alignment;
    geometry.zero_alignment_bytes = conditions.alignment;
    geometry.discard_alignment_bytes = std::max(conditions.alignment, 4096U);
    if (conditions.size_bytes % conditions.alignment != 0) {
      geometry.partial_block_offset = align_down(conditions.size_bytes, conditions.alignment);
    }
    return geometry;
  }

  std::shared_ptr<FakeEngine> engine_;
  Conditions conditions_;
  HostFile file_;
  std::vector<std::unique_ptr<Asked>> asked_;
};

constexpr Conditions kDirect512{.alignment = 512, .memory_alignment = 512, .cache = CacheMode::kNone};
constexpr Conditions kDirect4096{.alignment = 4096, .memory_alignment = 4096, .cache = CacheMode::kNone};
// An odd size: the last block is shorter than O_DIRECT can take.
constexpr Conditions kDirectOddSize{
    .size_bytes = (64 << 10) + 1000, .alignment = 4096, .memory_alignment = 512, .cache = CacheMode::kNone};
constexpr Conditions kBuffered{.size_bytes = (64 << 10) + 333};

class AnyHostFile : public testing::TestWithParam<Conditions> {};

INSTANTIATE_TEST_SUITE_P(Alignments, AnyHostFile,
                         testing::Values(kBuffered, kDirect512, kDirect4096, kDirectOddSize));

// --- Alignment ---

TEST_P(AnyHostFile, AgreesWithAnArrayForAnyAlignment) {
  File file(GetParam());
  std::vector<std::byte> model = file.engine().file();
  std::mt19937 random(3);
  for (int round = 0; round < 400; ++round) {
    const uint64_t offset = random() % model.size();
    const uint64_t length = std::min<uint64_t>(1 + random() % 20'000, model.size() - offset);
    const auto op = std::array{BlockOp::kRead, BlockOp::kWrite, BlockOp::kWriteZeroes}[random() % 3];
    Asked& asked = file.prepare(op, offset, length, random() % 4096);
    const auto range = std::span(model).subspan(offset, length);
    if (op == BlockOp::kWrite) {
      std::ranges::copy(pattern_bytes(length, static_cast<uint32_t>(random())), File::data(asked).begin());
      std::ranges::copy(File::data(asked), range.begin());
    } else if (op == BlockOp::kWriteZeroes) {
      std::ranges::fill(range, std::byte{0});
    }
    const auto data = op == BlockOp::kWriteZeroes ? std::span<std::byte>() : File::data(asked);
    if (op != BlockOp::kWriteZeroes && random() % 2 == 0) {
      file.scatter(asked, random);
    }
    (*file).submit(asked);
    ASSERT_EQ(file.run(asked), IoStatus::kOk);
    if (op == BlockOp::kRead) {
      ASSERT_TRUE(std::ranges::equal(data, range)) << offset << " " << length;
    }
    ASSERT_EQ(file.engine().file(), model) << offset << " " << length;
  }
  EXPECT_EQ(file.engine().misaligned_calls(), 0U);
}

// Neighbours in one block, in flight together, answered in any order: none may lose the other's bytes.
TEST_P(AnyHostFile, WritesThatShareBlocksKeepEachOthersBytes) {
  std::mt19937 random(4);
  for (int round = 0; round < 60; ++round) {
    File file(GetParam());
    std::vector<std::byte> model = file.engine().file();
    uint64_t at = random() % 3000;
    while (at < model.size()) {
      const uint64_t length = std::min<uint64_t>(1 + random() % 1500, model.size() - at);
      const auto range = std::span(model).subspan(at, length);
      const bool zeroes = random() % 4 == 0;
      Asked& asked =
          file.prepare(zeroes ? BlockOp::kWriteZeroes : BlockOp::kWrite, at, length, random() % 512);
      if (zeroes) {
        std::ranges::fill(range, std::byte{0});
      } else {
        std::ranges::copy(pattern_bytes(length, static_cast<uint32_t>(random())), File::data(asked).begin());
        std::ranges::copy(File::data(asked), range.begin());
      }
      (*file).submit(asked);
      at += length + (random() % 3 == 0 ? random() % 5000 : 0);
    }
    while (file.engine().waiting() > 0) {
      file.engine().answer(random() % file.engine().waiting());
    }
    ASSERT_EQ(file.engine().file(), model);
    EXPECT_EQ(file.engine().misaligned_calls(), 0U);
  }
}

TEST(HostFile, AlignedTransfersGoStraightToTheKernel) {
  File file(kDirect512);
  EXPECT_EQ(file.run(BlockOp::kWrite, 512, 4096), IoStatus::kOk);
  EXPECT_EQ(file.run(BlockOp::kRead, 512, 4096), IoStatus::kOk);
  EXPECT_EQ(file.engine().calls(), 2U);
}

TEST(HostFile, AlignedWritesDoNotWaitForEachOther) {
  File file(kDirect512);
  file.submit(BlockOp::kWrite, 0, 4096);
  file.submit(BlockOp::kWrite, 0, 4096);
  file.submit(BlockOp::kWrite, 2048, 512);
  EXPECT_EQ(file.engine().waiting(), 3U);
  file.engine().answer_all();
}

TEST(HostFile, AWriteOfPartOfABlockWaitsForThoseInItsBlock) {
  File file(kDirect4096);
  file.submit(BlockOp::kWrite, 0, 512);
  file.submit(BlockOp::kWrite, 512, 512);
  file.submit(BlockOp::kWrite, 0, 4096);
  file.submit(BlockOp::kWrite, 8192, 4096);
  EXPECT_EQ(file.engine().waiting(), 2U);  // the first and the last
  file.engine().answer_all();
}

TEST(HostFile, OneMisalignedEndIsEnoughToWaitFor) {
  for (const uint64_t offset : {0U, 512U}) {
    File file(kDirect4096);
    file.submit(BlockOp::kWrite, offset, offset == 0 ? 512 : 3584);
    file.submit(BlockOp::kWrite, 0, 4096);
    EXPECT_EQ(file.engine().waiting(), 1U) << offset;
    file.engine().answer_all();
  }
}

TEST(HostFile, MisalignedReadsDoNotWait) {
  File file(kDirect4096);
  file.submit(BlockOp::kWrite, 0, 512);
  file.submit(BlockOp::kRead, 100, 300);
  EXPECT_EQ(file.engine().waiting(), 2U);
  file.engine().answer_all();
}

TEST(HostFile, BounceBuffersAreBoundedAndEveryRequestGetsOne) {
  File file(kDirect512);
  std::vector<Asked*> asked;
  asked.reserve(100);
  for (int i = 0; i < 100; ++i) {
    asked.push_back(&file.submit(BlockOp::kRead, 1, 1000));
  }
  EXPECT_EQ(file.engine().waiting(), BouncePool::kMaxBuffers);
  file.engine().answer_all();
  for (const Asked* one : asked) {
    EXPECT_EQ(one->end, IoStatus::kOk);
  }
}

TEST(HostFile, TheLastPartialBlockDoesNotMakeTheFileGrow) {
  File file(kDirectOddSize);
  const uint64_t size = kDirectOddSize.size_bytes;
  EXPECT_EQ(file.run(BlockOp::kWrite, size - 500, 500), IoStatus::kOk);
  EXPECT_EQ(file.run(BlockOp::kWriteZeroes, size - 6000, 6000), IoStatus::kOk);
  EXPECT_EQ(file.engine().file().size(), size);
}

TEST(HostFile, ReadsPastTheEndGiveZeroes) {
  File file(kBuffered);
  const auto last = file.engine().file().back();
  Asked& asked = file.submit(BlockOp::kRead, kBuffered.size_bytes - 1, 100);
  std::ranges::fill(File::data(asked), std::byte{0xee});
  ASSERT_EQ(file.run(asked), IoStatus::kOk);
  EXPECT_EQ(File::data(asked)[0], last);
  EXPECT_TRUE(
      std::ranges::all_of(File::data(asked).subspan(1), [](std::byte b) { return b == std::byte{0}; }));
}

TEST(HostFile, RequestsOfNoLengthSucceed) {
  File file(kDirect4096);
  for (const auto op : {BlockOp::kRead, BlockOp::kWrite, BlockOp::kDiscard, BlockOp::kWriteZeroes}) {
    EXPECT_EQ(file.run(op, 0, 0), IoStatus::kOk);
  }
  EXPECT_EQ(file.engine().calls(), 0U);
}

// --- Flushing ---

TEST(HostFile, AWriteIsOnStableStorageAfterAFlush) {
  File file(kDirect512);
  const auto before = file.engine().durable();
  ASSERT_EQ(file.run(BlockOp::kWrite, 0, 4096), IoStatus::kOk);
  EXPECT_EQ(file.engine().durable(), before);
  ASSERT_EQ(file.run(BlockOp::kFlush, 0, 0), IoStatus::kOk);
  EXPECT_EQ(file.engine().durable(), file.engine().file());
}

TEST(HostFile, AFlushWithNothingToFlushCostsNothing) {
  File file(kDirect512);
  ASSERT_EQ(file.run(BlockOp::kFlush, 0, 0), IoStatus::kOk);  // what the last owner of the file left
  EXPECT_EQ(file.engine().calls_of(FileOp::kSync), 1U);
  ASSERT_EQ(file.run(BlockOp::kFlush, 0, 0), IoStatus::kOk);
  ASSERT_EQ(file.run(BlockOp::kRead, 0, 512), IoStatus::kOk);
  ASSERT_EQ(file.run(BlockOp::kFlush, 0, 0), IoStatus::kOk);
  EXPECT_EQ(file.engine().calls_of(FileOp::kSync), 1U);
}

TEST(HostFile, AWriteThatEndsDuringAFlushIsFlushedByTheNext) {
  File file(kDirect512);
  ASSERT_EQ(file.run(BlockOp::kWrite, 0, 512), IoStatus::kOk);
  file.submit(BlockOp::kFlush, 0, 0);
  file.submit(BlockOp::kWrite, 512, 512);
  file.engine().answer(0);  // the flush first
  file.engine().answer_all();
  ASSERT_EQ(file.run(BlockOp::kFlush, 0, 0), IoStatus::kOk);
  EXPECT_EQ(file.engine().durable(), file.engine().file());
}

class WriteThrough : public testing::TestWithParam<Conditions> {};

INSTANTIATE_TEST_SUITE_P(
    CacheModes, WriteThrough,
    testing::Values(Conditions{.cache = CacheMode::kWritethrough},
                    Conditions{.alignment = 512, .memory_alignment = 512, .cache = CacheMode::kDirectsync},
                    Conditions{
                        .alignment = 4096, .memory_alignment = 4096, .cache = CacheMode::kDirectsync}));

TEST_P(WriteThrough, EveryChangeIsOnStableStorageWhenItIsDone) {
  File file(GetParam());
  for (const auto op : {BlockOp::kWrite, BlockOp::kWriteZeroes, BlockOp::kDiscard}) {
    for (const uint64_t offset : {0U, 4096U, 8200U}) {
      for (const uint64_t length : {512U, 8192U, 10'000U}) {
        ASSERT_EQ(file.run(op, offset, length), IoStatus::kOk);
        ASSERT_EQ(file.engine().durable(), file.engine().file()) << offset << " " << length;
      }
    }
  }
}

TEST(HostFile, ForceUnitAccessMakesOneWriteStable) {
  File file(kDirect4096);
  for (const auto op : {BlockOp::kWrite, BlockOp::kWriteZeroes}) {
    Asked& asked = file.prepare(op, 100, 5000, 1);
    asked.force_unit_access = true;
    (*file).submit(asked);
    ASSERT_EQ(file.run(asked), IoStatus::kOk);
    EXPECT_EQ(file.engine().durable(), file.engine().file());
  }
}

TEST(HostFile, UnsafeNeverSyncs) {
  File file(Conditions{.cache = CacheMode::kUnsafe});
  Asked& asked = file.prepare(BlockOp::kWrite, 0, 512, 0);
  asked.force_unit_access = true;
  (*file).submit(asked);
  ASSERT_EQ(file.run(asked), IoStatus::kOk);
  ASSERT_EQ(file.run(BlockOp::kWriteZeroes, 0, 512), IoStatus::kOk);
  ASSERT_EQ(file.run(BlockOp::kFlush, 0, 0), IoStatus::kOk);
  EXPECT_EQ(file.engine().calls_of(FileOp::kSync), 0U);
  EXPECT_NE(file.engine().durable(), file.engine().file());
}

// After a failed fdatasync the kernel counts the lost pages as clean, and the next one succeeds.
TEST(HostFile, AfterAFailedFlushThroughThePageCacheNoFlushSucceeds) {
  File file(kBuffered);
  ASSERT_EQ(file.run(BlockOp::kWrite, 0, 512), IoStatus::kOk);
  file.engine().fail_call(file.engine().calls(), EIO);
  EXPECT_EQ(file.run(BlockOp::kFlush, 0, 0), IoStatus::kIoError);
  EXPECT_EQ(file.run(BlockOp::kFlush, 0, 0), IoStatus::kIoError);
}

TEST(HostFile, AFailedFlushWithODirectMayBeTriedAgain) {
  File file(kDirect512);
  ASSERT_EQ(file.run(BlockOp::kWrite, 0, 512), IoStatus::kOk);
  file.engine().fail_call(file.engine().calls(), ENOSPC);
  EXPECT_EQ(file.run(BlockOp::kFlush, 0, 0), IoStatus::kNoSpace);
  EXPECT_EQ(file.run(BlockOp::kFlush, 0, 0), IoStatus::kOk);
  EXPECT_EQ(file.engine().durable(), file.engine().file());
}

// --- Discard and write-zeroes ---

TEST(HostFile, WriteZeroesKeepsTheSpaceUnlessItMayUnmap) {
  File file(kDirect512);
  ASSERT_EQ(file.run(BlockOp::kWriteZeroes, 0, 8192), IoStatus::kOk);
  EXPECT_EQ(file.engine().calls_of(FileOp::kZeroRange), 1U);
  Asked& asked = file.prepare(BlockOp::kWriteZeroes, 8192, 8192, 0);
  asked.may_unmap = true;
  (*file).submit(asked);
  ASSERT_EQ(file.run(asked), IoStatus::kOk);
  EXPECT_EQ(file.engine().calls_of(FileOp::kPunchHole), 1U);
}

TEST(HostFile, DiscardIgnoreNeverGivesSpaceBack) {
  Conditions conditions = kDirect512;
  conditions.may_discard = false;
  File file(conditions);
  const auto before = file.engine().file();
  ASSERT_EQ(file.run(BlockOp::kDiscard, 0, 8192), IoStatus::kOk);
  EXPECT_EQ(file.engine().file(), before);
  Asked& asked = file.prepare(BlockOp::kWriteZeroes, 0, 8192, 0);
  asked.may_unmap = true;
  (*file).submit(asked);
  ASSERT_EQ(file.run(asked), IoStatus::kOk);
  EXPECT_EQ(file.engine().calls_of(FileOp::kPunchHole), 0U);
}

TEST_P(AnyHostFile, ZeroesAreWrittenWhereTheFileSystemHasNoOtherWay) {
  File file(GetParam());
  file.engine().set_can_punch(false);
  file.engine().set_can_zero(false);
  std::vector<std::byte> model = file.engine().file();
  const auto range = std::span(model).subspan(700, model.size() - 700 - 10);
  std::ranges::fill(range, std::byte{0});
  Asked& asked = file.prepare(BlockOp::kWriteZeroes, 700, range.size(), 0);
  asked.may_unmap = true;
  (*file).submit(asked);
  ASSERT_EQ(file.run(asked), IoStatus::kOk);
  EXPECT_EQ(file.engine().file(), model);

  // It is not asked again.
  const uint64_t asked_before = file.engine().calls_of(FileOp::kPunchHole);
  ASSERT_EQ(file.run(BlockOp::kWriteZeroes, 0, 8192), IoStatus::kOk);
  EXPECT_EQ(file.engine().calls_of(FileOp::kPunchHole), asked_before);
}

TEST(HostFile, ADiscardThatIsNotSupportedSucceedsAndChangesNothing) {
  File file(kBuffered);
  file.engine().set_can_punch(false);
  const auto before = file.engine().file();
  EXPECT_EQ(file.run(BlockOp::kDiscard, 0, 8192), IoStatus::kOk);
  EXPECT_EQ(file.engine().file(), before);
}

TEST_P(AnyHostFile, DiscardTouchesNoByteOutsideItsRange) {
  File file(GetParam());
  const auto before = file.engine().file();
  ASSERT_EQ(file.run(BlockOp::kDiscard, 5000, 20'000), IoStatus::kOk);
  const auto& after = file.engine().file();
  EXPECT_TRUE(std::ranges::equal(std::span(after).first(5000), std::span(before).first(5000)));
  EXPECT_TRUE(std::ranges::equal(std::span(after).subspan(25'000), std::span(before).subspan(25'000)));
  EXPECT_NE(after, before);
}

// --- Faults ---

// A workload that takes every path: aligned, misaligned, zeroes, discard, flush, all in flight together.
std::vector<Asked*> submit_workload(File& file) {
  std::vector<Asked*> asked;
  const auto add = [&](BlockOp op, uint64_t offset, uint64_t length, size_t misalignment) {
    Asked& one = file.prepare(op, offset, length, misalignment);
    if (op == BlockOp::kWrite) {
      std::ranges::copy(pattern_bytes(length, static_cast<uint32_t>(offset)), File::data(one).begin());
    }
    one.may_unmap = offset % 3 == 0;
    (*file).submit(one);
    asked.push_back(&one);
  };
  add(BlockOp::kWrite, 0, 4096, 0);
  add(BlockOp::kWrite, 4100, 9000, 3);
  add(BlockOp::kRead, 14'000, 5000, 1);
  add(BlockOp::kWriteZeroes, 20'000, 10'001, 0);
  add(BlockOp::kDiscard, 32'768, 8192, 0);
  add(BlockOp::kWrite, 41'001, 100, 0);
  add(BlockOp::kWrite, 41'101, 100, 0);
  add(BlockOp::kFlush, 0, 0, 0);
  return asked;
}

uint64_t calls_of_workload(const Conditions& conditions) {
  File file(conditions);
  submit_workload(file);
  file.engine().answer_all();
  return file.engine().calls();
}

std::vector<std::byte> result_of_workload(const Conditions& conditions) {
  File file(conditions);
  submit_workload(file);
  file.engine().answer_all();
  return file.engine().file();
}

TEST_P(AnyHostFile, AnInterruptedCallIsTakenUpAgain) {
  const auto expected = result_of_workload(GetParam());
  for (uint64_t call = 0; call < calls_of_workload(GetParam()); ++call) {
    for (const int error : {EINTR, EAGAIN}) {
      File file(GetParam());
      file.engine().fail_call(call, error);
      const auto asked = submit_workload(file);
      file.engine().answer_all();
      for (const Asked* one : asked) {
        ASSERT_EQ(one->end, IoStatus::kOk) << "call " << call;
      }
      ASSERT_EQ(file.engine().file(), expected) << "call " << call;
    }
  }
}

TEST_P(AnyHostFile, AShortTransferIsTakenUpWhereItStopped) {
  const auto expected = result_of_workload(GetParam());
  for (uint64_t call = 0; call < calls_of_workload(GetParam()); ++call) {
    for (const int64_t bytes : {1, 512, 700, 4096}) {
      File file(GetParam());
      file.engine().cut_call(call, bytes);
      const auto asked = submit_workload(file);
      file.engine().answer_all();
      for (const Asked* one : asked) {
        ASSERT_EQ(one->end, IoStatus::kOk) << "call " << call << " bytes " << bytes;
      }
      ASSERT_EQ(file.engine().file(), expected) << "call " << call << " bytes " << bytes;
      ASSERT_TRUE(std::ranges::equal(File::data(*asked[2]), std::span(expected).subspan(14'000, 5000)));
    }
  }
}

TEST_P(AnyHostFile, AFailureAnywhereFailsOneRequestAndSparesTheOthers) {
  const auto clean = result_of_workload(GetParam());
  for (uint64_t call = 0; call < calls_of_workload(GetParam()); ++call) {
    for (const auto& [error, status] :
         {std::pair(EIO, IoStatus::kIoError), std::pair(ENOSPC, IoStatus::kNoSpace),
          std::pair(EDQUOT, IoStatus::kNoSpace)}) {
      File file(GetParam());
      file.engine().fail_call(call, error);
      const auto asked = submit_workload(file);
      file.engine().answer_all();
      const auto failed = std::ranges::find_if(asked, [](Asked* one) { return one->end != IoStatus::kOk; });
      ASSERT_NE(failed, asked.end()) << "call " << call;
      EXPECT_EQ((*failed)->end, status);
      EXPECT_EQ(std::ranges::count_if(asked, [](Asked* one) { return one->end != IoStatus::kOk; }), 1);
      const uint64_t begin = (*failed)->offset.bytes();
      const uint64_t end = begin + (*failed)->length_bytes;
      const auto& result = file.engine().file();
      ASSERT_TRUE(std::ranges::equal(std::span(result).first(begin), std::span(clean).first(begin)));
      ASSERT_TRUE(std::ranges::equal(std::span(result).subspan(end), std::span(clean).subspan(end)));
    }
  }
}

TEST_P(AnyHostFile, AFileThatNeverAnswersEndsInAnError) {
  for (const int error : {EINTR, EAGAIN}) {
    File file(GetParam());
    file.engine().fail_calls_from(0, error);
    const auto asked = submit_workload(file);
    file.engine().answer_all();
    for (const Asked* one : asked) {
      ASSERT_TRUE(one->end.has_value());
    }
    EXPECT_EQ(asked[0]->end, IoStatus::kIoError);
  }
}

TEST_P(AnyHostFile, AWriteThatBringsNothingIsTriedAgain) {
  File file(GetParam());
  Asked& asked = file.submit(BlockOp::kWrite, 4096, 8192);
  file.engine().cut_call(0, 0);
  ASSERT_EQ(file.run(asked), IoStatus::kOk);
  EXPECT_TRUE(std::ranges::equal(std::span(file.engine().file()).subspan(4096, 8192), File::data(asked)));
}

TEST_P(AnyHostFile, WorksAgainOnceTheDiskDoes) {
  File file(GetParam());
  file.engine().fail_call(0, ENOSPC);
  EXPECT_EQ(file.run(BlockOp::kWrite, 100, 1000), IoStatus::kNoSpace);
  Asked& asked = file.submit(BlockOp::kWrite, 100, 1000);
  ASSERT_EQ(file.run(asked), IoStatus::kOk);
  EXPECT_TRUE(std::ranges::equal(std::span(file.engine().file()).subspan(100, 1000), File::data(asked)));
}

}  // namespace
}  // namespace vmm::block
