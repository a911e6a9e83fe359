// A guest on a user network: what it finds there, and what it may do to it. All of the host that it reaches
// is the loopback interface.
#include "vmm/net/user_net.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <string_view>

#include "tests/unit/net/net_guest.h"
#include "vmm/net/checksum.h"

namespace vmm::net {
namespace {

const IpAddress kGuest4 = IpAddress::v4(10, 0, 2, 15);
const IpAddress kHost4 = IpAddress::v4(10, 0, 2, 2);
const IpAddress kGuest6 = IpAddress::parse("fec0::5054:ff:fe12:3456").value();
const IpAddress kHost6 = IpAddress::parse("fec0::2").value();
const IpAddress kLinkLocal = IpAddress::parse("fe80::5054:ff:fe12:3456").value();
constexpr uint16_t kGuestPort = 40'000;

Bytes arp(uint16_t operation, const IpAddress& from, const IpAddress& target) {
  Bytes arp = bytes_of({0, 1, 8, 0, 6, 4});
  append_be<uint16_t>(arp, operation);
  arp += kGuestMac;
  arp += raw(from);
  arp += Mac{};
  arp += raw(target);
  return ethernet(kBroadcast, kEtherTypeArp, arp);
}

Bytes icmp6(const IpEnds& ends, Bytes message) {
  return ip_frame(ends, kIpIcmp6, with_checksum(ends, kIpIcmp6, std::move(message), 2));
}

class UserNetworks : public testing::Test {
 protected:
  UserNetworks() { std::signal(SIGPIPE, SIG_IGN); }
  void start(const UserNetOptions& options = {}) {
    auto net = UserNet::create(*loop_, options);
    ASSERT_TRUE(net) << net.error().message();
    net_ = std::move(*net);
    guest_ = std::make_unique<NetGuest>(*loop_, *net_);
  }
  // The guest has its addresses, and libslirp knows where they are.
  void announce() {
    guest_->send(arp(1, kGuest4, kHost4));
    ASSERT_TRUE(guest_->wait_for([](const auto& packet) { return type_of(packet.frame) == kEtherTypeArp; }));
    Bytes advertisement = bytes_of({136, 0, 0, 0, 0x60, 0, 0, 0});
    advertisement += raw(kGuest6);
    advertisement += bytes_of({2, 1});
    advertisement += kGuestMac;
    guest_->send(icmp6({kGuest6, kHost6}, advertisement));
  }
  std::optional<Bytes> dhcp(int type) {
    Bytes message = bytes_of({1, 1, 6, 0, 1, 2, 3, 4});
    message.resize(28);
    message += kGuestMac;
    message.resize(236);
    message += bytes_of({0x63, 0x82, 0x53, 0x63, 53, 1, type});
    if (type == 3) {
      message += bytes_of({50, 4, 10, 0, 2, 15});
    }
    message += bytes_of({255});
    message.resize(300);
    guest_->send(udp_frame({IpAddress(), IpAddress::v4(255, 255, 255, 255)}, 68, 67, message));
    const auto reply = guest_->wait_for([](const ReceivedPacket& packet) {
      const auto ip = parse_ip(packet.frame);
      return ip && ip->protocol == kIpUdp && load_be<uint16_t>(&ip->payload[2]) == 68;
    });
    if (!reply) {
      return std::nullopt;
    }
    const auto payload = parse_ip(reply->frame)->payload.subspan(8);
    return Bytes(payload.begin(), payload.end());
  }
  Bytes read_by_tftp(std::string_view name);
  HostSocket accept(const HostSocket& listener) {
    std::optional<HostSocket> socket;
    guest_->turn_until([&] {
      socket = listener.accept();
      return static_cast<bool>(*socket);
    });
    return std::move(*socket);
  }
  void check_both_ways(bool is_v4, const PacketOffloads& gives);
  void check_forward(bool is_v4);

  std::unique_ptr<EventLoop> loop_ = std::move(*EventLoop::create());
  std::unique_ptr<UserNet> net_;
  std::unique_ptr<NetGuest> guest_;
};

TEST_F(UserNetworks, TheHostAnswersWhereItsAddressIs) {
  start();
  guest_->send(arp(1, kGuest4, kHost4));
  const auto reply =
      guest_->wait_for([](const auto& packet) { return type_of(packet.frame) == kEtherTypeArp; });
  ASSERT_TRUE(reply);
  EXPECT_EQ(load_be<uint16_t>(&reply->frame[20]), 2);  // a reply
  EXPECT_TRUE(std::ranges::equal(std::span(reply->frame).subspan(28, 4), raw(kHost4)));
}

TEST_F(UserNetworks, DhcpGivesTheFirstAddress) {
  start({.hostname = "guest", .dns_search = {"example.org"}});
  const auto offer = dhcp(1);
  ASSERT_TRUE(offer);
  EXPECT_TRUE(std::ranges::equal(std::span(*offer).subspan(16, 4), raw(kGuest4)));
  EXPECT_EQ((*offer)[242], std::byte{2});  // DHCPOFFER
  const auto acknowledgement = dhcp(3);
  ASSERT_TRUE(acknowledgement);
  EXPECT_TRUE(std::ranges::equal(std::span(*acknowledgement).subspan(16, 4), raw(kGuest4)));
  EXPECT_EQ((*acknowledgement)[242], std::byte{5});  // DHCPACK
}

// RFC 1350; its first answer.
Bytes UserNetworks::read_by_tftp(std::string_view name) {
  Bytes request = bytes_of({0, 1});
  request += as_bytes(name);
  request += bytes_of({0});
  request += as_bytes("octet");
  request += bytes_of({0});
  guest_->send(udp_frame({kGuest4, kHost4}, kGuestPort, 69, request));
  const auto reply = guest_->wait_for([](const ReceivedPacket& packet) {
    const auto ip = parse_ip(packet.frame);
    return ip && ip->protocol == kIpUdp;
  });
  const auto payload = reply ? parse_ip(reply->frame)->payload.subspan(8) : std::span<const std::byte>();
  return {payload.begin(), payload.end()};
}

TEST_F(UserNetworks, WhoBootsIsToldAFileAndReadsItsFolderAlone) {
  namespace fs = std::filesystem;
  std::string folder = "/tmp/vmm-tftp.XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  fs::create_directory(folder + "/boot");
  std::ofstream(folder + "/boot/start.ipxe") << "#!ipxe";
  std::ofstream(folder + "/secret") << "secret";
  start({.tftp_folder = folder + "/boot", .boot_file = "start.ipxe"});
  announce();
  const auto offer = dhcp(1);
  ASSERT_TRUE(offer);
  EXPECT_TRUE(std::ranges::equal(std::span(*offer).subspan(20, 4), raw(kHost4)));
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(&(*offer)[108])), "start.ipxe");
  Bytes block = bytes_of({0, 3, 0, 1});
  block += as_bytes("#!ipxe");
  EXPECT_EQ(read_by_tftp("start.ipxe"), block);
  for (const char* const name : {"../secret", "/../secret", "boot/../../secret", "gone", ""}) {
    const Bytes answer = read_by_tftp(name);
    ASSERT_GE(answer.size(), 2U) << name;
    EXPECT_EQ(answer[1], std::byte{5}) << name;  // ERROR
  }
  fs::remove_all(folder);
}

TEST_F(UserNetworks, RoutersOfIp6AreAdvertised) {
  start();
  guest_->send(
      icmp6({kLinkLocal, IpAddress::parse("ff02::2").value()}, bytes_of({133, 0, 0, 0, 0, 0, 0, 0})));
  const auto advertisement = guest_->wait_for([](const ReceivedPacket& packet) {
    const auto ip = parse_ip(packet.frame);
    return ip && ip->protocol == kIpIcmp6 && ip->payload[0] == std::byte{134};
  });
  ASSERT_TRUE(advertisement);
  EXPECT_TRUE(has_right_checksum(advertisement->frame));
}

TEST_F(UserNetworks, TheHostAnswersWhereItsIp6AddressIs) {
  start();
  Bytes solicitation = bytes_of({135, 0, 0, 0, 0, 0, 0, 0});
  solicitation += raw(kHost6);
  solicitation += bytes_of({1, 1});
  solicitation += kGuestMac;
  guest_->send(icmp6({kGuest6, IpAddress::parse("ff02::1:ff00:2").value()}, solicitation));
  EXPECT_TRUE(guest_->wait_for([](const ReceivedPacket& packet) {
    const auto ip = parse_ip(packet.frame);
    return ip && ip->protocol == kIpIcmp6 && ip->payload[0] == std::byte{136} && ip->ends.from == kHost6;
  }));
}

void UserNetworks::check_both_ways(bool is_v4, const PacketOffloads& gives) {
  const auto listener = HostSocket::bind(is_v4, SOCK_STREAM);
  if (!listener) {
    GTEST_SKIP() << "the host has no such loopback address";
  }
  announce();
  GuestTcp tcp(*guest_, is_v4 ? IpEnds{kGuest4, kHost4} : IpEnds{kGuest6, kHost6}, kGuestPort,
               listener->port());
  ASSERT_TRUE(tcp.connect());
  const HostSocket host = accept(*listener);
  guest_->use(gives);
  size_t longest = 0;
  guest_->on_packet = [&](const ReceivedPacket& packet) {
    Bytes whole = packet.frame;
    if ((packet.header.flags & PacketHeader::kNeedsChecksum) != 0) {
      EXPECT_EQ(packet.header.segments, is_v4 ? PacketHeader::kTcp4 : PacketHeader::kTcp6);
      EXPECT_TRUE(complete_checksum(whole, packet.header.checksum_start, packet.header.checksum_offset));
    }
    EXPECT_TRUE(type_of(whole) == kEtherTypeArp || has_right_checksum(whole));
    longest = std::max(longest, whole.size());
    tcp.take(packet);
  };

  // From the guest, in packets as large as the window and IP allow.
  constexpr size_t kTotal = 1'000'000;
  Bytes arrived;
  size_t sent = 0;
  ASSERT_TRUE(guest_->turn_until([&] {
    const size_t count = std::min({tcp.room(), kTotal - sent, kMaxIpBytes - 60});
    if (count >= std::min<size_t>(20'000, kTotal - sent) && count > 0) {
      tcp.send_large(pattern(count, sent));
      sent += count;
    }
    arrived += host.read();
    return arrived.size() == kTotal;
  }));
  EXPECT_TRUE(arrived == pattern(kTotal));

  // To the guest.
  size_t written = 0;
  ASSERT_TRUE(guest_->turn_until([&] {
    written += host.write(pattern(std::min<size_t>(100'000, kTotal - written), written));
    return tcp.received.size() == kTotal;
  }));
  EXPECT_TRUE(tcp.received == pattern(kTotal));
  EXPECT_EQ(net_->dropped_packets(), 0U);
  if (gives.tcp4 || gives.tcp6) {
    EXPECT_GT(longest, 20'000U);
  } else {
    EXPECT_LE(longest, 1514U);
  }
}

TEST_F(UserNetworks, LargePacketsOfTcpReachTheHostAndItsDataTheGuest) {
  start();
  check_both_ways(true, {});
}

TEST_F(UserNetworks, LargePacketsOfTcpOverIp6AreCut) {
  start();
  check_both_ways(false, {});
}

TEST_F(UserNetworks, AGuestThatTakesLargePacketsIsGivenSuch) {
  start();
  check_both_ways(true, net_->can_give());
}

TEST_F(UserNetworks, AGuestThatTakesLargePacketsIsGivenSuchOfIp6) {
  start();
  check_both_ways(false, net_->can_give());
}

TEST_F(UserNetworks, ALargePacketsHeadersNeedNotBeRight) {
  start();
  const HostSocket listener = HostSocket::bind(true, SOCK_STREAM).value();
  announce();
  GuestTcp tcp(*guest_, {kGuest4, kHost4}, kGuestPort, listener.port());
  ASSERT_TRUE(tcp.connect());
  const HostSocket host = accept(listener);
  // As some drivers leave them: no total length, no checksums.
  Bytes frame = tcp_frame({kGuest4, kHost4}, {.from_port = kGuestPort,
                                              .to_port = listener.port(),
                                              .sequence = tcp.sequence(),
                                              .ack = tcp.ack(),
                                              .payload = pattern(5000)});
  store_be<uint16_t>(&frame[14 + kIp4LengthAt], 0);
  store_be<uint16_t>(&frame[14 + kIp4ChecksumAt], 0);
  store_be<uint16_t>(&frame[34 + kTcpChecksumAt], 0x1234);
  guest_->send(frame, {.flags = PacketHeader::kNeedsChecksum,
                       .segments = PacketHeader::kTcp4,
                       .header_bytes = 54,
                       .segment_bytes = 1000,
                       .checksum_start = 34,
                       .checksum_offset = kTcpChecksumAt});
  Bytes arrived;
  EXPECT_TRUE(guest_->turn_until([&] {
    arrived += host.read();
    return arrived.size() == 5000;
  }));
  EXPECT_EQ(arrived, pattern(5000));
}

TEST_F(UserNetworks, DatagramsGoBothWaysWithChecksumsLeftToTheNetwork) {
  start();
  const HostSocket host = HostSocket::bind(true, SOCK_DGRAM).value();
  announce();
  const IpEnds ends{kGuest4, kHost4};
  Bytes frame = udp_frame(ends, kGuestPort, host.port(), as_bytes("ping"));
  store_be<uint16_t>(&frame[34 + 6], slow_sum({}, pseudo_sum(ends, kIpUdp, 12)));
  guest_->send(frame, {.flags = PacketHeader::kNeedsChecksum, .checksum_start = 34, .checksum_offset = 6});
  std::array<char, 100> bytes{};
  sockaddr_storage from{};
  socklen_t from_bytes = sizeof from;
  ssize_t count = -1;
  ASSERT_TRUE(guest_->turn_until([&] {
    count =
        ::recvfrom(host.fd(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&from), &from_bytes);
    return count > 0;
  }));
  EXPECT_EQ(std::string_view(bytes.data(), static_cast<size_t>(count)), "ping");
  ::sendto(host.fd(), "pong!", 5, 0, reinterpret_cast<sockaddr*>(&from), from_bytes);
  const auto reply = guest_->wait_for([](const ReceivedPacket& packet) {
    const auto ip = parse_ip(packet.frame);
    return ip && ip->protocol == kIpUdp;
  });
  ASSERT_TRUE(reply);
  const auto ip = parse_ip(reply->frame);
  EXPECT_EQ(ip->ends.from, kHost4);
  EXPECT_TRUE(std::ranges::equal(ip->payload.subspan(8), as_bytes("pong!")));
}

TEST_F(UserNetworks, DatagramsInFragmentsArrive) {
  start();
  const HostSocket host = HostSocket::bind(true, SOCK_DGRAM).value();
  announce();
  const Bytes whole = udp_frame({kGuest4, kHost4}, kGuestPort, host.port(), pattern(5000));
  const auto udp = parse_ip(whole)->payload;
  for (size_t from = 0; from < udp.size(); from += 1480) {
    const size_t count = std::min<size_t>(1480, udp.size() - from);
    Bytes frame = ip_frame({kGuest4, kHost4}, kIpUdp, udp.subspan(from, count), 9);
    store_be<uint16_t>(&frame[14 + kIp4FragmentAt],
                       static_cast<uint16_t>(from / 8 + (from + count < udp.size() ? 0x2000 : 0)));
    store_sum(&frame[14 + kIp4ChecksumAt], 0);
    store_sum(&frame[14 + kIp4ChecksumAt],
              static_cast<uint16_t>(~sum_words(std::span(frame).subspan(14, kIp4HeaderBytes))));
    guest_->send(frame);
  }
  Bytes arrived;
  EXPECT_TRUE(guest_->turn_until([&] {
    arrived = host.read();
    return !arrived.empty();
  }));
  EXPECT_EQ(arrived, pattern(5000));
}

TEST_F(UserNetworks, TheHostsEndIsTold) {
  start();
  const HostSocket listener = HostSocket::bind(true, SOCK_STREAM).value();
  announce();
  GuestTcp tcp(*guest_, {kGuest4, kHost4}, kGuestPort, listener.port());
  ASSERT_TRUE(tcp.connect());
  guest_->on_packet = [&](const ReceivedPacket& packet) { tcp.take(packet); };
  {
    const HostSocket host = accept(listener);
  }
  EXPECT_TRUE(guest_->turn_until([&] { return tcp.has_ended; }));
}

TEST_F(UserNetworks, WhatIsSentToAHostThatHasGoneIsReset) {
  start();
  const HostSocket listener = HostSocket::bind(true, SOCK_STREAM).value();
  announce();
  GuestTcp tcp(*guest_, {kGuest4, kHost4}, kGuestPort, listener.port());
  ASSERT_TRUE(tcp.connect());
  guest_->on_packet = [&](const ReceivedPacket& packet) { tcp.take(packet); };
  tcp.send(kTcpAck | kTcpPush, pattern(100));
  {
    const HostSocket host = accept(listener);  // closed with what came unread
  }
  EXPECT_TRUE(guest_->turn_until([&] {
    if (!tcp.has_ended && !tcp.has_reset) {
      tcp.send(kTcpAck | kTcpPush, pattern(100));
    }
    return tcp.has_ended || tcp.has_reset;
  }));
  for (int i = 0; i < 5; ++i) {
    tcp.send(kTcpAck | kTcpPush, pattern(100));
    guest_->settle();
  }
}

TEST_F(UserNetworks, APortWhereNobodyListensRefuses) {
  start();
  announce();
  GuestTcp tcp(*guest_, {kGuest4, kHost4}, kGuestPort, HostSocket::free_port(true, SOCK_STREAM));
  EXPECT_FALSE(tcp.connect());
}

void UserNetworks::check_forward(bool is_v4) {
  if (!HostSocket::bind(is_v4, SOCK_STREAM)) {
    GTEST_SKIP() << "the host has no such loopback address";
  }
  const PortForward forward{
      .host_address = is_v4 ? IpAddress::v4(127, 0, 0, 1) : IpAddress::parse("::1").value(),
      .host_port = HostSocket::free_port(is_v4, SOCK_STREAM),
      .guest_address = is_v4 ? kGuest4 : kGuest6,
      .guest_port = 22};
  start({.is_restricted = true, .forwards = {forward}});
  announce();
  const HostSocket host = HostSocket::connect(is_v4, SOCK_STREAM, forward.host_port);
  GuestTcp tcp(*guest_, is_v4 ? IpEnds{kGuest4, kHost4} : IpEnds{kGuest6, kHost6}, 22, 0);
  tcp.accept();
  guest_->on_packet = [&](const ReceivedPacket& packet) { tcp.take(packet); };
  size_t written = 0;
  EXPECT_TRUE(guest_->turn_until([&] {
    written += written == 0 ? host.write(pattern(1000)) : 0;
    return tcp.received.size() == 1000;
  }));
  tcp.send(kTcpAck | kTcpPush, pattern(500));
  Bytes arrived;
  EXPECT_TRUE(guest_->turn_until([&] {
    arrived += host.read();
    return arrived.size() == 500;
  }));
  EXPECT_EQ(arrived, pattern(500));
}

TEST_F(UserNetworks, AForwardedPortLeadsIntoARestrictedGuest) { check_forward(true); }

TEST_F(UserNetworks, AForwardedPortOfIp6LeadsIntoTheGuest) { check_forward(false); }

TEST_F(UserNetworks, APortThatIsTakenIsNamed) {
  const HostSocket taken = HostSocket::bind(true, SOCK_STREAM).value();
  const auto net = UserNet::create(*loop_, {.forwards = {{.host_port = taken.port(), .guest_port = 22}}});
  ASSERT_FALSE(net);
  EXPECT_EQ(net.error().message(),
            "TCP port " + std::to_string(taken.port()) + " of 127.0.0.1 is taken already");
}

TEST_F(UserNetworks, AnAddressThatIsNotTheHostsIsNamed) {
  const auto net = UserNet::create(
      *loop_,
      {.forwards = {{.host_address = IpAddress::v4(192, 0, 2, 1), .host_port = 2222, .guest_port = 22}}});
  ASSERT_FALSE(net);
  EXPECT_EQ(net.error().message(),
            "cannot forward TCP port 2222 of 192.0.2.1: Cannot assign requested address");
}

TEST_F(UserNetworks, ForwardsComeAndGo) {
  start();
  for (const auto protocol : {PortForward::Protocol::kTcp, PortForward::Protocol::kUdp}) {
    const int type = protocol == PortForward::Protocol::kTcp ? SOCK_STREAM : SOCK_DGRAM;
    const PortForward forward{
        .protocol = protocol, .host_port = HostSocket::free_port(true, type), .guest_port = 22};
    EXPECT_FALSE(net_->remove_forward(forward));
    EXPECT_TRUE(net_->add_forward(forward));
    guest_->settle();
    EXPECT_FALSE(net_->add_forward(forward));
    EXPECT_TRUE(net_->remove_forward(forward));
    EXPECT_FALSE(net_->remove_forward(forward));
    EXPECT_TRUE(net_->add_forward(forward));
  }
}

TEST_F(UserNetworks, ARestrictedGuestReachesNothing) {
  start({.is_restricted = true});
  const HostSocket listener = HostSocket::bind(true, SOCK_STREAM).value();
  announce();
  GuestTcp tcp(*guest_, {kGuest4, kHost4}, kGuestPort, listener.port());
  EXPECT_FALSE(tcp.connect());
  const HostSocket datagrams = HostSocket::bind(true, SOCK_DGRAM).value();
  guest_->send(udp_frame({kGuest4, kHost4}, kGuestPort, datagrams.port(), as_bytes("out")));
  guest_->settle();
  EXPECT_TRUE(datagrams.read().empty());
}

TEST_F(UserNetworks, WhatTheGuestDoesNotTakeIsBounded) {
  start();
  announce();
  guest_->settle();
  guest_->packets.clear();
  guest_->want_packets(false);
  for (int i = 0; i < 20'000; ++i) {
    guest_->send(arp(1, kGuest4, kHost4));
  }
  EXPECT_GT(net_->dropped_packets(), 0U);
  guest_->settle();
  EXPECT_TRUE(guest_->packets.empty());
  guest_->want_packets(true);
  guest_->settle();
  EXPECT_GT(guest_->packets.size(), 1000U);
  EXPECT_LE(guest_->packets.size() * (64 + kPacketHeaderBytes), UserNet::kQueueBytes);
}

TEST_F(UserNetworks, WhileTheGuestIsBehindNothingIsReadForIt) {
  start();
  const HostSocket host = HostSocket::bind(true, SOCK_DGRAM).value();
  announce();
  guest_->send(udp_frame({kGuest4, kHost4}, kGuestPort, host.port(), as_bytes("here I am")));
  sockaddr_storage from{};
  socklen_t from_bytes = sizeof from;
  std::array<char, 100> bytes{};
  ASSERT_TRUE(guest_->turn_until([&] {
    return ::recvfrom(host.fd(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&from),
                      &from_bytes) > 0;
  }));
  guest_->settle();
  guest_->want_packets(false);
  guest_->packets.clear();
  // More than the queue has room for, a few at a time.
  const Bytes datagram = pattern(1400);
  for (int i = 0; i < 1000; ++i) {
    ::sendto(host.fd(), datagram.data(), datagram.size(), 0, reinterpret_cast<sockaddr*>(&from), from_bytes);
    loop_->run_once(EventLoop::Duration(0));
  }
  EXPECT_EQ(net_->dropped_packets(), 0U);
  guest_->want_packets(true);
  guest_->settle();
  EXPECT_GT(guest_->packets.size(), UserNet::kQueueBytes / 2 / 1500);
}

TEST_F(UserNetworks, NobodyIsGivenWhatCameBefore) {
  start();
  announce();
  guest_->settle();
  guest_->packets.clear();
  guest_->want_packets(false);
  guest_->send(arp(1, kGuest4, kHost4));
  guest_->leave();
  guest_->send(arp(1, kGuest4, kHost4));
  guest_->use({});
  guest_->want_packets(true);
  guest_->settle();
  EXPECT_TRUE(guest_->packets.empty());
}

TEST_F(UserNetworks, ChecksumsAreSaidToBeValidToThoseWhoListen) {
  start();
  const HostSocket listener = HostSocket::bind(true, SOCK_STREAM).value();
  announce();
  for (const bool is_said : {false, true}) {
    guest_->use({.checksum = is_said});
    GuestTcp tcp(*guest_, {kGuest4, kHost4}, static_cast<uint16_t>(kGuestPort + (is_said ? 1 : 0)),
                 listener.port());
    tcp.send(kTcpSyn, {});
    const auto reply =
        guest_->wait_for([](const auto& packet) { return parse_tcp(packet.frame).has_value(); });
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->header.flags, is_said ? PacketHeader::kChecksumIsValid : 0);
  }
}

TEST_F(UserNetworks, ALoopThatHasNothingToDoSleeps) {
  start();
  announce();
  guest_->settle();
  const auto begin = std::chrono::steady_clock::now();
  loop_->run_once(std::chrono::milliseconds(20));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(15));
}

// What a guest makes up.

PacketHeader random_header(std::mt19937& random, size_t frame_bytes) {
  static constexpr uint8_t kSegments[] = {PacketHeader::kNone, PacketHeader::kTcp4, PacketHeader::kTcp6,
                                          PacketHeader::kTcp4 | PacketHeader::kHasEcn};
  PacketHeader header;
  header.flags = random() % 2 == 0 ? PacketHeader::kNeedsChecksum : 0;
  header.segments = kSegments[random() % std::size(kSegments)];
  header.header_bytes = static_cast<uint16_t>(random());
  header.segment_bytes = static_cast<uint16_t>(random() % 3 == 0 ? random() % 4 : random());
  header.checksum_start = static_cast<uint16_t>(random() % frame_bytes);
  header.checksum_offset = static_cast<uint16_t>(random() % frame_bytes);
  return header;
}

TEST_F(UserNetworks, FramesOfAnyLengthAreTaken) {
  start({.is_restricted = true});
  std::mt19937 random(3);
  const Bytes all = pattern(kMaxFrameBytes);
  for (const uint16_t type : {uint16_t{0}, kEtherTypeIp4, kEtherTypeArp, kEtherTypeIp6, uint16_t{0x8100}}) {
    for (size_t length = kEthernetHeaderBytes; length <= kMaxFrameBytes;
         length += length < 200 ? 1 : random() % 10'000) {
      Bytes frame(all.begin(), all.begin() + static_cast<ptrdiff_t>(length));
      store_be<uint16_t>(&frame[kEtherTypeAt], type);
      for (int i = 0; i < 4; ++i) {
        EXPECT_NE(guest_->send(frame, random_header(random, length)), NetEnd::Sent::kFull);
      }
    }
  }
  guest_->settle();
}

TEST_F(UserNetworks, PacketsWithMistakesDoNoHarm) {
  const uint16_t port = HostSocket::free_port(true, SOCK_STREAM);
  start({.is_restricted = true, .forwards = {{.host_port = port, .guest_port = 22}}});
  announce();
  std::mt19937 random(4);
  const std::vector<Bytes> frames = {
      arp(1, kGuest4, kHost4),
      tcp_frame({kGuest4, kHost4},
                {.from_port = 22, .to_port = port, .flags = kTcpSyn, .payload = pattern(50)}),
      tcp_frame({kGuest6, kHost6}, {.from_port = 22, .to_port = 80, .payload = pattern(3000)}),
      udp_frame({kGuest4, kHost4}, 68, 67, pattern(300)),
      udp_frame({kGuest4, kHost4}, 69, 69, pattern(30)),
      udp_frame({kGuest6, kHost6}, 546, 547, pattern(60)),
      ip_frame({kGuest4, kHost4}, kIpIcmp, pattern(60)),
      icmp6({kLinkLocal, IpAddress::parse("ff02::2").value()}, bytes_of({133, 0, 0, 0, 0, 0, 0, 0})),
  };
  for (int i = 0; i < 20'000; ++i) {
    Bytes frame = frames[random() % frames.size()];
    for (size_t mistakes = random() % 4; mistakes > 0; --mistakes) {
      frame[random() % std::min<size_t>(frame.size(), 80)] = static_cast<std::byte>(random());
    }
    if (random() % 4 == 0) {
      frame.resize(std::max<size_t>(kEthernetHeaderBytes, random() % frame.size()));
    }
    guest_->send(frame, random_header(random, frame.size()));
    guest_->packets.clear();
    if (i % 100 == 0) {
      loop_->run_once(EventLoop::Duration(0));
    }
  }
  guest_->settle();
}

TEST_F(UserNetworks, ConnectionsWithoutEndDoNotTakeAllDescriptors) {
  start();
  const HostSocket host = HostSocket::bind(true, SOCK_DGRAM).value();
  announce();
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const size_t bound = std::min<size_t>(UserNet::kMostSockets, limit.rlim_cur / 2);
  for (size_t port = 1; port < 60'000; ++port) {
    guest_->send(udp_frame({kGuest4, kHost4}, static_cast<uint16_t>(port), host.port(), as_bytes("x")));
  }
  const UniqueFd next(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_GE(next.get(), 0);
  EXPECT_LE(static_cast<size_t>(next.get()), bound + 100);
  // ARP goes on.
  announce();
}

}  // namespace
}  // namespace vmm::net
