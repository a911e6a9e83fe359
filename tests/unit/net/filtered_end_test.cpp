// Filters against false addresses.
#include "vmm/net/filtered_end.h"

#include <gtest/gtest.h>

#include "tests/unit/net/fake_net_end.h"

namespace vmm::net {
namespace {

using Sent = NetEnd::Sent;

const IpAddress kOwn = IpAddress::v4(10, 0, 0, 7);
const IpAddress kOther = IpAddress::v4(10, 0, 0, 9);
const IpAddress kPeer = IpAddress::v4(10, 0, 0, 1);
constexpr Mac kFalseMac = {std::byte{0x52}, std::byte{0x54}, std::byte{0},
                           std::byte{0},    std::byte{0},    std::byte{9}};
constexpr uint16_t kOfPriority = 0x8100;

SpoofRules with_addresses(SpoofRules rules) {
  rules.mac = kGuestMac;
  for (const IpAddress& address : {kOwn, IpAddress::v4(10, 0, 0, 8)}) {
    std::copy_n(address.bytes().begin(), 4, rules.addresses.emplace_back().begin());
  }
  return rules;
}
SpoofRules no_mac_spoofing() { return with_addresses({.own_mac = true}); }
SpoofRules no_ip_spoofing() { return with_addresses({.own_ip = true}); }
SpoofRules no_arp_spoofing() { return with_addresses({.own_mac_in_arp = true, .own_ip_in_arp = true}); }
SpoofRules clean_traffic() {
  return with_addresses({.own_mac = true,
                         .own_ip = true,
                         .own_mac_in_arp = true,
                         .own_ip_in_arp = true,
                         .only_ip4_and_arp = true});
}

Bytes from(const IpAddress& source, uint8_t protocol = kIpTcp) {
  return ip_frame({source, kPeer}, protocol, pattern(100));
}
Bytes from_mac(const Mac& mac, Bytes frame) {
  std::ranges::copy(mac, frame.begin() + 6);
  return frame;
}
// RFC 826
Bytes arp(const Mac& sender, const IpAddress& address) {
  Bytes packet = bytes_of({0, 1, 8, 0, 6, 4, 0, 2});
  packet += sender;
  packet += raw(address);
  packet += kBroadcast;
  packet += raw(kPeer);
  return ethernet(kBroadcast, kEtherTypeArp, packet);
}
Bytes tagged(const Bytes& frame, uint16_t tag = kOfPriority) {
  Bytes result(frame.begin(), frame.begin() + 12);
  append_be<uint16_t>(result, tag);
  append_be<uint16_t>(result, 5);
  result += std::span(frame).subspan(12);
  return result;
}
// RFC 1042
Bytes with_snap(const Bytes& frame) {
  Bytes result(frame.begin(), frame.begin() + 12);
  append_be<uint16_t>(result, static_cast<uint16_t>(frame.size() - 12 + 6));
  result += bytes_of({0xaa, 0xaa, 3, 0, 0, 0});
  result += std::span(frame).subspan(12);
  return result;
}

class FilteredNetworks : public testing::Test {
 protected:
  void start(SpoofRules rules) {
    auto fake = std::make_unique<FakeNetEnd>();
    network_ = fake.get();
    end_ = std::make_unique<FilteredEnd>(std::move(fake), std::move(rules), "net0");
    device_ = std::make_unique<FakeNetReceiver>(*end_);
    end_->want_packets(0, true);
  }
  bool passes(const Bytes& frame) {
    const size_t before = network_->sent.size();
    const Sent sent = device_->send(frame);
    EXPECT_EQ(sent == Sent::kDone, network_->sent.size() == before + 1);
    EXPECT_TRUE(sent != Sent::kDone || network_->sent.back() == frame) << "sent as another";
    return sent == Sent::kDone;
  }
  Sent send_with(const PacketHeader& header, Bytes frame) {
    const iovec buffer{.iov_base = frame.data(), .iov_len = frame.size()};
    return end_->send(0, header, {&buffer, 1}, frame.size());
  }

  FakeNetEnd* network_ = nullptr;
  std::unique_ptr<FilteredEnd> end_;
  std::unique_ptr<FakeNetReceiver> device_;
};

TEST_F(FilteredNetworks, AgainstFalseMacAddresses) {
  start(no_mac_spoofing());
  EXPECT_TRUE(passes(from(kOther)));
  EXPECT_TRUE(passes(tagged(from(kOther))));
  EXPECT_TRUE(passes(ethernet(kBroadcast, 0x88b5, pattern(50))));
  EXPECT_FALSE(passes(from_mac(kFalseMac, from(kOwn))));
  EXPECT_FALSE(passes(from_mac(kFalseMac, tagged(from(kOwn)))));
  EXPECT_FALSE(passes(from_mac(kBroadcast, ip_frame(kEnds6, kIpUdp, pattern(50)))));
}

TEST_F(FilteredNetworks, AgainstFalseIpAddresses) {
  start(no_ip_spoofing());
  EXPECT_TRUE(passes(from(kOwn)));
  EXPECT_TRUE(passes(from(IpAddress::v4(10, 0, 0, 8))));
  EXPECT_FALSE(passes(from(kOther)));
  EXPECT_TRUE(passes(from_mac(kFalseMac, from(kOwn)))) << "of MAC addresses it says nothing";
  EXPECT_TRUE(passes(from(IpAddress(), kIpUdp))) << "DHCP";
  EXPECT_FALSE(passes(from(IpAddress(), kIpTcp)));
  EXPECT_TRUE(passes(ip_frame(kEnds6, kIpUdp, pattern(50)))) << "of IPv6 it says nothing";
  EXPECT_TRUE(passes(arp(kFalseMac, kOther)));
}

TEST_F(FilteredNetworks, EachFragmentIsLookedAt) {
  start(no_ip_spoofing());
  for (const uint16_t fragment : {uint16_t{0x2000}, uint16_t{0x2010}, uint16_t{0x0020}}) {
    Bytes right = from(kOwn);
    Bytes wrong = from(kOther);
    store_be<uint16_t>(&right[kEthernetHeaderBytes + kIp4FragmentAt], fragment);
    store_be<uint16_t>(&wrong[kEthernetHeaderBytes + kIp4FragmentAt], fragment);
    EXPECT_TRUE(passes(right));
    EXPECT_FALSE(passes(wrong));
  }
}

TEST_F(FilteredNetworks, NothingHidesBehindTags) {
  start(no_ip_spoofing());
  for (const uint16_t tag : {uint16_t{0x8100}, uint16_t{0x88a8}, uint16_t{0x9100}}) {
    EXPECT_TRUE(passes(tagged(from(kOwn), tag)));
    EXPECT_FALSE(passes(tagged(from(kOther), tag)));
    EXPECT_TRUE(passes(tagged(tagged(from(kOwn), tag))));
    EXPECT_FALSE(passes(tagged(tagged(from(kOther), tag))));
    EXPECT_FALSE(passes(tagged(tagged(tagged(from(kOwn), tag))))) << "more tags than are looked behind";
  }
  EXPECT_TRUE(passes(with_snap(from(kOwn))));
  EXPECT_FALSE(passes(with_snap(from(kOther))));
  EXPECT_FALSE(passes(tagged(with_snap(from(kOther)))));
  EXPECT_FALSE(passes(with_snap(tagged(from(kOwn)))));
}

TEST_F(FilteredNetworks, WhatIsCutOffIsNothing) {
  start(clean_traffic());
  for (const Bytes& whole : {from(kOwn), arp(kGuestMac, kOwn), tagged(from(kOwn)), with_snap(from(kOwn))}) {
    for (size_t bytes = kEthernetHeaderBytes; bytes < kEthernetHeaderBytes + kIp4HeaderBytes; ++bytes) {
      EXPECT_FALSE(passes(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(bytes)))) << bytes;
    }
  }
  Bytes other_version = from(kOwn);
  other_version[kEthernetHeaderBytes] = std::byte{0x65};
  EXPECT_FALSE(passes(other_version));
}

TEST_F(FilteredNetworks, AgainstFalseArp) {
  start(no_arp_spoofing());
  EXPECT_TRUE(passes(arp(kGuestMac, kOwn)));
  EXPECT_FALSE(passes(arp(kGuestMac, kOther)));
  EXPECT_FALSE(passes(arp(kFalseMac, kOwn)));
  EXPECT_FALSE(passes(tagged(arp(kFalseMac, kOwn))));
  EXPECT_TRUE(passes(from(kOther))) << "of IP it says nothing";
  Bytes longer = arp(kGuestMac, kOwn);
  longer[kEthernetHeaderBytes + 4] = std::byte{8};
  EXPECT_FALSE(passes(longer)) << "addresses of other lengths";
}

TEST_F(FilteredNetworks, EachHalfOfArp) {
  start(with_addresses({.own_mac_in_arp = true}));
  EXPECT_TRUE(passes(arp(kGuestMac, kOther)));
  EXPECT_FALSE(passes(arp(kFalseMac, kOwn)));
  start(with_addresses({.own_ip_in_arp = true}));
  EXPECT_TRUE(passes(arp(kFalseMac, kOwn)));
  EXPECT_FALSE(passes(arp(kGuestMac, kOther)));
}

TEST_F(FilteredNetworks, CleanTrafficIsIp4AndArpOnly) {
  start(clean_traffic());
  EXPECT_TRUE(passes(from(kOwn)));
  EXPECT_TRUE(passes(from(IpAddress(), kIpUdp)));
  EXPECT_TRUE(passes(arp(kGuestMac, kOwn)));
  EXPECT_FALSE(passes(from(kOther)));
  EXPECT_FALSE(passes(from_mac(kFalseMac, from(kOwn))));
  EXPECT_FALSE(passes(arp(kGuestMac, kOther)));
  EXPECT_FALSE(passes(ip_frame(kEnds6, kIpUdp, pattern(50))));
  EXPECT_FALSE(passes(tagged(from(kOwn))));
  EXPECT_FALSE(passes(with_snap(from(kOwn))));
  EXPECT_FALSE(passes(ethernet(kBroadcast, 0x8035, pattern(50)))) << "RARP";

  network_->waiting = {ip_frame(kEnds6, kIpUdp, pattern(50)), from(kOther), tagged(from(kOther)),
                       arp(kFalseMac, kOther)};
  network_->tell();
  ASSERT_EQ(device_->received.size(), 2U);
  EXPECT_EQ(device_->received[0], from(kOther));
  EXPECT_EQ(device_->received[1], arp(kFalseMac, kOther));
  EXPECT_EQ(end_->received_filtered(), 2U);
}

TEST_F(FilteredNetworks, AFloodOfWhatIsFilteredLeavesOthersTheirTurn) {
  start(clean_traffic());
  network_->waiting.assign(1000, ip_frame(kEnds6, kIpUdp, pattern(50)));
  network_->tell();
  EXPECT_EQ(network_->waiting.size(), 1000U - 64);
}

TEST_F(FilteredNetworks, LargePacketsAndLongOnesPassWhole) {
  start(clean_traffic());
  const Bytes large = ip_frame({kOwn, kPeer}, kIpTcp, pattern(60'000));
  EXPECT_EQ(send_with({.flags = PacketHeader::kNeedsChecksum,
                       .segments = PacketHeader::kTcp4,
                       .header_bytes = 54,
                       .segment_bytes = 1448,
                       .checksum_start = 34,
                       .checksum_offset = 16},
                      large),
            Sent::kDone);
  EXPECT_EQ(network_->sent.back(), large);
}

// The checksum's place is the guest's to choose, and who fills it in would write there.
TEST_F(FilteredNetworks, AChecksumChangesNoHeader) {
  start(clean_traffic());
  const auto sent = [&](size_t start, size_t offset) {
    return send_with({.flags = PacketHeader::kNeedsChecksum,
                      .checksum_start = static_cast<uint16_t>(start),
                      .checksum_offset = static_cast<uint16_t>(offset)},
                     from(kOwn));
  };
  EXPECT_EQ(sent(14, 12), Sent::kDropped) << "in the source address";
  EXPECT_EQ(sent(33, 0), Sent::kDropped);
  EXPECT_EQ(sent(34, 0), Sent::kDone);
  EXPECT_EQ(sent(34, 16), Sent::kDone);
  start(no_ip_spoofing());
  EXPECT_EQ(send_with({.flags = PacketHeader::kNeedsChecksum, .checksum_start = 14, .checksum_offset = 2},
                      tagged(ethernet(kBroadcast, 0x88b5, pattern(50)))),
            Sent::kDropped)
      << "in the type behind a tag";
}

TEST_F(FilteredNetworks, WhatIsFullIsAskedForAgain) {
  start(clean_traffic());
  network_->is_full = true;
  EXPECT_EQ(device_->send(from(kOwn)), Sent::kFull);
  EXPECT_EQ(device_->send(from(kOther)), Sent::kDropped);
  network_->is_full = false;
  network_->receiver->has_room(0);
  EXPECT_EQ(device_->room_calls, 1);
  EXPECT_TRUE(passes(from(kOwn)));
}

// What was looked at is what is sent, though the guest changes its memory meanwhile.
TEST_F(FilteredNetworks, TheHeaderIsCopied) {
  struct Changing final : NetEnd {
    uint16_t pairs() const override { return 1; }
    PacketOffloads takes() const override { return {}; }
    PacketOffloads can_give() const override { return {}; }
    void connect(NetReceiver& /*to*/) override {}
    void set_use(uint16_t /*pairs*/, const PacketOffloads& /*gives*/) override {}
    Sent send(uint16_t /*pair*/, const PacketHeader& /*header*/, std::span<const iovec> frame,
              size_t frame_bytes) override {
      std::ranges::fill(*memory, std::byte{0xee});
      Bytes seen(frame_bytes);
      gather(frame, seen);
      EXPECT_TRUE(std::equal(looked_at.begin(), looked_at.end(), seen.begin()));
      return Sent::kDone;
    }
    void want_packets(uint16_t /*pair*/, bool /*is_wanted*/) override {}
    size_t receive(uint16_t /*pair*/, std::span<const iovec> /*room*/) override { return 0; }
    Bytes* memory = nullptr;
    Bytes looked_at;
  };
  Bytes memory = from(kOwn);
  auto changing = std::make_unique<Changing>();
  changing->memory = &memory;
  changing->looked_at.assign(memory.begin(), memory.begin() + SpoofRules::kLookedAtBytes);
  FilteredEnd end(std::move(changing), clean_traffic(), "net0");
  const iovec buffer{.iov_base = memory.data(), .iov_len = memory.size()};
  EXPECT_EQ(end.send(0, {}, {&buffer, 1}, memory.size()), Sent::kDone);
}

}  // namespace
}  // namespace vmm::net
