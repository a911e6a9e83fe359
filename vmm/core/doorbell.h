// Doorbells: guest writes that the hypervisor turns into an eventfd signal without leaving the vCPU (KVM's
// ioeventfd).
//
// Threads: any; a write that comes before attach() returns reaches the BusDevice at that address instead, so
// a device must handle its notification register in write() too.
#pragma once

#include <cstdint>
#include <optional>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"

namespace vmm {

enum class AddressSpace : uint8_t { kPortIo, kMemory };

struct Doorbell {
  AddressSpace space = AddressSpace::kMemory;
  uint64_t address = 0;
  uint32_t length_bytes = 0;  // 1, 2, 4 or 8; 0 matches writes of any length (where value is absent)
  std::optional<uint64_t> match_value;  // only writes of this value ring
  friend bool operator==(const Doorbell&, const Doorbell&) = default;
};

class DoorbellRegistry {
 public:
  virtual ~DoorbellRegistry() = default;
  virtual Status attach(const Doorbell& doorbell, const EventFd& event) = 0;
  // REQUIRES: attached with the same doorbell and event.
  virtual void detach(const Doorbell& doorbell, const EventFd& event) = 0;
};

}  // namespace vmm
