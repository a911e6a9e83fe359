// RingHost: somebody who serves rings of a virtio device in its place: the host's kernel (vhost).
//
// Threads: the loop of the device.
#pragma once

#include <cstdint>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"
#include "vmm/core/guest_address.h"

namespace vmm {

// A split virtqueue (virtio 1.2, section 2.7) of which nothing is in flight. The areas lie within the guest's
// memory; the events outlive the time in which it is hosted.
struct HostedRing {
  uint16_t size = 0;
  GuestAddress descriptors;
  GuestAddress available;
  GuestAddress used;
  uint16_t next_available = 0;  // which request comes next
  const EventFd& kick;          // the driver signals it: there are requests
  const EventFd& call;          // to be signalled where the driver wants an interrupt
  const EventFd& error;         // to be signalled where the ring contradicts itself
};

class RingHost {
 public:
  virtual ~RingHost() = default;

  // Takes over a ring, by its number in the device, for a driver that has negotiated these features, which
  // are the same for all that are hosted at a time. An error: it is left alone.
  virtual Status take(uint16_t number, const HostedRing& ring, uint64_t features) = 0;
  // Another event to be signalled from now on. REQUIRES: as for all below, the ring is taken.
  virtual Status set_call(uint16_t number, const EventFd& call) = 0;
  // Gives it back: guest memory is left alone from then on, and all that was taken is used. Which request
  // comes next; an error: that is not known.
  virtual Result<uint16_t> give_back(uint16_t number) = 0;
};

}  // namespace vmm
