// What is counted where the host's kernel moves the packets, and when it is not asked to.
#include "vmm/machine/network_vhost.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/unit/fakes/guest_ram.h"

namespace vmm {
namespace {

using ::testing::HasSubstr;

constexpr net::LinkCounters kStart{.received = {.packets = 10, .bytes = 1000, .dropped = 1},
                                   .sent = {.packets = 20, .bytes = 2000, .dropped = 2}};
constexpr net::LinkCounters kNow{.received = {.packets = 13, .bytes = 1300, .dropped = 5},
                                 .sent = {.packets = 70, .bytes = 7000, .dropped = 8}};

TEST(VhostCounters, OfATapAreSeenFromTheGuest) {
  const NetCounters::Values device{
      .received = {.packets = 9, .bytes = 9, .dropped = 4}, .sent = {.dropped = 3}, .sent_errors = 7};
  const NetCounters::Values values = counters_with_vhost(device, kStart, kNow, false);
  EXPECT_EQ(values.sent.packets, 3U);
  EXPECT_EQ(values.sent.bytes, 300U);
  EXPECT_EQ(values.sent.dropped, 4U + 3U);
  EXPECT_EQ(values.received.packets, 50U - 4U);  // the tap has given those to vmm
  EXPECT_EQ(values.received.bytes, 5000U);
  EXPECT_EQ(values.received.dropped, 6U + 4U);
  EXPECT_EQ(values.sent_errors, 7U);
}

TEST(VhostCounters, OfAMacvtapAreTheOtherWayRound) {
  const NetCounters::Values values = counters_with_vhost({}, kStart, kNow, true);
  EXPECT_EQ(values.received.packets, 3U);
  EXPECT_EQ(values.sent.packets, 50U);
  EXPECT_EQ(values.sent.bytes, 5000U);
  EXPECT_EQ(values.received.dropped, 4U);
}

TEST(VhostChoice, IsVmmWhereSomethingSeesThePackets) {
  const GuestMemory memory = make_guest_ram({{0, 4096}});
  const domain::Domain domain;
  const auto opens = [&](const domain::Interface& wanted) {
    std::vector<UniqueFd> queues(1);
    return open_vhost(domain, wanted, "net0", std::move(queues), memory) != nullptr;
  };
  domain::Interface wanted;
  wanted.driver = domain::InterfaceDriver::kQemu;
  EXPECT_FALSE(opens(wanted));
  wanted.driver = domain::InterfaceDriver::kVhost;
  EXPECT_EQ(open_vhost(domain, wanted, "net0", {}, memory), nullptr);  // no tap
  wanted.filter = domain::InterfaceFilter::kCleanTraffic;
  EXPECT_FALSE(opens(wanted));
  wanted.filter = domain::InterfaceFilter::kNone;
  wanted.packet_file = "packets.pcap";
  EXPECT_FALSE(opens(wanted));
  wanted.packet_file.clear();
  wanted.outbound.emplace();
  EXPECT_FALSE(opens(wanted));
}

// The reason is told, so that this fails on hosts without vhost too.
TEST(VhostChoice, IsToldWithWhatSeesThePackets) {
  domain::Interface wanted;
  wanted.filter = domain::InterfaceFilter::kCleanTraffic;
  EXPECT_TRUE(check_vhost(wanted));  // nobody has asked for it
  wanted.driver = domain::InterfaceDriver::kVhost;
  const auto why = [&wanted] {
    const Status checked = check_vhost(wanted);
    return checked ? std::string() : checked.error().message();
  };
  EXPECT_THAT(why(), HasSubstr("<filterref>"));
  wanted.filter = domain::InterfaceFilter::kNone;
  wanted.inbound.emplace();
  EXPECT_THAT(why(), HasSubstr("<bandwidth>"));
  wanted.inbound.reset();
  wanted.packet_file = "packets.pcap";
  EXPECT_THAT(why(), HasSubstr("--dump-net"));
}

}  // namespace
}  // namespace vmm
