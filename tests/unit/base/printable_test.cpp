#include "vmm/base/printable.h"

#include <gtest/gtest.h>

namespace vmm {
namespace {

using namespace std::string_literals;

TEST(Printable, NothingThatATerminalObeysIsLeft) {
  EXPECT_EQ(printable("a\x1b[31mb\r\n\t\x7f"s), "a?[31mb????");
  EXPECT_EQ(printable("\0x"s), "?x");
  EXPECT_EQ(printable("\xc2\x9b"
                      "2J \xe2\x80\xae \xe2\x81\xa6"s),
            "?2J ? ?");
}

TEST(Printable, OtherTextStaysAsItIs) {
  for (const std::string text :
       {"", "guest.qcow2", "größe é €", "\xe2\x80\xa6", "\xc2\xa0", "\xff", "\xc2", "\xe2\x80"}) {
    EXPECT_EQ(printable(text), text);
    EXPECT_EQ(printable_lines(text), text);
  }
}

TEST(Printable, LinesStayLines) {
  EXPECT_EQ(printable_lines("rax\t1\n\x1b]0;rip\a\n"), "rax\t1\n?]0;rip?\n");
}

}  // namespace
}  // namespace vmm
