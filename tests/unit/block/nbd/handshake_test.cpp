// The negotiation, as the protocol's document has it.
#include "block/nbd/handshake.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/block/nbd/nbd_messages.h"
#include "tests/unit/fakes/fake_block_device.h"

namespace vmm::block::nbd {
namespace {

using Next = Handshake::Next;

class NbdHandshake : public ::testing::Test {
 protected:
  NbdHandshake() { EXPECT_EQ(handshake_.take_client_flags(kFixedNewstyle | kNoZeroes), Next::kOption); }

  Answer take(Option option, const Message& data = {}, Next expected = Next::kOption) {
    Handshake::Output output;
    EXPECT_EQ(handshake_.take_option(static_cast<uint32_t>(option), data.bytes(), output), expected);
    return Answer(std::move(output));
  }
  void negotiate_structured_replies() { take(Option::kStructuredReply).expect_ack(Option::kStructuredReply); }
  static uint16_t expect_export(Answer& answer, Option option, uint64_t size) {
    EXPECT_EQ(answer.expect_option_reply(option, OptionReply::kInfo), 12U);
    EXPECT_EQ(answer.take<uint16_t>(), static_cast<uint16_t>(Info::kExport));
    EXPECT_EQ(answer.take<uint64_t>(), size);
    return answer.take<uint16_t>();
  }

  FakeBlockDevice disk_{1 << 20};
  Export export_{.name = "disk", .description = "A disk", .disk = &disk_};
  Handshake handshake_{export_};
};

TEST_F(NbdHandshake, GreetsWithFixedNewstyle) {
  Handshake::Output output;
  Handshake::greet(output);
  Answer answer(std::move(output));
  answer.expect_greeting();
  EXPECT_TRUE(answer.is_empty());
}

TEST_F(NbdHandshake, GoTellsOfTheExportAndBeginsTransmission) {
  Answer answer = take(Option::kGo, go_data("disk"), Next::kTransmission);
  EXPECT_EQ(expect_export(answer, Option::kGo, 1 << 20),
            kHasFlags | kSendFlush | kSendFua | kSendTrim | kSendWriteZeroes);
  answer.expect_ack(Option::kGo);
  EXPECT_TRUE(answer.is_empty());
}

TEST_F(NbdHandshake, InfoTellsTheSameAndDoesNot) {
  Answer answer = take(Option::kInfo, go_data("disk"));
  expect_export(answer, Option::kInfo, 1 << 20);
  answer.expect_ack(Option::kInfo);
}

TEST_F(NbdHandshake, WhatElseIsAskedForIsTold) {
  disk_.set_limits({.physical_block_bytes = 512, .optimal_io_bytes = 65536});
  Answer answer = take(Option::kInfo, go_data("disk", {Info::kBlockSize, Info::kName, Info::kDescription}));
  expect_export(answer, Option::kInfo, 1 << 20);
  EXPECT_EQ(answer.expect_option_reply(Option::kInfo, OptionReply::kInfo), 6U);
  EXPECT_EQ(answer.take<uint16_t>(), static_cast<uint16_t>(Info::kName));
  EXPECT_EQ(answer.take_text(4), "disk");
  EXPECT_EQ(answer.expect_option_reply(Option::kInfo, OptionReply::kInfo), 8U);
  EXPECT_EQ(answer.take<uint16_t>(), static_cast<uint16_t>(Info::kDescription));
  EXPECT_EQ(answer.take_text(6), "A disk");
  EXPECT_EQ(answer.expect_option_reply(Option::kInfo, OptionReply::kInfo), 14U);
  EXPECT_EQ(answer.take<uint16_t>(), static_cast<uint16_t>(Info::kBlockSize));
  EXPECT_EQ(answer.take<uint32_t>(), 1U);
  EXPECT_EQ(answer.take<uint32_t>(), 65536U);
  EXPECT_EQ(answer.take<uint32_t>(), 32U << 20U);
  answer.expect_ack(Option::kInfo);
  EXPECT_TRUE(answer.is_empty());
}

TEST_F(NbdHandshake, AReadOnlyDiskOffersNoChanges) {
  disk_.set_read_only(true);
  export_.has_several_connections = true;
  Answer answer = take(Option::kInfo, go_data("disk"));
  EXPECT_EQ(expect_export(answer, Option::kInfo, 1 << 20),
            kHasFlags | kSendFlush | kReadOnly | kCanMultiConn);
}

TEST_F(NbdHandshake, TrimIsOfferedWhereTheDiskDiscards) {
  disk_.set_limits({.discard_alignment_bytes = 0, .can_write_zeroes = false});
  Answer answer = take(Option::kInfo, go_data("disk"));
  EXPECT_EQ(expect_export(answer, Option::kInfo, 1 << 20), kHasFlags | kSendFlush | kSendFua);
}

TEST_F(NbdHandshake, AnotherNameIsUnknown) {
  for (const Option option : {Option::kInfo, Option::kGo}) {
    take(option, go_data("disc")).expect_refusal(option, OptionReply::kErrUnknown);
    take(option, go_data("")).expect_refusal(option, OptionReply::kErrUnknown);
  }
  EXPECT_TRUE(take(Option::kExportName, Message().text("disc"), Next::kFault).is_empty());
}

TEST_F(NbdHandshake, LengthsThatDoNotAgreeAreInvalid) {
  const std::vector<Message> bad = {
      Message(),
      Message().put(uint32_t{4}),
      Message().put(uint32_t{5}).text("disk"),
      Message().put(uint32_t{0xffffffff}).text("disk").put(uint16_t{0}),
      Message().string("disk"),
      Message().string("disk").put(uint16_t{1}),
      Message().string("disk").put(uint16_t{0}).text("x"),
      Message().string("disk").put(uint16_t{0xffff}).put(uint16_t{1}),
      Message().string(std::string(kMaxStringBytes + 1, 'x')).put(uint16_t{0}),
  };
  for (const Message& data : bad) {
    take(Option::kGo, data).expect_refusal(Option::kGo, OptionReply::kErrInvalid);
  }
  negotiate_structured_replies();
  for (const Message& data : bad) {
    take(Option::kSetMetaContext, data).expect_refusal(Option::kSetMetaContext, OptionReply::kErrInvalid);
  }
}

TEST_F(NbdHandshake, ListNamesTheExport) {
  Answer answer = take(Option::kList);
  EXPECT_EQ(answer.expect_option_reply(Option::kList, OptionReply::kServer), 14U);
  EXPECT_EQ(answer.take<uint32_t>(), 4U);
  EXPECT_EQ(answer.take_text(10), "diskA disk");
  answer.expect_ack(Option::kList);
  take(Option::kList, Message().text("x")).expect_refusal(Option::kList, OptionReply::kErrInvalid);
}

TEST_F(NbdHandshake, AbortIsAcknowledgedAndEndsIt) {
  take(Option::kAbort, {}, Next::kEnd).expect_ack(Option::kAbort);
}

TEST_F(NbdHandshake, WhatIsNotKnownIsUnsupported) {
  take(Option::kStartTls).expect_refusal(Option::kStartTls, OptionReply::kErrUnsupported);
  for (const uint32_t option : {0U, 4U, 11U, 0xffffffffU}) {
    take(static_cast<Option>(option))
        .expect_refusal(static_cast<Option>(option), OptionReply::kErrUnsupported);
  }
}

TEST_F(NbdHandshake, StructuredRepliesAreAgreedUpon) {
  take(Option::kStructuredReply, Message().text("x"))
      .expect_refusal(Option::kStructuredReply, OptionReply::kErrInvalid);
  EXPECT_FALSE(handshake_.has_structured_replies());
  negotiate_structured_replies();
  EXPECT_TRUE(handshake_.has_structured_replies());
  Answer answer = take(Option::kInfo, go_data("disk"));
  EXPECT_NE(expect_export(answer, Option::kInfo, 1 << 20) & kSendDf, 0);
}

TEST_F(NbdHandshake, BlockStatusNeedsStructuredReplies) {
  take(Option::kSetMetaContext, context_data("disk", {"base:allocation"}))
      .expect_refusal(Option::kSetMetaContext, OptionReply::kErrInvalid);
  EXPECT_FALSE(handshake_.has_block_status());
}

TEST_F(NbdHandshake, TheContextBaseAllocationCanBeChosen) {
  negotiate_structured_replies();
  Answer answer = take(Option::kSetMetaContext, context_data("disk", {"other:thing", "base:allocation"}));
  EXPECT_EQ(answer.expect_option_reply(Option::kSetMetaContext, OptionReply::kMetaContext), 19U);
  EXPECT_EQ(answer.take<uint32_t>(), kAllocationContextId);
  EXPECT_EQ(answer.take_text(15), "base:allocation");
  answer.expect_ack(Option::kSetMetaContext);
  EXPECT_TRUE(handshake_.has_block_status());
}

TEST_F(NbdHandshake, ALaterChoiceReplacesAnEarlierOne) {
  negotiate_structured_replies();
  take(Option::kSetMetaContext, context_data("disk", {"base:allocation"}));
  Answer answer = take(Option::kSetMetaContext, context_data("disk", {"base:", "base:allocation2", ""}));
  answer.expect_ack(Option::kSetMetaContext);
  EXPECT_TRUE(answer.is_empty());
  EXPECT_FALSE(handshake_.has_block_status());
}

TEST_F(NbdHandshake, ContextsAreListed) {
  negotiate_structured_replies();
  for (const Message& data : {context_data("disk", {}), context_data("disk", {"base:"}),
                              context_data("disk", {"base:allocation"})}) {
    Answer answer = take(Option::kListMetaContext, data);
    EXPECT_EQ(answer.expect_option_reply(Option::kListMetaContext, OptionReply::kMetaContext), 19U);
    answer.take_bytes(19);
    answer.expect_ack(Option::kListMetaContext);
  }
  take(Option::kListMetaContext, context_data("disk", {"qemu:"})).expect_ack(Option::kListMetaContext);
  take(Option::kListMetaContext, context_data("disc", {}))
      .expect_refusal(Option::kListMetaContext, OptionReply::kErrUnknown);
  EXPECT_FALSE(handshake_.has_block_status());
}

TEST_F(NbdHandshake, TheOldWayInHasZeroesUnlessTheClientWantsNone) {
  Answer without = take(Option::kExportName, Message().text("disk"), Next::kTransmission);
  EXPECT_EQ(without.take<uint64_t>(), uint64_t{1} << 20U);
  EXPECT_NE(without.take<uint16_t>(), 0);
  EXPECT_TRUE(without.is_empty());

  ASSERT_EQ(handshake_.take_client_flags(0), Next::kOption);
  Answer with = take(Option::kExportName, Message().text("disk"), Next::kTransmission);
  with.take_bytes(10);
  EXPECT_EQ(with.take_bytes(124), std::vector<std::byte>(124));
  EXPECT_TRUE(with.is_empty());
}

TEST_F(NbdHandshake, AClientThatDoesNotKeepToItIsLetGo) {
  EXPECT_EQ(handshake_.take_client_flags(1U << 5U), Next::kFault);
  ASSERT_EQ(handshake_.take_client_flags(kNoZeroes), Next::kOption);
  // Without fixed newstyle it would not understand an answer.
  EXPECT_TRUE(take(Option::kGo, go_data("disk"), Next::kFault).is_empty());
}

}  // namespace
}  // namespace vmm::block::nbd
