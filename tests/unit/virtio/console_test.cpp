// What the guest prints arrives once and in order, what is typed too, however slow either side is.
#include "devices/virtio/console.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "tests/unit/fakes/fake_byte_stream.h"
#include "tests/unit/fakes/loop_thread.h"
#include "tests/unit/virtio/small_device_rig.h"
#include "vmm/base/bytes.h"

namespace vmm::virtio {
namespace {

using ::testing::ElementsAre;

constexpr uint16_t kInput = 0;
constexpr uint16_t kOutput = 1;
constexpr uint64_t kOutputData = 0x20'0000;
constexpr uint64_t kInputData = 0x40'0000;

struct ConsoleRig {
  explicit ConsoleRig(Transport transport = Transport::kPci) : guest(device, transport, *loop) {}

  void write(std::string_view text) const {
    VMM_CHECK(guest.memory.write_bytes(GuestAddress(kOutputData), as_bytes(text)), "not in test memory");
  }
  // Whether the request came back.
  bool print(std::string_view text) {
    write(text);
    guest.queues[kOutput].add(0, {{kOutputData, static_cast<uint32_t>(text.size()), false}});
    guest.kick(kOutput);
    return guest.queues[kOutput].take_used().has_value();
  }
  size_t type(std::string_view text) {
    const size_t taken = device.receive(as_bytes(text));
    guest.turn();
    return taken;
  }
  // A buffer for input, with its own head.
  void offer(uint16_t head, uint32_t length) {
    guest.queues[kInput].add(head, {{kInputData + uint64_t{0x1'0000} * head, length, true}});
    guest.kick(kInput);
  }
  // What the next buffer that came back holds; "-" where none did.
  std::string take_input() {
    const auto used = guest.queues[kInput].take_used();
    if (!used) {
      return "-";
    }
    std::string text;
    for (const int byte : guest.bytes(kInputData + uint64_t{0x1'0000} * used->id, used->length)) {
      text.push_back(static_cast<char>(byte));
    }
    return text;
  }

  std::unique_ptr<EventLoop> loop = *EventLoop::create();
  FakeByteSink sink;
  VirtioConsole device{sink, *loop};
  SmallDeviceRig guest;
};

class ConsoleOn : public ::testing::TestWithParam<Transport> {};
INSTANTIATE_TEST_SUITE_P(Transports, ConsoleOn, ::testing::Values(Transport::kPci, Transport::kMmio));

TEST_P(ConsoleOn, PrintsAndTypes) {
  ConsoleRig rig(GetParam());
  rig.guest.start();
  EXPECT_TRUE(rig.print("hello "));
  EXPECT_TRUE(rig.print("world"));
  EXPECT_EQ(rig.sink.text, "hello world");
  rig.offer(0, 100);
  EXPECT_EQ(rig.take_input(), "-");
  EXPECT_EQ(rig.type("typed"), 5U);
  EXPECT_EQ(rig.take_input(), "typed");
}

TEST(VirtioConsoleTest, OffersOnePortWithoutASize) {
  ConsoleRig rig;
  EXPECT_EQ(rig.device.features(), 0U);
  EXPECT_EQ(rig.device.queue_count(), 2);
  EXPECT_EQ(rig.guest.driver->config32(0), 0U);
  EXPECT_EQ(rig.guest.driver->config32(4), 0U);
}

TEST(VirtioConsoleTest, InputWaitsForBuffersAndGoesOnWhereItStopped) {
  ConsoleRig rig;
  EXPECT_EQ(rig.type("abc"), 3U) << "before the driver is there, too";
  rig.guest.start();
  EXPECT_EQ(rig.type("def"), 3U);
  rig.offer(0, 4);
  EXPECT_EQ(rig.take_input(), "abcd");
  EXPECT_EQ(rig.take_input(), "-");
  rig.offer(1, 4);
  EXPECT_EQ(rig.take_input(), "ef");
}

TEST(VirtioConsoleTest, InputOutlivesAResetOfTheDriver) {
  ConsoleRig rig;
  rig.guest.start();
  EXPECT_EQ(rig.type("abc"), 3U);
  rig.guest.restart();
  rig.offer(0, 4);
  EXPECT_EQ(rig.take_input(), "abc");
}

TEST(VirtioConsoleTest, InputThatHasNoRoomStaysWithTheHostUntilThereIsSome) {
  ConsoleRig rig;
  rig.guest.start();
  const std::string flood(VirtioConsole::kInputBytes + 100, 'x');
  EXPECT_EQ(rig.type(flood), VirtioConsole::kInputBytes);
  EXPECT_EQ(rig.type("y"), 0U);
  EXPECT_EQ(rig.sink.input_room_calls, 0);
  rig.offer(0, 100);
  EXPECT_EQ(rig.sink.input_room_calls, 0) << "not for each small buffer";
  rig.offer(1, 4096);
  EXPECT_EQ(rig.sink.input_room_calls, 1);
  EXPECT_EQ(rig.take_input().size() + rig.take_input().size(), VirtioConsole::kInputBytes);
  EXPECT_EQ(rig.type("z"), 1U);
  rig.offer(2, 10);
  EXPECT_EQ(rig.take_input(), "z");
  EXPECT_EQ(rig.sink.input_room_calls, 1);
}

TEST(VirtioConsoleTest, OutputWaitsForItsReaderAndNothingIsLost) {
  ConsoleRig rig;
  rig.guest.start();
  rig.sink.room = 3;
  EXPECT_FALSE(rig.print("abcdef"));
  // The next ones stay in the ring.
  rig.guest.queues[kOutput].add(1, {{kOutputData, 2, false}});
  rig.guest.kick(kOutput);
  EXPECT_EQ(rig.sink.text, "abc");
  rig.sink.room = 4;
  rig.device.output_room();
  rig.guest.turn();
  EXPECT_THAT(rig.guest.queues[kOutput].take_all_used(), ElementsAre(FakeVirtqueue::Used{0, 0}));
  EXPECT_EQ(rig.sink.text, "abcdefa");
  rig.sink.room = 100;
  rig.device.output_room();
  rig.guest.turn();
  EXPECT_EQ(rig.sink.text, "abcdefab");
  EXPECT_EQ(rig.guest.queues[kOutput].take_all_used().size(), 1U);
}

TEST(VirtioConsoleTest, ALongRequestIsPrintedWhole) {
  ConsoleRig rig;
  rig.guest.start();
  std::string text;
  for (int i = 0; i < 60'000; ++i) {
    text += "0123456789"[i % 10];
  }
  rig.write(text);
  rig.guest.queues[kOutput].add(0, {{kOutputData, 7, false}, {kOutputData + 7, 59'993, false}});
  rig.guest.kick(kOutput);
  EXPECT_EQ(rig.sink.text, text);
  EXPECT_EQ(rig.guest.queues[kOutput].take_all_used().size(), 1U);
}

TEST(VirtioConsoleTest, OutputThatWaitsIsGivenUpWhereTheMachineStops) {
  ConsoleRig rig;
  rig.guest.start();
  rig.sink.room = 3;
  EXPECT_FALSE(rig.print("abcdef"));
  rig.offer(0, 10);
  bool is_quiet = false;
  rig.guest.core().quiesce([&is_quiet] { is_quiet = true; });
  rig.guest.turn();
  EXPECT_TRUE(is_quiet);
  rig.sink.room = 100;
  rig.device.output_room();
  EXPECT_EQ(rig.type("typed"), 5U);
  EXPECT_EQ(rig.sink.text, "abc");
  EXPECT_EQ(rig.take_input(), "-");
  rig.guest.core().resume();
  rig.guest.turn();
  EXPECT_EQ(rig.take_input(), "typed");
  EXPECT_TRUE(rig.print("next"));
  EXPECT_EQ(rig.sink.text, "abcnext");
}

TEST(VirtioConsoleTest, ADriverMayResetItWhileOutputWaits) {
  ConsoleRig rig;
  rig.guest.start();
  rig.sink.room = 3;
  EXPECT_FALSE(rig.print("abcdef"));
  rig.guest.restart();
  rig.sink.room = 100;
  rig.device.output_room();
  EXPECT_TRUE(rig.print("next"));
  EXPECT_EQ(rig.sink.text, "abcnext");
}

TEST(HostileConsoleDriver, RequestsThatMakeNoSenseComeBackAndDoNothing) {
  ConsoleRig rig;
  rig.guest.start();
  EXPECT_EQ(rig.type("abc"), 3U);
  rig.guest.queues[kOutput].add(0, {{kOutputData, 10, true}});    // nothing to print
  rig.guest.queues[kOutput].add(1, {{0x9000'0000, 10, false}});   // outside of memory
  rig.guest.queues[kOutput].add(2, {{0x7f'fff0, 0x100, false}});  // half of it
  rig.guest.kick(kOutput);
  EXPECT_EQ(rig.guest.queues[kOutput].take_all_used().size(), 3U);
  EXPECT_EQ(rig.sink.text, "");
  rig.guest.queues[kInput].add(0, {{kInputData, 10, false}});  // no room
  rig.guest.queues[kInput].add(1, {{0x9000'0000, 10, true}});  // outside of memory
  rig.guest.kick(kInput);
  EXPECT_THAT(rig.guest.queues[kInput].take_all_used(),
              ElementsAre(FakeVirtqueue::Used{0, 0}, FakeVirtqueue::Used{1, 0}));
  rig.offer(2, 10);
  EXPECT_EQ(rig.take_input(), "abc");
}

TEST(HostileConsoleDriver, GigabytesInOneRequestLeaveOthersTheirTurn) {
  ConsoleRig rig;
  rig.guest.start();
  // The same 4 MiB again and again.
  std::vector<FakeBuffer> buffers(64, {kOutputData, 4U << 20, false});
  rig.guest.queues[kOutput].add(0, buffers);
  rig.guest.driver->notify(kOutput);
  rig.loop->run_once(std::chrono::nanoseconds(0));
  EXPECT_GT(rig.sink.text.size(), 0U);
  EXPECT_LE(rig.sink.text.size(), size_t{128} << 10);
  bool is_quiet = false;
  rig.guest.core().quiesce([&is_quiet] { is_quiet = true; });
  rig.guest.turn();
  EXPECT_TRUE(is_quiet);
}

// Bytes that tell their position.
std::string counted(size_t first, size_t count) {
  std::string text(count, ' ');
  for (size_t i = 0; i < count; ++i) {
    text[i] = static_cast<char>('0' + (first + i) % 67);
  }
  return text;
}

TEST(VirtioConsoleThreads, BothWaysAtOnceAndInOrder) {
  constexpr size_t kBytes = 100'000;
  constexpr size_t kPrinted = 500;
  ConsoleRig rig;
  rig.guest.start();
  std::string got;
  {
    const LoopThread thread(*rig.loop);
    size_t typed = 0;
    size_t printed = 0;
    bool prints = false;
    bool reads = false;
    EXPECT_TRUE(eventually([&] {
      if (prints && rig.guest.queues[kOutput].take_used()) {
        prints = false;
        printed += kPrinted;
      }
      if (!prints && printed < kBytes) {
        prints = true;
        rig.write(counted(printed, kPrinted));
        rig.guest.queues[kOutput].add(0, {{kOutputData, kPrinted, false}});
        rig.guest.driver->notify(kOutput);
      }
      typed += rig.device.receive(as_bytes(counted(typed, std::min<size_t>(64, kBytes - typed))));
      if (const std::string came = reads ? rig.take_input() : "-"; came != "-") {
        reads = false;
        got += came;
      }
      if (!reads) {
        reads = true;
        rig.guest.queues[kInput].add(0, {{kInputData, 512, true}});
        rig.guest.driver->notify(kInput);
      }
      return printed == kBytes && got.size() >= kBytes;
    }));
  }
  EXPECT_TRUE(got == counted(0, kBytes));
  EXPECT_TRUE(rig.sink.text == counted(0, kBytes));
}

}  // namespace
}  // namespace vmm::virtio
