// Errors and full disks at every call of the host: requests fail, the image stays sound, and later requests
// work.
#include <gtest/gtest.h>

#include <cerrno>

#include "tests/unit/block/qcow2/crafted.h"
#include "tests/unit/block/qcow2/qcow2_world.h"

namespace vmm::block::qcow2 {
namespace {

constexpr uint64_t kClusterBytes = 1024;

WorldOptions options() {
  WorldOptions result;
  result.create.cluster_bits = 10;
  result.create.refcount_order = 6;  // 128 clusters a block: blocks and the table grow soon
  result.create.size_bytes = 512 * kClusterBytes;
  result.base_sectors = 700;
  // As with O_DIRECT: a failed flush says nothing about the next one.
  result.cache = CacheMode::kNone;
  return result;
}

struct Step {
  BlockOp op = BlockOp::kWrite;
  uint64_t first = 0;  // clusters
  uint64_t count = 0;
  uint64_t value = 0;
};

constexpr std::array<Step, 12> kSteps = {{
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
}};

IoStatus run(OpenImage& image, const Step& step) {
  return step.op == BlockOp::kWrite
             ? image.write_value(step.first * kClusterBytes + 512, step.count * kClusterBytes - 512,
                                 step.value)
             : image.change(step.op, step.first * kClusterBytes, step.count * kClusterBytes);
}

// Returns false when the call was never reached.
bool run_with_fault(uint64_t call, int64_t times, int error_number) {
  SCOPED_TRACE(fmt::format("call {}, {} times, errno {}", call, times, error_number));
  const WorldOptions world = options();
  auto disk = make_disk(world);
  Crafter crafter(*disk);
  crafter.add_compressed(130, 9);
  crafter.finish();
  bool was_reached = false;
  {
    OpenImage image(disk, world, false);
    disk->fail_calls(disk->calls() + call, times, error_number);
    const uint64_t from = disk->calls() + call;
    for (const Step& step : kSteps) {
      static_cast<void>(run(image, step));
    }
    was_reached = disk->calls() > from;
    disk->fail_calls(UINT64_MAX, 0, 0);
    // There is space again.
    for (const Step& step : kSteps) {
      EXPECT_EQ(run(image, step), IoStatus::kOk) << "after the fault";
    }
    auto left = std::make_shared<CrashDisk>(disk->content());
    const CheckResult result = check_of(*left);
    EXPECT_EQ(result.corruptions, 0U) << text_of(result);
  }
  const CheckResult result = check_of(*disk);
  EXPECT_EQ(result.corruptions, 0U) << text_of(result);
  OpenImage image(disk, world, true);
  const auto content = image.read_all();
  EXPECT_EQ(load_le<uint64_t>(content.data() + 512), 6U);
  EXPECT_EQ(load_le<uint64_t>(content.data() + 450 * kClusterBytes), 5U);
  EXPECT_EQ(load_le<uint64_t>(content.data() + 206 * kClusterBytes), 4U);
  EXPECT_EQ(load_le<uint64_t>(content.data() + 212 * kClusterBytes), 4U);
  EXPECT_EQ(load_le<uint64_t>(content.data() + 100 * kClusterBytes), base_value(200));
  return was_reached;
}

TEST(Qcow2Faults, OneFailedCallAnywhereFailsRequestsAndNothingElse) {
  uint64_t call = 0;
  while (run_with_fault(call, 1, call % 2 == 0 ? ENOSPC : EIO) && !testing::Test::HasFailure()) {
    ++call;
  }
  EXPECT_GT(call, 40U);
}

TEST(Qcow2Faults, ADiskFullForAWhileIsLivedThrough) {
  uint64_t call = 0;
  while (run_with_fault(call, 15, ENOSPC) && !testing::Test::HasFailure()) {
    call += 3;
  }
  EXPECT_GT(call, 20U);
}

TEST(Qcow2Faults, ADiskThatFailsForEverEndsEveryRequest) {
  const WorldOptions world = options();
  for (uint64_t call = 0; call < 60; call += 7) {
    auto disk = make_disk(world);
    OpenImage image(disk, world, false);
    disk->fail_calls(disk->calls() + call, -1, EIO);
    for (const Step& step : kSteps) {
      static_cast<void>(run(image, step));  // run() finds those that never end
    }
    EXPECT_NE(image.change(BlockOp::kFlush, 0, 0), IoStatus::kOk);
  }
}

}  // namespace
}  // namespace vmm::block::qcow2
