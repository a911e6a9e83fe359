// RegisterWindow: one of several register ranges of a device that lie apart from each other, answered by two
// of its member functions with the width that the guest used. For registers of one byte: byte_device.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "vmm/core/io_bus.h"

namespace vmm {

template <typename Owner, void (Owner::*kRead)(uint64_t, std::span<std::byte>),
          void (Owner::*kWrite)(uint64_t, std::span<const std::byte>)>
class RegisterWindow final : public BusDevice {
 public:
  explicit RegisterWindow(Owner& owner) : owner_(owner) {}
  void read(uint64_t offset, std::span<std::byte> data) override { (owner_.*kRead)(offset, data); }
  void write(uint64_t offset, std::span<const std::byte> data) override { (owner_.*kWrite)(offset, data); }

 private:
  Owner& owner_;
};

}  // namespace vmm
