// The same with real threads: an I/O thread, and guest threads that touch registers and rings. For the thread
// sanitizer above all; every wait is bounded.
#include <gtest/gtest.h>

#include <thread>

#include "tests/unit/fakes/loop_thread.h"
#include "tests/unit/virtio/rig.h"

namespace vmm::virtio {
namespace {

class Threads : public testing::TestWithParam<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Features, Threads, testing::Values(kUsualFeatures, kUsualFeatures | kEventIndex),
                         [](const auto& param_info) {
                           return (param_info.param & kEventIndex) != 0 ? "EventIndex" : "Flags";
                         });

// No request may be lost between "nothing there" on one side and "no notification wanted" on the other.
TEST_P(Threads, EveryRequestIsAnsweredWithSuppressedNotifications) {
  Rig rig({.block = {.queue_size = 64}});
  const bool has_event_index = (GetParam() & kEventIndex) != 0;
  const LoopThread io(*rig.loop);
  rig.driver->bring_up(GetParam(), rig.layouts());
  FakeVirtqueue& queue = rig.queues[0];
  uint64_t notifications = 0;
  for (uint32_t i = 0; i < 4'000; ++i) {
    const auto head = static_cast<uint16_t>(i % 16 * 4);
    const uint16_t before = queue.available_index();
    rig.add(head, kIn, 0, {{Rig::data_of(head % 16), 512, true}});
    if (queue.must_notify(before, has_event_index)) {
      rig.driver->notify(0);
      ++notifications;
    }
    std::optional<FakeVirtqueue::Used> used;
    ASSERT_TRUE(eventually([&] { return (used = queue.take_used()).has_value(); })) << i;
    ASSERT_EQ(*used, (FakeVirtqueue::Used{head, 513}));
    ASSERT_EQ(rig.status(head), kOk);
  }
  EXPECT_GT(notifications, 0U);
}

TEST_P(Threads, ResetsUnderLoadAlwaysEnd) {
  Rig rig({.block = {.queue_size = 64}});
  const LoopThread io(*rig.loop);
  for (int round = 0; round < 100; ++round) {
    rig.queues[0].jump_to(0);
    rig.driver->bring_up(GetParam(), rig.layouts());
    for (const uint16_t head : Heads{0, 4, 8, 12}) {
      rig.add(head, kIn, 0, {{Rig::data_of(head), 512, true}});
    }
    rig.driver->notify(0);
    rig.driver->set_status(0);
    ASSERT_TRUE(eventually([&] { return rig.driver->status() == 0; })) << round;
  }
}

TEST_P(Threads, TwoVcpusResettingAndStartingLeaveAWorkingDevice) {
  Rig rig({.transport = Transport::kMmio, .block = {.queue_size = 64}});
  const LoopThread io(*rig.loop);
  std::vector<std::thread> vcpus;
  for (int t = 0; t < 2; ++t) {
    vcpus.emplace_back([&] {
      FakeMmioDriver driver(Rig::kMmioBase, rig.mmio);
      for (int i = 0; i < 300; ++i) {
        driver.set_status(0);
        driver.negotiate(GetParam());
        driver.add_status(kStatusDriverOk);
      }
    });
  }
  for (std::thread& vcpu : vcpus) {
    vcpu.join();
  }
  rig.driver->set_status(0);
  ASSERT_TRUE(eventually([&] { return rig.driver->status() == 0; }));
  rig.driver->bring_up(GetParam(), rig.layouts());
  rig.add(0, kGetId, 0, {{Rig::data_of(0), 20, true}});
  rig.driver->notify(0);
  EXPECT_TRUE(eventually([&] { return rig.queues[0].take_used().has_value(); }));
}

TEST_P(Threads, QuiescingUnderLoadAnswersAll) {
  Rig rig({.block = {.queue_size = 64}});
  const LoopThread io(*rig.loop);
  rig.driver->bring_up(GetParam(), rig.layouts());
  for (int round = 0; round < 100; ++round) {
    std::atomic<bool> is_quiet{false};
    for (const uint16_t head : Heads{0, 4, 8, 12}) {
      rig.add(head, kIn, 0, {{Rig::data_of(head), 512, true}});
    }
    rig.driver->notify(0);
    rig.core().quiesce([&] { is_quiet = true; });
    ASSERT_TRUE(eventually([&] { return is_quiet.load(); }));
    rig.core().resume();
    for (int i = 0; i < 4; ++i) {
      ASSERT_TRUE(eventually([&] { return rig.queues[0].take_used().has_value(); }));
    }
  }
}

}  // namespace
}  // namespace vmm::virtio
