// Random numbers come from the host's source, each once, and no faster than the rate says.
#include "devices/virtio/rng.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "tests/unit/fakes/fake_clock.h"
#include "tests/unit/virtio/small_device_rig.h"

namespace vmm::virtio {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;

constexpr uint64_t kRandomData = 0x20'0000;

// Bytes that count 1, 2, …, 255, 1, …: none is 0.
class FakeSource {
 public:
  size_t fill(std::span<std::byte> to) {
    const size_t count = std::min(to.size(), room);
    for (std::byte& byte : to.first(count)) {
      byte = static_cast<std::byte>(next_ % 255 + 1);
      ++next_;
    }
    ++calls;
    return count;
  }
  size_t room = SIZE_MAX;  // what one call gives at most
  int calls = 0;

 private:
  uint64_t next_ = 0;
};

struct RngRig {
  explicit RngRig(Transport transport = Transport::kPci, std::optional<VirtioRng::Rate> rate = std::nullopt)
      : device([this](std::span<std::byte> to) { return source.fill(to); }, rate,
               {.period = period_alarm, .retry = retry_alarm}),
        guest(device, transport, *loop) {}

  // The length that the device gave back.
  uint32_t ask(uint32_t length) {
    guest.queues[0].add(0, {{kRandomData, length, true}});
    guest.kick(0);
    const auto used = guest.queues[0].take_used();
    return used ? used->length : UINT32_MAX;
  }
  void pass(milliseconds time) {
    run_for(clock, {&period_alarm, &retry_alarm}, time);
    guest.turn();
  }

  std::unique_ptr<EventLoop> loop = *EventLoop::create();
  FakeClock clock;
  FakeAlarm period_alarm{clock}, retry_alarm{clock};
  FakeSource source;
  VirtioRng device;
  SmallDeviceRig guest;
};

class RngOn : public ::testing::TestWithParam<Transport> {};
INSTANTIATE_TEST_SUITE_P(Transports, RngOn, ::testing::Values(Transport::kPci, Transport::kMmio));

TEST_P(RngOn, FillsRequestsFromItsSource) {
  RngRig rig(GetParam());
  EXPECT_EQ(rig.source.calls, 0) << "nothing is read where no driver is";
  rig.guest.start();
  EXPECT_EQ(rig.ask(3), 3U);
  EXPECT_THAT(rig.guest.bytes(kRandomData, 4), ElementsAre(1, 2, 3, 0));
  EXPECT_EQ(rig.ask(2), 2U);
  EXPECT_THAT(rig.guest.bytes(kRandomData, 3), ElementsAre(4, 5, 3));
}

TEST(Rng, ARequestMayLieInPiecesAndIsFilledInOrder) {
  RngRig rig;
  rig.guest.start();
  rig.guest.queues[0].add(0, {{kRandomData, 1, true}, {kRandomData + 0x100, 2, true}});
  rig.guest.kick(0);
  EXPECT_EQ(rig.guest.queues[0].take_used()->length, 3U);
  EXPECT_THAT(rig.guest.bytes(kRandomData, 1), ElementsAre(1));
  EXPECT_THAT(rig.guest.bytes(kRandomData + 0x100, 2), ElementsAre(2, 3));
}

TEST(Rng, ALargeRequestGetsAPart) {
  RngRig rig;
  rig.guest.start();
  EXPECT_EQ(rig.ask(0x10'0000), VirtioRng::kPoolBytes);
  EXPECT_EQ(rig.guest.bytes(kRandomData + VirtioRng::kPoolBytes, 1)[0], 0);
  EXPECT_EQ(rig.ask(1), 1U);
}

TEST(Rng, NoMoreThanTheRateIsGivenInAPeriod) {
  RngRig rig(Transport::kPci, VirtioRng::Rate{.bytes = 10, .period = milliseconds(500)});
  rig.guest.start();
  EXPECT_EQ(rig.ask(4), 4U);
  EXPECT_EQ(rig.ask(100), 6U);
  EXPECT_EQ(rig.ask(1), UINT32_MAX);
  rig.pass(milliseconds(499));
  EXPECT_EQ(rig.guest.queues[0].used_index(), 2);
  rig.pass(milliseconds(1));
  EXPECT_EQ(rig.guest.queues[0].take_used()->length, 1U);
  EXPECT_EQ(rig.ask(100), 9U);
}

TEST(Rng, ADriverThatResetsTheDeviceGetsNoMore) {
  RngRig rig(Transport::kPci, VirtioRng::Rate{.bytes = 10, .period = milliseconds(500)});
  rig.guest.start();
  EXPECT_EQ(rig.ask(10), 10U);
  rig.guest.restart();
  EXPECT_EQ(rig.ask(1), UINT32_MAX);
  rig.pass(milliseconds(500));
  EXPECT_EQ(rig.guest.queues[0].take_used()->length, 1U);
}

TEST(Rng, ASourceThatHasNothingIsAskedAgainLater) {
  RngRig rig;
  rig.source.room = 0;
  rig.guest.start();
  EXPECT_EQ(rig.source.calls, 1);
  EXPECT_EQ(rig.ask(4), UINT32_MAX);
  rig.guest.restart();
  EXPECT_EQ(rig.source.calls, 1) << "a guest does not hurry it";
  EXPECT_EQ(rig.ask(4), UINT32_MAX);
  rig.source.room = 2;
  rig.pass(VirtioRng::kRetryTime);
  EXPECT_EQ(rig.guest.queues[0].take_used()->length, 2U);
}

TEST(Rng, ASourceThatHasNothingIsAskedAgainWhateverTheRate) {
  RngRig rig(Transport::kPci, VirtioRng::Rate{.bytes = 1000, .period = milliseconds(60'000)});
  rig.source.room = 4;
  rig.guest.start();
  EXPECT_EQ(rig.ask(3), 3U);
  rig.source.room = 0;
  EXPECT_EQ(rig.ask(1), 1U);
  EXPECT_EQ(rig.ask(5), UINT32_MAX);
  rig.source.room = 5;
  rig.pass(VirtioRng::kRetryTime);
  EXPECT_EQ(rig.guest.queues[0].take_used()->length, 5U);
}

TEST(HostileRngDriver, GetsNothingWithoutRoomAndNothingOutsideOfMemory) {
  RngRig rig;
  rig.guest.start();
  rig.guest.queues[0].add(0, {{kRandomData, 16, false}});
  rig.guest.queues[0].add(1, {{0x9000'0000, 16, true}});
  rig.guest.queues[0].add(2, {{kRandomData, 16, true}, {0xffff'ffff'ffff'fff0, 0x100, true}});
  rig.guest.kick(0);
  EXPECT_THAT(rig.guest.queues[0].take_all_used(),
              ElementsAre(FakeVirtqueue::Used{0, 0}, FakeVirtqueue::Used{1, 0}, FakeVirtqueue::Used{2, 0}));
  EXPECT_EQ(rig.guest.bytes(kRandomData, 1)[0], 0);
  EXPECT_EQ(rig.ask(1), 1U);
}

TEST(HostileRngDriver, MayFloodItAndIsServedInPortions) {
  RngRig rig;
  rig.guest.start();
  for (uint16_t i = 0; i < 64; ++i) {
    rig.guest.queues[0].add(i, {{kRandomData, 0x1000, true}});
  }
  rig.guest.kick(0);
  EXPECT_EQ(rig.guest.queues[0].take_all_used().size(), 64U);
  EXPECT_LE(rig.source.calls, 66);
}

TEST(Rng, WaitingItIsQuietAtOnce) {
  RngRig rig(Transport::kPci, VirtioRng::Rate{.bytes = 1, .period = milliseconds(500)});
  rig.guest.start();
  EXPECT_EQ(rig.ask(1), 1U);
  EXPECT_EQ(rig.ask(1), UINT32_MAX);
  bool is_quiet = false;
  rig.guest.core().quiesce([&is_quiet] { is_quiet = true; });
  rig.guest.turn();
  EXPECT_TRUE(is_quiet);
  rig.pass(milliseconds(500));
  EXPECT_FALSE(rig.guest.queues[0].take_used());
  rig.guest.core().resume();
  rig.guest.turn();
  EXPECT_EQ(rig.guest.queues[0].take_used()->length, 1U);
}

}  // namespace
}  // namespace vmm::virtio
