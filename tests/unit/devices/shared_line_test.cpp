#include "vmm/core/shared_line.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "tests/unit/fakes/fake_interrupts.h"
#include "vmm/core/line_driver.h"

namespace vmm {
namespace {

TEST(SharedLine, IsHighWhileAnyInputIs) {
  FakeLine line;
  SharedLine shared(line);
  const auto a = shared.make_input();
  const auto b = shared.make_input();
  a->set(true);
  EXPECT_TRUE(line.level);
  b->set(true);
  a->set(false);
  EXPECT_TRUE(line.level);
  b->set(false);
  EXPECT_FALSE(line.level);
  EXPECT_EQ(line.rises, 1);
}

TEST(SharedLine, SettingAnInputTwiceIsSettingItOnce) {
  FakeLine line;
  SharedLine shared(line);
  const auto input = shared.make_input();
  input->set(true);
  input->set(true);
  input->set(false);
  EXPECT_FALSE(line.level);
}

TEST(SharedLine, EndsAtTheRightLevelWhateverThreadsDo) {
  FakeLine line;
  SharedLine shared(line);
  constexpr int kThreads = 4;
  std::vector<std::unique_ptr<InterruptLine>> inputs;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    inputs.push_back(shared.make_input());
  }
  for (const auto& input : inputs) {
    threads.emplace_back([&input] {
      for (int turn = 0; turn < 2000; ++turn) {
        input->set(true);
        input->set(false);
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_FALSE(line.level);
  inputs[0]->set(true);
  EXPECT_TRUE(line.level);
}

TEST(LineDriver, DoesNothingBeforePublish) {
  FakeLine line;
  LineDriver driver(line);
  driver.request(true);
  EXPECT_FALSE(line.level);
  driver.publish();
  EXPECT_TRUE(line.level);
}

TEST(LineDriver, AFallBetweenTwoPublicationsIsSeenAsAnEdge) {
  FakeLine line;
  LineDriver driver(line);
  driver.request(true);
  driver.publish();
  driver.request(false);
  driver.request(true);
  driver.publish();
  EXPECT_TRUE(line.level);
  EXPECT_EQ(line.rises, 2);
}

TEST(LineDriver, ACauseThatIsGoneBeforePublicationIsNotTold) {
  FakeLine line;
  LineDriver driver(line);
  driver.request(true);
  driver.request(false);
  driver.publish();
  EXPECT_EQ(line.rises, 0);
}

// A line that asks for another level while it is being set.
class NestingLine final : public InterruptLine {
 public:
  void set(bool level) override {
    levels.push_back(level);
    if (levels.size() == 1) {
      driver->request(false);
      driver->publish();
    }
  }
  LineDriver* driver = nullptr;
  std::vector<bool> levels;
};

TEST(LineDriver, ARequestThatComesDuringPublicationIsTakenAlong) {
  NestingLine line;
  LineDriver driver(line);
  line.driver = &driver;
  driver.request(true);
  driver.publish();
  EXPECT_EQ(line.levels, (std::vector<bool>{true, false}));
}

}  // namespace
}  // namespace vmm
