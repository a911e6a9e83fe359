#include "devices/debug_console.h"

#include <gtest/gtest.h>

#include <string_view>

#include "tests/unit/fakes/fake_byte_stream.h"
#include "tests/unit/fakes/port_access.h"
#include "vmm/base/bytes.h"

namespace vmm {
namespace {

TEST(DebugConsoleTest, PassesEveryByteOn) {
  FakeByteSink sink;
  DebugConsole console(sink);
  for (int byte = 0; byte < 256; ++byte) {
    out8(console, 0, static_cast<uint8_t>(byte));
  }
  ASSERT_EQ(sink.text.size(), 256U);
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(static_cast<uint8_t>(sink.text[static_cast<size_t>(byte)]), byte);
  }
}

TEST(DebugConsoleTest, ReadingShowsThatItIsThere) {
  FakeByteSink sink;
  DebugConsole console(sink);
  EXPECT_EQ(in(console, 0), 0xe9);
}

TEST(DebugConsoleTest, LosesWhatItsReaderHasNoRoomForAndGoesOn) {
  FakeByteSink sink;
  DebugConsole console(sink);
  sink.room = 1;
  out8(console, 0, 'a');
  out8(console, 0, 'b');
  sink.room = 1;
  console.output_room();
  out8(console, 0, 'c');
  EXPECT_EQ(sink.text, "ac");
}

TEST(DebugConsoleTest, InputGoesNowhere) {
  FakeByteSink sink;
  DebugConsole console(sink);
  EXPECT_EQ(console.receive(as_bytes(std::string_view("typed"))), 5U);
  console.receive_break();
  EXPECT_EQ(in(console, 0), 0xe9);
}

}  // namespace
}  // namespace vmm
