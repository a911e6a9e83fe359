// Somebody who serves rings in a device's place, as far as a test says: it reads no memory.
#pragma once

#include <cstdint>
#include <map>

#include "vmm/base/check.h"
#include "vmm/core/ring_host.h"

namespace vmm {

class FakeRingHost final : public RingHost {
 public:
  struct Ring {
    uint16_t next_available = 0;
    const EventFd* kick = nullptr;
    const EventFd* call = nullptr;
    const EventFd* error = nullptr;
  };

  Status take(uint16_t number, const HostedRing& ring, uint64_t with_features) override {
    if (refuses) {
      return fail("it does not want to");
    }
    VMM_CHECK(!rings.contains(number), "a ring was taken twice");
    rings[number] = {
        .next_available = ring.next_available, .kick = &ring.kick, .call = &ring.call, .error = &ring.error};
    features = with_features;
    return {};
  }
  Status set_call(uint16_t number, const EventFd& call) override {
    rings.at(number).call = &call;
    return {};
  }
  Result<uint16_t> give_back(uint16_t number) override {
    const uint16_t next = rings.at(number).next_available;
    rings.erase(number);
    return next;
  }

  std::map<uint16_t, Ring> rings;
  uint64_t features = 0;
  bool refuses = false;
};

}  // namespace vmm
