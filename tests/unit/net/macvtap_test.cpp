// Interfaces made by messages to the kernel, and macvtaps, in a network namespace of the test's own.
#include "vmm/net/macvtap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "tests/unit/block/disk_harness.h"
#include "tests/unit/net/fake_net_end.h"
#include "tests/unit/net/own_network.h"
#include "vmm/net/route_link.h"

namespace vmm::net {
namespace {

using block::Loop;
using ::testing::HasSubstr;

TEST(LinkRequests, AreOfAttributesOfFourBytes) {
  LinkRequest request(RTM_NEWLINK, NLM_F_CREATE, 7);
  request.add_text(IFLA_IFNAME, "t0");
  const size_t begun = request.begin(IFLA_LINKINFO);
  request.add_number(1, 5);
  request.end(begun);
  constexpr size_t kHeaders = 16 + 16;  // nlmsghdr, ifinfomsg
  const auto attributes = request.bytes().subspan(kHeaders);
  EXPECT_EQ(Bytes(attributes.begin(), attributes.end()),
            bytes_of({7, 0, 3, 0, 't', '0', 0, 0, 12, 0, 18, 0, 8, 0, 1, 0, 5, 0, 0, 0}));
  int index = 0;
  std::memcpy(&index, &request.bytes()[20], sizeof index);
  EXPECT_EQ(index, 7);
}

class MadeLinks : public testing::Test {
 protected:
  void SetUp() override {
    if (!network_.is_there()) {
      GTEST_SKIP() << "a network namespace of one's own needs root";
    }
  }
  static int make_bridge(const std::string& name) {
    LinkRequest request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    request.add_text(IFLA_IFNAME, name);
    const size_t info = request.begin(IFLA_LINKINFO);
    request.add_text(IFLA_INFO_KIND, "bridge");
    request.end(info);
    return request.send();
  }
  std::string message_of(const MacvtapOptions& options) {
    const auto opened = open_macvtap(options, *loop_);
    return opened ? std::string("opened") : opened.error().message();
  }

  OwnNetwork network_;
  Loop loop_;
};

TEST_F(MadeLinks, AreDeletedAtTheirEnd) {
  ASSERT_EQ(make_bridge("b0"), 0);
  EXPECT_EQ(make_bridge("b0"), EEXIST);
  {
    const MadeLink link(static_cast<int>(::if_nametoindex("b0")));
    EXPECT_NE(::if_nametoindex("b0"), 0U);
  }
  EXPECT_EQ(::if_nametoindex("b0"), 0U);
}

TEST_F(MadeLinks, OfMacvtapsSayWhatIsMissing) {
  EXPECT_THAT(message_of({.device = "none0"}), HasSubstr("none0: there is no such interface"));
  EXPECT_THAT(message_of({.name = "a-name-of-20-bytes..", .device = "lo"}), HasSubstr("at most 15 bytes"));
  const MacvtapOptions options{.device = "lo", .mac = kGuestMac};
  const Status checked = check_macvtap(options);
  const std::string opened = message_of(options);
  if (checked) {  // the kernel has macvtaps
    EXPECT_THAT(opened, HasSubstr("lo: no macvtap can stand on this interface"));
  } else {
    EXPECT_THAT(checked.error().message(), HasSubstr("load its module (modprobe macvtap)"));
    EXPECT_EQ(opened, checked.error().message());
  }
}

// At a bridge, which is a network card to them, and at whose other side a macvtap of the same is.
class Macvtaps : public MadeLinks {
 protected:
  void SetUp() override {
    MadeLinks::SetUp();
    if (IsSkipped()) {
      return;
    }
    if (!network_.has_sys() || !check_macvtap({.device = "lo", .mac = kGuestMac})) {
      GTEST_SKIP() << "the kernel has no macvtaps";
    }
    std::ofstream("/proc/sys/net/ipv6/conf/default/disable_ipv6") << "1";
    ASSERT_EQ(make_bridge("b0"), 0);
    ASSERT_EQ(std::system("ip link set b0 up"), 0);
  }
  OpenedTap open(const MacvtapOptions& options) {
    auto opened = open_macvtap(options, *loop_);
    EXPECT_TRUE(opened) << opened.error().message();
    return opened ? std::move(*opened) : OpenedTap();
  }
  static MacvtapOptions options_of(const Mac& mac) {
    return {.device = "b0", .mode = MacvtapMode::kBridge, .mac = mac};
  }
  static bool is_there(const std::string& name) { return ::if_nametoindex(name.c_str()) != 0; }
};

constexpr Mac kSecondMac = {std::byte{0x52}, std::byte{0x54}, std::byte{0},
                            std::byte{0},    std::byte{0},    std::byte{2}};

TEST_F(Macvtaps, FramesPassBetweenTwoAtOneInterface) {
  const OpenedTap one = open(options_of(kGuestMac));
  const OpenedTap other = open(options_of(kSecondMac));
  ASSERT_TRUE(one.end && other.end);
  EXPECT_EQ(one.name, "macvtap0");
  EXPECT_EQ(other.name, "macvtap1");
  FakeNetReceiver sender(*one.end);
  FakeNetReceiver receiver(*other.end);
  one.end->set_use(1, {});
  other.end->set_use(1, {.checksum = true, .tcp4 = true, .tcp6 = true});
  other.end->want_packets(0, true);
  const Bytes frame = ethernet(kSecondMac, 0x88b5, pattern(700));
  EXPECT_EQ(sender.send(frame), NetEnd::Sent::kDone);
  loop_.run_until([&] { return !receiver.received.empty(); });
  EXPECT_EQ(receiver.received[0], frame);
}

TEST_F(Macvtaps, AreNamedHaveSeveralQueuesAndAnMtuAndGoWithTheirEnd) {
  MacvtapOptions options = options_of(kGuestMac);
  options.name = "mine";
  options.pairs = 4;
  options.mtu = 1400;
  OpenedTap opened = open(options);
  ASSERT_TRUE(opened.end);
  EXPECT_EQ(opened.end->pairs(), 4);
  EXPECT_EQ(std::system("ip -d link show mine | grep -q 'mtu 1400'"), 0);
  EXPECT_EQ(std::system("ip -d link show mine | grep -q 'macvtap mode bridge'"), 0);
  EXPECT_EQ(std::system("ip link show mine | grep -q '52:54:00:12:34:56'"), 0);
  opened.end->set_use(4, {});
  opened.end->set_use(1, {});
  opened.end.reset();
  EXPECT_FALSE(is_there("mine"));
}

TEST_F(Macvtaps, OfPassthroughHaveTheInterfaceForThemselves) {
  MacvtapOptions options = options_of(kGuestMac);
  options.mode = MacvtapMode::kPassthrough;
  OpenedTap opened = open(options);
  ASSERT_TRUE(opened.end);
  EXPECT_EQ(std::system("ip link show b0 | grep -q '52:54:00:12:34:56'"), 0);
  EXPECT_THAT(message_of(options_of(kSecondMac)), HasSubstr("b0: "));
  opened.end.reset();
  EXPECT_NE(std::system("ip link show b0 | grep -q '52:54:00:12:34:56'"), 0) << "its own address is back";
}

TEST_F(Macvtaps, OneInUseIsLeftAlone) {
  MacvtapOptions options = options_of(kGuestMac);
  options.name = "mine";
  const OpenedTap opened = open(options);
  ASSERT_TRUE(opened.end);
  EXPECT_THAT(message_of(options), HasSubstr("there is an interface mine already"));
  options.name = "second";
  EXPECT_THAT(message_of(options), HasSubstr("has its MAC address"));
  EXPECT_TRUE(is_there("mine"));
  EXPECT_FALSE(is_there("second"));
}

// As after kill -9: nobody deletes it.
TEST_F(Macvtaps, OneThatWasLeftIsDeletedByTheNext) {
  struct stat info{};
  const pid_t child = ::fork();
  if (child == 0) {
    MacvtapOptions options = options_of(kGuestMac);
    options.name = "left";
    const auto opened = open_macvtap(options, *loop_);
    ::_exit(opened ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  ASSERT_TRUE(is_there("left"));
  const std::string node = fmt::format("/dev/tap{}", ::if_nametoindex("left"));
  if (::stat(node.c_str(), &info) != 0) {
    GTEST_SKIP() << "without devtmpfs there is no lock to tell that nobody uses it";
  }
  const OpenedTap opened = open(options_of(kGuestMac));
  EXPECT_TRUE(opened.end);
  EXPECT_FALSE(is_there("left"));
}

TEST_F(Macvtaps, OneOfSomebodyElseIsLeftAlone) {
  ASSERT_EQ(std::system("ip link add link b0 name theirs address 52:54:00:12:34:56 type macvtap"), 0);
  MacvtapOptions options = options_of(kSecondMac);
  options.name = "theirs";
  EXPECT_THAT(message_of(options), HasSubstr("ip link del theirs"));
  EXPECT_TRUE(is_there("theirs"));
}

}  // namespace
}  // namespace vmm::net
