#include "vmm/console/escape_filter.h"

#include <gtest/gtest.h>

namespace vmm {
namespace {

using Action = EscapeFilter::Action;

constexpr std::byte kCtrlA{0x01};
constexpr std::byte key(char c) { return static_cast<std::byte>(c); }

TEST(EscapeFilter, OrdinaryKeysPass) {
  EscapeFilter filter;
  for (const char c : {'x', 'h', '\r', '\x03', '\x1b'}) {
    EXPECT_EQ(filter.feed(key(c)), Action::kPass);
  }
}

TEST(EscapeFilter, TheEscapeKeyIsKept) {
  EscapeFilter filter;
  EXPECT_EQ(filter.feed(kCtrlA), Action::kNothing);
}

TEST(EscapeFilter, TwiceTheEscapeKeySendsOne) {
  EscapeFilter filter;
  filter.feed(kCtrlA);
  EXPECT_EQ(filter.feed(kCtrlA), Action::kPass);
  EXPECT_EQ(filter.feed(key('x')), Action::kPass);
}

TEST(EscapeFilter, CommandsFollowTheEscapeKey) {
  EscapeFilter filter;
  filter.feed(kCtrlA);
  EXPECT_EQ(filter.feed(key('x')), Action::kQuit);
  filter.feed(kCtrlA);
  EXPECT_EQ(filter.feed(key('h')), Action::kHelp);
  filter.feed(kCtrlA);
  EXPECT_EQ(filter.feed(key('b')), Action::kBreak);
}

TEST(EscapeFilter, AnythingElseAfterTheEscapeKeyIsIgnoredOnce) {
  EscapeFilter filter;
  filter.feed(kCtrlA);
  EXPECT_EQ(filter.feed(key('q')), Action::kNothing);
  EXPECT_EQ(filter.feed(key('q')), Action::kPass);
}

}  // namespace
}  // namespace vmm
