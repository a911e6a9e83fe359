// Drivers that mean harm: nothing they write may crash, hang or starve the device, and no byte outside of
// what they own may change.
#include <gtest/gtest.h>

#include <random>

#include "devices/virtio/device_runner.h"
#include "tests/unit/virtio/rig.h"

namespace vmm::virtio {
namespace {

TEST(HostileDriver, AChainWithoutAPlaceForTheStatusStopsTheQueue) {
  for (const bool is_bad_end : {false, true}) {
    Rig rig;
    rig.start();
    rig.write_header(0, kIn, 0);
    if (is_bad_end) {
      rig.queues[0].add(0, {Rig::header_of(0), {Rig::data_of(0), 512, true}, {kNoRam, 1, true}});
    } else {
      rig.queues[0].add(0, {Rig::header_of(0)});
    }
    rig.kick();
    EXPECT_EQ(rig.driver->status() & kStatusNeedsReset, kStatusNeedsReset);
    EXPECT_TRUE(rig.disk.history().empty());
    EXPECT_EQ(rig.queues[0].used_index(), 0);
  }
}

TEST(HostileDriver, ABrokenQueueLeavesTheOthersAlone) {
  Rig rig({.block = {.queue_count = 2}});
  rig.start(kUsualFeatures | kMultiQueue);
  rig.queues[0].set_available_index(0x4000);
  rig.kick(0);
  rig.add(4, kGetId, 0, {{Rig::data_of(4), 20, true}}, 1);
  rig.kick(1);
  EXPECT_EQ(rig.status(4), kOk);
}

TEST(HostileDriver, AHeadInFlightTwiceStopsTheQueueAndTheFirstIsStillDrained) {
  Rig rig;
  rig.start();
  rig.disk.set_deferred(true);
  rig.add(0, kIn, 0, {{Rig::data_of(0), 512, true}});
  rig.queues[0].make_available(0);
  rig.kick();
  EXPECT_EQ(rig.disk.in_flight(), 1U);
  EXPECT_EQ(rig.driver->status() & kStatusNeedsReset, kStatusNeedsReset);
  rig.driver->set_status(0);
  rig.disk.complete_all();
  rig.turn();
  EXPECT_EQ(rig.driver->status(), 0);
}

TEST(HostileDriver, TheDescriptorsOfARequestInFlightMayChange) {
  Rig rig;
  rig.start();
  rig.disk.set_deferred(true);
  rig.fill_disk(0, 512, 0x12);
  rig.add(0, kIn, 0, {{Rig::data_of(0), 512, true}});
  rig.kick();
  for (uint16_t i = 0; i < 3; ++i) {
    rig.queues[0].set_descriptor(i, {kNoRam, 0xffff'ffff, 7, 0xffff});
  }
  rig.write_header(0, kOut, UINT64_MAX);
  rig.disk.complete_all();
  rig.turn();
  EXPECT_EQ(rig.status(0), kOk);
  EXPECT_EQ(rig.byte(Rig::data_of(0) + 511), 0x12);
}

// Gives each request back at once, whereupon the driver adds the next: there is always one more.
class FeedingDevice final : public VirtioDevice {
 public:
  explicit FeedingDevice(FakeVirtqueue& queue) : queue_(queue) {}
  std::string_view name() const override { return "feeder"; }
  uint32_t device_id() const override { return 2; }
  uint32_t pci_class_code() const override { return 0; }
  uint64_t features() const override { return 0; }
  uint16_t queue_count() const override { return 1; }
  uint16_t queue_size_max() const override { return queue_.size(); }
  void read_config(uint32_t /*offset*/, std::span<std::byte> /*data*/) const override {}
  void write_config(uint32_t /*offset*/, std::span<const std::byte> /*data*/) override {}
  void reset_config() override {}
  void start(ChainReturn& chains, uint64_t /*features*/, std::span<const uint16_t> /*sizes*/) override {
    chains_ = &chains;
  }
  bool can_accept(uint16_t /*queue*/) const override { return true; }
  Handled handle(uint16_t queue, Chain& chain) override {
    ++handled;
    chains_->give_back(queue, chain.head, 1);
    queue_.make_available(chain.head);
    return Handled::kTaken;
  }
  void abandon() override {}

  uint32_t handled = 0;

 private:
  FakeVirtqueue& queue_;
  ChainReturn* chains_ = nullptr;
};

class NoEvents final : public RunnerEvents {
 public:
  void queue_wants_interrupt(uint16_t /*queue*/) override {}
  void device_failed(uint64_t /*activation*/) override {}
  void reset_finished() override {}
};

TEST(HostileDriver, AnEndlessStreamOfRequestsIsTakenInPortions) {
  constexpr uint16_t kSize = 8;
  const auto loop = *EventLoop::create();
  const GuestMemory memory = make_guest_ram({{0, 1U << 20}});
  FakeVirtqueue queue(memory, kQueueBase, kSize);
  queue.add(0, {{0, 1, true}});
  FeedingDevice device(queue);
  NoEvents events;
  const std::vector<EventFd> doorbells = *VirtioCore::make_doorbells(device);
  DeviceRunner runner(device, *loop, memory, doorbells, events);
  runner.activate({.number = 1, .features = kVersion1, .queues = {queue.layout()}});
  EXPECT_EQ(device.handled, kSize);
  for (uint32_t turn = 1; turn < 5; ++turn) {
    loop->run_once(std::chrono::nanoseconds(0));
    EXPECT_EQ(queue.used_index(), kSize * turn);
    EXPECT_EQ(device.handled, kSize * (turn + 1));
  }
}

// --- Random queues, seeded ---

class RandomGuest {
 public:
  explicit RandomGuest(uint32_t seed) : random_(seed) {}

  uint64_t below(uint64_t limit) { return random_() % limit; }
  bool chance(uint32_t percent) { return below(100) < percent; }

  uint64_t address() {
    if (chance(85)) {
      return kData + below(0x1'0000);
    }
    const std::array<uint64_t, 6> odd = {0,        kNoRam,         UINT64_MAX,
                                         8U << 20, (8U << 20) - 3, (uint64_t{1} << 32) + below(2U << 20)};
    return odd[below(odd.size())];
  }
  uint32_t length() {
    if (chance(80)) {
      const std::array<uint32_t, 6> usual = {1, 16, 512, 1024, 20, 32};
      return usual[below(usual.size())];
    }
    return static_cast<uint32_t>(chance(50) ? below(5000) : random_());
  }
  FakeDescriptor descriptor(uint16_t size) {
    const std::array<uint16_t, 8> likely = {0, 1, 1, 1, 3, 3, 2, 2};
    return {.address = address(),
            .length = length(),
            .flags = chance(90) ? likely[below(likely.size())] : static_cast<uint16_t>(random_()),
            .next = static_cast<uint16_t>(chance(95) ? below(size) : random_())};
  }

 private:
  std::mt19937 random_;
};

constexpr uint64_t kGuard = 0x60'0000;  // nobody's: must never change
constexpr uint64_t kGuardBytes = 0x1000;

void scribble(Rig& rig, RandomGuest& guest) {
  FakeVirtqueue& queue = rig.queues[0];
  for (uint16_t i = 0; i < queue.size(); ++i) {
    queue.set_descriptor(i, guest.descriptor(queue.size()));
  }
  for (uint32_t i = 0; i < 16; ++i) {
    queue.write_descriptor(kData + 0x1000, i, guest.descriptor(16));
    rig.write_header(static_cast<uint16_t>(i), static_cast<uint32_t>(guest.below(16)), guest.below(3000));
    // Headers also where most buffers point.
    const auto type = static_cast<uint8_t>(guest.below(16));
    rig.set_byte(kData + guest.below(0x1'0000), type);
  }
}

void drive(Rig& rig, RandomGuest& guest) {
  FakeVirtqueue& queue = rig.queues[0];
  const uint64_t count = guest.below(queue.size()) + 1;
  for (uint64_t i = 0; i < count; ++i) {
    const auto head =
        static_cast<uint16_t>(guest.chance(98) ? guest.below(queue.size()) : guest.below(0x1'0000));
    if (guest.chance(40)) {
      // An honest beginning and end around random buffers gets past the first checks.
      rig.write_header(head % 16, static_cast<uint32_t>(guest.below(16)), guest.below(2100));
      const auto base = static_cast<uint16_t>(guest.below(queue.size() - 3U));
      queue.add(base, {Rig::header_of(head % 16),
                       {guest.address(), guest.length(), guest.chance(50)},
                       Rig::status_of(head % 16)});
    } else {
      queue.make_available(head);
    }
  }
  if (guest.chance(2)) {
    queue.set_available_index(static_cast<uint16_t>(guest.below(0x1'0000)));
  }
  rig.driver->notify(0);
}

class RandomQueues : public testing::TestWithParam<uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Seeds, RandomQueues, testing::Range(1U, 9U));

TEST_P(RandomQueues, NeitherCrashNorHangNorTouchOtherMemory) {
  RandomGuest guest(GetParam());
  Rig rig({.block = {.queue_size = 16}});
  rig.fill(kGuard, kGuardBytes, 0xa5);
  uint64_t completed = 0;
  uint64_t broken = 0;
  for (int round = 0; round < 600; ++round) {
    rig.queues[0].jump_to(0);
    rig.start(guest.chance(50) ? kUsualFeatures : kUsualFeatures | kEventIndex);
    rig.disk.set_deferred(guest.chance(30));
    rig.disk.set_capacity(guest.chance(30) ? 2 : 1000);
    for (int turn = 0; turn < 4; ++turn) {
      scribble(rig, guest);
      drive(rig, guest);
      rig.turn();
      while (rig.disk.in_flight() > 0 && guest.chance(80)) {
        rig.disk.complete(guest.below(rig.disk.in_flight()));
      }
      rig.turn();
    }
    completed += rig.queues[0].used_index();
    broken += (rig.driver->status() & kStatusNeedsReset) != 0 ? 1 : 0;
    rig.driver->set_status(0);
    rig.turn();
    for (int i = 0; i < 100 && rig.disk.in_flight() > 0; ++i) {
      rig.disk.complete_all();
      rig.turn();
    }
    rig.turn();
    ASSERT_EQ(rig.driver->status(), 0);
  }
  for (uint64_t i = 0; i < kGuardBytes; ++i) {
    ASSERT_EQ(rig.byte(kGuard + i), 0xa5);
  }
  // The walk through the input space is not trivial.
  EXPECT_GT(completed, 100U);
  EXPECT_GT(broken, 10U);
  EXPECT_GT(rig.disk.history().size(), 10U);
}

class RandomRegisters : public testing::TestWithParam<uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Seeds, RandomRegisters, testing::Range(1U, 9U));

TEST_P(RandomRegisters, EveryWriteToEveryRegisterIsSurvived) {
  RandomGuest guest(GetParam());
  Rig rig({.transport = GetParam() % 2 == 0 ? Transport::kPci : Transport::kMmio});
  const uint64_t base = rig.pci_driver != nullptr ? rig.pci_driver->structure(1) : Rig::kMmioBase;
  const uint64_t length = rig.pci_driver != nullptr ? 0x6000 : VirtioMmio::kLengthBytes;
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t address = base + (guest.chance(70) ? guest.below(0x100) : guest.below(length));
    const auto value = guest.chance(50) ? guest.below(17) : guest.below(UINT64_MAX);
    switch (guest.below(8)) {
      case 0:
        rig.mmio.write<uint8_t>(address, static_cast<uint8_t>(value & 0xff));
        break;
      case 1:
        rig.mmio.write<uint16_t>(address & ~1ULL, static_cast<uint16_t>(value & 0xffff));
        break;
      case 2:
        rig.mmio.write<uint64_t>(address & ~7ULL, value);
        break;
      case 3:
        static_cast<void>(rig.mmio.read<uint32_t>(address & ~3ULL));
        break;
      case 4:
        rig.turn();
        break;
      default:
        rig.mmio.write<uint32_t>(address & ~3ULL, static_cast<uint32_t>(value & 0xffff'ffff));
        break;
    }
  }
  rig.driver->set_status(0);
  rig.turn();
  EXPECT_EQ(rig.driver->status(), 0);
  rig.queues[0].jump_to(0);
  rig.start();
  EXPECT_EQ(rig.run(0, kGetId, 0, {{Rig::data_of(0), 20, true}}), kOk);
}

TEST(RandomConfigurationSpace, EveryWriteIsSurvived) {
  RandomGuest guest(7);
  Rig rig;
  rig.start();
  for (int i = 0; i < 20'000; ++i) {
    const auto offset = static_cast<uint32_t>(guest.below(64) * 4);
    rig.pci_driver->set_config<uint32_t>(offset, static_cast<uint32_t>(guest.below(uint64_t{1} << 32)));
    static_cast<void>(rig.pci_driver->config<uint32_t>(static_cast<uint32_t>(guest.below(64) * 4)));
    if (guest.chance(5)) {
      rig.turn();
    }
  }
  EXPECT_EQ(rig.pci_driver->config<uint32_t>(0), 0x1042'1af4U);
}

}  // namespace
}  // namespace vmm::virtio
