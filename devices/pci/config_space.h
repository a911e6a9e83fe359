// ConfigSpace: the 256 bytes of one function's configuration space, with what a guest may change in them (PCI
// Local Bus 3.0, chapter 6; header type 0).
//
// Threads: none of its own; its function's mutex guards it.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::pci {

// Offsets of the registers that more than one part of the house needs.
inline constexpr uint8_t kVendorId = 0x00;
inline constexpr uint8_t kDeviceId = 0x02;
inline constexpr uint8_t kCommand = 0x04;
inline constexpr uint8_t kStatus = 0x06;
inline constexpr uint8_t kRevisionId = 0x08;
inline constexpr uint8_t kClassCode = 0x09;
inline constexpr uint8_t kHeaderType = 0x0e;
inline constexpr uint8_t kBar0 = 0x10;
inline constexpr uint8_t kSubsystemVendorId = 0x2c;
inline constexpr uint8_t kSubsystemId = 0x2e;
inline constexpr uint8_t kExpansionRom = 0x30;
inline constexpr uint8_t kCapabilitiesPointer = 0x34;
inline constexpr uint8_t kInterruptLine = 0x3c;
inline constexpr uint8_t kInterruptPin = 0x3d;

inline constexpr uint16_t kCommandIoSpace = 1U << 0;
inline constexpr uint16_t kCommandMemorySpace = 1U << 1;
inline constexpr uint16_t kCommandBusMaster = 1U << 2;
inline constexpr uint16_t kCommandInterruptDisable = 1U << 10;
inline constexpr uint16_t kStatusInterrupt = 1U << 3;
inline constexpr uint16_t kStatusCapabilities = 1U << 4;
inline constexpr uint8_t kHeaderMultiFunction = 0x80;

inline constexpr uint8_t kCapabilityVendor = 0x09;
inline constexpr uint8_t kCapabilityMsix = 0x11;

struct Identity {
  uint16_t vendor_id = 0;
  uint16_t device_id = 0;
  uint8_t revision = 0;
  uint32_t class_code = 0;  // class, subclass, programming interface: 24 bits
  uint16_t subsystem_vendor_id = 0;
  uint16_t subsystem_id = 0;
  uint8_t interrupt_pin = 0;  // 0: none, 1: INTA#, … 4: INTD#
  bool is_multi_function = false;
};

class ConfigSpace {
 public:
  static constexpr size_t kBytes = 256;

  // What a saved machine must hold of it.
  struct State {
    std::array<std::byte, kBytes> values{};
  };

  explicit ConfigSpace(const Identity& identity);

  // Setting up. REQUIRES: offset + sizeof(T) <= 256; the guest does not run yet.
  template <std::unsigned_integral T>
  void define(size_t offset, T power_on_value, T writable_bits = 0) {
    check(offset, sizeof(T));
    store_le<T>(&power_on_[offset], power_on_value);
    store_le<T>(&state_.values[offset], power_on_value);
    store_le<T>(&writable_[offset], writable_bits);
  }
  // Bits of a register that a guest clears by writing ones to them.
  template <std::unsigned_integral T>
  void define_write_one_clears(size_t offset, T bits) {
    check(offset, sizeof(T));
    store_le<T>(&one_clears_[offset], bits);
  }
  // Links a capability of length_bytes (its two header bytes included) into the list; returns its offset, a
  // multiple of 4. REQUIRES: there is room.
  uint8_t add_capability(uint8_t id, uint8_t length_bytes);

  // The device's own view: reads and changes whatever the guest may not.
  template <std::unsigned_integral T>
  T get(size_t offset) const {
    check(offset, sizeof(T));
    return load_le<T>(&state_.values[offset]);
  }
  template <std::unsigned_integral T>
  void put(size_t offset, T value) {
    check(offset, sizeof(T));
    store_le<T>(&state_.values[offset], value);
  }

  // The guest's view. REQUIRES: the access lies inside the 256 bytes.
  void read(uint8_t offset, std::span<std::byte> data) const;
  void write(uint8_t offset, std::span<const std::byte> data);

  // Back to the values given to define().
  void reset() { state_.values = power_on_; }

  const State& state() const { return state_; }
  void restore(const State& state) { state_ = state; }

 private:
  static void check(size_t offset, size_t length) {
    VMM_CHECK(offset <= kBytes && length <= kBytes - offset, "beyond the end of a configuration space");
  }

  State state_;
  std::array<std::byte, kBytes> power_on_{};
  std::array<std::byte, kBytes> writable_{};
  std::array<std::byte, kBytes> one_clears_{};
  size_t next_capability_ = 0x40;
  size_t last_link_ = kCapabilitiesPointer;
};

}  // namespace vmm::pci
