#include <gtest/gtest.h>

#include "devices/pci/assign_resources.h"
#include "devices/pci/pci_bus.h"
#include "tests/unit/pci/test_function.h"

namespace vmm::pci {
namespace {

constexpr PciAddress kOne{.slot = 3, .function = 0};
constexpr PciAddress kOther{.slot = 4, .function = 0};
constexpr uint8_t kIoBar = 0x10;
constexpr uint8_t kMemoryBar = 0x14;
constexpr uint8_t kWideBarLow = 0x18;
constexpr uint8_t kWideBarHigh = 0x1c;
constexpr uint16_t kDecodeAll = kCommandIoSpace | kCommandMemorySpace;

class Bars : public testing::Test {
 protected:
  Bars() {
    EXPECT_TRUE(bus_.attach(kOne, one_));
    EXPECT_TRUE(bus_.attach(kOther, other_));
  }
  uint8_t read_memory(uint64_t address) {
    std::array<std::byte, 1> byte{};
    memory_.read(address, byte);
    return std::to_integer<uint8_t>(byte[0]);
  }
  uint8_t read_port(uint64_t port) {
    std::array<std::byte, 1> byte{};
    ports_.read(port, byte);
    return std::to_integer<uint8_t>(byte[0]);
  }
  void decode(PciAddress where, uint16_t command) { config_.write<uint16_t>(where, kCommand, command); }

  IoBus ports_;
  IoBus memory_;
  PciBus bus_{ports_, memory_, nullptr};
  ConfigAccess config_{bus_};
  TestFunction one_{0x11};
  TestFunction other_{0x22};
};

TEST_F(Bars, AllOnesReadBackAsTheSize) {
  for (const uint8_t bar : {kIoBar, kMemoryBar, kWideBarLow, kWideBarHigh}) {
    config_.write<uint32_t>(kOne, bar, 0xffff'ffff);
  }
  EXPECT_EQ(config_.read<uint32_t>(kOne, kIoBar), 0xffff'ff01U);
  EXPECT_EQ(config_.read<uint32_t>(kOne, kMemoryBar), 0xffff'f000U);
  EXPECT_EQ(config_.read<uint32_t>(kOne, kWideBarLow), 0xffff'0004U);
  EXPECT_EQ(config_.read<uint32_t>(kOne, kWideBarHigh), 0xffff'ffffU);
  config_.write<uint32_t>(kOne, 0x20, 0xffff'ffff);
  EXPECT_EQ(config_.read<uint32_t>(kOne, 0x20), 0U);
}

TEST_F(Bars, NothingIsDecodedBeforeTheCommandRegisterSaysSo) {
  config_.write<uint32_t>(kOne, kMemoryBar, 0xd000'0000);
  EXPECT_EQ(read_memory(0xd000'0000), 0xff);
  decode(kOne, kCommandMemorySpace);
  EXPECT_EQ(read_memory(0xd000'0000), 0x11);
  EXPECT_EQ(read_memory(0xd000'0fff), 0x11);
  EXPECT_EQ(read_memory(0xd000'1000), 0xff);
  decode(kOne, 0);
  EXPECT_EQ(read_memory(0xd000'0000), 0xff);
}

TEST_F(Bars, PortsAndMemoryAreEnabledApart) {
  config_.write<uint32_t>(kOne, kIoBar, 0xc100);
  config_.write<uint32_t>(kOne, kMemoryBar, 0xd000'0000);
  decode(kOne, kCommandIoSpace);
  EXPECT_EQ(read_port(0xc1ff), 0x11);
  EXPECT_EQ(read_memory(0xd000'0000), 0xff);
}

TEST_F(Bars, MoveWhileDecoded) {
  config_.write<uint32_t>(kOne, kMemoryBar, 0xd000'0000);
  decode(kOne, kDecodeAll);
  config_.write<uint32_t>(kOne, kMemoryBar, 0xd100'0000);
  EXPECT_EQ(read_memory(0xd000'0000), 0xff);
  EXPECT_EQ(read_memory(0xd100'0000), 0x11);
  EXPECT_EQ(one_.mapped.at(1), 0xd100'0000U);
}

TEST_F(Bars, WideOnesLieAboveFourGigabytes) {
  config_.write<uint32_t>(kOne, kWideBarLow, 0x0001'0000);
  config_.write<uint32_t>(kOne, kWideBarHigh, 0x0000'0040);
  decode(kOne, kDecodeAll);
  EXPECT_EQ(read_memory(0x40'0001'ffff), 0x11);
  EXPECT_EQ(one_.mapped.at(2), 0x40'0001'0000U);
}

TEST_F(Bars, SizingWhileDecodedMapsNothing) {
  decode(kOne, kDecodeAll);
  for (const uint8_t bar : {kIoBar, kMemoryBar, kWideBarLow, kWideBarHigh}) {
    config_.write<uint32_t>(kOne, bar, 0xffff'ffff);
  }
  EXPECT_TRUE(one_.mapped.empty());
  EXPECT_EQ(read_port(0xff00), 0xff);
  EXPECT_EQ(read_memory(0xffff'f000), 0xff);
}

TEST_F(Bars, AnOverlapStaysUnmappedUntilTheOtherMakesWay) {
  config_.write<uint32_t>(kOne, kMemoryBar, 0xd000'0000);
  config_.write<uint32_t>(kOther, kMemoryBar, 0xd000'0000);
  decode(kOne, kDecodeAll);
  decode(kOther, kDecodeAll);
  EXPECT_EQ(read_memory(0xd000'0000), 0x11);
  EXPECT_FALSE(other_.mapped.contains(1));
  config_.write<uint32_t>(kOne, kMemoryBar, 0xd200'0000);
  EXPECT_EQ(read_memory(0xd000'0000), 0x22);
  EXPECT_EQ(read_memory(0xd200'0000), 0x11);
}

TEST_F(Bars, NeverPushAnotherDeviceAside) {
  ConstantDevice serial(0x33);
  ASSERT_TRUE(ports_.add(0x3f8, 8, serial));
  config_.write<uint32_t>(kOne, kIoBar, 0x0300);
  decode(kOne, kDecodeAll);
  EXPECT_EQ(read_port(0x3f8), 0x33);
  EXPECT_EQ(read_port(0x300), 0xff);
}

TEST_F(Bars, AreAssignedWithoutOverlapInsideTheWindows) {
  ASSERT_TRUE(assign_resources(bus_));
  EXPECT_EQ(one_.mapped.size(), 3U);
  EXPECT_EQ(other_.mapped.size(), 3U);
  for (const TestFunction* function : {&one_, &other_}) {
    EXPECT_GE(function->mapped.at(0), layout::kPciIoStart);
    EXPECT_GE(function->mapped.at(1), layout::kPciMmioStart);
    EXPECT_LT(function->mapped.at(2), layout::kPciMmioEnd);
  }
  EXPECT_EQ(read_memory(one_.mapped.at(2)), 0x11);
  EXPECT_EQ(read_memory(other_.mapped.at(2)), 0x22);
}

TEST_F(Bars, AssignmentNotesTheIrqOfThePin) {
  ASSERT_TRUE(assign_resources(bus_));
  EXPECT_EQ(config_.read<uint8_t>(kOne, kInterruptLine),
            layout::kPciIrqs[pirq_of(kOne.slot, InterruptPin::kIntA)]);
}

TEST_F(Bars, AFullWindowIsAnError) {
  const Windows narrow{.memory_start = 0xd000'0000, .memory_end = 0xd001'0000};
  EXPECT_FALSE(assign_resources(bus_, narrow));
}

}  // namespace
}  // namespace vmm::pci
