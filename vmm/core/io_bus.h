// IoBus: which device answers at which port or memory address. BusDevice: a device's registers.
//
// Threads: dispatch from any vCPU thread; add and remove (BAR moves) from any thread. The bus's mutex is not
// held while a device is called.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <shared_mutex>
#include <span>

#include "vmm/base/error.h"

namespace vmm {

// Offsets are relative to where the device was added. Sizes are 1, 2, 4 or 8 bytes (any other size, as a
// guest can make with string instructions, is split by the vCPU loop before it gets here). Accesses never
// reach past the device's range. A device guards its own registers: calls come from several vCPU threads.
class BusDevice {
 public:
  virtual ~BusDevice() = default;
  virtual void read(uint64_t offset, std::span<std::byte> data) = 0;
  virtual void write(uint64_t offset, std::span<const std::byte> data) = 0;
};

class IoBus {
 public:
  // Answers [base, base + length) from now on. An error where it overlaps another or wraps around. The device
  // must stay alive until it is removed and no vCPU runs.
  Status add(uint64_t base, uint64_t length, BusDevice& device);
  void remove(uint64_t base);

  // False where nobody answers; data is then all ones, as on a PC. An access that begins inside a device and
  // runs past its end counts as unanswered.
  bool read(uint64_t address, std::span<std::byte> data) const;
  bool write(uint64_t address, std::span<const std::byte> data) const;

 private:
  struct Range {
    uint64_t base = 0;
    uint64_t length = 0;
    BusDevice* device = nullptr;
  };
  Range find(uint64_t address, size_t length) const;

  mutable std::shared_mutex mutex_;
  std::map<uint64_t, Range> ranges_;
};

}  // namespace vmm
