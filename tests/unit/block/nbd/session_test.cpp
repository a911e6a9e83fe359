// Requests of a client, done by a disk in memory: as the protocol wants them, and as it does not.
#include "block/nbd/session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/unit/block/nbd/nbd_messages.h"
#include "tests/unit/fakes/fake_block_device.h"

namespace vmm::block::nbd {
namespace {

constexpr uint64_t kDiskBytes = 1 << 20;

std::vector<std::byte> pattern(size_t length, unsigned seed = 1) {
  std::vector<std::byte> bytes(length);
  unsigned state = seed;
  for (std::byte& byte : bytes) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<std::byte>(state >> 24U);
  }
  return bytes;
}

class NbdSession : public ::testing::Test {
 protected:
  NbdSession() { begin(); }
  void TearDown() override {
    while (disk_.in_flight() > 0) {
      disk_.complete_all();
    }
  }

  void begin() { session_ = std::make_unique<Session>(export_); }

  // In pieces of that length at most. Gives how much of it was taken.
  size_t send(const Message& message, size_t piece = std::numeric_limits<size_t>::max()) {
    std::span<const std::byte> rest = message.bytes();
    while (!rest.empty()) {
      size_t done = 0;
      for (const iovec& space : session_->input_space()) {
        const size_t count = std::min({space.iov_len, rest.size() - done, piece - done});
        std::memcpy(space.iov_base, rest.data() + done, count);
        done += count;
      }
      if (done == 0) {
        break;
      }
      rest = rest.subspan(done);
      session_->received(done);
    }
    return message.bytes().size() - rest.size();
  }

  // All that there is to be sent, in pieces of that length at most.
  Answer receive(size_t piece = std::numeric_limits<size_t>::max()) {
    std::vector<std::byte> bytes;
    while (session_->has_output()) {
      size_t done = 0;
      for (const iovec& part : session_->output()) {
        const size_t count = std::min(part.iov_len, piece - done);
        const auto* const from = static_cast<const std::byte*>(part.iov_base);
        bytes.insert(bytes.end(), from, from + count);
        done += count;
      }
      EXPECT_GT(done, 0U);
      session_->sent(done);
      session_->go_on();
    }
    return Answer(std::move(bytes));
  }

  // Up to transmission.
  void choose(bool has_structured_replies = false) {
    send(client_flags());
    if (has_structured_replies) {
      send(option_message(Option::kStructuredReply));
      send(option_message(Option::kSetMetaContext, context_data("", {"base:allocation"})));
    }
    send(option_message(Option::kGo, go_data("")));
    EXPECT_TRUE(session_->has_chosen());
    receive();
  }

  FakeBlockDevice disk_{kDiskBytes};
  Export export_{.name = "", .description = "", .disk = &disk_};
  std::unique_ptr<Session> session_;
};

// --- Before requests ---

TEST_F(NbdSession, GreetsFirst) {
  Answer answer = receive();
  answer.expect_greeting();
  EXPECT_TRUE(answer.is_empty());
  EXPECT_TRUE(session_->is_in_handshake());
}

TEST_F(NbdSession, MessagesMayComeInAnyPieces) {
  const auto bytes = pattern(10'000);
  Message all;
  all.data(client_flags().bytes())
      .data(option_message(Option::kStructuredReply).bytes())
      .data(option_message(Option::kGo, go_data("")).bytes())
      .data(request_message(Command::kWrite, 1, 512, 10'000).bytes())
      .data(bytes)
      .data(request_message(Command::kWrite, 2, 2 * kDiskBytes, 100).bytes())
      .data(std::span(bytes).first(100))
      .data(request_message(Command::kRead, 3, 1000, 3000).bytes());
  std::vector<std::byte> expected;
  for (const size_t piece : {std::numeric_limits<size_t>::max(), size_t{1}, size_t{7}, size_t{1000}}) {
    begin();
    std::ranges::fill(disk_.bytes(), std::byte{0});
    EXPECT_EQ(send(all, piece), all.bytes().size());
    Answer answer = receive(piece);
    const auto got = answer.take_bytes(answer.left());
    expected = expected.empty() ? got : expected;
    EXPECT_EQ(got, expected) << piece;
    EXPECT_TRUE(std::ranges::equal(bytes, disk_.bytes().subspan(512, 10'000))) << piece;
  }
}

TEST_F(NbdSession, AnOptionTooLongEndsIt) {
  send(client_flags());
  send(Message().put(kOptionMagic).put(uint32_t{7}).put(kMaxOptionBytes + 1));
  EXPECT_NE(session_->fault(), nullptr);
  EXPECT_TRUE(session_->is_over());
}

TEST_F(NbdSession, WhatIsNoOptionEndsIt) {
  send(client_flags());
  send(Message().put(uint64_t{1}).put(uint64_t{2}));
  EXPECT_NE(session_->fault(), nullptr);
  EXPECT_TRUE(session_->is_over());
}

TEST_F(NbdSession, WhoDoesNotReadTheAnswersToOptionsIsNotRead) {
  send(client_flags());
  const Message list = option_message(Option::kList);
  size_t taken = 0;
  while (taken < 1'000'000 && send(list) == list.bytes().size()) {
    ++taken;
  }
  EXPECT_LT(taken, 10'000U);
  Answer answer = receive();
  EXPECT_LT(answer.left(), 200'000U);
  EXPECT_EQ(send(list), list.bytes().size());
}

TEST_F(NbdSession, AbortIsAnsweredAndThenItIsOver) {
  send(client_flags());
  receive();
  send(option_message(Option::kAbort));
  EXPECT_FALSE(session_->is_over());
  receive().expect_ack(Option::kAbort);
  EXPECT_TRUE(session_->is_over());
  EXPECT_EQ(session_->fault(), nullptr);
}

TEST_F(NbdSession, GoingAwayBeforeAnyRequestIsNoFault) {
  send(client_flags());
  receive();
  session_->end_of_input();
  EXPECT_TRUE(session_->is_over());
  EXPECT_EQ(session_->fault(), nullptr);
}

// --- Requests ---

TEST_F(NbdSession, AReadGivesWhatTheDiskHolds) {
  choose();
  const auto bytes = pattern(kDiskBytes);
  std::ranges::copy(bytes, disk_.bytes().begin());
  send(request_message(Command::kRead, 77, 4096, 8192));
  Answer answer = receive();
  answer.expect_simple(77);
  EXPECT_TRUE(std::ranges::equal(answer.take_bytes(8192), std::span(bytes).subspan(4096, 8192)));
  EXPECT_TRUE(answer.is_empty());
}

TEST_F(NbdSession, AStructuredReadIsOneChunk) {
  choose(true);
  std::ranges::fill(disk_.bytes(), std::byte{7});
  send(request_message(Command::kRead, 78, 12345, 100, kDf));
  Answer answer = receive();
  EXPECT_EQ(answer.expect_chunk(Chunk::kOffsetData, 78), 108U);
  EXPECT_EQ(answer.take<uint64_t>(), 12345U);
  EXPECT_EQ(answer.take_bytes(100), std::vector<std::byte>(100, std::byte{7}));
  EXPECT_TRUE(answer.is_empty());
}

TEST_F(NbdSession, AWriteIsInTheDiskWhenItIsAnswered) {
  choose(true);
  const auto bytes = pattern(5000);
  send(request_message(Command::kWrite, 1, 4097, 5000).data(bytes));
  receive().expect_simple(1);
  EXPECT_TRUE(std::ranges::equal(bytes, disk_.bytes().subspan(4097, 5000)));
  EXPECT_FALSE(disk_.history().back().force_unit_access);
}

TEST_F(NbdSession, FuaIsHandedOn) {
  choose();
  send(request_message(Command::kWrite, 1, 0, 512, kFua).data(pattern(512)));
  EXPECT_TRUE(disk_.history().back().force_unit_access);
  send(request_message(Command::kWriteZeroes, 2, 0, 512, kFua));
  EXPECT_TRUE(disk_.history().back().force_unit_access);
  // A disk knows none for discards: a flush does it.
  send(request_message(Command::kTrim, 3, 0, 512, kFua));
  ASSERT_EQ(disk_.history().size(), 4U);
  EXPECT_EQ(disk_.history()[2].op, BlockOp::kDiscard);
  EXPECT_EQ(disk_.history()[3].op, BlockOp::kFlush);
  Answer answer = receive();
  answer.expect_simple(1);
  answer.expect_simple(2);
  answer.expect_simple(3);
  EXPECT_TRUE(answer.is_empty());
}

TEST_F(NbdSession, ATrimThatFailsIsNotFlushed) {
  choose();
  disk_.fail_next(BlockOp::kDiscard, IoStatus::kIoError);
  send(request_message(Command::kTrim, 3, 0, 512, kFua));
  EXPECT_EQ(disk_.flushes(), 0U);
  receive().expect_simple(3, Error::kIo);
}

TEST_F(NbdSession, ZeroesMayBeAHoleUnlessTheClientWantsNone) {
  choose();
  send(request_message(Command::kWriteZeroes, 1, 0, uint32_t{kDiskBytes}));
  EXPECT_TRUE(disk_.history().back().may_unmap);
  send(request_message(Command::kWriteZeroes, 2, 0, 4096, kNoHole));
  EXPECT_FALSE(disk_.history().back().may_unmap);
  Answer answer = receive();
  answer.expect_simple(1);
  answer.expect_simple(2);
}

TEST_F(NbdSession, AFlushReachesTheDisk) {
  choose();
  send(request_message(Command::kFlush, 9, 0, 0));
  EXPECT_EQ(disk_.flushes(), 1U);
  receive().expect_simple(9);
}

TEST_F(NbdSession, RequestsAreAnsweredAsTheyAreDone) {
  choose();
  disk_.set_deferred(true);
  for (uint64_t cookie = 1; cookie <= 3; ++cookie) {
    send(request_message(Command::kRead, cookie, 512 * cookie, 512));
  }
  EXPECT_EQ(disk_.in_flight(), 3U);
  EXPECT_FALSE(session_->has_output());
  disk_.complete(1);
  receive().expect_simple(2);
  disk_.complete_newest();
  disk_.complete_newest();
  Answer answer = receive();
  answer.expect_simple(3);
  answer.take_bytes(512);
  answer.expect_simple(1);
}

TEST_F(NbdSession, RequestsOfNoLengthAreDone) {
  for (const bool is_structured : {false, true}) {
    begin();
    choose(is_structured);
    for (const Command command : {Command::kWrite, Command::kTrim, Command::kWriteZeroes}) {
      send(request_message(command, 5, kDiskBytes, 0));
      receive().expect_simple(5);
    }
    send(request_message(Command::kRead, 6, 0, 0));
    Answer answer = receive();
    if (is_structured) {
      EXPECT_EQ(answer.expect_chunk(Chunk::kNone, 6), 0U);
    } else {
      answer.expect_simple(6);
    }
    EXPECT_TRUE(answer.is_empty());
  }
  EXPECT_TRUE(disk_.history().empty());
}

TEST_F(NbdSession, OfADiskThatTellsNothingAllIsData) {
  choose(true);
  send(request_message(Command::kBlockStatus, 4, 512, 10'000));
  Answer answer = receive();
  EXPECT_EQ(answer.expect_chunk(Chunk::kBlockStatus, 4), 12U);
  EXPECT_EQ(answer.take<uint32_t>(), kAllocationContextId);
  EXPECT_EQ(answer.take<uint32_t>(), 10'000U);
  EXPECT_EQ(answer.take<uint32_t>(), 0U);
}

TEST_F(NbdSession, TheDisksErrorsAreTold) {
  choose();
  disk_.fail_next(BlockOp::kRead, IoStatus::kIoError);
  disk_.fail_next(BlockOp::kWrite, IoStatus::kNoSpace);
  send(request_message(Command::kRead, 1, 0, 512));
  send(request_message(Command::kWrite, 2, 0, 512).data(pattern(512)));
  Answer answer = receive();
  answer.expect_simple(1, Error::kIo);
  answer.expect_simple(2, Error::kNoSpace);
  EXPECT_TRUE(answer.is_empty());
}

TEST_F(NbdSession, WithStructuredRepliesAReadsErrorIsAChunk) {
  choose(true);
  disk_.fail_next(BlockOp::kRead, IoStatus::kIoError);
  send(request_message(Command::kRead, 1, 0, 512));
  Answer answer = receive();
  answer.expect_error_chunk(1, Error::kIo);
  EXPECT_TRUE(answer.is_empty());
}

TEST_F(NbdSession, DisconnectingIsTheEndAfterWhatIsUnderWay) {
  choose();
  disk_.set_deferred(true);
  send(request_message(Command::kWrite, 1, 0, 512).data(pattern(512)));
  send(request_message(Command::kDisconnect, 2, 0, 0));
  EXPECT_FALSE(session_->is_over());
  disk_.complete_all();
  receive().expect_simple(1);
  EXPECT_TRUE(session_->is_over());
  EXPECT_EQ(session_->fault(), nullptr);
}

// --- What is not allowed ---

TEST_F(NbdSession, RangesThatAreNotInTheDiskAreRefused) {
  choose();
  struct Case {
    Command command;
    uint64_t offset;
    uint32_t length;
    Error error;
  };
  constexpr uint64_t kFar = std::numeric_limits<uint64_t>::max() - 100;
  for (const auto& [command, offset, length, error] :
       {Case{Command::kRead, kDiskBytes, 1, Error::kInvalid},
        Case{Command::kRead, kFar, 512, Error::kInvalid},
        Case{Command::kRead, 0, kMaxPayloadBytes + 1, Error::kInvalid},
        Case{Command::kTrim, kDiskBytes - 1, 2, Error::kInvalid},
        Case{Command::kTrim, 0, 0xffffffff, Error::kInvalid},
        Case{Command::kWriteZeroes, kDiskBytes - 1, 2, Error::kNoSpace},
        Case{Command::kBlockStatus, 0, 512, Error::kInvalid}}) {
    send(request_message(command, 3, offset, length));
    Answer answer = receive();
    answer.expect_simple(3, error);
    EXPECT_TRUE(answer.is_empty());
  }
  EXPECT_TRUE(disk_.history().empty());
}

TEST_F(NbdSession, AWriteThatIsRefusedIsAnsweredBehindItsData) {
  choose();
  send(request_message(Command::kWrite, 3, kDiskBytes - 1, 200'000));
  send(Message().data(pattern(199'999)));
  EXPECT_FALSE(session_->has_output());
  send(Message().put(uint8_t{0}).data(request_message(Command::kFlush, 4, 0, 0).bytes()));
  Answer answer = receive();
  answer.expect_simple(3, Error::kNoSpace);
  answer.expect_simple(4);
  EXPECT_EQ(disk_.history().size(), 1U);
}

TEST_F(NbdSession, AReadOnlyDiskIsNotChanged) {
  disk_.set_read_only(true);
  begin();
  choose();
  send(request_message(Command::kWrite, 1, 0, 512).data(pattern(512)));
  send(request_message(Command::kTrim, 2, 0, 512));
  send(request_message(Command::kWriteZeroes, 3, 0, 512));
  send(request_message(Command::kFlush, 4, 0, 0));
  Answer answer = receive();
  for (uint64_t cookie = 1; cookie <= 3; ++cookie) {
    answer.expect_simple(cookie, Error::kPermission);
  }
  answer.expect_simple(4);
  EXPECT_EQ(disk_.history().size(), 1U);
}

TEST_F(NbdSession, WhatIsNotOfferedIsRefused) {
  disk_.set_limits({.discard_alignment_bytes = 0, .can_write_zeroes = false});
  begin();
  choose();
  send(request_message(Command::kTrim, 1, 0, 512));
  send(request_message(Command::kWriteZeroes, 2, 0, 512));
  Answer answer = receive();
  answer.expect_simple(1, Error::kInvalid);
  answer.expect_simple(2, Error::kInvalid);
}

TEST_F(NbdSession, CommandsAndFlagsThatAreNotKnownAreInvalid) {
  choose();
  for (const unsigned command : {5U, 8U, 9U, 0xffffU}) {
    send(request_message(static_cast<uint16_t>(command), 1, 0, 512));
    receive().expect_simple(1, Error::kInvalid);
  }
  constexpr uint16_t kFastZero = 1U << 4U;
  send(request_message(Command::kWriteZeroes, 2, 0, 512, kFastZero));
  receive().expect_simple(2, Error::kInvalid);
  send(request_message(Command::kRead, 3, 0, 512, kDf));  // without structured replies
  receive().expect_simple(3, Error::kInvalid);
  send(request_message(Command::kRead, 4, 0, 512, kNoHole));
  receive().expect_simple(4, Error::kInvalid);
  send(request_message(Command::kWrite, 5, 0, 512, 1U << 15U).data(pattern(512)));
  receive().expect_simple(5, Error::kInvalid);
  EXPECT_TRUE(disk_.history().empty());
  EXPECT_EQ(session_->fault(), nullptr);
}

TEST_F(NbdSession, WhatIsNoRequestEndsIt) {
  choose();
  disk_.set_deferred(true);
  send(request_message(Command::kRead, 1, 0, 512));
  send(Message().put(uint32_t{0x25609514}).text("......................24"));
  EXPECT_NE(session_->fault(), nullptr);
  EXPECT_FALSE(session_->is_over());
  EXPECT_EQ(send(request_message(Command::kRead, 2, 0, 512)), 0U);
  disk_.complete_all();
  EXPECT_FALSE(session_->has_output());
  EXPECT_TRUE(session_->is_over());
}

TEST_F(NbdSession, AWriteThatIsTooLongEndsIt) {
  choose();
  send(request_message(Command::kWrite, 1, 0, kMaxPayloadBytes + 1));
  EXPECT_NE(session_->fault(), nullptr);
  EXPECT_TRUE(session_->is_over());
}

TEST_F(NbdSession, GoingAwayInTheMiddleOfARequestIsAFaultAndWritesNothing) {
  choose();
  send(request_message(Command::kWrite, 1, 0, 512).data(pattern(511)));
  session_->end_of_input();
  EXPECT_NE(session_->fault(), nullptr);
  EXPECT_TRUE(session_->is_over());
  EXPECT_TRUE(disk_.history().empty());
}

// --- Bounds ---

TEST_F(NbdSession, SoManyRequestsAreTakenAndTheOthersWaitUntilRepliesAreRead) {
  choose();
  disk_.set_deferred(true);
  for (uint64_t cookie = 0; cookie < kMaxRequests; ++cookie) {
    send(request_message(Command::kRead, cookie, 0, 512));
  }
  send(request_message(Command::kRead, 1000, 0, 512));
  EXPECT_EQ(disk_.in_flight(), kMaxRequests);
  EXPECT_TRUE(session_->input_space().empty());
  disk_.complete_all();
  session_->go_on();
  EXPECT_EQ(disk_.in_flight(), 0U) << "a reply that is not read has its place";
  receive();
  EXPECT_EQ(disk_.in_flight(), 1U);
  EXPECT_FALSE(session_->input_space().empty());
}

TEST_F(NbdSession, SoManyBytesAreHeldAndTheOthersWait) {
  FakeBlockDevice disk(uint64_t{2} * kMaxPayloadBytes);
  export_.disk = &disk;
  begin();
  choose();
  disk.set_deferred(true);
  send(request_message(Command::kRead, 1, 0, kMaxPayloadBytes));
  send(request_message(Command::kWrite, 2, 0, 1).put(uint8_t{1}));
  EXPECT_EQ(disk.in_flight(), 1U);
  EXPECT_TRUE(session_->input_space().empty());
  disk.complete_all();
  Answer answer = receive();
  answer.expect_simple(1);
  EXPECT_EQ(answer.left(), kMaxPayloadBytes);
  EXPECT_EQ(disk.in_flight(), 1U);
  disk.complete_all();
  receive().expect_simple(2);
  session_.reset();
}

TEST_F(NbdSession, ADiskThatIsFullIsWaitedFor) {
  choose();
  disk_.set_deferred(true);
  disk_.set_capacity(1);
  send(request_message(Command::kRead, 1, 0, 512));
  send(request_message(Command::kWrite, 2, 0, 512).data(pattern(512)));
  EXPECT_EQ(disk_.in_flight(), 1U);
  EXPECT_TRUE(session_->input_space().empty());
  disk_.complete_all();
  session_->go_on();
  EXPECT_EQ(disk_.in_flight(), 1U);
  send(request_message(Command::kFlush, 3, 0, 0));
  disk_.complete_all();
  session_->go_on();
  disk_.complete_all();
  Answer answer = receive();
  answer.expect_simple(1);
  answer.take_bytes(512);
  answer.expect_simple(2);
  answer.expect_simple(3);
}

TEST_F(NbdSession, StoppedItTakesNoMoreAndAnswersWhatIsUnderWay) {
  choose();
  disk_.set_deferred(true);
  send(request_message(Command::kRead, 1, 0, 512));
  send(request_message(Command::kWrite, 2, 0, 512).data(pattern(100)));
  session_->stop();
  EXPECT_TRUE(session_->input_space().empty());
  EXPECT_FALSE(session_->is_over());
  disk_.complete_all();
  receive().expect_simple(1);
  EXPECT_TRUE(session_->is_over());
  EXPECT_EQ(disk_.history().size(), 1U);
}

TEST_F(NbdSession, WhateverIsSentNothingIsBrokenAndItEnds) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    begin();
    disk_.set_deferred(false);
    choose(round % 2 == 0);
    disk_.set_deferred(true);
    for (int i = 0; i < 100 && session_->fault() == nullptr; ++i) {
      const auto command = static_cast<uint16_t>(random() % 10);
      const auto length = static_cast<uint32_t>(random() % 3 == 0 ? random() : random() % 9000);
      Message message = request_message(command, static_cast<uint64_t>(i), random() % (kDiskBytes + 5000),
                                        length, static_cast<uint16_t>(random() % 32));
      if (command == static_cast<uint16_t>(Command::kWrite) && length < 9000) {
        message.data(pattern(length));
      }
      send(message, 1 + random() % 5000);
      while (disk_.in_flight() > 0 && random() % 2 == 0) {
        disk_.complete(random() % disk_.in_flight());
      }
      if (random() % 4 == 0) {
        receive(1 + random() % 100'000);
      }
    }
    session_->end_of_input();
    while (disk_.in_flight() > 0) {
      disk_.complete_all();
    }
    receive();
    EXPECT_TRUE(session_->is_over());
  }
}

}  // namespace
}  // namespace vmm::block::nbd
