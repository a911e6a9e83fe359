// StreamSocketEnd: a network behind a stream socket, in the protocol of QEMU's "-netdev stream": each frame
// stands behind its length in bytes, 32 bits, big-endian. What passt(1) speaks.
//
// - From the guest large TCP packets go as one frame, with lengths and checksums made anew, as passt reads IP
//   packets of any length; those that are longer than it takes are cut. Checksums are filled in.
// - For the guest, segments of TCP that follow one another become one packet, where it takes such
//   (Coalescer). At most kQueueBytes wait for it; while it is more than half of that, the socket is not read.
// - A peer that gives a length that no frame has, or closes, is not heard any more: there is a line in the
//   log, and the guest's packets are dropped. Frames that are too short are passed over.
//
// Threads: as for every NetEnd.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/unique_fd.h"
#include "vmm/core/net_end.h"
#include "vmm/net/coalescer.h"
#include "vmm/net/packet_queue.h"

namespace vmm::net {

class StreamSocketEnd final : public NetEnd, private EventLoop::Poller {
 public:
  static constexpr size_t kQueueBytes = size_t{512} * 1024;
  static constexpr size_t kLengthBytes = 4;
  // passt takes no longer frames: IP packets of 65520 bytes, the MTU that it knows as the largest.
  static constexpr size_t kMostSentBytes = 65520 + kEthernetHeaderBytes;

  // name: of who is behind the socket, for the log. The loop outlives it.
  static Result<std::unique_ptr<StreamSocketEnd>> create(EventLoop& loop, UniqueFd socket, std::string name);
  ~StreamSocketEnd() override;
  StreamSocketEnd(const StreamSocketEnd&) = delete;
  StreamSocketEnd& operator=(const StreamSocketEnd&) = delete;

  // Whether somebody is behind the socket.
  bool is_open() const { return static_cast<bool>(socket_); }

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

 private:
  StreamSocketEnd(EventLoop& loop, UniqueFd socket, std::string name);
  bool poll() override;
  void on_events(uint32_t events);
  void update_watch();
  void close(const char* reason);

  void read();
  bool take_frames();

  bool add(const PacketHeader& header, std::span<std::byte> frame);
  bool add_large(std::span<std::byte> frame);
  bool append(std::span<const std::byte> frame);
  void flush();

  EventLoop& loop_;
  UniqueFd socket_;
  const std::string name_;
  EventLoop::Watch watch_;
  uint32_t events_ = EPOLLIN;  // that are watched
  NetReceiver* receiver_ = nullptr;
  bool is_used_ = false;
  bool is_wanted_ = false;

  std::vector<std::byte> sent_;  // the guest's packet, copied
  std::vector<std::byte> out_;   // what the socket has not taken yet; sent_at_ of it are gone
  size_t sent_at_ = 0;
  bool waits_for_room_ = false;

  std::vector<std::byte> in_;  // the first in_bytes_ of it were read, and are of a frame that is not whole
  size_t in_bytes_ = 0;
  PacketQueue queue_{kQueueBytes};
  Coalescer coalescer_{queue_};
};

}  // namespace vmm::net
