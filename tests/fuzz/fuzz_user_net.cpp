// A guest on a user network that sends what it likes: frames at random, packets with right checksums, answers
// to what it got, while somebody connects to its forwarded port. The network is restricted: nothing but that
// port of the loopback interface is reached, and nobody outside.
//
// Input: options, then operations (see run()).
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <memory>
#include <optional>
#include <vector>

#include "tests/fuzz/input.h"
#include "vmm/base/event_loop.h"
#include "vmm/net/checksum.h"
#include "vmm/net/tcp_frame.h"
#include "vmm/net/user_net.h"

namespace vmm::net {
namespace {

constexpr int kMaxSteps = 500;
constexpr size_t kMaxHosts = 4;
constexpr uint32_t kMtu = 1500;
using Frame = std::vector<std::byte>;

// One for all inputs: it costs descriptors.
EventLoop& the_loop() {
  static const std::unique_ptr<EventLoop> loop = *EventLoop::create();
  return *loop;
}

void append(Frame& to, std::span<const std::byte> bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

class UserNetFuzzer final : private NetReceiver {
 public:
  explicit UserNetFuzzer(fuzz::Input& input) : input_(input) {}
  UserNetFuzzer(const UserNetFuzzer&) = delete;
  UserNetFuzzer& operator=(const UserNetFuzzer&) = delete;

  void run() {
    start(input_.take<uint8_t>());
    for (int i = 0; i < kMaxSteps && !input_.is_empty(); ++i) {
      switch (input_.below(8)) {
        case 0:
          turn();
          break;
        case 1:
          connect();
          break;
        case 2:
          net_->want_packets(0, input_.chance());
          break;
        case 3:
          use();
          break;
        case 4:
          answer();
          break;
        case 5:
          send_ip();
          break;
        default:
          send_arbitrary();
      }
    }
    net_->want_packets(0, true);
    turn();
  }

 private:
  void start(uint8_t options) {
    is_v6_ = (options & 1) != 0;
    UserNetOptions what{.is_restricted = true, .mtu = kMtu};
    // Ports of a fuzzer that runs beside this one are left alone.
    for (port_ = 20'000; !net_ && port_ < 21'000; ++port_) {
      what.forwards = {{.host_port = port_, .guest_port = 22}};
      if (auto net = UserNet::create(the_loop(), what)) {
        net_ = std::move(*net);
        break;
      }
    }
    VMM_CHECK(net_ != nullptr, "there is no network");
    net_->connect(*this);
    net_->set_use(1, gives_);
    net_->want_packets(0, true);
  }

  void turn() {
    for (int i = 0; i < 3; ++i) {
      the_loop().run_once(std::chrono::nanoseconds(0));
    }
  }

  void use() {
    const uint8_t bits = input_.take<uint8_t>();
    gives_ = {.checksum = (bits & 7) != 0, .tcp4 = (bits & 2) != 0, .tcp6 = (bits & 4) != 0};
    net_->set_use((bits & 8) != 0 ? 0 : 1, gives_);
  }

  // Somebody comes to the forwarded port, or says more.
  void connect() {
    if (hosts_.size() < kMaxHosts) {
      UniqueFd host(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      const sockaddr_in address{
          .sin_family = AF_INET, .sin_port = htons(port_), .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
      ::connect(host.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
      hosts_.push_back(std::move(host));
    }
    const std::vector<std::byte> bytes(input_.take<uint16_t>());
    [[maybe_unused]] const auto sent =
        ::send(hosts_[input_.below(static_cast<unsigned>(hosts_.size()))].get(), bytes.data(), bytes.size(),
               MSG_NOSIGNAL);
  }

  void send(Frame frame, const PacketHeader& header) {
    const iovec buffer{.iov_base = frame.data(), .iov_len = frame.size()};
    net_->send(0, header, {&buffer, 1}, frame.size());
  }

  void send_arbitrary() {
    const size_t length =
        std::clamp<size_t>(input_.take<uint16_t>() % 4096U, kEthernetHeaderBytes, kMaxFrameBytes);
    static constexpr std::array<uint8_t, 4> kSegments = {0, PacketHeader::kTcp4, PacketHeader::kTcp6,
                                                         PacketHeader::kTcp4 | PacketHeader::kHasEcn};
    const PacketHeader header{.flags = static_cast<uint8_t>(input_.below(4)),
                              .segments = kSegments[input_.below(4)],
                              .header_bytes = input_.take<uint16_t>(),
                              .segment_bytes = input_.take<uint16_t>(),
                              .checksum_start = input_.take<uint16_t>(),
                              .checksum_offset = input_.take<uint16_t>()};
    const auto bytes = input_.take_bytes(length);
    Frame frame(bytes.begin(), bytes.end());
    frame.resize(length);
    static constexpr std::array<uint16_t, 4> kTypes = {0, kEtherTypeArp, kEtherTypeIp4, kEtherTypeIp6};
    if (const uint16_t type = kTypes[input_.below(4)]; type != 0) {
      store_be<uint16_t>(&frame[kEtherTypeAt], type);
    }
    send(std::move(frame), header);
  }

  // A packet with right lengths and checksums.
  void send_ip() {
    static constexpr std::array<uint8_t, 6> kProtocols = {6, 17, 1, 58, 0, 44};
    static constexpr std::array<size_t, 6> kChecksumAt = {16, 6, 2, 2, 0, 0};
    const uint8_t which = input_.below(6);
    const auto payload = input_.take_bytes(input_.take<uint16_t>() % 1480U);
    Frame ip = is_v6_ != (input_.below(8) == 0) ? header6() : header4();
    const size_t header_bytes = ip.size();
    append(ip, payload);
    const bool is_v4 = header_bytes == kIp4HeaderBytes;
    ip[is_v4 ? 9 : 6] = std::byte{kProtocols[which]};
    if (is_v4) {
      store_be<uint16_t>(&ip[kIp4LengthAt], static_cast<uint16_t>(ip.size()));
      const auto header = std::span(ip).first(header_bytes);
      store_sum(&ip[kIp4ChecksumAt], static_cast<uint16_t>(~sum_words(header)));
    } else {
      store_be<uint16_t>(&ip[kIp6LengthAt], static_cast<uint16_t>(payload.size()));
    }
    const size_t at = header_bytes + kChecksumAt[which];
    if (at + 2 <= ip.size() && kChecksumAt[which] != 0) {
      const bool has_pseudo_header = kProtocols[which] != 1;
      std::array<std::byte, 4> tail{std::byte{0}, std::byte{kProtocols[which]}};
      store_be<uint16_t>(&tail[2], static_cast<uint16_t>(payload.size()));
      const auto addresses = std::span(ip).subspan(is_v4 ? 12 : 8, is_v4 ? 8 : 32);
      store_sum(&ip[at], has_pseudo_header ? sum_words(tail, sum_words(addresses)) : uint16_t{0});
      complete_checksum(ip, header_bytes, kChecksumAt[which]);
    }
    Frame frame(kEthernetHeaderBytes, std::byte{0x52});
    store_be<uint16_t>(&frame[kEtherTypeAt], is_v4 ? kEtherTypeIp4 : kEtherTypeIp6);
    append(frame, ip);
    send(std::move(frame), {});
  }
  Frame header4() {
    static constexpr std::array<uint8_t, 4> kHosts = {2, 3, 15, 255};
    Frame ip(kIp4HeaderBytes);
    ip[0] = std::byte{0x45};
    store_be<uint16_t>(&ip[kIp4IdAt], input_.below(4));
    store_be<uint16_t>(&ip[kIp4FragmentAt], input_.below(4) == 0 ? input_.take<uint16_t>() : uint16_t{0});
    ip[8] = std::byte{64};
    store_be<uint32_t>(&ip[12], 0x0a00'020f);
    store_be<uint32_t>(&ip[16], 0x0a00'0200U + kHosts[input_.below(4)]);
    return ip;
  }
  Frame header6() {
    Frame ip(kIp6HeaderBytes);
    ip[0] = std::byte{0x60};
    ip[7] = std::byte{255};
    store_be<uint16_t>(&ip[8], 0xfec0);
    ip[23] = std::byte{15};
    store_be<uint16_t>(&ip[24], input_.chance() ? uint16_t{0xfec0} : uint16_t{0xff02});
    ip[39] = std::byte{input_.below(4)};
    return ip;
  }

  // To the last segment of TCP that came, with the numbers that are expected, and flags of any kind.
  void answer() {
    if (last_.empty()) {
      return;
    }
    const auto at = TcpFrame::parse(last_).value();
    Frame frame = last_;
    const size_t address_bytes = at.is_v4 ? 4 : 16;
    const auto addresses = frame.begin() + static_cast<ptrdiff_t>(TcpFrame::kIpAt + (at.is_v4 ? 12 : 8));
    std::swap_ranges(addresses, addresses + static_cast<ptrdiff_t>(address_bytes),
                     addresses + static_cast<ptrdiff_t>(address_bytes));
    std::byte* const tcp = &frame[at.tcp_at];
    std::swap_ranges(tcp, tcp + 2, tcp + 2);
    const auto flags = std::to_integer<uint8_t>(tcp[kTcpFlagsAt]);
    const auto begun = load_be<uint32_t>(tcp + kTcpSequenceAt);
    const auto length =
        static_cast<uint32_t>(at.payload_bytes()) + ((flags & (kTcpSyn | kTcpFin)) != 0 ? 1 : 0);
    store_be<uint32_t>(tcp + kTcpSequenceAt, load_be<uint32_t>(tcp + 8) + input_.below(16) / 15);
    store_be<uint32_t>(tcp + 8, begun + length);
    tcp[kTcpFlagsAt] = std::byte{input_.take<uint8_t>()};
    store_be<uint16_t>(tcp + kTcpWindowAt, input_.take<uint16_t>());
    tcp[12] = std::byte{kTcpHeaderBytes / 4 << 4U};
    frame.resize(at.tcp_at + kTcpHeaderBytes);
    append(frame, input_.take_bytes(input_.take<uint8_t>()));
    frame.resize(frame.size() + (input_.below(4) == 0 ? input_.take<uint16_t>() % 60'000U : 0));
    const auto answer_at = TcpFrame::parse(frame, TcpFrame::Length::kOfFrame).value();
    set_lengths(frame, answer_at);
    send(std::move(frame), {.flags = PacketHeader::kNeedsChecksum,
                            .segments = at.is_v4 ? PacketHeader::kTcp4 : PacketHeader::kTcp6,
                            .segment_bytes = 1000,
                            .checksum_start = static_cast<uint16_t>(at.tcp_at),
                            .checksum_offset = kTcpChecksumAt});
  }

  void packets_wait(uint16_t pair) override {
    const iovec buffer{.iov_base = room_.data(), .iov_len = room_.size()};
    for (size_t bytes = net_->receive(pair, {&buffer, 1}); bytes > 0;
         bytes = net_->receive(pair, {&buffer, 1})) {
      PacketHeaderBytes header{};
      std::copy_n(room_.begin(), header.size(), header.begin());
      check(PacketHeader::parse(header), std::span(room_).first(bytes).subspan(kPacketHeaderBytes));
    }
  }
  void has_room(uint16_t /*pair*/) override {}

  void check(const PacketHeader& header, std::span<const std::byte> frame) {
    VMM_CHECK(header.flags == 0 || gives_.checksum, "a flag that nobody asked for");
    const auto at = TcpFrame::parse(frame);
    if (header.segments != PacketHeader::kNone) {
      VMM_CHECK(at.has_value() && (at->is_v4 ? gives_.tcp4 : gives_.tcp6), "a large packet for nobody");
      VMM_CHECK(at->payload_at - TcpFrame::kIpAt + header.segment_bytes <= kMtu, "its segments are too long");
    } else {
      VMM_CHECK(frame.size() <= kMtu + kEthernetHeaderBytes, "a packet is longer than the MTU");
    }
    if (at) {
      last_.assign(frame.begin(), frame.begin() + static_cast<ptrdiff_t>(at->end));
    }
  }

  fuzz::Input& input_;
  bool is_v6_ = false;
  uint16_t port_ = 0;
  PacketOffloads gives_;
  std::vector<std::byte> room_ = std::vector<std::byte>(kMaxPacketBytes);
  Frame last_;
  std::vector<UniqueFd> hosts_;
  std::unique_ptr<UserNet> net_;
};

}  // namespace
}  // namespace vmm::net

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::fuzz::silence_log();
  std::signal(SIGPIPE, SIG_IGN);
  vmm::fuzz::Input input(data, size);
  vmm::net::UserNetFuzzer(input).run();
  return 0;
}
