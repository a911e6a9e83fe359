#include "devices/pci/config_space.h"

#include <algorithm>

namespace vmm::pci {
namespace {

// Parity and SERR# enables are kept for guests that set them; nothing here raises either.
constexpr uint16_t kWritableCommandBits = kCommandIoSpace | kCommandMemorySpace | kCommandBusMaster |
                                          (1U << 6) | (1U << 8) | kCommandInterruptDisable;

}  // namespace

ConfigSpace::ConfigSpace(const Identity& identity) {
  define<uint16_t>(kVendorId, identity.vendor_id);
  define<uint16_t>(kDeviceId, identity.device_id);
  define<uint16_t>(kCommand, 0, kWritableCommandBits);
  define<uint8_t>(kRevisionId, identity.revision);
  define<uint8_t>(kClassCode, static_cast<uint8_t>(identity.class_code & 0xff));
  define<uint16_t>(kClassCode + 1, static_cast<uint16_t>((identity.class_code >> 8) & 0xffff));
  define<uint8_t>(0x0c, 0, 0xff);  // cache line size: software's note to itself
  define<uint8_t>(0x0d, 0, 0xff);  // latency timer, likewise
  define<uint8_t>(kHeaderType, identity.is_multi_function ? kHeaderMultiFunction : uint8_t{0});
  define<uint16_t>(kSubsystemVendorId, identity.subsystem_vendor_id);
  define<uint16_t>(kSubsystemId, identity.subsystem_id);
  if (identity.interrupt_pin != 0) {
    define<uint8_t>(kInterruptLine, 0, 0xff);
    define<uint8_t>(kInterruptPin, identity.interrupt_pin);
  }
}

uint8_t ConfigSpace::add_capability(uint8_t id, uint8_t length_bytes) {
  const size_t offset = next_capability_;
  check(offset, length_bytes);
  define<uint8_t>(last_link_, static_cast<uint8_t>(offset));
  define<uint8_t>(offset, id);
  define<uint8_t>(offset + 1, 0);
  define<uint16_t>(kStatus, static_cast<uint16_t>(get<uint16_t>(kStatus) | kStatusCapabilities));
  last_link_ = offset + 1;
  next_capability_ = align_up(offset + length_bytes, 4);
  return static_cast<uint8_t>(offset);
}

void ConfigSpace::read(uint8_t offset, std::span<std::byte> data) const {
  check(offset, data.size());
  std::copy_n(state_.values.begin() + offset, data.size(), data.begin());
}

void ConfigSpace::write(uint8_t offset, std::span<const std::byte> data) {
  check(offset, data.size());
  for (size_t i = 0; i < data.size(); ++i) {
    const size_t place = offset + i;
    std::byte& value = state_.values[place];
    value = (value & ~writable_[place]) | (data[i] & writable_[place]);
    value &= ~(data[i] & one_clears_[place]);
  }
}

}  // namespace vmm::pci
