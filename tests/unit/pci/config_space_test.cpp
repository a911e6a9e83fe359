#include "devices/pci/config_space.h"

#include <gtest/gtest.h>

#include <array>

namespace vmm::pci {
namespace {

template <typename T>
void guest_writes(ConfigSpace& config, uint8_t offset, T value) {
  std::array<std::byte, sizeof(T)> bytes{};
  store_le<T>(bytes.data(), value);
  config.write(offset, bytes);
}

const Identity kSomeDevice{.vendor_id = 0x8086,
                           .device_id = 0x1237,
                           .revision = 2,
                           .class_code = 0x060000,
                           .subsystem_vendor_id = 0x1af4,
                           .subsystem_id = 0x1100,
                           .interrupt_pin = 1};

TEST(ConfigSpace, ShowsItsIdentity) {
  const ConfigSpace config(kSomeDevice);
  EXPECT_EQ(config.get<uint32_t>(0x00), 0x1237'8086U);
  EXPECT_EQ(config.get<uint32_t>(0x08), 0x0600'0002U);
  EXPECT_EQ(config.get<uint32_t>(0x2c), 0x1100'1af4U);
  EXPECT_EQ(config.get<uint8_t>(0x3d), 1);
}

TEST(ConfigSpace, GuestChangesOnlyWritableBits) {
  ConfigSpace config(kSomeDevice);
  guest_writes<uint32_t>(config, 0x00, 0xffff'ffff);
  EXPECT_EQ(config.get<uint32_t>(0x00), 0x1237'8086U);
  config.define<uint8_t>(0x40, 0xa0, 0x0f);
  guest_writes<uint8_t>(config, 0x40, 0x55);
  EXPECT_EQ(config.get<uint8_t>(0x40), 0xa5);
}

TEST(ConfigSpace, OnesClearWhatIsSoDefined) {
  ConfigSpace config(kSomeDevice);
  config.define<uint16_t>(0x50, 0x00ff);
  config.define_write_one_clears<uint16_t>(0x50, 0x000f);
  guest_writes<uint16_t>(config, 0x50, 0x0033);
  EXPECT_EQ(config.get<uint16_t>(0x50), 0x00fc);
}

TEST(ConfigSpace, AccessesMayStraddleRegisters) {
  ConfigSpace config(kSomeDevice);
  config.define<uint8_t>(0x40, 0, 0xff);
  config.define<uint8_t>(0x41, 0x77, 0);
  guest_writes<uint16_t>(config, 0x40, 0xabcd);
  EXPECT_EQ(config.get<uint16_t>(0x40), 0x77cd);
}

TEST(ConfigSpace, CapabilitiesFormAListThatEnds) {
  ConfigSpace config(kSomeDevice);
  EXPECT_EQ(config.get<uint16_t>(kStatus) & kStatusCapabilities, 0);
  const uint8_t first = config.add_capability(kCapabilityVendor, 18);
  const uint8_t second = config.add_capability(kCapabilityMsix, 12);
  EXPECT_EQ(config.get<uint16_t>(kStatus) & kStatusCapabilities, kStatusCapabilities);
  EXPECT_EQ(config.get<uint8_t>(kCapabilitiesPointer), first);
  EXPECT_EQ(config.get<uint8_t>(first), kCapabilityVendor);
  EXPECT_EQ(config.get<uint8_t>(first + 1U), second);
  EXPECT_EQ(second % 4, 0);
  EXPECT_GE(second, first + 18);
  EXPECT_EQ(config.get<uint8_t>(second), kCapabilityMsix);
  EXPECT_EQ(config.get<uint8_t>(second + 1U), 0);
}

TEST(ConfigSpace, ResetBringsPowerOnValuesBack) {
  ConfigSpace config(kSomeDevice);
  config.define<uint32_t>(0x60, 0x8080'8080, 0xffff'ffff);
  guest_writes<uint32_t>(config, 0x60, 0x0b0a'0b0a);
  guest_writes<uint16_t>(config, kCommand, 0x0007);
  config.reset();
  EXPECT_EQ(config.get<uint32_t>(0x60), 0x8080'8080U);
  EXPECT_EQ(config.get<uint16_t>(kCommand), 0);
}

}  // namespace
}  // namespace vmm::pci
