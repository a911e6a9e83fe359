// Words of an option, and commas in them.
#include "vmm/base/option_words.h"

#include <gmock/gmock.h>

namespace vmm {
namespace {

using testing::ElementsAre;

TEST(OptionWords, AreSeparatedByCommas) {
  EXPECT_THAT(split_option_words("size=1G"), ElementsAre("size=1G"));
  EXPECT_THAT(split_option_words("a=1,b"), ElementsAre("a=1", "b"));
}

TEST(OptionWords, ADoubledCommaIsOneInAWord) {
  EXPECT_THAT(split_option_words("file=a,,b,id=c"), ElementsAre("file=a,b", "id=c"));
  EXPECT_THAT(split_option_words("a,,,b"), ElementsAre("a,", "b"));
  EXPECT_THAT(split_option_words(",,"), ElementsAre(","));
}

TEST(OptionWords, MayBeEmpty) {
  EXPECT_THAT(split_option_words(""), ElementsAre(""));
  EXPECT_THAT(split_option_words("a,"), ElementsAre("a", ""));
  EXPECT_THAT(split_option_words(",a"), ElementsAre("", "a"));
}

}  // namespace
}  // namespace vmm
