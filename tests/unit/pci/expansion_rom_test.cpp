#include "devices/pci/expansion_rom.h"

#include <gtest/gtest.h>

#include "devices/pci/assign_resources.h"
#include "devices/pci/pci_bus.h"
#include "tests/unit/pci/test_function.h"

namespace vmm::pci {
namespace {

constexpr PciAddress kRomCard{.slot = 3, .function = 0};
constexpr PciAddress kRomless{.slot = 4, .function = 0};
constexpr uint32_t kRomPlace = 0xfeb0'0000;
constexpr uint32_t kRomEnabled = 1;

std::vector<std::byte> rom_of(size_t bytes) {
  std::vector<std::byte> content(bytes, std::byte{0x77});
  content.front() = std::byte{0x55};
  content.back() = std::byte{0xaa};
  return content;
}

class ExpansionRoms : public testing::Test {
 protected:
  ExpansionRoms() {
    card_.set_expansion_rom(rom_of(75776));  // of 128 KiB that are decoded
    EXPECT_TRUE(bus_.attach(kRomCard, card_));
    EXPECT_TRUE(bus_.attach(kRomless, plain_));
  }
  template <typename T>
  T read_memory(uint64_t address) {
    std::array<std::byte, sizeof(T)> bytes{};
    memory_.read(address, bytes);
    return load_le<T>(bytes.data());
  }
  void set_register(uint32_t value) { config_.write<uint32_t>(kRomCard, kExpansionRom, value); }
  void decode(uint16_t command) { config_.write<uint16_t>(kRomCard, kCommand, command); }

  IoBus ports_;
  IoBus memory_;
  PciBus bus_{ports_, memory_, nullptr};
  ConfigAccess config_{bus_};
  TestFunction card_{0x11};
  TestFunction plain_{0x22};
};

TEST_F(ExpansionRoms, AreSizedLikeBarsBesideTheirEnableBit) {
  set_register(0xffff'fffe);
  EXPECT_EQ(config_.read<uint32_t>(kRomCard, kExpansionRom), 0xfffe'0000U);
  set_register(0xffff'f800 | kRomEnabled);
  EXPECT_EQ(config_.read<uint32_t>(kRomCard, kExpansionRom), 0xfffe'0001U);
  config_.write<uint32_t>(kRomless, kExpansionRom, 0xffff'ffff);
  EXPECT_EQ(config_.read<uint32_t>(kRomless, kExpansionRom), 0U);
}

TEST_F(ExpansionRoms, AreDecodedWhereBothRegistersSaySo) {
  set_register(kRomPlace);
  decode(kCommandMemorySpace);
  EXPECT_EQ(read_memory<uint8_t>(kRomPlace), 0xff);
  set_register(kRomPlace | kRomEnabled);
  EXPECT_EQ(read_memory<uint8_t>(kRomPlace), 0x55);
  EXPECT_EQ(card_.mapped.at(kRomBar), kRomPlace);
  decode(kCommandIoSpace);
  EXPECT_EQ(read_memory<uint8_t>(kRomPlace), 0xff);
  decode(kCommandMemorySpace);
  EXPECT_EQ(read_memory<uint8_t>(kRomPlace), 0x55);
  config_.write<uint8_t>(kRomCard, kExpansionRom, 0);
  EXPECT_EQ(read_memory<uint8_t>(kRomPlace), 0xff);
  EXPECT_FALSE(card_.mapped.contains(kRomBar));
}

TEST_F(ExpansionRoms, ShowTheirBytesAndThenOnesAndCannotBeWritten) {
  set_register(kRomPlace | kRomEnabled);
  decode(kCommandMemorySpace);
  EXPECT_EQ(read_memory<uint32_t>(kRomPlace), 0x7777'7755U);
  EXPECT_EQ(read_memory<uint32_t>(kRomPlace + 75776 - 2), 0xffff'aa77U);
  EXPECT_EQ(read_memory<uint64_t>(kRomPlace + 0x1'fff8), UINT64_MAX);
  EXPECT_TRUE(memory_.write(kRomPlace, std::array<std::byte, 4>{}));
  EXPECT_EQ(read_memory<uint8_t>(kRomPlace), 0x55);
}

TEST_F(ExpansionRoms, AreNotDecodedWhileTheyAreSized) {
  decode(kCommandMemorySpace);
  set_register(0xffff'ffff);
  EXPECT_TRUE(card_.mapped.empty());
  set_register(kRomEnabled);
  EXPECT_TRUE(card_.mapped.empty());
}

TEST_F(ExpansionRoms, AreGoneAfterAReset) {
  set_register(kRomPlace | kRomEnabled);
  decode(kCommandMemorySpace);
  bus_.reset();
  EXPECT_EQ(read_memory<uint8_t>(kRomPlace), 0xff);
  EXPECT_EQ(config_.read<uint32_t>(kRomCard, kExpansionRom), 0U);
}

TEST_F(ExpansionRoms, HaveAnAddressAndAreOffWhereNoFirmwareRuns) {
  ASSERT_TRUE(assign_resources(bus_));
  const uint32_t place = config_.read<uint32_t>(kRomCard, kExpansionRom);
  EXPECT_GE(place, layout::kPciMmioStart);
  EXPECT_EQ(place & 0x1'ffff, 0U);
  EXPECT_FALSE(card_.mapped.contains(kRomBar));
  set_register(place | kRomEnabled);
  EXPECT_EQ(read_memory<uint8_t>(place), 0x55);
}

TEST(ExpansionRom, IsDecodedAsAPowerOfTwo) {
  EXPECT_EQ(ExpansionRom(rom_of(1)).length_bytes(), 2048U);
  EXPECT_EQ(ExpansionRom(rom_of(2048)).length_bytes(), 2048U);
  EXPECT_EQ(ExpansionRom(rom_of(2049)).length_bytes(), 4096U);
  EXPECT_EQ(ExpansionRom(rom_of(ExpansionRom::kMaxBytes)).length_bytes(), ExpansionRom::kMaxBytes);
}

}  // namespace
}  // namespace vmm::pci
