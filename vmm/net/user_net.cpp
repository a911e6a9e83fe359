#include "vmm/net/user_net.h"

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"
#include "vmm/net/checksum.h"
#include "vmm/net/slirp_library.h"
#include "vmm/net/slirp_sockets.h"
#include "vmm/net/tcp_cutter.h"
#include "vmm/net/tcp_frame.h"
#include "vmm/net/window_refresh.h"

namespace vmm::net {
namespace {

constexpr size_t kHoldBytes = UserNet::kQueueBytes / 2;
constexpr std::byte kProtocolIcmp6{58};

int64_t steady_ns() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

size_t socket_bound() {
  rlimit limit{};
  const bool is_known = ::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  return is_known ? std::min<size_t>(UserNet::kMostSockets, limit.rlim_cur / 2) : UserNet::kMostSockets;
}

in_addr to_in_addr(const IpAddress& address) {
  in_addr result{};
  std::memcpy(&result, address.bytes().data(), sizeof result);
  return result;
}

in6_addr to_in6_addr(const IpAddress& address) {
  in6_addr result{};
  std::memcpy(&result, address.bytes().data(), sizeof result);
  return result;
}

struct SocketAddress {
  SocketAddress(const IpAddress& address, uint16_t port) {
    if (address.is_v4()) {
      const sockaddr_in v4{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = to_in_addr(address)};
      std::memcpy(&storage, &v4, sizeof v4);
      bytes = sizeof v4;
    } else {
      const sockaddr_in6 v6{
          .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = to_in6_addr(address)};
      std::memcpy(&storage, &v6, sizeof v6);
      bytes = sizeof v6;
    }
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }

  sockaddr_storage storage{};
  socklen_t bytes = 0;
};

int forward_flags(const PortForward& forward) {
  int flags = forward.protocol == PortForward::Protocol::kUdp ? SLIRP_HOSTFWD_UDP : 0;
  // So that 0.0.0.0 and :: may be forwarded side by side.
  flags |= forward.host_address.is_v4() ? 0 : SLIRP_HOSTFWD_V6ONLY;
  return flags;
}

std::string_view name_of(PortForward::Protocol protocol) {
  return protocol == PortForward::Protocol::kTcp ? "TCP" : "UDP";
}

const char* text_or_null(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }

void set_ip4(SlirpConfig& config, const UserNetOptions::Ip4& ip4) {
  config.in_enabled = true;
  config.vnetwork = to_in_addr(ip4.network);
  config.vnetmask.s_addr = htonl(0xffff'ffffU << (32 - ip4.prefix_bits));
  config.vhost = to_in_addr(ip4.host);
  config.vdhcp_start = to_in_addr(ip4.first_dhcp);
  config.vnameserver = to_in_addr(ip4.dns);
}

void set_ip6(SlirpConfig& config, const UserNetOptions::Ip6& ip6) {
  config.in6_enabled = true;
  config.vprefix_addr6 = to_in6_addr(ip6.prefix);
  config.vprefix_len = static_cast<uint8_t>(ip6.prefix_bits);
  config.vhost6 = to_in6_addr(ip6.host);
  config.vnameserver6 = to_in6_addr(ip6.dns);
}

}  // namespace

// What libslirp calls, always from within a call of ours.
struct UserNet::Callbacks {
  static UserNet& net(void* self) { return *static_cast<UserNet*>(self); }

  static ssize_t send_packet(const void* frame, size_t frame_bytes, void* self) {
    net(self).queue_packet({static_cast<const std::byte*>(frame), frame_bytes});
    return static_cast<ssize_t>(frame_bytes);
  }
  static void guest_error(const char* message, void* self) {
    if (net(self).limit_.allows()) {
      log::warning("user network: {}", message);
    }
  }
  static int64_t clock_get_ns(void* /*self*/) { return steady_ns(); }
  static void* new_timer(SlirpTimerId id, void* context, void* self) {
    VMM_CHECK(id == SLIRP_TIMER_RA, "libslirp has another timer");
    net(self).advertisement_context_ = context;
    return &net(self).advertisement_timer_;
  }
  static void free_timer(void* /*timer*/, void* self) { net(self).advertisement_timer_.disarm(); }
  static void set_timer(void* /*timer*/, int64_t due_ms, void* self) {
    net(self).advertisement_timer_.arm(std::chrono::milliseconds(due_ms) -
                                       std::chrono::nanoseconds(steady_ns()));
  }
  static void add_socket(int fd, void* self) { net(self).sockets_->add(fd); }
  static void remove_socket(int fd, void* self) { net(self).sockets_->remove(fd); }
  static void notify(void* self) { net(self).sockets_->touch(); }

  static constexpr SlirpCb kTable = {.send_packet = send_packet,
                                     .guest_error = guest_error,
                                     .clock_get_ns = clock_get_ns,
                                     .timer_new = nullptr,
                                     .timer_free = free_timer,
                                     .timer_mod = set_timer,
                                     .register_poll_fd = add_socket,
                                     .unregister_poll_fd = remove_socket,
                                     .notify = notify,
                                     .init_completed = nullptr,
                                     .timer_new_opaque = new_timer};
};

UserNet::UserNet(EventLoop& loop, const SlirpLibrary& library, const UserNetOptions& options)
    : loop_(loop),
      library_(library),
      has_ip4_(options.ip4.has_value()),
      mtu_(options.mtu),
      most_sockets_(socket_bound()),
      sent_(kMaxFrameBytes) {}

UserNet::~UserNet() {
  if (stack_ != nullptr) {
    loop_.remove_poller(*this);
    library_.destroy(stack_);
  }
}

Result<std::unique_ptr<UserNet>> UserNet::create(EventLoop& loop, const UserNetOptions& options) {
  VMM_TRY(check(options));
  VMM_ASSIGN_OR_RETURN(const SlirpLibrary* library, SlirpLibrary::load());
  std::unique_ptr<UserNet> net(new UserNet(loop, *library, options));
  VMM_TRY(net->start(options));
  for (const PortForward& forward : options.forwards) {
    VMM_TRY(net->add_forward(forward));
  }
  return net;
}

Status UserNet::start(const UserNetOptions& options) {
  VMM_ASSIGN_OR_RETURN(sockets_, SlirpSockets::create(loop_, library_));
  VMM_ASSIGN_OR_RETURN(advertisement_timer_, loop_.make_timer([this] {
    library_.handle_timer(stack_, SLIRP_TIMER_RA, advertisement_context_);
    sockets_->touch();
  }));
  std::vector<const char*> search;
  search.reserve(options.dns_search.size() + 1);
  for (const std::string& domain : options.dns_search) {
    search.push_back(domain.c_str());
  }
  search.push_back(nullptr);
  SlirpConfig config{};
  config.version = 4;  // the first with timer_new_opaque
  config.restricted = options.is_restricted ? 1 : 0;
  if (options.ip4) {
    set_ip4(config, *options.ip4);
  }
  if (options.ip6) {
    set_ip6(config, *options.ip6);
  }
  config.vhostname = text_or_null(options.hostname);
  config.tftp_path = text_or_null(options.tftp_folder);
  config.bootfile = text_or_null(options.boot_file);
  config.vdnssearch = search.size() > 1 ? search.data() : nullptr;
  config.if_mtu = options.mtu;
  config.if_mru = options.mtu;
  stack_ = library_.create(&config, &Callbacks::kTable, this);
  if (stack_ == nullptr) {
    return fail("libslirp does not make a network with these options");
  }
  sockets_->set_stack(*stack_);
  loop_.add_poller(*this);
  return {};
}

Status UserNet::add_forward(const PortForward& forward) {
  VMM_TRY(check(forward));
  // 0.0.0.0 is the first address of DHCP, :: the one that the guest uses.
  const IpAddress any = has_ip4_ ? IpAddress() : IpAddress::v6({});
  const SocketAddress host(forward.host_address, forward.host_port);
  const SocketAddress guest(forward.guest_address.value_or(any), forward.guest_port);
  errno = 0;
  if (library_.add_forward(stack_, host.get(), host.bytes, guest.get(), guest.bytes,
                           forward_flags(forward)) != 0) {
    const int error = errno;
    const auto protocol = name_of(forward.protocol);
    const std::string address = forward.host_address.text();
    if (error == EADDRINUSE) {
      return fail("{} port {} of {} is taken already", protocol, forward.host_port, address);
    }
    return fail("cannot forward {} port {} of {}: {}", protocol, forward.host_port, address,
                errno_text(error));
  }
  sockets_->touch();
  return {};
}

Status UserNet::remove_forward(const PortForward& forward) {
  const SocketAddress host(forward.host_address, forward.host_port);
  if (library_.remove_forward(stack_, host.get(), host.bytes, forward_flags(forward)) != 0) {
    return fail("{} port {} of {} is not forwarded", name_of(forward.protocol), forward.host_port,
                forward.host_address.text());
  }
  sockets_->touch();
  return {};
}

void UserNet::set_use(uint16_t pairs, const PacketOffloads& gives) {
  is_used_ = pairs > 0;
  coalescer_.set_use(gives);
  // What waits may be of a kind that is not taken any more.
  queue_.clear();
}

void UserNet::want_packets(uint16_t /*pair*/, bool is_wanted) { is_wanted_ = is_wanted; }

size_t UserNet::receive(uint16_t /*pair*/, std::span<const iovec> room) {
  coalescer_.complete();
  return queue_.receive(room);
}

bool UserNet::poll() {
  const bool are_waiting = is_wanted_ && !queue_.is_empty() && receiver_ != nullptr;
  if (are_waiting) {
    receiver_->packets_wait(0);
  }
  sockets_->hold(queue_.bytes() > kHoldBytes);
  sockets_->settle();
  return are_waiting;
}

void UserNet::queue_packet(std::span<const std::byte> frame) {
  // libslirp fills in all checksums.
  if (is_used_ && !coalescer_.add(frame)) {
    ++dropped_packets_;
  }
}

NetEnd::Sent UserNet::send(uint16_t /*pair*/, const PacketHeader& header, std::span<const iovec> frame,
                           size_t frame_bytes) {
  VMM_CHECK(frame_bytes >= kEthernetHeaderBytes && frame_bytes <= kMaxFrameBytes,
            "a frame of no valid length");
  const auto sent = std::span(sent_).first(gather(frame, std::span(sent_).first(frame_bytes)));
  if (sent.size() < kEthernetHeaderBytes || !may_pass(sent)) {
    return Sent::kDropped;
  }
  if (header.segments != PacketHeader::kNone) {
    input_large(sent);
  } else {
    input_packet(header, sent);
  }
  return Sent::kDone;
}

// What libslirp does not read does not reach it. Once there are too many sockets, neither does what could
// open another: TCP goes on without new connections.
bool UserNet::may_pass(std::span<const std::byte> frame) const {
  const auto type = load_be<uint16_t>(&frame[kEtherTypeAt]);
  if (type == kEtherTypeArp) {
    return true;
  }
  if (type != kEtherTypeIp4 && type != kEtherTypeIp6) {
    return false;
  }
  if (sockets_->count() < most_sockets_) {
    return true;
  }
  constexpr size_t kNextHeaderAt = TcpFrame::kIpAt + kIp6NextHeaderAt;
  if (type == kEtherTypeIp6 && frame.size() > kNextHeaderAt && frame[kNextHeaderAt] == kProtocolIcmp6) {
    return true;
  }
  const auto tcp = TcpFrame::parse(frame, TcpFrame::Length::kOfFrame);
  return tcp && (frame[tcp->tcp_at + kTcpFlagsAt] & std::byte{kTcpSyn}) == std::byte{0};
}

void UserNet::input(std::span<const std::byte> frame) {
  if (IpReassembler::is_fragment(frame)) {
    frame = reassembler_.add(frame, std::chrono::nanoseconds(steady_ns()));
    if (frame.empty()) {
      return;
    }
  }
  library_.input(stack_, reinterpret_cast<const uint8_t*>(frame.data()), static_cast<int>(frame.size()));
  sockets_->touch();
}

void UserNet::input_packet(const PacketHeader& header, std::span<std::byte> frame) {
  const bool is_sum_partial = (header.flags & PacketHeader::kNeedsChecksum) != 0;
  if (const auto tcp = TcpFrame::parse(frame)) {
    refresh_window(frame, *tcp, is_sum_partial);
  }
  if (!is_sum_partial || complete_checksum(frame, header.checksum_start, header.checksum_offset)) {
    input(frame);
  }
}

void UserNet::input_large(std::span<std::byte> frame) {
  const auto at = TcpFrame::parse(frame, TcpFrame::Length::kOfFrame);
  if (!at || frame.size() - TcpFrame::kIpAt > kMaxIpBytes) {
    return;
  }
  refresh_window(frame, *at, true);
  // Drivers differ in what they leave in the headers of a large packet.
  set_lengths(frame, *at);
  if (at->is_v4) {
    complete_checksum(frame, at->tcp_at, kTcpChecksumAt);
    return input(frame);
  }
  const size_t header_bytes = at->payload_at - TcpFrame::kIpAt;
  for (TcpCutter cutter(frame, *at, mtu_ - header_bytes);;) {
    const auto segment = cutter.next();
    if (segment.empty()) {
      break;
    }
    input(segment);
  }
}

}  // namespace vmm::net
