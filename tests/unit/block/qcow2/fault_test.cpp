// Errors and full disks at every call of the host: requests fail, the image stays sound, and later requests
// work.
#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "block/compressed_writes.h"
#include "block/compressor.h"
#include "tests/unit/block/qcow2/crafted.h"
#include "tests/unit/block/qcow2/offline.h"
#include "tests/unit/block/qcow2/qcow2_world.h"

namespace vmm::block::qcow2 {
namespace {

struct Step {
  BlockOp op = BlockOp::kWrite;
  uint64_t first = 0;  // clusters
  uint64_t count = 0;
  uint64_t value = 0;
  bool is_compressed = false;
};

using Steps = std::vector<Step>;

const Steps kSteps = {
    {.op = BlockOp::kWrite, .first = 0, .count = 3, .value = 1},
    {.op = BlockOp::kWrite, .first = 130, .count = 1, .value = 2},
    {.op = BlockOp::kFlush},
    {.op = BlockOp::kWrite, .first = 200, .count = 150, .value = 3},
    {.op = BlockOp::kWriteZeroes, .first = 1, .count = 1},
    {.op = BlockOp::kDiscard, .first = 210, .count = 20},
    {.op = BlockOp::kFlush},
    {.op = BlockOp::kWrite, .first = 205, .count = 40, .value = 4},
    {.op = BlockOp::kFlush},
    {.op = BlockOp::kWrite, .first = 400, .count = 100, .value = 5},
    {.op = BlockOp::kWrite, .first = 0, .count = 2, .value = 6},
    {.op = BlockOp::kFlush},
};

const Steps kCompressedSteps = {
    {.first = 10, .value = 1, .is_compressed = true},
    {.first = 11, .value = 2, .is_compressed = true},
    {.op = BlockOp::kFlush},
    {.first = 140, .count = 3, .value = 3},
    {.first = 10, .value = 4, .is_compressed = true},   // in the place of a compressed one
    {.first = 141, .value = 5, .is_compressed = true},  // and of a plain one
    {.op = BlockOp::kFlush},
    {.first = 11, .count = 1, .value = 6},  // a plain one in the place of a compressed one
    {.op = BlockOp::kDiscard, .first = 10, .count = 1},
    {.first = 300, .value = 7, .is_compressed = true},
    {.first = 301, .value = 8, .is_compressed = true},
    {.op = BlockOp::kFlush},
    {.first = 10, .value = 9, .is_compressed = true},
    {.op = BlockOp::kFlush},
};

// What is around them is read from below.
const Steps kCopyingSteps = {
    {.first = 3, .count = 1, .value = 1},
    {.first = 40, .count = 2, .value = 2},
    {.op = BlockOp::kRead, .first = 30, .count = 20},
    {.first = 77, .count = 1, .value = 3},
    {.op = BlockOp::kFlush},
    {.first = 130, .count = 1, .value = 4},
    {.first = 131, .count = 1, .value = 5},
    {.op = BlockOp::kRead, .first = 120, .count = 20},
    {.first = 132, .count = 4, .value = 6},
    {.op = BlockOp::kDiscard, .first = 133, .count = 1},
    {.op = BlockOp::kFlush},
    {.first = 134, .count = 8, .value = 7},
    {.first = 349, .count = 2, .value = 8},
    {.op = BlockOp::kFlush},
};

enum class Failing : uint8_t { kImage, kBase, kDataFile };

struct FaultWorld {
  friend void PrintTo(const FaultWorld& world, std::ostream* to) { *to << world.name; }

  std::string name;
  uint32_t cluster_bits = 10;
  bool is_extended = false;
  bool has_snapshot = false;
  bool has_data_file = false;
  Failing failing = Failing::kImage;
  const Steps* steps = &kSteps;

  uint64_t cluster_bytes() const { return uint64_t{1} << cluster_bits; }
  WorldOptions options() const {
    WorldOptions result;
    result.create.cluster_bits = cluster_bits;
    result.create.extended_l2 = is_extended;
    result.create.refcount_order = 6;  // 128 clusters a block: blocks and the table grow soon
    result.create.size_bytes = 512 * cluster_bytes();
    result.base_sectors = 350 * cluster_bytes() / kSectorBytes;
    // As with O_DIRECT: a failed flush says nothing about the next one.
    result.cache = CacheMode::kNone;
    if (has_data_file) {
      result.create.data_file = "data.raw";
      result.data = std::make_shared<CrashDisk>(std::vector<std::byte>());
    }
    return result;
  }
};

class Qcow2Faults : public testing::TestWithParam<FaultWorld> {
 protected:
  struct Made {
    WorldOptions options;
    std::shared_ptr<CrashDisk> disk;
  };

  static const FaultWorld& world() { return GetParam(); }

  static Made make() {
    Made made{.options = world().options(), .disk = nullptr};
    made.disk = make_disk(made.options);
    if (world().has_snapshot) {
      OpenImage image(made.disk, made.options, false);
      EXPECT_EQ(image.write_value(0, 260 * world().cluster_bytes(), 0x51), IoStatus::kOk);
    }
    if (!world().has_data_file) {
      Crafter crafter(*made.disk);
      crafter.add_compressed(130, 9);
      crafter.finish();
    }
    if (world().has_snapshot) {
      Crafter crafter(*made.disk);
      crafter.add_snapshot();
      crafter.finish();
    }
    return made;
  }

  static CrashDisk& failing(OpenImage& image, const Made& made) {
    return world().failing == Failing::kBase       ? image.base()
           : world().failing == Failing::kDataFile ? *made.options.data
                                                   : *made.disk;
  }

  static IoStatus write_compressed(OpenImage& image, const Step& step) {
    std::vector<std::byte> plain(world().cluster_bytes());
    for (size_t at = 0; at < plain.size(); at += 8) {
      store_le<uint64_t>(plain.data() + at, step.value);
    }
    std::vector<std::byte> stored(plain.size() - 1);
    stored.resize(make_compressor(Compression::kDeflate)->run(plain, stored));
    const iovec buffer{.iov_base = stored.data(), .iov_len = stored.size()};
    std::optional<IoStatus> result;
    BlockRequest request;
    request.op = BlockOp::kWrite;
    request.offset = DiskOffset(step.first * plain.size());
    request.length_bytes = plain.size();
    request.buffers = std::span(&buffer, 1);
    request.completion =
        Completion([](void* context, uint64_t /*cookie*/,
                      IoStatus status) { *static_cast<std::optional<IoStatus>*>(context) = status; },
                   &result, 0);
    image->compressed_writes()->submit_compressed(std::move(request));
    image.settle();
    EXPECT_TRUE(result.has_value()) << "a request was never completed";
    return result.value_or(IoStatus::kIoError);
  }

  static IoStatus run(OpenImage& image, const Step& step) {
    const uint64_t cluster_bytes = world().cluster_bytes();
    if (step.is_compressed) {
      return write_compressed(image, step);
    }
    if (step.op == BlockOp::kRead) {
      std::vector<std::byte> bytes(step.count * cluster_bytes);
      return image.transfer(BlockOp::kRead, step.first * cluster_bytes, bytes);
    }
    return step.op == BlockOp::kWrite
               ? image.write_value(step.first * cluster_bytes + 512, step.count * cluster_bytes - 512,
                                   step.value)
               : image.change(step.op, step.first * cluster_bytes, step.count * cluster_bytes);
  }

  static void run_all(OpenImage& image) {
    for (const Step& step : *world().steps) {
      EXPECT_EQ(run(image, step), IoStatus::kOk);
    }
  }

  // What all steps twice come to.
  static std::vector<std::byte> expected() {
    const Made made = make();
    {
      OpenImage image(made.disk, made.options, false);
      run_all(image);
      run_all(image);
    }
    const CheckResult result = check_of(*made.disk);
    EXPECT_TRUE(result.is_clean()) << text_of(result);
    return OpenImage(made.disk, made.options, true).read_all();
  }

  // Returns false when the call was never reached.
  bool run_with_fault(uint64_t call, int64_t times, int error_number) {
    SCOPED_TRACE(fmt::format("call {}, {} times, errno {}", call, times, error_number));
    if (expected_.empty()) {
      expected_ = expected();
    }
    const Made made = make();
    const auto snapshots = state_of(made.disk->content(), made.options).snapshots;
    EXPECT_EQ(snapshots.size(), world().has_snapshot ? 1U : 0U);
    bool was_reached = false;
    {
      OpenImage image(made.disk, made.options, false);
      CrashDisk& faulty = failing(image, made);
      const uint64_t from = faulty.calls() + call;
      faulty.fail_calls(from, times, error_number);
      for (const Step& step : *world().steps) {
        static_cast<void>(run(image, step));
      }
      was_reached = faulty.calls() > from;
      faulty.fail_calls(UINT64_MAX, 0, 0);
      {
        SCOPED_TRACE("there is space again");
        run_all(image);
      }
      auto left = std::make_shared<CrashDisk>(made.disk->content());
      const CheckResult result = check_of(*left);
      EXPECT_EQ(result.corruptions, 0U) << text_of(result);
    }
    const CheckResult result = check_of(*made.disk);
    EXPECT_EQ(result.corruptions, 0U) << text_of(result);
    EXPECT_TRUE(OpenImage(made.disk, made.options, true).read_all() == expected_);
    EXPECT_TRUE(state_of(made.disk->content(), made.options).snapshots == snapshots);
    return was_reached;
  }

 private:
  std::vector<std::byte> expected_;
};

uint64_t least_calls() { return Qcow2Faults::GetParam().failing == Failing::kBase ? 8 : 15; }

TEST_P(Qcow2Faults, OneFailedCallAnywhereFailsRequestsAndNothingElse) {
  uint64_t call = 0;
  while (run_with_fault(call, 1, call % 2 == 0 ? ENOSPC : EIO) && !HasFailure()) {
    ++call;
  }
  EXPECT_GT(call, least_calls());
}

TEST_P(Qcow2Faults, ADiskFullForAWhileIsLivedThrough) {
  uint64_t call = 0;
  while (run_with_fault(call, 15, ENOSPC) && !HasFailure()) {
    call += 3;
  }
  EXPECT_GT(call, least_calls());
}

TEST_P(Qcow2Faults, ADiskThatFailsForEverEndsEveryRequest) {
  for (uint64_t call = 0; call < 60; call += 7) {
    const Made made = make();
    OpenImage image(made.disk, made.options, false);
    CrashDisk& faulty = failing(image, made);
    const uint64_t from = faulty.calls() + call;
    faulty.fail_calls(from, -1, EIO);
    for (const Step& step : *world().steps) {
      static_cast<void>(run(image, step));  // run() finds those that never end
    }
    if (world().failing != Failing::kBase && faulty.calls() > from) {
      EXPECT_NE(image.change(BlockOp::kFlush, 0, 0), IoStatus::kOk);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Worlds, Qcow2Faults,
    testing::Values(
        FaultWorld{.name = "Plain"}, FaultWorld{.name = "SharedWithASnapshot", .has_snapshot = true},
        FaultWorld{.name = "ExtendedL2", .cluster_bits = 14, .is_extended = true},
        FaultWorld{.name = "CompressedWrites", .steps = &kCompressedSteps},
        FaultWorld{.name = "CompressedWritesAndASnapshot", .has_snapshot = true, .steps = &kCompressedSteps},
        FaultWorld{.name = "ImageOfADataFile", .has_data_file = true},
        FaultWorld{.name = "DataFile", .has_data_file = true, .failing = Failing::kDataFile},
        FaultWorld{.name = "Base", .failing = Failing::kBase, .steps = &kCopyingSteps},
        FaultWorld{.name = "BaseBelowSubclusters",
                   .cluster_bits = 15,
                   .is_extended = true,
                   .failing = Failing::kBase,
                   .steps = &kCopyingSteps}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace vmm::block::qcow2
