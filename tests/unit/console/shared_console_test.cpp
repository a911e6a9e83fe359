#include "vmm/console/shared_console.h"

#include <fstream>
#include <sstream>

#include "tests/unit/console/console_fixture.h"
#include "vmm/console/output_buffer.h"

namespace vmm {
namespace {

// The domain's own end: what it takes is up to the test.
class OwnEnd final : public Console {
 public:
  size_t write(std::span<const std::byte> bytes) override { return sink.write(bytes); }
  void input_room() override { sink.input_room(); }
  void connect(ByteReceiver& receiver) override { receiver_ = &receiver; }
  void flush() override {}
  void tell_room() const { receiver_->output_room(); }

  FakeByteSink sink;

 private:
  ByteReceiver* receiver_ = nullptr;
};

class SharedConsoleTest : public ConsoleFixture {
 protected:
  void make(bool has_log = false, bool is_append = false) {
    auto own = std::make_unique<OwnEnd>();
    own_ = own.get();
    std::unique_ptr<Console> log;
    if (has_log) {
      auto opened = open_file_console(*loop_, path("log"), is_append);
      ASSERT_TRUE(opened.has_value()) << opened.error().message();
      log = *std::move(opened);
    }
    console_ = std::make_unique<SharedConsole>(*loop_, "serial port 0", std::move(own), std::move(log));
    console_->connect(guest_);
    ASSERT_TRUE(console_->begin().has_value());
  }

  // The side of who is attached.
  UniqueFd attach() {
    FdPair pair = make_socketpair();
    for (const int fd : {pair.first.get(), pair.second.get()}) {
      ::fcntl(fd, F_SETFL, O_NONBLOCK);
    }
    EXPECT_TRUE(console_->attach(std::move(pair.second)).has_value());
    return std::move(pair.first);
  }

  std::string log_text() const {
    std::ostringstream text;
    text << std::ifstream(path("log")).rdbuf();
    return text.str();
  }

  OwnEnd* own_ = nullptr;
  std::unique_ptr<SharedConsole> console_;
};

TEST_F(SharedConsoleTest, WhoIsAttachedSeesWhatTheOwnEndSees) {
  make();
  print(*console_, "before\n");
  EXPECT_FALSE(console_->is_attached());
  const UniqueFd one = attach();
  EXPECT_TRUE(console_->is_attached());
  print(*console_, "hello\n");
  EXPECT_TRUE(turn_until_read(one.get(), "hello\n"));
  EXPECT_EQ(own_->sink.text, "before\nhello\n");
}

TEST_F(SharedConsoleTest, WhatIsTypedGoesToTheGuestWhichMayBeSlow) {
  make();
  const UniqueFd one = attach();
  guest_.room = 2;
  type(one.get(), "abcd");
  EXPECT_TRUE(turn_until([&] { return guest_.text == "ab"; }));
  guest_.room = 100;
  console_->input_room();
  EXPECT_TRUE(turn_until([&] { return guest_.text == "abcd"; }));
  EXPECT_EQ(own_->sink.input_room_calls, 1);
}

TEST_F(SharedConsoleTest, WhoLeavesMakesRoomForTheNext) {
  make();
  UniqueFd one = attach();
  one.reset();
  EXPECT_TRUE(turn_until([&] { return !console_->is_attached(); }));
  print(*console_, "to nobody\n");
  const UniqueFd two = attach();
  print(*console_, "to two\n");
  EXPECT_TRUE(turn_until_read(two.get(), "to two\n"));
}

TEST_F(SharedConsoleTest, WhoIsCutOffReadsTheEnd) {
  make();
  const UniqueFd one = attach();
  settle();
  console_->detach();
  EXPECT_FALSE(console_->is_attached());
  char byte = 0;
  EXPECT_EQ(::read(one.get(), &byte, 1), 0);
}

TEST_F(SharedConsoleTest, WhoDoesNotReadHoldsNobodyBack) {
  make();
  const UniqueFd one = attach();
  const std::string line(1000, 'x');
  constexpr size_t kBytes = size_t{4} << 20U;
  for (size_t done = 0; done < kBytes; done += line.size()) {
    ASSERT_EQ(print(*console_, line), line.size());
    loop_->run_once(EventLoop::Duration(0));
  }
  EXPECT_EQ(guest_.output_room_calls, 0);
  EXPECT_GE(own_->sink.text.size(), kBytes);
  const size_t kept = read_available(one.get()).size();
  EXPECT_GT(kept, OutputBuffer::kCapacityBytes / 2);
  EXPECT_LT(kept, kBytes / 2);
  // He reads again, and is told again.
  const auto read_all = [&] {
    settle();
    return read_available(one.get());
  };
  while (!read_all().empty()) {
  }
  print(*console_, "again\n");
  EXPECT_TRUE(turn_until_read(one.get(), "again\n"));
}

TEST_F(SharedConsoleTest, TheOwnEndHoldsAllBack) {
  make(/*has_log=*/true);
  const UniqueFd one = attach();
  own_->sink.room = 3;
  EXPECT_EQ(print(*console_, "abcdef\n"), 3U);
  EXPECT_TRUE(turn_until_read(one.get(), "abc"));
  EXPECT_TRUE(turn_until([&] { return log_text() == "abc"; }));
}

TEST_F(SharedConsoleTest, TheLogHasAllThatTheGuestWrites) {
  std::ofstream(path("log")) << "of the last run\n";
  make(/*has_log=*/true);
  std::string all;
  for (int i = 0; i < 20'000; ++i) {
    const std::string line = "line " + std::to_string(i) + "\n";
    // The loop does not turn as often as the guest writes: it is held back, and nothing is lost.
    size_t done = 0;
    while (done < line.size()) {
      done += print(*console_, line.substr(done));
      if (done < line.size()) {
        const int calls = guest_.output_room_calls;
        ASSERT_TRUE(turn_until([&] { return guest_.output_room_calls > calls; }));
      }
    }
    all += line;
  }
  console_->flush();
  EXPECT_EQ(log_text(), all);
  EXPECT_EQ(own_->sink.text, all);
}

TEST_F(SharedConsoleTest, TheLogIsContinuedWhereThatIsSaid) {
  std::ofstream(path("log")) << "of the last run\n";
  make(/*has_log=*/true, /*is_append=*/true);
  print(*console_, "of this one\n");
  console_->flush();
  EXPECT_EQ(log_text(), "of the last run\nof this one\n");
}

}  // namespace
}  // namespace vmm
