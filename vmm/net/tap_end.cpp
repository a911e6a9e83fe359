#include "vmm/net/tap_end.h"

#include <fcntl.h>
// The C library's header first: the kernel's then leaves out what it has.
#include <net/if.h>
//
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <utility>

#include "vmm/base/log.h"
#include "vmm/net/packet_queue.h"

namespace vmm::net {
namespace {

// What waited in the kernel while nobody was there; more than a queue of it holds.
constexpr int kMostStale = 4096;

class TapEnd final : public NetEnd {
 public:
  TapEnd(EventLoop& loop, std::string name, std::vector<UniqueFd> queues, MadeLink link)
      : loop_(loop), name_(std::move(name)), link_(std::move(link)) {
    for (UniqueFd& fd : queues) {
      queues_.push_back({.fd = std::move(fd), .watch = {}});
    }
  }

  // They are as many as the options said.
  Status watch() {
    for (uint16_t pair = 0; pair < pairs(); ++pair) {
      VMM_ASSIGN_OR_RETURN(
          queues_[pair].watch,
          loop_.watch(queues_[pair].fd.get(), 0, [this, pair](uint32_t events) { on_events(pair, events); }));
    }
    return {};
  }

  uint16_t pairs() const override { return static_cast<uint16_t>(queues_.size()); }
  PacketOffloads takes() const override {
    return {.checksum = true, .tcp4 = true, .tcp6 = true, .ecn = true};
  }
  PacketOffloads can_give() const override { return takes(); }
  void connect(NetReceiver& receiver) override { receiver_ = &receiver; }

  void set_use(uint16_t pairs, const PacketOffloads& gives) override;
  Sent send(uint16_t pair, const PacketHeader& header, std::span<const iovec> frame,
            size_t frame_bytes) override;
  void want_packets(uint16_t pair, bool is_wanted) override;
  size_t receive(uint16_t pair, std::span<const iovec> room) override;

 private:
  struct Queue {
    UniqueFd fd;
    EventLoop::Watch watch;
    bool is_wanted = false;
    bool is_full = false;
    bool is_gone = false;
  };

  void on_events(uint16_t pair, uint32_t events);
  void update_watch(Queue& queue);
  void drop_what_waits(const Queue& queue);
  void complain(const char* what, int error);

  EventLoop& loop_;
  const std::string name_;
  const MadeLink link_;  // goes after its queues
  std::vector<Queue> queues_;
  NetReceiver* receiver_ = nullptr;
  uint16_t pairs_used_ = 0;
  std::vector<iovec> vectors_;
  // Behind the room for a packet: bytes that come to lie here do not fit.
  std::array<std::byte, kMaxPacketBytes> rest_{};
  std::array<std::byte, kMaxFrameBytes> copy_{};  // of a frame in more pieces than the kernel takes
  log::RateLimit log_limit_;
};

void TapEnd::complain(const char* what, int error) {
  if (log_limit_.allows()) {
    log::warning("network interface {}: cannot {}: {}", name_, what, errno_text(error));
  }
}

void TapEnd::update_watch(Queue& queue) {
  queue.watch.set_events((queue.is_wanted ? EPOLLIN : 0U) | (queue.is_full ? EPOLLOUT : 0U));
}

void TapEnd::on_events(uint16_t pair, uint32_t events) {
  Queue& queue = queues_[pair];
  if ((events & EPOLLERR) != 0) {  // the interface was deleted
    queue.watch.reset();
    queue.is_gone = true;
    log::warning("network interface {} is gone: the guest's network is cut off", name_);
    return;
  }
  if ((events & EPOLLOUT) != 0) {
    queue.is_full = false;
    update_watch(queue);
    receiver_->has_room(pair);
  }
  if ((events & EPOLLIN) != 0 && queue.is_wanted) {
    receiver_->packets_wait(pair);
  }
}

void TapEnd::set_use(uint16_t pairs, const PacketOffloads& gives) {
  unsigned offloads = 0;
  offloads |= gives.checksum ? TUN_F_CSUM : 0U;
  offloads |= gives.tcp4 ? TUN_F_TSO4 : 0U;
  offloads |= gives.tcp6 ? TUN_F_TSO6 : 0U;
  offloads |= gives.ecn ? TUN_F_TSO_ECN : 0U;
  if (pairs > 0 && ::ioctl(queues_[0].fd.get(), TUNSETOFFLOAD, offloads) != 0) {
    complain("set what the guest can receive", errno);
  }
  for (size_t i = 0; i < queues_.size() && queues_.size() > 1 && pairs > 0; ++i) {
    ifreq request{};
    request.ifr_flags = i < pairs ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
    // It says EINVAL where it is so already.
    if (::ioctl(queues_[i].fd.get(), TUNSETQUEUE, &request) != 0 && errno != EINVAL) {
      complain("set the number of its queues", errno);
    }
  }
  for (size_t i = pairs_used_; i < pairs; ++i) {
    drop_what_waits(queues_[i]);
  }
  pairs_used_ = pairs;
}

void TapEnd::drop_what_waits(const Queue& queue) {
  for (int packets = 0; packets < kMostStale; ++packets) {
    if (::read(queue.fd.get(), rest_.data(), rest_.size()) <= 0) {
      return;
    }
  }
}

NetEnd::Sent TapEnd::send(uint16_t pair, const PacketHeader& header, std::span<const iovec> frame,
                          size_t frame_bytes) {
  Queue& queue = queues_[pair];
  PacketHeaderBytes bytes = header.bytes();
  vectors_.assign(1, {.iov_base = bytes.data(), .iov_len = bytes.size()});
  if (frame.size() < IOV_MAX) {
    vectors_.insert(vectors_.end(), frame.begin(), frame.end());
  } else {
    gather(frame, copy_);
    vectors_.push_back({.iov_base = copy_.data(), .iov_len = frame_bytes});
  }
  if (queue.is_gone) {
    return Sent::kDropped;
  }
  if (::writev(queue.fd.get(), vectors_.data(), static_cast<int>(vectors_.size())) >= 0) {
    return Sent::kDone;
  }
  if (errno == EAGAIN) {
    queue.is_full = true;
    update_watch(queue);
    return Sent::kFull;
  }
  // EIO: it is switched off. EINVAL: the header does not hang together, which is the guest's affair.
  if (errno != EIO && errno != EINVAL) {
    complain("send", errno);
  }
  return Sent::kDropped;
}

void TapEnd::want_packets(uint16_t pair, bool is_wanted) {
  queues_[pair].is_wanted = is_wanted;
  update_watch(queues_[pair]);
}

size_t TapEnd::receive(uint16_t pair, std::span<const iovec> room) {
  size_t room_bytes = 0;
  vectors_.clear();
  for (const iovec& piece : room.first(std::min<size_t>(room.size(), IOV_MAX - 1))) {
    room_bytes += piece.iov_len;
    vectors_.push_back(piece);
  }
  vectors_.push_back({.iov_base = rest_.data(), .iov_len = rest_.size()});
  for (int packets = 0; packets < kMostStale; ++packets) {
    const ssize_t bytes = ::readv(queues_[pair].fd.get(), vectors_.data(), static_cast<int>(vectors_.size()));
    if (bytes <= 0) {
      return 0;
    }
    if (static_cast<size_t>(bytes) <= room_bytes) {
      return static_cast<size_t>(bytes);
    }
  }
  return 0;
}

}  // namespace

Status set_tap_header(const UniqueFd& fd, const std::string& name) {
  int header_bytes = kPacketHeaderBytes;
  int is_little_endian = 1;
  if (::ioctl(fd.get(), TUNSETVNETHDRSZ, &header_bytes) != 0 ||
      ::ioctl(fd.get(), TUNSETVNETLE, &is_little_endian) != 0) {
    return fail("the tap {}: its kernel is too old: {}", name, errno_text(errno));
  }
  return {};
}

Result<std::vector<UniqueFd>> same_queues(const std::vector<UniqueFd>& queues) {
  std::vector<UniqueFd> same;
  for (const UniqueFd& queue : queues) {
    UniqueFd fd(::fcntl(queue.get(), F_DUPFD_CLOEXEC, 0));
    if (!fd) {
      return fail("a file cannot be held twice: {}", errno_text(errno));
    }
    same.push_back(std::move(fd));
  }
  return same;
}

Result<std::unique_ptr<NetEnd>> make_tap_end(EventLoop& loop, std::string name, std::vector<UniqueFd> queues,
                                             MadeLink link) {
  auto end = std::make_unique<TapEnd>(loop, std::move(name), std::move(queues), std::move(link));
  VMM_TRY(end->watch());
  return end;
}

}  // namespace vmm::net
