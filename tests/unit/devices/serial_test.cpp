#include "devices/serial.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string_view>
#include <thread>

#include "tests/unit/fakes/fake_byte_stream.h"
#include "tests/unit/fakes/fake_interrupts.h"
#include "tests/unit/fakes/port_access.h"
#include "vmm/base/bytes.h"

namespace vmm {
namespace {

constexpr uint64_t kData = 0;
constexpr uint64_t kIer = 1;
constexpr uint64_t kIir = 2;
constexpr uint64_t kFcr = 2;
constexpr uint64_t kLcr = 3;
constexpr uint64_t kMcr = 4;
constexpr uint64_t kLsr = 5;
constexpr uint64_t kMsr = 6;
constexpr uint64_t kScratch = 7;

constexpr uint8_t kFifoOnTrigger14 = 0xc1;
constexpr uint8_t kLoop = 0x10;

class Serial : public testing::Test {
 protected:
  uint8_t read(uint64_t offset) { return in(port_, offset); }
  void write(uint64_t offset, uint8_t value) { out8(port_, offset, value); }
  size_t type(std::string_view text) { return port_.receive(as_bytes(text)); }
  void listen() { write(kIer, 0x01); }

  FakeLine line_;
  FakeByteSink sink_;
  Serial16550 port_{line_, sink_};
};

TEST_F(Serial, AfterPowerOnTheTransmitterIsEmptyAndNothingInterrupts) {
  EXPECT_EQ(read(kLsr), 0x60);
  EXPECT_EQ(read(kIir), 0x01);
  EXPECT_EQ(read(kIer), 0);
  EXPECT_EQ(read(kLcr), 0);
  EXPECT_EQ(read(kMcr), 0);
  EXPECT_EQ(read(kMsr), 0xb0);  // DCD, DSR, CTS, none changed
  EXPECT_FALSE(line_.level);
}

TEST_F(Serial, WrittenBytesReachTheSinkInOrder) {
  for (const char c : std::string_view("Linux\n")) {
    write(kData, static_cast<uint8_t>(c));
  }
  EXPECT_EQ(sink_.text, "Linux\n");
  EXPECT_EQ(read(kLsr), 0x60);
}

TEST_F(Serial, ScratchRegisterKeepsAnyValue) {
  for (const int value : {0x00, 0x55, 0xaa, 0xff}) {
    write(kScratch, static_cast<uint8_t>(value));
    EXPECT_EQ(read(kScratch), value);
  }
}

TEST_F(Serial, DivisorLatchHidesDataAndInterruptEnable) {
  write(kIer, 0x05);
  write(kLcr, 0x83);
  write(kData, 0x34);
  write(kIer, 0x12);
  EXPECT_EQ(read(kData), 0x34);
  EXPECT_EQ(read(kIer), 0x12);
  write(kLcr, 0x03);
  EXPECT_EQ(read(kIer), 0x05);
  EXPECT_EQ(sink_.text, "");
}

TEST_F(Serial, InterruptEnableHasFourBits) {
  write(kIer, 0xf0);
  EXPECT_EQ(read(kIer), 0);
}

TEST_F(Serial, IdentificationTellsThatFifosAreOn) {
  write(kFcr, 0x01);
  EXPECT_EQ(read(kIir), 0xc1);
  write(kFcr, 0x00);
  EXPECT_EQ(read(kIir), 0x01);
}

TEST_F(Serial, FifoControlIsIgnoredWithoutItsEnableBit) {
  write(kFcr, kFifoOnTrigger14);
  listen();
  EXPECT_EQ(type("a"), 1U);
  write(kFcr, 0xc0);  // turns FIFOs off, which clears them
  EXPECT_EQ(read(kLsr), 0x60);
  EXPECT_EQ(read(kIir), 0x01);
}

// Transmitter interrupt.

TEST_F(Serial, EnablingTheTransmitterInterruptRaisesItAtOnce) {
  write(kIer, 0x02);
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(read(kIir), 0x02);
}

TEST_F(Serial, ReadingTheIdentificationAcknowledgesTheTransmitterInterrupt) {
  write(kIer, 0x02);
  EXPECT_EQ(read(kIir), 0x02);
  EXPECT_FALSE(line_.level);
  EXPECT_EQ(read(kIir), 0x01);
}

TEST_F(Serial, ReadingAnotherIdentificationLeavesTheTransmitterInterruptPending) {
  write(kIer, 0x03);
  ASSERT_EQ(type("a"), 1U);
  EXPECT_EQ(read(kIir), 0x04);  // received data has priority
  EXPECT_EQ(read(kData), 'a');
  EXPECT_EQ(read(kIir), 0x02);
}

TEST_F(Serial, EachByteSentRaisesTheTransmitterInterruptAgain) {
  write(kIer, 0x02);
  read(kIir);
  const int rises = line_.rises;
  write(kData, 'x');
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(line_.rises, rises + 1);
  EXPECT_EQ(read(kIir), 0x02);
}

TEST_F(Serial, EnablingTheTransmitterInterruptAgainRaisesItAgain) {
  write(kIer, 0x02);
  read(kIir);
  write(kIer, 0x00);
  EXPECT_FALSE(line_.level);
  write(kIer, 0x02);
  EXPECT_EQ(read(kIir), 0x02);
}

TEST_F(Serial, WritingTheSameEnablesDoesNotRaiseTheTransmitterInterrupt) {
  write(kIer, 0x02);
  read(kIir);
  write(kIer, 0x02);
  EXPECT_EQ(read(kIir), 0x01);
}

TEST_F(Serial, AnEdgeTriggeredInputSeesTheInterruptAfterEachByteOfABurst) {
  write(kIer, 0x02);
  const int rises = line_.rises;
  write(kData, 'a');
  write(kData, 'b');
  EXPECT_EQ(line_.rises, rises + 2);
}

// Output that nobody takes.

TEST_F(Serial, OutputIsHeldBackWhileTheSinkIsFull) {
  sink_.room = 0;
  write(kData, 'a');
  EXPECT_EQ(read(kLsr) & 0x60, 0);
  sink_.room = 1;
  port_.output_room();
  EXPECT_EQ(read(kLsr) & 0x60, 0x60);
  EXPECT_EQ(sink_.text, "a");
}

TEST_F(Serial, RoomInTheSinkRaisesTheTransmitterInterrupt) {
  write(kIer, 0x02);
  read(kIir);
  sink_.room = 0;
  write(kData, 'a');
  EXPECT_FALSE(line_.level);
  sink_.room = 1;
  port_.output_room();
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(read(kIir), 0x02);
}

TEST_F(Serial, AGuestThatDoesNotLookLosesOnlyWhatItWritesPastSixteenBytes) {
  sink_.room = 0;
  for (int i = 0; i < 100; ++i) {
    write(kData, static_cast<uint8_t>('a' + i % 26));
  }
  sink_.room = 10;
  port_.output_room();
  EXPECT_EQ(sink_.text, "abcdefghij");
  sink_.room = 100;
  port_.output_room();
  EXPECT_EQ(sink_.text, "abcdefghijklmnop");
}

TEST_F(Serial, ClearingTheTransmitterFifoDropsHeldOutput) {
  write(kFcr, 0x01);
  sink_.room = 0;
  write(kData, 'a');
  write(kFcr, 0x05);
  EXPECT_EQ(read(kLsr) & 0x60, 0x60);
  sink_.room = 10;
  port_.output_room();
  EXPECT_EQ(sink_.text, "");
}

// Input.

TEST_F(Serial, InputWaitsUntilTheGuestListens) {
  EXPECT_EQ(type("a"), 0U);
  EXPECT_EQ(sink_.input_room_calls, 0);
  listen();
  EXPECT_EQ(sink_.input_room_calls, 1);
  EXPECT_EQ(type("a"), 1U);
  EXPECT_EQ(read(kLsr), 0x61);
  EXPECT_EQ(read(kData), 'a');
  EXPECT_EQ(read(kLsr), 0x60);
}

TEST_F(Serial, PollingTheLineStatusIsListening) {
  EXPECT_EQ(type("a"), 0U);
  read(kLsr);
  read(kLsr);
  EXPECT_EQ(type("a"), 0U);
  read(kLsr);
  EXPECT_EQ(sink_.input_room_calls, 1);
  EXPECT_EQ(type("a"), 1U);
  EXPECT_EQ(read(kData), 'a');
}

TEST_F(Serial, WaitingForTheTransmitterBetweenBytesIsNotPolling) {
  for (int i = 0; i < 10; ++i) {
    read(kLsr);
    write(kData, 'x');
    read(kLsr);
    read(kIer);
  }
  EXPECT_EQ(type("a"), 0U);
}

TEST_F(Serial, ADriverThatSetsUpTheFifosEndsThePollingOfItsPredecessor) {
  read(kLsr);
  read(kLsr);
  read(kLsr);
  write(kFcr, 0x07);
  EXPECT_EQ(type("a"), 0U);
}

TEST_F(Serial, WithoutFifosOneByteIsTakenAtATime) {
  listen();
  EXPECT_EQ(type("ab"), 1U);
  EXPECT_EQ(read(kData), 'a');
  EXPECT_EQ(sink_.input_room_calls, 1);
  EXPECT_EQ(type("b"), 1U);
  EXPECT_EQ(sink_.input_room_calls, 1);
}

TEST_F(Serial, WithFifosSixteenBytesAreTakenAndRoomIsToldWhenTheyAreRead) {
  write(kFcr, kFifoOnTrigger14);
  listen();
  EXPECT_EQ(type("0123456789abcdefgh"), 16U);
  for (int i = 0; i < 15; ++i) {
    read(kData);
  }
  EXPECT_EQ(sink_.input_room_calls, 0);
  EXPECT_EQ(read(kData), 'f');
  EXPECT_EQ(sink_.input_room_calls, 1);
  EXPECT_EQ(read(kLsr) & 0x02, 0);  // no overrun
}

TEST_F(Serial, ReceivedDataInterruptsUntilItIsRead) {
  listen();
  EXPECT_FALSE(line_.level);
  type("a");
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(read(kIir), 0x04);
  EXPECT_TRUE(line_.level);
  read(kData);
  EXPECT_FALSE(line_.level);
}

TEST_F(Serial, BelowTheTriggerLevelTheInterruptIsACharacterTimeout) {
  write(kFcr, kFifoOnTrigger14);
  listen();
  type("0123456789abc");
  EXPECT_EQ(read(kIir), 0xcc);
  type("d");
  EXPECT_EQ(read(kIir), 0xc4);
}

TEST_F(Serial, EveryTriggerLevelCounts) {
  constexpr std::pair<uint8_t, size_t> kLevels[] = {{0x01, 1}, {0x41, 4}, {0x81, 8}, {0xc1, 14}};
  for (const auto& [control, level] : kLevels) {
    write(kFcr, control | 0x02);
    listen();
    const std::string text(level, 'x');
    ASSERT_EQ(type(std::string_view(text).substr(1)), level - 1);
    EXPECT_NE(read(kIir), 0xc4) << level;
    ASSERT_EQ(type("x"), 1U);
    EXPECT_EQ(read(kIir), 0xc4) << level;
  }
}

TEST_F(Serial, ReadingAnEmptyReceiverGivesZero) { EXPECT_EQ(read(kData), 0); }

TEST_F(Serial, ABreakComesAsAZeroWithItsErrorBit) {
  write(kFcr, 0x01);
  write(kIer, 0x05);
  port_.receive_break();
  EXPECT_EQ(read(kIir), 0xc6);
  EXPECT_EQ(read(kLsr), 0xf1);  // also bit 7: an error in the FIFO
  EXPECT_EQ(read(kLsr), 0x61);  // reading cleared it
  EXPECT_EQ(read(kData), 0);
}

TEST_F(Serial, AnErrorIsReportedWhenItsCharacterIsFirst) {
  write(kFcr, 0x01);
  listen();
  type("a");
  port_.receive_break();
  EXPECT_EQ(read(kLsr), 0xe1);
  EXPECT_EQ(read(kData), 'a');
  EXPECT_EQ(read(kLsr), 0xf1);
}

// Loopback and modem lines.

TEST_F(Serial, LoopbackConnectsTheModemControlOutputsToTheStatusInputs) {
  constexpr std::pair<uint8_t, uint8_t> kPairs[] = {{0x01, 0x20}, {0x02, 0x10}, {0x04, 0x40}, {0x08, 0x80}};
  for (const auto& [control, status] : kPairs) {
    write(kMcr, kLoop | control);
    EXPECT_EQ(read(kMsr) & 0xf0, status) << int{control};
  }
}

TEST_F(Serial, LinuxFindsThePortByItsLoopback) {
  write(kMcr, kLoop | 0x0a);
  EXPECT_EQ(read(kMsr) & 0xf0, 0x90);
}

TEST_F(Serial, ChangesOfModemLinesAreToldOnceAndInterrupt) {
  write(kMcr, kLoop);
  read(kMsr);
  write(kIer, 0x08);
  EXPECT_FALSE(line_.level);
  write(kMcr, kLoop | 0x02);  // RTS to CTS
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(read(kIir), 0x00);
  EXPECT_EQ(read(kMsr), 0x11);
  EXPECT_FALSE(line_.level);
  EXPECT_EQ(read(kMsr), 0x10);
}

TEST_F(Serial, OnlyTheEndOfARingIsAChange) {
  write(kMcr, kLoop);
  read(kMsr);
  write(kMcr, kLoop | 0x04);
  EXPECT_EQ(read(kMsr) & 0x0f, 0);
  write(kMcr, kLoop);
  EXPECT_EQ(read(kMsr) & 0x0f, 0x04);
}

TEST_F(Serial, LoopbackReturnsWhatIsSentAndHidesItFromTheSink) {
  write(kMcr, kLoop);
  write(kData, 0xae);
  EXPECT_EQ(read(kLsr), 0x61);
  EXPECT_EQ(read(kData), 0xae);
  EXPECT_EQ(sink_.text, "");
}

TEST_F(Serial, LoopbackDisconnectsTheLineAndGivesItBack) {
  listen();
  write(kMcr, kLoop);
  EXPECT_EQ(type("a"), 0U);
  write(kMcr, 0x0b);
  EXPECT_EQ(sink_.input_room_calls, 1);
  EXPECT_EQ(type("a"), 1U);
}

TEST_F(Serial, OverrunWithoutFifosLosesTheOldByte) {
  write(kMcr, kLoop);
  write(kData, 'a');
  write(kData, 'b');
  EXPECT_EQ(read(kLsr), 0x63);
  EXPECT_EQ(read(kLsr), 0x61);
  EXPECT_EQ(read(kData), 'b');
}

TEST_F(Serial, OverrunWithFifosLosesTheNewByte) {
  write(kFcr, 0x01);
  write(kMcr, kLoop);
  write(kIer, 0x04);
  for (int i = 0; i < 17; ++i) {
    write(kData, static_cast<uint8_t>('a' + i));
  }
  EXPECT_EQ(read(kIir), 0xc6);
  EXPECT_EQ(read(kLsr), 0x63);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(read(kData), 'a' + i);
  }
  EXPECT_EQ(read(kLsr), 0x60);
}

TEST_F(Serial, ABreakSentInLoopbackIsReceived) {
  write(kMcr, kLoop);
  write(kLcr, 0x43);
  EXPECT_EQ(read(kLsr), 0x71);
}

TEST_F(Serial, AWordAccessIsTwoByteAccesses) {
  write(kLcr, 0x80);
  out<uint16_t>(port_, kData, 0x1234);
  EXPECT_EQ(in<uint16_t>(port_, kData), 0x1234);
  EXPECT_EQ(read(kIer), 0x12);
}

TEST_F(Serial, ResetGivesThePowerOnStateAndDropsTheLine) {
  write(kFcr, 0x01);
  write(kMcr, 0x0b);
  write(kLcr, 0x03);
  write(kScratch, 0x55);
  listen();
  type("abc");
  ASSERT_TRUE(line_.level);
  port_.reset();
  EXPECT_FALSE(line_.level);
  EXPECT_EQ(read(kLsr), 0x60);
  EXPECT_EQ(read(kIir), 0x01);
  EXPECT_EQ(read(kIer), 0);
  EXPECT_EQ(read(kScratch), 0);
  EXPECT_EQ(type("a"), 0U);
}

TEST_F(Serial, TwoCpusAndTheConsoleMayUseThePortAtOnceAndLoseNothing) {
  constexpr int kTurns = 5000;
  write(kFcr, 0x01);
  std::atomic<size_t> sent{0};
  const auto cpu = [this, &sent] {
    for (int i = 0; i < kTurns; ++i) {
      if ((read(kLsr) & 0x20) != 0) {
        write(kData, 'x');
        ++sent;
      }
      read(kIir);
      read(kData);
    }
  };
  listen();
  std::thread first(cpu);
  std::thread second(cpu);
  for (int i = 0; i < kTurns; ++i) {
    type("in");
    port_.output_room();
  }
  first.join();
  second.join();
  while ((read(kLsr) & 0x01) != 0) {
    read(kData);
  }
  EXPECT_FALSE(line_.level);
  EXPECT_EQ(read(kLsr), 0x60);
  EXPECT_EQ(sink_.text.size(), sent);
}

// A sink that calls back and writes again from inside, as no mutex may be held when it is called.
class ReentrantSink final : public ByteSink {
 public:
  size_t write(std::span<const std::byte> bytes) override {
    text.push_back(std::to_integer<char>(bytes[0]));
    port->output_room();
    return 1;
  }
  void input_room() override {}
  Serial16550* port = nullptr;
  std::string text;
};

TEST(SerialSink, IsCalledWithoutThePortsMutex) {
  FakeLine line;
  ReentrantSink sink;
  Serial16550 port(line, sink);
  sink.port = &port;
  out8(port, kData, 'a');
  out8(port, kData, 'b');
  EXPECT_EQ(sink.text, "ab");
}

}  // namespace
}  // namespace vmm
