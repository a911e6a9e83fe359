#include "vmm/base/event_loop.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace vmm {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class EventLoopTest : public ::testing::Test {
 protected:
  std::unique_ptr<EventLoop> loop_ = EventLoop::create().value();
  EventFd event_ = EventFd::create().value();
};

TEST_F(EventLoopTest, CallsTheHandlerOfAReadyDescriptor) {
  int calls = 0;
  const auto watch = loop_->watch(event_.fd(), EPOLLIN, [&](uint32_t events) {
    EXPECT_NE(events & EPOLLIN, 0U);
    event_.drain();
    ++calls;
  });
  loop_->run_once(milliseconds(0));
  EXPECT_EQ(calls, 0);
  event_.signal();
  loop_->run_once(seconds(10));
  EXPECT_EQ(calls, 1);
  loop_->run_once(milliseconds(0));
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, ForgetsADescriptorWithItsWatch) {
  int calls = 0;
  {
    const auto watch = loop_->watch(event_.fd(), EPOLLIN, [&](uint32_t) { ++calls; });
    event_.signal();
  }
  loop_->run_once(milliseconds(0));
  EXPECT_EQ(calls, 0);
}

TEST_F(EventLoopTest, AHandlerMayDropAWatchWhoseEventIsAlreadyThere) {
  const EventFd other = EventFd::create().value();
  std::optional<EventLoop::Watch> first;
  std::optional<EventLoop::Watch> second;
  int calls = 0;
  first = loop_
              ->watch(event_.fd(), EPOLLIN,
                      [&](uint32_t) {
                        ++calls;
                        second.reset();
                        event_.drain();
                      })
              .value();
  second = loop_
               ->watch(other.fd(), EPOLLIN,
                       [&](uint32_t) {
                         ++calls;
                         first.reset();
                         other.drain();
                       })
               .value();
  event_.signal();
  other.signal();
  loop_->run_once(seconds(10));
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, RefusesWhatEpollCannotWatch) {
  EXPECT_FALSE(loop_->watch(-1, EPOLLIN, [](uint32_t) {}));
}

TEST_F(EventLoopTest, TimerIsDueOnceForEachArm) {
  int due = 0;
  auto timer = loop_->make_timer([&] { ++due; }).value();
  timer.arm(milliseconds(1));
  loop_->run_once(seconds(10));
  EXPECT_EQ(due, 1);
  loop_->run_once(milliseconds(5));
  EXPECT_EQ(due, 1);
  timer.arm(milliseconds(1));
  timer.disarm();
  loop_->run_once(milliseconds(5));
  EXPECT_EQ(due, 1);
}

TEST_F(EventLoopTest, PostedTasksRunInOrderOnTheLoopsThread) {
  std::vector<int> order;
  std::thread other([&] {
    for (int i = 0; i < 100; ++i) {
      loop_->post([&order, i] { order.push_back(i); });
    }
    loop_->post([this] { loop_->stop(); });
  });
  loop_->run();
  other.join();
  ASSERT_EQ(order.size(), 100U);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(order[static_cast<size_t>(i)], i);
  }
}

TEST_F(EventLoopTest, StopBeforeRunEndsTheFirstRun) {
  loop_->stop();
  loop_->run();
  SUCCEED();  // it came back
}

class CountingPoller final : public EventLoop::Poller {
 public:
  explicit CountingPoller(int busy_turns) : busy_turns_(busy_turns) {}
  bool poll() override { return ++calls < busy_turns_; }
  int calls = 0;

 private:
  int busy_turns_;
};

TEST_F(EventLoopTest, DoesNotSleepWhileAPollerHasWork) {
  CountingPoller poller(3);
  loop_->add_poller(poller);
  loop_->run_once(seconds(1000));
  loop_->run_once(seconds(1000));
  EXPECT_GE(poller.calls, 2);
  loop_->remove_poller(poller);
  const int calls = poller.calls;
  loop_->run_once(milliseconds(0));
  EXPECT_EQ(poller.calls, calls);
}

}  // namespace
}  // namespace vmm
