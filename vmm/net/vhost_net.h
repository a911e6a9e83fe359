// VhostNet: the host's kernel moves the packets between the guest's rings and a tap (Linux's vhost-net,
// <linux/vhost.h>), without a thread of ours.
//
// The kernel reads and writes guest memory through a table of its regions, and checks every address of a
// descriptor against it. It has one handle for each pair of queues, of which ring 0 is the receiving one.
//
// Threads: made by any; then as RingHost.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"
#include "vmm/core/guest_memory.h"
#include "vmm/core/ring_host.h"

namespace vmm::net {

// One open /dev/vhost-net, or what stands for it in a test.
class VhostHandle {
 public:
  virtual ~VhostHandle() = default;
  // As ioctl(2): 0, or an errno.
  virtual int control(unsigned long request, void* argument) = 0;
};

// An error says what to do.
Result<std::unique_ptr<VhostHandle>> open_vhost_handle();

class VhostNet final : public RingHost {
 public:
  // taps: the queues of a tap or macvtap whose packets have a header of kPacketHeaderBytes; one for each
  // handle. REQUIRES: the memory outlives it.
  static Result<std::unique_ptr<VhostNet>> create(const GuestMemory& memory, std::vector<UniqueFd> taps,
                                                  std::vector<std::unique_ptr<VhostHandle>> handles);
  // The same with handles of the kernel's.
  static Result<std::unique_ptr<VhostNet>> open(const GuestMemory& memory, std::vector<UniqueFd> taps);

  Status take(uint16_t number, const HostedRing& ring, uint64_t features) override;
  Status set_call(uint16_t number, const EventFd& call) override;
  Result<uint16_t> give_back(uint16_t number) override;

 private:
  static constexpr unsigned kRingsOfPair = 2;

  struct Pair {
    UniqueFd tap;
    std::unique_ptr<VhostHandle> handle;
    unsigned taken = 0;  // of its rings
  };

  VhostNet(const GuestMemory& memory, std::vector<Pair> pairs);
  Pair& pair_of(uint16_t number) { return pairs_[number / kRingsOfPair]; }
  Status set_up(Pair& pair, unsigned index, const HostedRing& ring, uint64_t features);
  Status set_addresses(VhostHandle& handle, unsigned index, const HostedRing& ring);

  const GuestMemory& memory_;
  std::vector<Pair> pairs_;
};

}  // namespace vmm::net
