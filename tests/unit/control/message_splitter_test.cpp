#include "vmm/control/message_splitter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace vmm::control {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Splitter : public testing::Test {
 protected:
  std::vector<std::string> messages_;
  std::vector<std::string> garbage_;
  MessageSplitter splitter_{[this](std::string_view message) { messages_.emplace_back(message); },
                            [this](const char* reason) { garbage_.emplace_back(reason); }};
};

TEST_F(Splitter, CutsAtTheEndsOfObjects) {
  splitter_.take(R"({"a":1}{"b":[{}]}
 {"c":2})");
  EXPECT_THAT(messages_, ElementsAre(R"({"a":1})", R"({"b":[{}]})", R"({"c":2})"));
  EXPECT_THAT(garbage_, IsEmpty());
}

TEST_F(Splitter, PutsPiecesTogether) {
  for (const char byte : std::string(R"({"execute": "quit"})")) {
    splitter_.take(std::string_view(&byte, 1));
  }
  EXPECT_THAT(messages_, ElementsAre(R"({"execute": "quit"})"));
}

TEST_F(Splitter, TakesOneAtATimeWhereThatIsWanted) {
  const std::string_view bytes = R"( {"a":1}{"b":2})";
  EXPECT_EQ(splitter_.take_one(bytes), 8U);
  EXPECT_THAT(messages_, ElementsAre(R"({"a":1})"));
  EXPECT_EQ(splitter_.take_one(bytes.substr(8, 3)), 3U);
  EXPECT_EQ(splitter_.take_one(bytes.substr(11)), 4U);
  EXPECT_THAT(messages_, ElementsAre(R"({"a":1})", R"({"b":2})"));
  EXPECT_EQ(splitter_.take_one("nonsense\n{}"), 1U);
  EXPECT_EQ(splitter_.take_one("onsense\n{}"), 10U);
  EXPECT_THAT(messages_, ::testing::SizeIs(3));
}

TEST_F(Splitter, BracesInStringsDoNotCount) {
  splitter_.take(R"({"a":"}\"}{\\"})");
  EXPECT_THAT(messages_, ElementsAre(R"({"a":"}\"}{\\"})"));
}

TEST_F(Splitter, SingleQuotesAreAsGoodAsDoubleOnes) {
  splitter_.take(R"({'execute':'say "x}" and \'\\'}{"a":"it's and it\'s"}{'b':"}"})");
  EXPECT_THAT(messages_,
              ElementsAre(R"({"execute":"say \"x}\" and '\\"})", R"({"a":"it's and it's"})", R"({"b":"}"})"));
  EXPECT_THAT(garbage_, IsEmpty());
}

TEST_F(Splitter, GarbageIsDroppedToTheEndOfTheLine) {
  splitter_.take("hello {\"a\":1}\n{\"b\":2}\n");
  EXPECT_THAT(messages_, ElementsAre(R"({"b":2})"));
  EXPECT_EQ(garbage_.size(), 1U);
}

TEST_F(Splitter, WhatIsTooLongOrTooDeepIsDropped) {
  splitter_.take("{\"a\":\"" + std::string(kMaxMessageBytes, 'x') + "\"}\n");
  splitter_.take("{\"a\":" + std::string(kMaxDepth, '[') + std::string(kMaxDepth, ']') + "}\n");
  splitter_.take("{}");
  EXPECT_THAT(messages_, ElementsAre("{}"));
  EXPECT_EQ(garbage_.size(), 2U);
}

}  // namespace
}  // namespace vmm::control
