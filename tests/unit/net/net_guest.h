// A guest on a network: its frames are made by hand, its packets kept, and its loop turned until something is
// so.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "tests/unit/net/frames.h"
#include "vmm/base/event_loop.h"
#include "vmm/core/net_end.h"
#include "vmm/net/user_net.h"

namespace vmm::net {

struct ReceivedPacket {
  PacketHeader header;
  Bytes frame;
};

class NetGuest final : private NetReceiver {
 public:
  NetGuest(EventLoop& loop, NetEnd& end) : loop_(loop), end_(end) {
    end.connect(*this);
    use({});
    end.want_packets(0, true);
  }
  void use(const PacketOffloads& gives) { end_.set_use(1, gives); }
  void leave() { end_.set_use(0, {}); }
  void want_packets(bool is_wanted) { end_.want_packets(0, is_wanted); }

  NetEnd::Sent send(Bytes frame, const PacketHeader& header = {}) {
    // In two buffers, as drivers do.
    const size_t first = std::min<size_t>(frame.size(), 14);
    const iovec buffers[] = {{.iov_base = frame.data(), .iov_len = first},
                             {.iov_base = frame.data() + first, .iov_len = frame.size() - first}};
    return end_.send(0, header, buffers, frame.size());
  }

  // The next packet for which `is_wanted` holds; those before it are dropped.
  std::optional<ReceivedPacket> wait_for(const std::function<bool(const ReceivedPacket&)>& is_wanted) {
    std::optional<ReceivedPacket> found;
    turn_until([&] {
      while (!packets.empty() && !found) {
        if (is_wanted(packets.front())) {
          found = packets.front();
        }
        packets.erase(packets.begin());
      }
      return found.has_value();
    });
    return found;
  }
  bool turn_until(const std::function<bool()>& is_so) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!is_so()) {
      if (std::chrono::steady_clock::now() > end) {
        ADD_FAILURE() << "it did not come";
        return false;
      }
      loop_.run_once(std::chrono::milliseconds(10));
    }
    return true;
  }
  // Turns the loop a few times, without anything to wait for.
  void settle() {
    for (int i = 0; i < 20; ++i) {
      loop_.run_once(std::chrono::milliseconds(1));
    }
  }

  std::vector<ReceivedPacket> packets;
  std::function<void(const ReceivedPacket&)> on_packet;  // in place of `packets`
  size_t room_calls = 0;

 private:
  void packets_wait(uint16_t /*pair*/) override {
    Bytes room(kMaxPacketBytes);
    const iovec buffers[] = {{.iov_base = room.data(), .iov_len = 100},
                             {.iov_base = room.data() + 100, .iov_len = room.size() - 100}};
    for (size_t count = end_.receive(0, buffers); count > 0; count = end_.receive(0, buffers)) {
      PacketHeaderBytes header{};
      std::copy_n(room.begin(), header.size(), header.begin());
      ReceivedPacket packet{
          .header = PacketHeader::parse(header),
          .frame = Bytes(room.begin() + kPacketHeaderBytes, room.begin() + static_cast<ptrdiff_t>(count))};
      if (on_packet) {
        on_packet(packet);
      } else {
        packets.push_back(std::move(packet));
      }
    }
  }
  void has_room(uint16_t /*pair*/) override { ++room_calls; }

  EventLoop& loop_;
  NetEnd& end_;
};

// Sockets of the host's loopback interface.
struct HostAddress {
  explicit HostAddress(bool is_v4, uint16_t port = 0) {
    if (is_v4) {
      auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
      v4 = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
      bytes = sizeof v4;
    } else {
      auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
      v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
      bytes = sizeof v6;
    }
  }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }

  sockaddr_storage storage{};
  socklen_t bytes = 0;
};

class HostSocket {
 public:
  // Bound to a free port; nothing: the host has no such addresses.
  static std::optional<HostSocket> bind(bool is_v4, int type) {
    HostSocket socket(UniqueFd(::socket(is_v4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)));
    HostAddress address(is_v4);
    if (!socket.fd_ || ::bind(socket.fd(), address.get(), address.bytes) != 0) {
      return std::nullopt;
    }
    EXPECT_EQ(::getsockname(socket.fd(), address.get(), &address.bytes), 0);
    socket.port_ = ntohs(is_v4 ? reinterpret_cast<sockaddr_in&>(address.storage).sin_port
                               : reinterpret_cast<sockaddr_in6&>(address.storage).sin6_port);
    if (type == SOCK_STREAM) {
      EXPECT_EQ(::listen(socket.fd(), 5), 0);
    }
    return socket;
  }
  static HostSocket connect(bool is_v4, int type, uint16_t port) {
    HostSocket socket(UniqueFd(::socket(is_v4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)));
    HostAddress address(is_v4, port);
    EXPECT_TRUE(::connect(socket.fd(), address.get(), address.bytes) == 0 || errno == EINPROGRESS);
    return socket;
  }
  // A port that nobody has; it may be taken meanwhile, by bad luck.
  static uint16_t free_port(bool is_v4, int type) { return bind(is_v4, type).value().port(); }

  HostSocket accept() const {
    return HostSocket(UniqueFd(::accept4(fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)));
  }
  int fd() const { return fd_.get(); }
  uint16_t port() const { return port_; }
  explicit operator bool() const { return static_cast<bool>(fd_); }

  size_t write(std::span<const std::byte> bytes) const {
    const ssize_t count = ::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return count > 0 ? static_cast<size_t>(count) : 0;
  }
  // What is there.
  Bytes read() const {
    Bytes bytes(size_t{1} << 18U);
    const ssize_t count = ::recv(fd(), bytes.data(), bytes.size(), 0);
    bytes.resize(count > 0 ? static_cast<size_t>(count) : 0);
    return bytes;
  }

 private:
  explicit HostSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
  uint16_t port_ = 0;
};

// The guest's end of a TCP connection, as simple as can be: nothing is lost on the way.
class GuestTcp {
 public:
  static constexpr uint16_t kMss = 1000;

  GuestTcp(NetGuest& guest, const IpEnds& ends, uint16_t port, uint16_t to_port)
      : guest_(guest), ends_(ends), port_(port), to_port_(to_port) {}

  bool connect() {
    send(kTcpSyn, {}, mss_option());
    ++sequence_;
    const auto reply = guest_.wait_for([&](const ReceivedPacket& packet) { return is_mine(packet); });
    if (!reply || (parse_tcp(reply->frame)->segment.flags & kTcpReset) != 0) {
      return false;
    }
    EXPECT_EQ(parse_tcp(reply->frame)->segment.flags, kTcpSyn | kTcpAck);
    ack_ = parse_tcp(reply->frame)->segment.sequence + 1;
    window_ = parse_tcp(reply->frame)->segment.window;
    send(kTcpAck, {});
    return true;
  }
  // Waits for a SYN to the port, and answers it.
  void accept() {
    const auto syn = guest_.wait_for([&](const ReceivedPacket& packet) { return is_mine(packet); });
    ASSERT_TRUE(syn);
    const auto parsed = parse_tcp(syn->frame);
    ASSERT_EQ(parsed->segment.flags, kTcpSyn);
    to_port_ = parsed->segment.from_port;
    ends_.to = parsed->ends.from;
    ack_ = parsed->segment.sequence + 1;
    send(kTcpSyn | kTcpAck, {}, mss_option());
    ++sequence_;
  }

  // One packet, to be cut into segments of kMss.
  void send_large(const Bytes& payload) {
    TcpSegment segment = make(kTcpAck | kTcpPush, payload);
    Bytes frame = tcp_frame(ends_, segment);
    const auto at = TcpFrame::parse(frame).value();
    // As drivers leave it: the pseudo header's sum.
    const auto tcp_bytes = frame.size() - at.tcp_at;
    store_be<uint16_t>(&frame[at.tcp_at + kTcpChecksumAt],
                       slow_sum({}, pseudo_sum(ends_, kIpTcp, tcp_bytes)));
    const PacketHeader header{.flags = PacketHeader::kNeedsChecksum,
                              .segments = ends_.from.is_v4() ? PacketHeader::kTcp4 : PacketHeader::kTcp6,
                              .header_bytes = static_cast<uint16_t>(at.payload_at),
                              .segment_bytes = kMss,
                              .checksum_start = static_cast<uint16_t>(at.tcp_at),
                              .checksum_offset = kTcpChecksumAt};
    guest_.send(std::move(frame), header);
    sequence_ += static_cast<uint32_t>(payload.size());
  }
  void send(uint8_t flags, const Bytes& payload, const Bytes& options = {}) {
    TcpSegment segment = make(flags, payload);
    segment.options = options;
    guest_.send(tcp_frame(ends_, segment));
    sequence_ += static_cast<uint32_t>(payload.size());
  }

  // Reads packets of this connection into `received`, and acknowledges them.
  void take(const ReceivedPacket& packet) {
    if (!is_mine(packet)) {
      return;
    }
    const auto parsed = parse_tcp(packet.frame)->segment;
    acked_ = parsed.ack;
    window_ = parsed.window;
    if (!parsed.payload.empty() && parsed.sequence == ack_) {
      received += parsed.payload;
      ack_ += static_cast<uint32_t>(parsed.payload.size());
      send(kTcpAck, {});
    }
    if ((parsed.flags & kTcpFin) != 0 && parsed.sequence + parsed.payload.size() == ack_ && !has_ended) {
      has_ended = true;
      ++ack_;
      send(kTcpAck, {});
    }
    has_reset |= (parsed.flags & kTcpReset) != 0;
  }
  uint32_t sequence() const { return sequence_; }
  uint32_t ack() const { return ack_; }
  // How much more may be sent.
  size_t room() const { return acked_ + window_ - sequence_; }

  Bytes received;
  bool has_ended = false;
  bool has_reset = false;

 private:
  static Bytes mss_option() { return bytes_of({2, 4, kMss >> 8, kMss & 0xff}); }
  bool is_mine(const ReceivedPacket& packet) const {
    if (type_of(packet.frame) != kEtherTypeIp4 && type_of(packet.frame) != kEtherTypeIp6) {
      return false;
    }
    const auto parsed = parse_tcp(packet.frame);
    return parsed && parsed->segment.to_port == port_ &&
           (to_port_ == 0 || parsed->segment.from_port == to_port_);
  }
  TcpSegment make(uint8_t flags, const Bytes& payload) const {
    return {.from_port = port_,
            .to_port = to_port_,
            .sequence = sequence_,
            .ack = (flags & kTcpAck) != 0 ? ack_ : 0,
            .flags = flags,
            .window = 64000,
            .payload = payload};
  }

  NetGuest& guest_;
  IpEnds ends_;
  uint16_t port_;
  uint16_t to_port_;                 // 0: of whom connects
  uint32_t sequence_ = 0xffff'f000;  // wraps soon
  uint32_t ack_ = 0;
  uint32_t acked_ = 0xffff'f001;
  uint32_t window_ = 0;
};

}  // namespace vmm::net
