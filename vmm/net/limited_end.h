// LimitedEnd: another end of a network, with no more bytes in a second than it may have (libvirt's
// <bandwidth>).
//
// What is beyond waits where it is: the guest's packets in its queue (kFull), the network's with the network.
// A packet is never split; it goes when its turn has come, and those behind it wait for longer. Frames count,
// large ones as one; all pairs together.
//
// Threads: as for every NetEnd.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/token_bucket.h"
#include "vmm/net/wrapped_end.h"

namespace vmm::net {

struct Bandwidth {
  uint64_t average = 0;  // bytes in a second; 0: no limit
  uint64_t peak = 0;     // bytes in a second of a burst; 0: as fast as it comes
  uint64_t burst = 0;    // bytes; 0: what the average is in a tenth of a second
};

struct BandwidthLimits {
  Bandwidth to_guest;    // libvirt's <inbound>
  Bandwidth from_guest;  // <outbound>
};

class LimitedEnd final : public WrappedEnd, private NetReceiver {
 public:
  using Duration = TokenBucket::Duration;

  // Where it has the time from.
  struct Time {
    std::function<Duration()> now;
    std::function<void(Duration)> wake_after;  // calls on_due() then; an earlier wish is forgotten
  };

  // An error: the host has no timer left. The loop outlives it.
  static Result<std::unique_ptr<LimitedEnd>> create(EventLoop& loop, std::unique_ptr<NetEnd> end,
                                                    const BandwidthLimits& limits);
  LimitedEnd(std::unique_ptr<NetEnd> end, const BandwidthLimits& limits, Time time);

  // From now on these count, from nothing used up on.
  void set_limits(const BandwidthLimits& limits);
  // What waits for its time may go.
  void on_due();

  void connect(NetReceiver& receiver) override;
  void set_use(uint16_t pairs, const PacketOffloads& gives) override;
  Sent send(uint16_t pair, const PacketHeader& header, std::span<const iovec> frame,
            size_t frame_bytes) override;
  void want_packets(uint16_t pair, bool is_wanted) override;
  size_t receive(uint16_t pair, std::span<const iovec> room) override;

 private:
  struct Pair {
    bool is_wanted = false;      // by the device
    bool is_held = false;        // not wanted from the end, for the time being
    bool waits_to_send = false;  // since its packet was refused here
  };

  void packets_wait(uint16_t pair) override;
  void has_room(uint16_t pair) override;
  bool hold(uint16_t pair);
  void wake_after(Duration delay, Duration now);

  Time time_;
  EventLoop::Timer timer_;
  NetReceiver* receiver_ = nullptr;
  TokenBucket to_guest_, from_guest_;
  std::vector<Pair> pairs_;
  Duration due_{0};  // where it lies ahead, on_due() comes then
};

}  // namespace vmm::net
