// Devices with 8-bit registers: wider accesses are answered as consecutive byte accesses, as the ISA bus
// converts them.
#pragma once

#include <cstdint>

#include "vmm/core/io_bus.h"

namespace vmm {

class ByteDevice : public BusDevice {
 public:
  void read(uint64_t offset, std::span<std::byte> data) final {
    for (size_t i = 0; i < data.size(); ++i) {
      data[i] = std::byte{read_byte(offset + i)};
    }
  }
  void write(uint64_t offset, std::span<const std::byte> data) final {
    for (size_t i = 0; i < data.size(); ++i) {
      write_byte(offset + i, std::to_integer<uint8_t>(data[i]));
    }
  }

 protected:
  virtual uint8_t read_byte(uint64_t offset) = 0;
  virtual void write_byte(uint64_t offset, uint8_t value) = 0;
};

// One of several register windows of a device that lie apart from each other in the port space.
template <typename Owner, uint8_t (Owner::*kRead)(uint64_t), void (Owner::*kWrite)(uint64_t, uint8_t)>
class ByteWindow final : public ByteDevice {
 public:
  explicit ByteWindow(Owner& owner) : owner_(owner) {}

 private:
  uint8_t read_byte(uint64_t offset) override { return (owner_.*kRead)(offset); }
  void write_byte(uint64_t offset, uint8_t value) override { (owner_.*kWrite)(offset, value); }

  Owner& owner_;
};

}  // namespace vmm
