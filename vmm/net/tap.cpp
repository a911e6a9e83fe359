#include "vmm/net/tap.h"

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
#include <vector>

#include "vmm/base/log.h"
#include "vmm/base/unique_fd.h"
#include "vmm/net/bridge_helper.h"
#include "vmm/net/host_link.h"
#include "vmm/net/packet_queue.h"

namespace vmm::net {
namespace {

constexpr const char* kTunPath = "/dev/net/tun";
// What waited in the kernel while nobody was there; more than a queue of it holds.
constexpr int kMostStale = 4096;

class TapEnd final : public NetEnd {
 public:
  TapEnd(EventLoop& loop, std::string name, std::vector<UniqueFd> queues)
      : loop_(loop), name_(std::move(name)) {
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

// --- Opening ---

std::string why_not_made(int error, const std::string& name, bool is_there) {
  const std::string called = name.empty() ? "vnet0" : name;
  switch (error) {
    case EPERM:
      return is_there ? fmt::format(
                            "it belongs to another user; as root: ip tuntap del dev {0} mode tap; ip tuntap "
                            "add dev {0} mode tap user {1}",
                            called, ::getuid())
                      : fmt::format(
                            "making one needs the capability CAP_NET_ADMIN; as root, once: ip tuntap add dev "
                            "{} mode tap user {}; or use <interface type='user'>",
                            called, ::getuid());
    case EBUSY:
      return "another process uses it";
    case EINVAL:
      return is_there ? "it is no tap, or one of another number of queues (<driver queues=…>)"
                      : errno_text(error);
    default:
      return errno_text(error);
  }
}

std::string why_not_there(int error) {
  return errno_text(error) + (error == ENOENT ? "; load the host's module tun (modprobe tun)" : "");
}

Status set_header(const UniqueFd& fd, const std::string& name) {
  int header_bytes = kPacketHeaderBytes;
  int is_little_endian = 1;
  if (::ioctl(fd.get(), TUNSETVNETHDRSZ, &header_bytes) != 0 ||
      ::ioctl(fd.get(), TUNSETVNETLE, &is_little_endian) != 0) {
    return fail("the tap {}: its kernel is too old: {}", name, errno_text(errno));
  }
  return {};
}

// is_forbidden: whether it is for want of a right that there is none.
Result<UniqueFd> open_queue(const TapOptions& options, bool is_there, std::string& name, bool& is_forbidden) {
  UniqueFd fd(::open(kTunPath, O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd) {
    return fail("{}: {}", kTunPath, why_not_there(errno));
  }
  ifreq request{};
  request.ifr_flags =
      static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (options.pairs > 1 ? IFF_MULTI_QUEUE : 0));
  const std::string wanted = name.empty() ? "vnet%d" : name;
  std::copy_n(wanted.begin(), std::min<size_t>(wanted.size(), IFNAMSIZ - 1), request.ifr_name);
  if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) {
    is_forbidden = errno == EPERM;
    return fail("the tap {}cannot be {}: {}", name.empty() ? "" : name + " ", is_there ? "used" : "made",
                why_not_made(errno, name, is_there));
  }
  name = request.ifr_name;
  VMM_TRY(set_header(fd, name));
  return fd;
}

// Made by a program that may. It chooses the name, and has put it into the bridge and switched it on.
Result<UniqueFd> open_by_helper(const TapOptions& options, const std::string& program, std::string& name) {
  if (options.pairs > 1) {
    return fail("{}: makes taps of one queue only; leave <driver queues=…> out", program);
  }
  VMM_ASSIGN_OR_RETURN(UniqueFd fd, tap_from_bridge_helper(program, options.bridge));
  ifreq request{};
  if (::ioctl(fd.get(), TUNGETIFF, &request) != 0 ||
      (request.ifr_flags & (IFF_TAP | IFF_VNET_HDR)) != (IFF_TAP | IFF_VNET_HDR)) {
    return fail("{}: what it gave is no tap of the kind that was asked for", program);
  }
  if (!name.empty()) {
    log::warning("network interface {}: is called so by {}, and not {}", request.ifr_name, program, name);
  }
  name = request.ifr_name;
  VMM_TRY(set_header(fd, name));
  return fd;
}

Status check_before(const TapOptions& options, const HostLinks& links) {
  if (options.name.size() >= IFNAMSIZ) {
    return fail("{}: the name of an interface has at most {} bytes", options.name, IFNAMSIZ - 1);
  }
  if (!options.bridge.empty() && !links.is_bridge(options.bridge)) {
    return fail("{}: {}", options.bridge,
                links.exists(options.bridge)
                    ? "this interface is no bridge"
                    : "there is no such bridge; as root: ip link add " + options.bridge + " type bridge");
  }
  if (!options.is_managed && !links.exists(options.name)) {
    return fail("{}: there is no such interface, and managed='no' leaves it to others to make it",
                options.name);
  }
  return {};
}

}  // namespace

Status check_tap(const TapOptions& options) {
  VMM_ASSIGN_OR_RETURN(const HostLinks links, HostLinks::open());
  VMM_TRY(check_before(options, links));
  if (::access(kTunPath, R_OK | W_OK) != 0) {
    return fail("{}: {}", kTunPath, why_not_there(errno));
  }
  return {};
}

Result<OpenedTap> open_tap(const TapOptions& options, EventLoop& loop) {
  VMM_ASSIGN_OR_RETURN(const HostLinks links, HostLinks::open());
  VMM_TRY(check_before(options, links));
  const bool is_there = !options.name.empty() && links.exists(options.name);
  const std::string helper = options.bridge_helper.empty() ? find_bridge_helper() : options.bridge_helper;
  std::string name = options.name;
  std::vector<UniqueFd> queues;
  bool is_of_helper = false;
  while (queues.size() < options.pairs) {
    bool is_forbidden = false;
    auto fd = open_queue(options, is_there, name, is_forbidden);
    if (is_forbidden && !is_there && !options.bridge.empty() && !helper.empty()) {
      const std::string reason = fd.error().message();
      fd = open_by_helper(options, helper, name);
      if (!fd) {
        return fail("{}; {}", reason, fd.error().message());
      }
      is_of_helper = true;
    }
    if (!fd) {
      return std::unexpected(fd.error());
    }
    queues.push_back(*std::move(fd));
  }
  if (options.is_managed) {
    if (options.mtu != 0) {
      VMM_TRY(links.set_mtu(name, options.mtu));
    }
    if (!options.bridge.empty() && !is_of_helper) {
      VMM_TRY(links.add_to_bridge(name, options.bridge));
    }
    // One that somebody made for this user may be up already, which he may not do himself.
    VMM_TRY(links.set_up(name));
  }
  auto end = std::make_unique<TapEnd>(loop, name, std::move(queues));
  VMM_TRY(end->watch());
  return OpenedTap{.end = std::move(end), .name = name};
}

}  // namespace vmm::net
