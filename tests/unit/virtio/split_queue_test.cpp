#include "devices/virtio/split_queue.h"

#include <gtest/gtest.h>

#include <array>

#include "tests/unit/fakes/fake_virtqueue.h"
#include "tests/unit/fakes/guest_ram.h"

namespace vmm::virtio {
namespace {

constexpr uint64_t kBase = 0x1000;
constexpr uint16_t kSize = 8;
constexpr uint64_t kBuffer = 0x8000;
constexpr uint64_t kTable = 0x4000;
constexpr uint64_t kRamEnd = 0x1'0000;

class SplitQueues : public testing::Test {
 protected:
  SplitQueue make(bool event_index = false, bool indirect = true) const {
    return {memory_, driver_.layout(), {.has_indirect = indirect, .has_event_index = event_index}};
  }
  // The queue must be found broken at the first pop.
  void expect_broken(bool indirect = true) const {
    SplitQueue queue = make(false, indirect);
    EXPECT_EQ(queue.pop(), SplitQueue::Pop::kBroken);
    EXPECT_FALSE(queue.fault().empty());
    EXPECT_EQ(queue.pop(), SplitQueue::Pop::kBroken);
  }

  GuestMemory memory_ = make_guest_ram({{0, kRamEnd}});
  FakeVirtqueue driver_{memory_, kBase, kSize};
};

TEST_F(SplitQueues, AnEmptyQueueGivesNothing) {
  SplitQueue queue = make();
  EXPECT_EQ(queue.pop(), SplitQueue::Pop::kEmpty);
  EXPECT_FALSE(queue.has_waiting());
}

TEST_F(SplitQueues, AChainIsSplitIntoItsReadableAndWritableHalf) {
  driver_.add(2, {{kBuffer, 16, false}, {kBuffer + 0x100, 32, false}, {kBuffer + 0x200, 5, true}});
  SplitQueue queue = make();
  ASSERT_EQ(queue.pop(), SplitQueue::Pop::kChain);
  const Chain& chain = queue.popped();
  EXPECT_EQ(chain.head, 2);
  EXPECT_EQ(chain.readable.size(), 48U);
  EXPECT_EQ(chain.readable.buffers().size(), 2U);
  EXPECT_EQ(chain.writable.size(), 5U);
  EXPECT_FALSE(chain.has_bad_buffer);
  EXPECT_EQ(queue.pop(), SplitQueue::Pop::kEmpty);
}

TEST_F(SplitQueues, UsedElementsAreShownInOrderOfReturnAtPublish) {
  driver_.add(0, {{kBuffer, 1, true}});
  driver_.add(1, {{kBuffer, 1, true}});
  SplitQueue queue = make();
  ASSERT_EQ(queue.pop(), SplitQueue::Pop::kChain);
  ASSERT_EQ(queue.pop(), SplitQueue::Pop::kChain);
  queue.add_used(1, 7);
  queue.add_used(0, 9);
  EXPECT_EQ(driver_.used_index(), 0);
  EXPECT_TRUE(queue.publish());
  EXPECT_EQ(driver_.take_all_used(), (std::vector<FakeVirtqueue::Used>{{1, 7}, {0, 9}}));
  EXPECT_FALSE(queue.publish());
}

TEST_F(SplitQueues, IndirectTablesAreFollowed) {
  const std::array<FakeBuffer, 3> buffers = {{{kBuffer, 16, false}, {kBuffer, 8, true}, {kBuffer, 1, true}}};
  driver_.add_indirect(5, kTable, buffers);
  SplitQueue queue = make();
  ASSERT_EQ(queue.pop(), SplitQueue::Pop::kChain);
  EXPECT_EQ(queue.popped().head, 5);
  EXPECT_EQ(queue.popped().readable.size(), 16U);
  EXPECT_EQ(queue.popped().writable.size(), 9U);
}

// Section 2.7.5.3.2: "zero or more normal chained descriptors followed by a single" indirect one.
TEST_F(SplitQueues, AnIndirectTableMayFollowPlainDescriptors) {
  const std::array<FakeBuffer, 1> in_table = {{{kBuffer, 8, true}}};
  driver_.write_chain(kTable, 0, in_table);
  driver_.set_descriptor(0, {kBuffer, 16, kDescNext, 1});
  driver_.set_descriptor(1, {kTable, 16, kDescIndirect | kDescWrite, 0});
  driver_.make_available(0);
  SplitQueue queue = make();
  ASSERT_EQ(queue.pop(), SplitQueue::Pop::kChain);
  EXPECT_EQ(queue.popped().readable.size(), 16U);
  EXPECT_EQ(queue.popped().writable.size(), 8U);
}

TEST_F(SplitQueues, EmptyBuffersAreSkipped) {
  driver_.add(0, {{kBuffer, 0, false}, {kBuffer, 4, false}, {0xdead'0000'0000, 0, true}, {kBuffer, 1, true}});
  SplitQueue queue = make();
  ASSERT_EQ(queue.pop(), SplitQueue::Pop::kChain);
  EXPECT_EQ(queue.popped().readable.buffers().size(), 1U);
  EXPECT_EQ(queue.popped().writable.buffers().size(), 1U);
}

TEST_F(SplitQueues, ABufferOutsideOfMemoryMakesTheChainBadNotTheQueue) {
  struct Case {
    uint64_t address;
    uint32_t length;
  };
  for (const Case& bad : {Case{kRamEnd, 1}, Case{kRamEnd - 1, 2}, Case{UINT64_MAX, 1},
                          Case{UINT64_MAX - 3, 8}, Case{kBuffer, UINT32_MAX}}) {
    driver_ = FakeVirtqueue(memory_, kBase, kSize);
    driver_.add(0, {{bad.address, bad.length, false}, {kBuffer, 1, true}});
    SplitQueue queue = make();
    ASSERT_EQ(queue.pop(), SplitQueue::Pop::kChain);
    EXPECT_TRUE(queue.popped().has_bad_buffer);
    EXPECT_FALSE(queue.popped().has_bad_end);
  }
}

TEST_F(SplitQueues, ABadLastBufferLeavesNoPlaceForAnAnswer) {
  driver_.add(0, {{kBuffer, 16, false}, {kBuffer, 8, true}, {kRamEnd, 1, true}});
  SplitQueue queue = make();
  ASSERT_EQ(queue.pop(), SplitQueue::Pop::kChain);
  EXPECT_TRUE(queue.popped().has_bad_end);
}

TEST_F(SplitQueues, MoreThanFourGigabytesInOneChainAreBad) {
  const GuestMemory big = make_guest_ram({{0, uint64_t{3} << 30}});
  FakeVirtqueue driver(big, kBase, kSize);
  driver.add(0, {{0, 0x8000'0000, true}, {0, 0x7fff'fffe, true}});
  driver.add(2, {{0, 0x8000'0000, true}, {0, 0x7fff'ffff, true}});
  SplitQueue queue(big, driver.layout(), {});
  ASSERT_EQ(queue.pop(), SplitQueue::Pop::kChain);
  EXPECT_FALSE(queue.popped().has_bad_buffer);
  ASSERT_EQ(queue.pop(), SplitQueue::Pop::kChain);
  EXPECT_TRUE(queue.popped().has_bad_buffer);
}

// --- Queues that contradict themselves ---

TEST_F(SplitQueues, ALoopOfDescriptorsBreaksTheQueue) {
  driver_.set_descriptor(0, {kBuffer, 1, kDescNext, 1});
  driver_.set_descriptor(1, {kBuffer, 1, kDescNext, 0});
  driver_.make_available(0);
  expect_broken();
}

TEST_F(SplitQueues, ADescriptorThatFollowsItselfBreaksTheQueue) {
  driver_.set_descriptor(0, {kBuffer, 0, kDescNext, 0});
  driver_.make_available(0);
  expect_broken();
}

TEST_F(SplitQueues, AChainOfTheWholeTableIsNoLoop) {
  std::vector<FakeBuffer> buffers(kSize, {kBuffer, 1, true});
  driver_.add(0, buffers);
  SplitQueue queue = make();
  EXPECT_EQ(queue.pop(), SplitQueue::Pop::kChain);
}

TEST_F(SplitQueues, NextOutsideOfTheTableBreaksTheQueue) {
  driver_.set_descriptor(0, {kBuffer, 1, kDescNext, kSize});
  driver_.make_available(0);
  expect_broken();
}

TEST_F(SplitQueues, AHeadOutsideOfTheTableBreaksTheQueue) {
  driver_.make_available(kSize);
  expect_broken();
}

TEST_F(SplitQueues, ReadableAfterWritableBreaksTheQueue) {
  driver_.add(0, {{kBuffer, 1, true}, {kBuffer, 1, false}});
  expect_broken();
}

TEST_F(SplitQueues, ANestedIndirectTableBreaksTheQueue) {
  driver_.set_descriptor(0, {kTable, 16, kDescIndirect, 0});
  driver_.write_descriptor(kTable, 0, {kTable, 16, kDescIndirect, 0});
  driver_.make_available(0);
  expect_broken();
}

TEST_F(SplitQueues, AnIndirectTableOfImpossibleLengthBreaksTheQueue) {
  for (const uint32_t length : {0U, 8U, 17U, 16U * (kSize + 1U), 0xffff'fff0U}) {
    driver_ = FakeVirtqueue(memory_, kBase, kSize);
    driver_.set_descriptor(0, {kTable, length, kDescIndirect, 0});
    driver_.make_available(0);
    expect_broken();
  }
}

TEST_F(SplitQueues, AnIndirectTableOutsideOfMemoryBreaksTheQueue) {
  for (const uint64_t table : {kRamEnd, kRamEnd - 8, UINT64_MAX - 7, uint64_t{0x4000'0000'0000}}) {
    driver_ = FakeVirtqueue(memory_, kBase, kSize);
    driver_.set_descriptor(0, {table, 16, kDescIndirect, 0});
    driver_.make_available(0);
    expect_broken();
  }
}

TEST_F(SplitQueues, IndirectWithNextBreaksTheQueue) {
  driver_.set_descriptor(0, {kTable, 16, kDescIndirect | kDescNext, 1});
  driver_.make_available(0);
  expect_broken();
}

TEST_F(SplitQueues, IndirectWithoutTheFeatureBreaksTheQueue) {
  const std::array<FakeBuffer, 1> buffers = {{{kBuffer, 1, true}}};
  driver_.add_indirect(0, kTable, buffers);
  expect_broken(false);
}

TEST_F(SplitQueues, ALoopInAnIndirectTableBreaksTheQueue) {
  driver_.set_descriptor(0, {kTable, 32, kDescIndirect, 0});
  driver_.write_descriptor(kTable, 0, {kBuffer, 1, kDescNext, 1});
  driver_.write_descriptor(kTable, 1, {kBuffer, 1, kDescNext, 0});
  driver_.make_available(0);
  expect_broken();
}

TEST_F(SplitQueues, ANextOutsideOfAnIndirectTableBreaksTheQueue) {
  driver_.set_descriptor(0, {kTable, 16, kDescIndirect, 0});
  driver_.write_descriptor(kTable, 0, {kBuffer, 1, kDescNext, 1});
  driver_.make_available(0);
  expect_broken();
}

TEST_F(SplitQueues, DirectAndIndirectDescriptorsCountTogether) {
  for (uint16_t i = 0; i + 1 < kSize; ++i) {
    driver_.set_descriptor(i, {kBuffer, 1, kDescNext, static_cast<uint16_t>(i + 1)});
  }
  driver_.set_descriptor(kSize - 1, {kTable, 32, kDescIndirect, 0});
  driver_.make_available(0);
  expect_broken();
}

TEST_F(SplitQueues, AnIndexThatJumpsBeyondTheQueueBreaksIt) {
  driver_.set_available_index(kSize + 1);
  expect_broken();
  driver_.set_available_index(0xffff);
  expect_broken();
}

TEST_F(SplitQueues, AHeadThatIsMadeAvailableTwiceBreaksTheQueue) {
  driver_.add(0, {{kBuffer, 1, true}});
  driver_.make_available(0);
  SplitQueue queue = make();
  EXPECT_EQ(queue.pop(), SplitQueue::Pop::kChain);
  EXPECT_EQ(queue.pop(), SplitQueue::Pop::kBroken);
}

TEST_F(SplitQueues, ImpossibleLayoutsAreToldApart) {
  const auto is_valid = [&](const QueueLayout& layout) { return SplitQueue::is_valid(layout, memory_); };
  QueueLayout layout = driver_.layout();
  EXPECT_TRUE(is_valid(layout));
  layout.size = 0;
  EXPECT_FALSE(is_valid(layout));
  layout.size = 6;
  EXPECT_FALSE(is_valid(layout));
  layout.size = 2048;
  EXPECT_FALSE(is_valid(layout));
  layout = driver_.layout();
  layout.descriptors = GuestAddress(kBase + 8);
  EXPECT_FALSE(is_valid(layout));
  layout = driver_.layout();
  layout.used = GuestAddress(layout.used.value() + 2);
  EXPECT_FALSE(is_valid(layout));
  layout = driver_.layout();
  layout.available = GuestAddress(kRamEnd - 16);
  EXPECT_FALSE(is_valid(layout));
  layout = driver_.layout();
  layout.descriptors = GuestAddress(UINT64_MAX - 15);
  EXPECT_FALSE(is_valid(layout));
}

// --- Indexes modulo 2^16 ---

// One request after the other, well past the wrap of all indexes; `each` sees the driver's index before each.
template <typename Each>
void run_past_the_wrap(FakeVirtqueue& driver, SplitQueue& queue, Each each) {
  for (uint32_t i = 0; i < 0x1'0000 + 100; ++i) {
    each(static_cast<uint16_t>(i));
    driver.add(static_cast<uint16_t>(i % kSize), {{kBuffer, 1, true}});
    ASSERT_EQ(queue.pop(), SplitQueue::Pop::kChain) << i;
    queue.add_used(queue.popped().head, i);
    static_cast<void>(queue.publish());
    ASSERT_EQ(driver.take_used(), (FakeVirtqueue::Used{i % kSize, i}));
  }
}

TEST_F(SplitQueues, IndexesWrapWithoutLossOrRepetition) {
  SplitQueue queue = make();
  run_past_the_wrap(driver_, queue, [](uint16_t) {});
  EXPECT_EQ(queue.state().next_available, 100);
}

TEST_F(SplitQueues, AFullQueueAcrossTheWrapIsTaken) {
  SplitQueue queue = make();
  for (uint32_t i = 0; i < 0x1'0000 / kSize + 2; ++i) {
    for (uint16_t head = 0; head < kSize; ++head) {
      driver_.add(head, {{kBuffer, 1, true}});
    }
    for (uint16_t head = 0; head < kSize; ++head) {
      ASSERT_EQ(queue.pop(), SplitQueue::Pop::kChain);
    }
    ASSERT_EQ(queue.pop(), SplitQueue::Pop::kEmpty);
    for (uint16_t head = 0; head < kSize; ++head) {
      queue.add_used(head, 1);
    }
    static_cast<void>(queue.publish());
    ASSERT_EQ(driver_.take_all_used().size(), kSize);
  }
}

TEST_F(SplitQueues, WithEventIndexEveryAwaitedCompletionInterrupts) {
  SplitQueue queue = make(true);
  for (uint32_t i = 0; i < 0x1'0000 + 100; ++i) {
    driver_.set_used_event(static_cast<uint16_t>(i));
    driver_.add(0, {{kBuffer, 1, true}});
    ASSERT_EQ(queue.pop(), SplitQueue::Pop::kChain);
    queue.add_used(0, 1);
    ASSERT_TRUE(queue.publish()) << i;
  }
}

TEST_F(SplitQueues, WithEventIndexABatchInterruptsOnceItPassesTheEvent) {
  SplitQueue queue = make(true);
  for (uint32_t i = 0; i + 4 < 0x1'0000 + 100; i += 4) {
    for (uint16_t head = 0; head < 4; ++head) {
      driver_.add(head, {{kBuffer, 1, true}});
      ASSERT_EQ(queue.pop(), SplitQueue::Pop::kChain);
      queue.add_used(head, 1);
    }
    // The event lies before, inside at both ends, or behind this batch, in turn.
    const uint32_t turn = i / 4 % 4;
    const std::array<uint32_t, 4> events = {i - 1, i, i + 3, i + 4};
    driver_.set_used_event(static_cast<uint16_t>(events[turn]));
    ASSERT_EQ(queue.publish(), turn == 1 || turn == 2) << i;
  }
}

TEST_F(SplitQueues, WithEventIndexTheDriverIsToldWhereToNotify) {
  SplitQueue queue = make(true);
  run_past_the_wrap(driver_, queue, [&](uint16_t index) {
    ASSERT_FALSE(queue.enable_notifications());
    ASSERT_EQ(driver_.available_event(), index);
  });
}

TEST_F(SplitQueues, WithoutEventIndexFlagsSayWhoWantsToHear) {
  SplitQueue queue = make();
  queue.disable_notifications();
  EXPECT_EQ(driver_.used_flags(), 1);
  EXPECT_FALSE(queue.enable_notifications());
  EXPECT_EQ(driver_.used_flags(), 0);
  driver_.set_available_flags(1);
  driver_.add(0, {{kBuffer, 1, true}});
  ASSERT_EQ(queue.pop(), SplitQueue::Pop::kChain);
  queue.add_used(0, 1);
  EXPECT_FALSE(queue.publish());
}

TEST_F(SplitQueues, WhatCameBeforeNotificationsWereEnabledIsNoticed) {
  SplitQueue queue = make();
  queue.disable_notifications();
  driver_.add(0, {{kBuffer, 1, true}});
  EXPECT_TRUE(queue.enable_notifications());
}

}  // namespace
}  // namespace vmm::virtio
