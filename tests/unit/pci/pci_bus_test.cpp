#include "devices/pci/pci_bus.h"

#include <gtest/gtest.h>

#include "devices/pci/assign_resources.h"
#include "devices/pci/host_bridge.h"
#include "tests/unit/pci/test_function.h"

namespace vmm::pci {
namespace {

constexpr PciAddress kSlot3{.slot = 3, .function = 0};

class PciBusTest : public testing::Test {
 protected:
  IoBus ports_;
  IoBus memory_;
  ConstantDevice reset_port_{0x06};
  PciBus bus_{ports_, memory_, &reset_port_};
  ConfigAccess config_{bus_};
  TestFunction function_;
};

TEST_F(PciBusTest, AbsentFunctionsReadAllOnes) {
  EXPECT_EQ(config_.read<uint32_t>(kSlot3, 0), 0xffff'ffffU);
  EXPECT_EQ(config_.read<uint16_t>(kSlot3, 2), 0xffff);
  config_.write<uint32_t>(kSlot3, 4, 7);
}

TEST_F(PciBusTest, BytesWordsAndDwordsReachTheirRegisters) {
  ASSERT_TRUE(bus_.attach(kSlot3, function_));
  EXPECT_EQ(config_.read<uint32_t>(kSlot3, 0), 0x1234'1af4U);
  EXPECT_EQ(config_.read<uint16_t>(kSlot3, 2), 0x1234);
  EXPECT_EQ(config_.read<uint8_t>(kSlot3, 3), 0x12);
}

TEST_F(PciBusTest, WithoutTheEnableBitNothingAnswers) {
  ASSERT_TRUE(bus_.attach(kSlot3, function_));
  out<uint32_t>(bus_.config_address(), 0, 3U << 11);
  EXPECT_EQ(in<uint32_t>(bus_.config_data(), 0), 0xffff'ffffU);
}

TEST_F(PciBusTest, OtherBusesAreEmpty) {
  ASSERT_TRUE(bus_.attach({0, 0}, function_));
  out<uint32_t>(bus_.config_address(), 0, 0x8001'0000);
  EXPECT_EQ(in<uint32_t>(bus_.config_data(), 0), 0xffff'ffffU);
}

TEST_F(PciBusTest, TheAddressLatchTakesDwordsOnly) {
  out<uint32_t>(bus_.config_address(), 0, 0xffff'ffff);
  EXPECT_EQ(in<uint32_t>(bus_.config_address(), 0), 0x80ff'fffcU);
  out<uint8_t>(bus_.config_address(), 0, 0);
  out<uint16_t>(bus_.config_address(), 0, 0);
  EXPECT_EQ(in<uint32_t>(bus_.config_address(), 0), 0x80ff'fffcU);
  EXPECT_EQ(in<uint8_t>(bus_.config_address(), 0), 0xff);
}

TEST_F(PciBusTest, PortCf9IsTheResetPort) {
  out<uint8_t>(bus_.config_address(), 1, 0x06);
  EXPECT_EQ(reset_port_.writes, 1);
  EXPECT_EQ(in<uint8_t>(bus_.config_address(), 1), 0x06);
  EXPECT_EQ(in<uint32_t>(bus_.config_address(), 0), 0U);
}

TEST_F(PciBusTest, WithoutResetPortNobodyAnswersThere) {
  PciBus bus(ports_, memory_, nullptr);
  out<uint8_t>(bus.config_address(), 1, 0x06);
  EXPECT_EQ(in<uint8_t>(bus.config_address(), 1), 0xff);
}

TEST_F(PciBusTest, FunctionsOfOneSlotAreApart) {
  TestFunction other;
  HostBridge bridge;
  ASSERT_TRUE(bus_.attach({3, 0}, function_));
  ASSERT_TRUE(bus_.attach({3, 7}, bridge));
  EXPECT_EQ(config_.read<uint16_t>({3, 0}, 2), 0x1234);
  EXPECT_EQ(config_.read<uint16_t>({3, 7}, 2), 0x1237);
  EXPECT_EQ(config_.read<uint16_t>({3, 1}, 2), 0xffff);
}

TEST_F(PciBusTest, ATakenPlaceIsAConfigurationError) {
  TestFunction other;
  ASSERT_TRUE(bus_.attach(kSlot3, function_));
  const Status again = bus_.attach(kSlot3, other);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind(), ErrorKind::kConfiguration);
}

TEST_F(PciBusTest, PinsAreTurnedFromSlotToSlot) {
  EXPECT_EQ(pirq_of(1, InterruptPin::kIntA), 0U);
  EXPECT_EQ(pirq_of(1, InterruptPin::kIntD), 3U);
  EXPECT_EQ(pirq_of(2, InterruptPin::kIntA), 1U);
  EXPECT_EQ(pirq_of(5, InterruptPin::kIntA), 0U);
  EXPECT_EQ(pirq_of(0, InterruptPin::kIntA), 3U);
}

TEST_F(PciBusTest, ResetForgetsAddressesAndUnmapsAll) {
  ASSERT_TRUE(bus_.attach(kSlot3, function_));
  ASSERT_TRUE(assign_resources(bus_));
  ASSERT_EQ(function_.mapped.size(), 3U);
  bus_.reset();
  EXPECT_TRUE(function_.mapped.empty());
  EXPECT_EQ(in<uint32_t>(bus_.config_address(), 0), 0U);
  EXPECT_EQ(config_.read<uint32_t>(kSlot3, kBar0 + 4), 0U);
}

TEST_F(PciBusTest, HostBridgeKeepsShadowRegistersForTheGuest) {
  HostBridge bridge;
  ASSERT_TRUE(bus_.attach({0, 0}, bridge));
  EXPECT_EQ(config_.read<uint32_t>({0, 0}, 0), 0x1237'8086U);
  config_.write<uint8_t>({0, 0}, 0x59, 0x30);
  config_.write<uint8_t>({0, 0}, 0x5f, 0xff);
  EXPECT_EQ(config_.read<uint8_t>({0, 0}, 0x59), 0x30);
  EXPECT_EQ(config_.read<uint8_t>({0, 0}, 0x5f), 0x33);
  config_.write<uint8_t>({0, 0}, 0x72, 0x4a);
  EXPECT_EQ(config_.read<uint8_t>({0, 0}, 0x72), 0x4a);
}

}  // namespace
}  // namespace vmm::pci
