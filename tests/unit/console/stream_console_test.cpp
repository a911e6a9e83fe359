#include "vmm/console/stream_console.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "tests/unit/console/console_fixture.h"

namespace vmm {
namespace {

// A console on two descriptors of ours.
class DescriptorConsole final : public StreamConsole {
 public:
  DescriptorConsole(EventLoop& loop, UniqueFd input, UniqueFd output) : StreamConsole(loop, "the console") {
    EXPECT_TRUE(start().has_value());
    for (const int fd : {input.get(), output.get()}) {
      ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
    }
    attach(StreamEnd(std::move(input)), StreamEnd(std::move(output)));
  }

  void give_up_at_once() { set_stall_time(EventLoop::Duration(1)); }
  void try_again_at_once() { set_space_retry_time(EventLoop::Duration(1)); }
  bool is_ended = false;

 private:
  void handle_end_of_input() override { is_ended = true; }
};

class StreamConsoleTest : public ConsoleFixture {
 protected:
  FdPair input_ = make_pipe();
  FdPair output_pipe_ = make_pipe();
  DescriptorConsole console_{*loop_, std::move(input_.first), std::move(output_pipe_.second)};
  int reader_ = output_pipe_.first.get();
  int writer_ = input_.second.get();

  std::string contents_of(std::string_view name) const {
    std::ostringstream text;
    text << std::ifstream(path(name)).rdbuf();
    return text.str();
  }

  // Writes bytes that tell their position until one is refused; returns how many were taken.
  size_t fill() {
    size_t count = 0;
    while (count < 10'000'000) {
      const std::byte byte{static_cast<uint8_t>(count % 251)};
      if (console_.write(std::span(&byte, 1)) == 0) {
        break;
      }
      ++count;
    }
    return count;
  }
};

TEST_F(StreamConsoleTest, ALineIsWrittenOutWithoutATimer) {
  EXPECT_EQ(print(console_, "hello\n"), 6U);
  loop_->run_once(EventLoop::Duration(0));
  EXPECT_EQ(read_available(reader_), "hello\n");
}

TEST_F(StreamConsoleTest, LessThanALineFollowsSoon) {
  for (const char c : std::string_view("login: ")) {
    print(console_, std::string(1, c));
  }
  EXPECT_TRUE(turn_until_read(reader_, "login: "));
}

TEST_F(StreamConsoleTest, OutputBeforeTheLoopTurnsIsKept) {
  for (int i = 0; i < 1000; ++i) {
    print(console_, "0123456789\n");
  }
  settle();
  EXPECT_EQ(read_available(reader_).size(), 11'000U);
}

TEST_F(StreamConsoleTest, ASlowReaderHoldsTheGuestBackAndLosesNothing) {
  console_.connect(guest_);
  const size_t first = fill();
  EXPECT_EQ(first, OutputBuffer::kCapacityBytes);
  settle();  // into the pipe, until that is full too
  EXPECT_GT(guest_.output_room_calls, 0);
  // The guest goes on where it was refused.
  std::string expected;
  for (size_t i = 0; i < first; ++i) {
    expected.push_back(static_cast<char>(i % 251));
  }
  const size_t second = fill();
  for (size_t i = 0; i < second; ++i) {
    expected.push_back(static_cast<char>(i % 251));
  }
  EXPECT_TRUE(turn_until([&] {
    output_ += read_available(reader_);
    return output_.size() >= expected.size();
  }));
  EXPECT_TRUE(output_ == expected);
}

TEST_F(StreamConsoleTest, AStalledReaderDoesNotHoldTheGuestBackForEver) {
  console_.connect(guest_);
  console_.give_up_at_once();
  fill();
  settle();
  fill();
  guest_.output_room_calls = 0;
  EXPECT_TRUE(turn_until([&] { return guest_.output_room_calls > 0; }));
  EXPECT_EQ(print(console_, "dropped"), 7U);
}

TEST_F(StreamConsoleTest, AReaderThatReadsAgainIsWaitedForAgain) {
  console_.connect(guest_);
  console_.give_up_at_once();
  fill();
  settle();
  fill();
  guest_.output_room_calls = 0;
  ASSERT_TRUE(turn_until([&] { return guest_.output_room_calls > 0; }));
  ASSERT_EQ(print(console_, "dropped"), 7U);
  const auto drain = [&] {
    read_available(reader_);
    settle();
  };
  drain();
  drain();
  drain();
  print(console_, "seen\n");
  EXPECT_TRUE(turn_until_read(reader_, "seen\n"));
  EXPECT_LT(fill(), 10'000'000U);  // refused again in the end
}

TEST_F(StreamConsoleTest, OutputIsDroppedWhenTheReaderHasGone) {
  console_.connect(guest_);
  output_pipe_.first.reset();
  print(console_, "a\n");
  settle();
  EXPECT_EQ(print(console_, std::string(1'000'000, 'x')), 1'000'000U);
}

TEST_F(StreamConsoleTest, TheEndOfTheReaderReleasesAGuestThatWaits) {
  console_.connect(guest_);
  fill();
  settle();
  fill();
  guest_.output_room_calls = 0;
  output_pipe_.first.reset();
  EXPECT_TRUE(turn_until([&] { return guest_.output_room_calls > 0; }));
}

TEST_F(StreamConsoleTest, FlushWritesWhatIsLeftWithoutTheLoop) {
  print(console_, "last words");
  console_.flush();
  EXPECT_EQ(read_available(reader_), "last words");
}

TEST_F(StreamConsoleTest, FlushDoesNotWaitForEverForAStalledReader) {
  fill();
  console_.flush();
  EXPECT_GT(read_available(reader_).size(), 0U);
}

TEST_F(StreamConsoleTest, WhatAFlushCouldNotWriteGoesOnWhereTheLoopTurnsOn) {
  console_.connect(guest_);
  size_t written = fill();
  settle();
  written += fill();
  guest_.output_room_calls = 0;
  console_.flush();
  size_t seen = 0;
  EXPECT_TRUE(turn_until([&] {
    seen += read_available(reader_).size();
    return seen == written;
  }));
  EXPECT_GT(guest_.output_room_calls, 0);
}

TEST_F(StreamConsoleTest, InputReachesTheGuest) {
  console_.connect(guest_);
  type(writer_, "ls\n");
  EXPECT_TRUE(turn_until([&] { return guest_.text == "ls\n"; }));
}

TEST_F(StreamConsoleTest, InputThatCameBeforeTheGuestIsKept) {
  type(writer_, "early");
  settle();
  console_.connect(guest_);
  EXPECT_TRUE(turn_until([&] { return guest_.text == "early"; }));
}

TEST_F(StreamConsoleTest, AGuestThatTakesNoInputLeavesItInThePipe) {
  guest_.room = 0;
  console_.connect(guest_);
  ::fcntl(writer_, F_SETFL, O_NONBLOCK);
  const std::string block(4096, 'x');
  size_t written = 0;
  for (int i = 0; i < 1000; ++i) {
    const ssize_t count = ::write(writer_, block.data(), block.size());
    written += count > 0 ? static_cast<size_t>(count) : 0;
    loop_->run_once(EventLoop::Duration(0));
  }
  EXPECT_LE(written, 2U * 65536);
}

TEST_F(StreamConsoleTest, InputGoesOnWhenTheGuestHasRoomAgain) {
  guest_.room = 3;
  console_.connect(guest_);
  type(writer_, "abcdefgh");
  EXPECT_TRUE(turn_until([&] { return guest_.text == "abc"; }));
  guest_.room = 2;
  console_.input_room();
  EXPECT_TRUE(turn_until([&] { return guest_.text == "abcde"; }));
  guest_.room = 100;
  console_.input_room();
  EXPECT_TRUE(turn_until([&] { return guest_.text == "abcdefgh"; }));
  type(writer_, "ij");
  EXPECT_TRUE(turn_until([&] { return guest_.text == "abcdefghij"; }));
}

TEST_F(StreamConsoleTest, InputBeforeTheEndIsDeliveredAfterIt) {
  guest_.room = 1;
  console_.connect(guest_);
  type(writer_, "exit\n");
  ASSERT_TRUE(turn_until([&] { return guest_.text == "e"; }));
  input_.second.reset();
  settle();
  guest_.room = 100;
  console_.input_room();
  EXPECT_TRUE(turn_until([&] { return console_.is_ended; }));
  EXPECT_EQ(guest_.text, "exit\n");
  print(console_, "still here\n");
  EXPECT_TRUE(turn_until_read(reader_, "still here\n"));
}

TEST_F(StreamConsoleTest, SeveralThreadsMayWriteWhileTheLoopTurns) {
  constexpr int kThreads = 3;
  constexpr size_t kBytesEach = 20'000;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([this] {
      for (size_t written = 0; written < kBytesEach;) {
        const size_t count = print(console_, "x");
        written += count;
        if (count == 0) {
          std::this_thread::yield();
        }
      }
    });
  }
  EXPECT_TRUE(turn_until([&] {
    output_ += read_available(reader_);
    return output_.size() == kThreads * kBytesEach;
  }));
  for (auto& thread : threads) {
    thread.join();
  }
}

TEST_F(StreamConsoleTest, OutputIsLostOnlyWhileThereIsNoSpace) {
  ASSERT_TRUE(log::open(path("log")));
  UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  const int fd = full.get();
  DescriptorConsole console(*loop_, make_pipe().first, std::move(full));
  console.try_again_at_once();
  console.connect(guest_);
  EXPECT_EQ(print(console, "kept\n"), 5U);
  settle();
  EXPECT_EQ(print(console, std::string(100'000, 'x')), 100'000U);
  settle();

  const FdPair roomy = make_pipe();  // in its place, as if somebody had made room
  ::fcntl(roomy.second.get(), F_SETFL, O_NONBLOCK);
  ASSERT_GE(::dup2(roomy.second.get(), fd), 0);
  const std::string kept = "kept\n" + std::string(OutputBuffer::kCapacityBytes - 5, 'x');
  EXPECT_TRUE(turn_until_read(roomy.first.get(), kept));
  print(console, "and on\n");
  EXPECT_TRUE(turn_until_read(roomy.first.get(), kept + "and on\n"));
  log::close();
  const std::string log = contents_of("log");
  EXPECT_EQ(log.find("until there is space"), log.rfind("until there is space")) << log;
  EXPECT_NE(log.find("; 34469 bytes of output were lost"), std::string::npos) << log;
}

}  // namespace
}  // namespace vmm
