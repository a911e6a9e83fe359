// UserNet: a network of the guest's own, which reaches the host's network by the host's sockets; no privilege
// and no interface of the host is needed (QEMU's "-netdev user", libvirt's <interface type='user'>).
//
// libslirp is router, DHCP server (IPv4), router advertiser (IPv6), relay to the host's DNS server, and TFTP
// server where a folder is given. What it does not do: multicast, most of ICMP, TCP windows beyond 64 KiB.
//
// - From the guest large TCP packets are taken as they are: libslirp reads IPv4 packets of any length,
// whatever
//   the MTU. Of IPv6 it refuses what is longer than the MTU, so these are cut.
// - Fragments of IPv4 are put together before libslirp sees them (IpReassembler).
// - For the guest, segments of TCP that follow one another become one packet, where it takes such
// (Coalescer).
//   At most kQueueBytes wait for it. While it is more than half of that, nothing is read from sockets, so
//   that who sends waits; past it packets are dropped.
// - A guest that opens connections without end gets no more of them once half of the descriptors that the
//   process may have are used, or kMostSockets.
//
// Threads: as for every NetEnd; and all of a process on one thread, since libslirp has global state.
// SIGPIPE must be ignored by the process.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/log.h"
#include "vmm/core/net_end.h"
#include "vmm/net/coalescer.h"
#include "vmm/net/ip_reassembler.h"
#include "vmm/net/packet_queue.h"
#include "vmm/net/user_net_options.h"

struct Slirp;

namespace vmm::net {

class SlirpSockets;
struct SlirpLibrary;

class UserNet final : public NetEnd, private EventLoop::Poller {
 public:
  static constexpr size_t kQueueBytes = size_t{512} * 1024;
  static constexpr size_t kMostSockets = 4096;

  // An error: an option is wrong, a port is taken, libslirp is not there. The loop outlives it.
  static Result<std::unique_ptr<UserNet>> create(EventLoop& loop, const UserNetOptions& options);
  ~UserNet() override;
  UserNet(const UserNet&) = delete;
  UserNet& operator=(const UserNet&) = delete;

  // An error: its port is taken or not allowed.
  Status add_forward(const PortForward& forward);
  // An error: there is none of this protocol, host address and host port.
  Status remove_forward(const PortForward& forward);

  // NetEnd:
  uint16_t pairs() const override { return 1; }
  PacketOffloads takes() const override {
    return {.checksum = true, .tcp4 = true, .tcp6 = true, .ecn = true};
  }
  PacketOffloads can_give() const override { return {.checksum = true, .tcp4 = true, .tcp6 = true}; }
  void connect(NetReceiver& receiver) override { receiver_ = &receiver; }
  void set_use(uint16_t pairs, const PacketOffloads& gives) override;
  Sent send(uint16_t pair, const PacketHeader& header, std::span<const iovec> frame,
            size_t frame_bytes) override;
  void want_packets(uint16_t pair, bool is_wanted) override;
  size_t receive(uint16_t pair, std::span<const iovec> room) override;

  // Of packets for the guest, since the beginning.
  uint64_t dropped_packets() const { return dropped_packets_; }

 private:
  struct Callbacks;

  UserNet(EventLoop& loop, const SlirpLibrary& library, const UserNetOptions& options);
  Status start(const UserNetOptions& options);
  bool poll() override;
  void queue_packet(std::span<const std::byte> frame);
  void input(std::span<const std::byte> frame);
  void input_packet(const PacketHeader& header, std::span<std::byte> frame);
  void input_large(std::span<std::byte> frame);
  bool may_pass(std::span<const std::byte> frame) const;

  EventLoop& loop_;
  const SlirpLibrary& library_;
  const bool has_ip4_;
  const uint32_t mtu_;
  size_t most_sockets_ = kMostSockets;

  std::unique_ptr<SlirpSockets> sockets_;
  EventLoop::Timer advertisement_timer_;  // of IPv6 routers: the only one that libslirp asks for
  void* advertisement_context_ = nullptr;
  Slirp* stack_ = nullptr;

  NetReceiver* receiver_ = nullptr;
  bool is_used_ = false;
  bool is_wanted_ = false;
  PacketQueue queue_{kQueueBytes};
  Coalescer coalescer_{queue_};
  std::vector<std::byte> sent_;  // the guest's packet, copied
  IpReassembler reassembler_;
  uint64_t dropped_packets_ = 0;
  log::RateLimit limit_;
};

}  // namespace vmm::net
