// Networks with a bandwidth.
#include "vmm/net/limited_end.h"

#include <gtest/gtest.h>

#include <optional>

#include "tests/unit/net/fake_net_end.h"

namespace vmm::net {
namespace {

using namespace std::chrono_literals;

class LimitedNetworks : public testing::Test {
 protected:
  void start(const BandwidthLimits& limits, uint16_t pairs = 1) {
    auto fake = std::make_unique<FakeNetEnd>(pairs);
    network_ = fake.get();
    end_ = std::make_unique<LimitedEnd>(
        std::move(fake), limits,
        LimitedEnd::Time{.now = [this] { return now_; },
                         .wake_after = [this](LimitedEnd::Duration delay) { due_ = now_ + delay; }});
    device_ = std::make_unique<FakeNetReceiver>(*end_);
    for (uint16_t pair = 0; pair < pairs; ++pair) {
      end_->want_packets(pair, true);
    }
  }
  // Time passes, and what is due happens.
  void pass(LimitedEnd::Duration time) {
    const auto end = now_ + time;
    while (due_ && *due_ <= end) {
      now_ = *due_;
      due_.reset();
      end_->on_due();
      network_->tell();
    }
    now_ = end;
  }
  // Sends as much as is taken; returns how many packets.
  size_t send_all(const Bytes& frame, size_t most = 10'000) {
    size_t count = 0;
    while (count < most && device_->send(frame) == NetEnd::Sent::kDone) {
      ++count;
    }
    return count;
  }

  LimitedEnd::Duration now_ = 1h;
  std::optional<LimitedEnd::Duration> due_;
  FakeNetEnd* network_ = nullptr;
  std::unique_ptr<LimitedEnd> end_;
  std::unique_ptr<FakeNetReceiver> device_;
};

TEST_F(LimitedNetworks, WithoutALimitAllGoes) {
  start({});
  EXPECT_EQ(send_all(pattern(1000)), 10'000U);
  network_->waiting.assign(10'000, pattern(1000));
  network_->tell();
  EXPECT_EQ(device_->received.size(), 10'000U);
  EXPECT_FALSE(due_);
}

TEST_F(LimitedNetworks, WhatTheGuestSendsTooFastIsAskedForAgain) {
  start({.from_guest = {.average = 100'000}});
  size_t sent = send_all(pattern(1000));
  EXPECT_NEAR(static_cast<double>(sent), 11, 1);  // a tenth of a second's
  for (int i = 0; i < 1000; ++i) {
    const int calls = device_->room_calls;
    pass(10ms);
    if (device_->room_calls > calls) {
      sent += send_all(pattern(1000));
    }
  }
  EXPECT_NEAR(static_cast<double>(sent), 1010, 5);
  EXPECT_EQ(network_->sent.size(), sent);
}

TEST_F(LimitedNetworks, WhatComesTooFastWaitsWithTheNetwork) {
  start({.to_guest = {.average = 100'000}});
  network_->waiting.assign(2000, pattern(1000));
  network_->tell();
  EXPECT_NEAR(static_cast<double>(device_->received.size()), 11, 1);
  EXPECT_FALSE(network_->wanted[0]);
  pass(10s);
  EXPECT_NEAR(static_cast<double>(device_->received.size()), 1011, 5);
  EXPECT_LT(device_->wait_calls, 10'000);
  // The other direction is free.
  EXPECT_EQ(send_all(pattern(1000), 1000), 1000U);
}

TEST_F(LimitedNetworks, ABurstComesAtItsPeak) {
  start({.to_guest = {.average = 100'000, .peak = 1'000'000, .burst = 500'000}});
  network_->waiting.assign(10'000, pattern(1000));
  network_->tell();
  pass(300ms);
  EXPECT_NEAR(static_cast<double>(device_->received.size()), 400,
              10);  // the peak's 300 and a tenth of a second's
  pass(10s);
  EXPECT_NEAR(static_cast<double>(device_->received.size()), 500 + 1030, 10);
}

TEST_F(LimitedNetworks, APacketThatIsLargerThanTheLimitGoesWhole) {
  start({.to_guest = {.average = 10'000}, .from_guest = {.average = 10'000}});
  EXPECT_EQ(send_all(pattern(60'000)), 1U);
  network_->waiting.assign(2, pattern(60'000));
  network_->tell();
  EXPECT_EQ(device_->received.size(), 1U);
  pass(5800ms);
  EXPECT_EQ(device_->room_calls, 0);
  EXPECT_EQ(device_->received.size(), 1U);
  pass(200ms);
  EXPECT_EQ(device_->room_calls, 1);
  EXPECT_EQ(device_->received.size(), 2U);
}

TEST_F(LimitedNetworks, WhatTheDeviceDoesNotWantIsNotTold) {
  start({.to_guest = {.average = 10'000}});
  network_->waiting.assign(10, pattern(10'000));
  network_->tell();
  const size_t received = device_->received.size();
  end_->want_packets(0, false);
  pass(1min);
  EXPECT_FALSE(network_->wanted[0]);
  EXPECT_EQ(device_->received.size(), received);
  end_->want_packets(0, true);
  EXPECT_TRUE(network_->wanted[0]);
}

TEST_F(LimitedNetworks, AFullNetworkIsPassedOn) {
  start({.from_guest = {.average = 10'000}});
  network_->is_full = true;
  EXPECT_EQ(device_->send(pattern(1000)), NetEnd::Sent::kFull);
  EXPECT_FALSE(due_);
  network_->is_full = false;
  network_->receiver->has_room(0);
  EXPECT_EQ(device_->room_calls, 1);
  // What was not taken is not counted.
  EXPECT_EQ(send_all(pattern(1000)), 2U);
}

TEST_F(LimitedNetworks, LimitsMayChange) {
  start({.to_guest = {.average = 1}, .from_guest = {.average = 1}});
  EXPECT_EQ(send_all(pattern(1000)), 1U);
  network_->waiting.assign(5, pattern(1000));
  network_->tell();
  EXPECT_EQ(device_->received.size(), 1U);
  end_->set_limits({});
  pass(1ms);
  EXPECT_EQ(device_->room_calls, 1);
  EXPECT_EQ(device_->received.size(), 5U);
  EXPECT_EQ(send_all(pattern(1000), 10), 10U);
}

TEST_F(LimitedNetworks, AllPairsShareTheLimit) {
  start({.to_guest = {.average = 10'000}, .from_guest = {.average = 10'000}}, 2);
  EXPECT_EQ(device_->send(pattern(5000), 0), NetEnd::Sent::kDone);
  EXPECT_EQ(device_->send(pattern(5000), 1), NetEnd::Sent::kFull);
  EXPECT_EQ(device_->send(pattern(5000), 0), NetEnd::Sent::kFull);
  network_->waiting.assign(2, pattern(5000));
  network_->tell();
  EXPECT_EQ(device_->received.size(), 1U);
  pass(450ms);
  EXPECT_EQ(device_->room_calls, 2);
  EXPECT_EQ(device_->received.size(), 2U);
}

TEST_F(LimitedNetworks, ADriverThatHasGoneIsNotAsked) {
  start({.from_guest = {.average = 10'000}});
  EXPECT_EQ(send_all(pattern(5000)), 1U);
  end_->set_use(0, {});
  pass(1s);
  EXPECT_EQ(device_->room_calls, 0);
}

TEST(LimitedNetwork, OfALoopIsWokenByItsTimer) {
  const auto loop = std::move(*EventLoop::create());
  auto fake = std::make_unique<FakeNetEnd>();
  auto end = LimitedEnd::create(*loop, std::move(fake), {.from_guest = {.average = 1'000'000}}).value();
  FakeNetReceiver device(*end);
  while (device.send(pattern(60'000)) == NetEnd::Sent::kDone) {
  }
  const auto begin = std::chrono::steady_clock::now();
  while (device.room_calls == 0 && std::chrono::steady_clock::now() - begin < 20s) {
    loop->run_once(100ms);
  }
  EXPECT_EQ(device.room_calls, 1);
  EXPECT_EQ(device.send(pattern(60'000)), NetEnd::Sent::kDone);
}

}  // namespace
}  // namespace vmm::net
