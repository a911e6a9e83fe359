#include "devices/pci/msix.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/unit/fakes/fake_interrupts.h"
#include "tests/unit/fakes/port_access.h"

namespace vmm::pci {
namespace {

constexpr uint16_t kEnable = 0x8000;
constexpr uint16_t kFunctionMask = 0x4000;
constexpr uint64_t kPba = 0x800;

class Msix : public testing::Test {
 protected:
  void program(uint16_t vector, uint32_t data) {
    out<uint32_t>(table_, vector * 16U, 0xfee0'1000);
    out<uint32_t>(table_, vector * 16U + 4, 0);
    out<uint32_t>(table_, vector * 16U + 8, data);
  }
  void mask(uint16_t vector, bool masked) { out<uint32_t>(table_, vector * 16U + 12, masked ? 1 : 0); }

  FakeMsiSink sink_;
  MsixTable table_{3, sink_};
};

TEST_F(Msix, AfterPowerOnEveryVectorIsMaskedAndNoneIsTaken) {
  table_.set_control(kEnable);
  EXPECT_EQ(in<uint32_t>(table_, 12), 1U);
  EXPECT_EQ(in<uint32_t>(table_, 44), 1U);
  EXPECT_TRUE(sink_.vectors.empty());
}

TEST_F(Msix, TheMessageIsSetOnceWhenTheVectorIsUnmasked) {
  table_.set_control(kEnable);
  program(1, 0x41);
  mask(1, false);
  ASSERT_EQ(sink_.vectors.size(), 1U);
  EXPECT_EQ(sink_.vectors[0]->message, (MsiMessage{.address = 0xfee0'1000, .data = 0x41}));
  EXPECT_EQ(sink_.vectors[0]->messages_set, 1);
  table_.notify(1);
  EXPECT_EQ(sink_.vectors[0]->signals, 1);
}

TEST_F(Msix, MaskedVectorsPendAndAreDeliveredOnceAtUnmask) {
  table_.set_control(kEnable);
  program(0, 0x41);
  table_.notify(0);
  table_.notify(0);
  EXPECT_EQ(in<uint32_t>(table_, kPba), 1U);
  mask(0, false);
  EXPECT_EQ(sink_.signals(0x41), 1);
  EXPECT_EQ(in<uint32_t>(table_, kPba), 0U);
}

TEST_F(Msix, TheFunctionMaskHoldsAllBack) {
  table_.set_control(kEnable | kFunctionMask);
  program(0, 0x41);
  program(2, 0x43);
  mask(0, false);
  mask(2, false);
  table_.notify(0);
  table_.notify(2);
  EXPECT_EQ(in<uint64_t>(table_, kPba), 5U);
  table_.set_control(kEnable);
  EXPECT_EQ(sink_.signals(0x41), 1);
  EXPECT_EQ(sink_.signals(0x43), 1);
}

TEST_F(Msix, AMovedVectorKeepsItsPlaceAndGetsTheNewMessage) {
  table_.set_control(kEnable);
  program(0, 0x41);
  mask(0, false);
  mask(0, true);
  program(0, 0x51);
  mask(0, false);
  ASSERT_EQ(sink_.vectors.size(), 1U);
  EXPECT_EQ(sink_.vectors[0]->message.data, 0x51U);
  EXPECT_EQ(sink_.vectors[0]->messages_set, 2);
}

TEST_F(Msix, EntriesReadBackWithDwordsAndQwords) {
  out<uint64_t>(table_, 16, 0x0000'0001'fee0'1003);
  EXPECT_EQ(in<uint64_t>(table_, 16), 0x0000'0001'fee0'1000U);
  out<uint32_t>(table_, 24, 0x1234);
  EXPECT_EQ(in<uint64_t>(table_, 24), 0x0000'0001'0000'1234U);
  EXPECT_EQ(in<uint8_t>(table_, 24), 0);
}

TEST_F(Msix, WritesOutsideTheTableDoNothing) {
  out<uint32_t>(table_, 3 * 16 + 12, 0);
  out<uint32_t>(table_, kPba, 0xffff'ffff);
  out<uint32_t>(table_, kPba + 4, 0xffff'ffff);
  EXPECT_EQ(in<uint32_t>(table_, 3 * 16 + 12), 0U);
  EXPECT_EQ(in<uint32_t>(table_, kPba), 0U);
}

TEST_F(Msix, WithoutVectorsOnTheHostInterruptsStayPending) {
  sink_.is_exhausted = true;
  table_.set_control(kEnable);
  program(0, 0x41);
  mask(0, false);
  table_.notify(0);
  EXPECT_EQ(in<uint32_t>(table_, kPba), 1U);
  sink_.is_exhausted = false;
  mask(0, false);
  EXPECT_EQ(sink_.signals(0x41), 1);
}

TEST_F(Msix, ResetMasksAllAndForgetsWhatIsPending) {
  table_.set_control(kEnable);
  program(0, 0x41);
  mask(0, false);
  program(1, 0x42);
  table_.notify(1);
  table_.reset();
  EXPECT_FALSE(table_.is_enabled());
  EXPECT_EQ(in<uint32_t>(table_, 12), 1U);
  EXPECT_EQ(in<uint32_t>(table_, kPba), 0U);
  EXPECT_EQ(in<uint32_t>(table_, 8), 0U);
}

TEST_F(Msix, CapabilityNamesTableAndPendingBits) {
  ConfigSpace config(Identity{});
  const uint8_t offset = table_.define_capability(config, 1);
  EXPECT_EQ(config.get<uint16_t>(offset + 2U), 2);
  EXPECT_EQ(config.get<uint32_t>(offset + 4U), 1U);
  EXPECT_EQ(config.get<uint32_t>(offset + 8U), kPba | 1U);
  EXPECT_EQ(table_.bar_length_bytes(), 0x1000U);
}

TEST_F(Msix, ABigTableHasItsPendingBitsBehindIt) {
  MsixTable table(257, sink_);
  table.notify(256);
  EXPECT_EQ(table.bar_length_bytes(), 0x4000U);
  EXPECT_EQ(in<uint32_t>(table, 0x2000 + 32), 1U);
}

// However notify() on one thread and masking on another fall together, none is lost: what is not delivered at
// once is by the last unmask.
TEST_F(Msix, NoInterruptIsLostBetweenMaskAndUnmask) {
  constexpr int kRounds = 4'000;
  table_.set_control(kEnable);
  program(0, 0x41);
  mask(0, false);
  FakeMsiSink::Vector& vector = *sink_.vectors.at(0);
  std::atomic<bool> is_over{false};
  std::thread masker([&] {
    while (!is_over) {
      mask(0, true);
      mask(0, false);
    }
  });
  int lost = 0;
  for (int i = 0; i < kRounds; ++i) {
    const int before = vector.signals;
    table_.notify(0);
    // The masker always unmasks again, so each notification is delivered in the end.
    int patience = 100'000'000;
    while (vector.signals == before && --patience > 0) {
    }
    lost += vector.signals == before ? 1 : 0;
  }
  is_over = true;
  masker.join();
  EXPECT_EQ(lost, 0);
  EXPECT_EQ(vector.signals, kRounds);
}

}  // namespace
}  // namespace vmm::pci
