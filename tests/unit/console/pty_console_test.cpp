#include <gtest/gtest.h>
#include <termios.h>

#include "tests/unit/console/console_fixture.h"
#include "vmm/console/console.h"

namespace vmm {
namespace {

class PtyConsole : public ConsoleFixture {
 protected:
  PtyConsole() {
    auto console = open_pty_console(*loop_, [this](const std::string& name) { name_ = name; });
    EXPECT_TRUE(console.has_value());
    console_ = std::move(*console);
    console_->connect(guest_);
  }

  UniqueFd open_client() const {
    UniqueFd client(::open(name_.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    EXPECT_TRUE(static_cast<bool>(client));
    return client;
  }

  std::string name_;
  std::unique_ptr<Console> console_;
};

TEST_F(PtyConsole, TellsItsPath) { EXPECT_EQ(name_.rfind("/dev/pts/", 0), 0U); }

TEST_F(PtyConsole, DropsOutputWhileNobodyIsThere) {
  settle();
  EXPECT_EQ(print(*console_, std::string(1'000'000, 'x')), 1'000'000U);
  const UniqueFd client = open_client();
  settle();
  print(*console_, "now\n");
  EXPECT_TRUE(turn_until_read(client.get(), "now\n"));
}

TEST_F(PtyConsole, PassesBytesBothWaysAsTheyAre) {
  const UniqueFd client = open_client();
  settle();
  type(client.get(), "a\r\x03\x01x\xff");
  EXPECT_TRUE(turn_until([&] { return guest_.text == "a\r\x03\x01x\xff"; }));
  print(*console_, "b\n\x7f");
  EXPECT_TRUE(turn_until_read(client.get(), "b\n\x7f"));
}

TEST_F(PtyConsole, OutputIsNotEchoedBackToTheGuest) {
  const UniqueFd client = open_client();
  settle();
  print(*console_, "prompt\n");
  settle();
  EXPECT_EQ(guest_.text, "");
}

TEST_F(PtyConsole, ClientsMayComeAndGo) {
  for (int i = 0; i < 3; ++i) {
    const UniqueFd client = open_client();
    guest_.text.clear();
    type(client.get(), "hello");
    EXPECT_TRUE(turn_until([&] { return guest_.text == "hello"; }));
  }
  settle();
  EXPECT_EQ(print(*console_, std::string(1'000'000, 'x')), 1'000'000U);
}

TEST_F(PtyConsole, WithoutAClientTheLoopSleeps) {
  {
    const UniqueFd client = open_client();
  }
  settle();
  int turns = 0;
  auto timer = loop_->make_timer([&turns] { turns = -1000; });
  ASSERT_TRUE(timer.has_value());
  timer->arm(std::chrono::milliseconds(50));
  while (turns >= 0 && turns < 100) {
    loop_->run_once(std::chrono::seconds(1));
    ++turns;
  }
  EXPECT_LT(turns, 0);  // a hung-up master that stayed watched would have turned the loop all the time
}

}  // namespace
}  // namespace vmm
