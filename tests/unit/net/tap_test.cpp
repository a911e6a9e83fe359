// Taps, in a network namespace of the test's own.
#include "vmm/net/tap.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/unit/block/disk_harness.h"
#include "vmm/base/unique_fd.h"
#include "vmm/net/host_link.h"

namespace vmm::net {
namespace {

using block::Loop;
using ::testing::HasSubstr;

constexpr uint16_t kTestType = 0x88b5;  // IEEE 802: for experiments

class Receiver final : public NetReceiver {
 public:
  void packets_wait(uint16_t pair) override { ++waits[pair]; }
  void has_room(uint16_t /*pair*/) override {}
  std::array<int, 8> waits{};
};

std::vector<std::byte> frame_of(size_t bytes, uint8_t seed) {
  std::vector<std::byte> frame(bytes, std::byte{0xff});
  frame[12] = std::byte{kTestType >> 8U};
  frame[13] = std::byte{kTestType & 0xffU};
  for (size_t i = kEthernetHeaderBytes; i < bytes; ++i) {
    frame[i] = static_cast<std::byte>(seed + i);
  }
  return frame;
}

class TapTest : public ::testing::Test {
 protected:
  void SetUp() override {
    before_ = UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (::unshare(CLONE_NEWNET) != 0) {
      GTEST_SKIP() << "a network namespace of one's own needs root";
    }
    is_moved_ = true;
    // Else the kernel sends of its own.
    std::ofstream("/proc/sys/net/ipv6/conf/default/disable_ipv6") << "1";
  }
  void TearDown() override {
    if (is_moved_) {
      ASSERT_EQ(::setns(before_.get(), CLONE_NEWNET), 0);
    }
  }

  std::unique_ptr<NetEnd> open(const TapOptions& options) {
    auto opened = open_tap(options, *loop_);
    EXPECT_TRUE(opened) << opened.error().message();
    if (!opened) {
      return nullptr;
    }
    name_ = opened->name;
    opened->end->connect(receiver_);
    return std::move(opened->end);
  }
  // The other side of the tap.
  UniqueFd wire() const {
    UniqueFd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL)));
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(::if_nametoindex(name_.c_str()));
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  static std::vector<std::byte> receive(NetEnd& end, size_t room_bytes) {
    std::vector<std::byte> packet(room_bytes);
    const std::array<iovec, 2> room{{{.iov_base = packet.data(), .iov_len = 20},
                                     {.iov_base = packet.data() + 20, .iov_len = room_bytes - 20}}};
    packet.resize(end.receive(0, room));
    return packet;
  }

  UniqueFd before_;
  bool is_moved_ = false;
  Loop loop_;
  Receiver receiver_;
  std::string name_;
};

TEST_F(TapTest, FramesPassBothWays) {
  const auto end = open({.name = "t0"});
  ASSERT_NE(end, nullptr);
  EXPECT_EQ(name_, "t0");
  end->set_use(1, {});
  const UniqueFd wire = this->wire();
  auto frame = frame_of(700, 3);
  const std::array<iovec, 2> pieces{{{.iov_base = frame.data(), .iov_len = 13},
                                     {.iov_base = frame.data() + 13, .iov_len = frame.size() - 13}}};
  EXPECT_EQ(end->send(0, {}, pieces, frame.size()), NetEnd::Sent::kDone);
  std::vector<std::byte> seen(2000);
  ASSERT_EQ(::recv(wire.get(), seen.data(), seen.size(), 0), static_cast<ssize_t>(frame.size()));
  seen.resize(frame.size());
  EXPECT_TRUE(seen == frame);

  loop_->run_once(std::chrono::nanoseconds(0));
  const auto answer = frame_of(900, 5);
  ASSERT_EQ(::send(wire.get(), answer.data(), answer.size(), 0), static_cast<ssize_t>(answer.size()));
  loop_->run_once(std::chrono::milliseconds(0));
  EXPECT_EQ(receiver_.waits[0], 0) << "they are not wanted yet";
  end->want_packets(0, true);
  loop_.run_until([this] { return receiver_.waits[0] > 0; });
  const auto got = receive(*end, 3000);
  ASSERT_EQ(got.size(), kPacketHeaderBytes + answer.size());
  EXPECT_TRUE(std::equal(answer.begin(), answer.end(), got.begin() + kPacketHeaderBytes));
  EXPECT_TRUE(receive(*end, 3000).empty());
}

TEST_F(TapTest, OneThatIsTooLongForTheRoomIsDropped) {
  const auto end = open({.name = "t0"});
  ASSERT_NE(end, nullptr);
  end->set_use(1, {});
  const UniqueFd wire = this->wire();
  for (const size_t bytes : {1000U, 300U}) {
    const auto frame = frame_of(bytes, 1);
    ASSERT_EQ(::send(wire.get(), frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()));
  }
  EXPECT_EQ(receive(*end, 500).size(), 300 + kPacketHeaderBytes);
}

TEST_F(TapTest, WhatCameWhileNobodyWasThereIsGone) {
  const auto end = open({});
  ASSERT_NE(end, nullptr);
  EXPECT_EQ(name_, "vnet0");
  const UniqueFd wire = this->wire();
  const auto frame = frame_of(300, 1);
  ASSERT_EQ(::send(wire.get(), frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()));
  end->set_use(1, {.checksum = true, .tcp4 = true, .tcp6 = true});
  EXPECT_TRUE(receive(*end, 3000).empty());
}

TEST_F(TapTest, InMorePiecesThanTheKernelTakes) {
  const auto end = open({.name = "t0"});
  ASSERT_NE(end, nullptr);
  end->set_use(1, {});
  const UniqueFd wire = this->wire();
  auto frame = frame_of(1400, 3);
  std::vector<iovec> pieces;
  for (std::byte& byte : frame) {
    pieces.push_back({.iov_base = &byte, .iov_len = 1});
  }
  EXPECT_EQ(end->send(0, {}, pieces, frame.size()), NetEnd::Sent::kDone);
  std::vector<std::byte> seen(2000);
  ASSERT_EQ(::recv(wire.get(), seen.data(), seen.size(), 0), static_cast<ssize_t>(frame.size()));
  seen.resize(frame.size());
  EXPECT_TRUE(seen == frame);
}

TEST_F(TapTest, HasSeveralQueuesAndAnMtuAndIsInABridge) {
  ASSERT_EQ(std::system("ip link add br0 type bridge"), 0);
  const auto end = open({.name = "t0", .bridge = "br0", .pairs = 4, .mtu = 4000});
  ASSERT_NE(end, nullptr);
  EXPECT_EQ(end->pairs(), 4);
  end->set_use(1, {});
  end->set_use(4, {});
  end->set_use(2, {});
  EXPECT_EQ(std::system("ip link show t0 | grep -q 'mtu 4000 .* master br0'"), 0);
}

TEST_F(TapTest, OneThatIsThereIsUsedAndStays) {
  ASSERT_EQ(std::system("ip tuntap add dev t1 mode tap && ip link set t1 up"), 0);
  {
    const auto end = open({.name = "t1", .is_managed = false});
    ASSERT_NE(end, nullptr);
    const auto second = open_tap({.name = "t1"}, *loop_);
    ASSERT_FALSE(second);
    EXPECT_THAT(second.error().message(), HasSubstr("t1 cannot be used: another process uses it"));
  }
  EXPECT_NE(::if_nametoindex("t1"), 0U);
}

// A program in qemu-bridge-helper's place; and for as long as it lives this thread may make no taps, as those
// of users who are not root.
class BridgeHelper {
 public:
  explicit BridgeHelper(const std::string& script) {
    std::string name = "/tmp/vmm-bridge-helper-XXXXXX";
    const UniqueFd file(::mkstemp(name.data()));
    EXPECT_TRUE(file);
    path_ = name;
    EXPECT_EQ(::write(file.get(), script.data(), script.size()), static_cast<ssize_t>(script.size()));
    EXPECT_EQ(::fchmod(file.get(), 0700), 0);
    EXPECT_EQ(::syscall(SYS_capget, &header_, before_.data()), 0);
    auto fewer = before_;
    fewer[0].effective &= ~(1U << CAP_NET_ADMIN);
    EXPECT_EQ(::syscall(SYS_capset, &header_, fewer.data()), 0);
  }
  ~BridgeHelper() {
    EXPECT_EQ(::syscall(SYS_capset, &header_, before_.data()), 0);
    ::unlink(path_.c_str());
  }
  BridgeHelper(const BridgeHelper&) = delete;
  BridgeHelper& operator=(const BridgeHelper&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
  __user_cap_header_struct header_{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> before_{};
};

constexpr const char* kWorkingHelper = R"(#!/usr/bin/env python3
import fcntl, socket, struct, subprocess, sys
options = dict(word[2:].split("=") for word in sys.argv[1:] if "=" in word)
assert "--use-vnet" in sys.argv
tun = open("/dev/net/tun", "r+b", buffering=0)
made = fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH22x", b"tap%d", 0x5002))
name = made[:16].rstrip(b"\0").decode()
subprocess.run(["ip", "link", "set", name, "master", options["br"], "up"], check=True)
socket.send_fds(socket.socket(fileno=int(options["fd"])), [b"\0"], [tun.fileno()])
)";

TEST_F(TapTest, WhoMayNotMakeOneHasABridgesHelperMakeIt) {
  ASSERT_EQ(std::system("ip link add br0 type bridge"), 0);
  const BridgeHelper helper(kWorkingHelper);
  const auto end = open({.bridge = "br0", .bridge_helper = helper.path()});
  ASSERT_NE(end, nullptr);
  EXPECT_EQ(name_, "tap0");
  EXPECT_EQ(std::system("ip link show tap0 | grep -q 'UP.* master br0'"), 0);
  end->set_use(1, {});
  const UniqueFd wire = this->wire();
  auto frame = frame_of(700, 3);
  const iovec piece{.iov_base = frame.data(), .iov_len = frame.size()};
  EXPECT_EQ(end->send(0, {}, std::span(&piece, 1), frame.size()), NetEnd::Sent::kDone);
  std::vector<std::byte> seen(2000);
  ASSERT_EQ(::recv(wire.get(), seen.data(), seen.size(), 0), static_cast<ssize_t>(frame.size()));
}

TEST_F(TapTest, SaysWhyABridgesHelperDoesNotHelp) {
  ASSERT_EQ(std::system("ip link add br0 type bridge"), 0);
  const auto message = [&](const std::string& script, uint16_t pairs = 1) {
    const BridgeHelper helper(script);
    const auto opened = open_tap({.bridge = "br0", .pairs = pairs, .bridge_helper = helper.path()}, *loop_);
    return opened ? std::string("opened") : opened.error().message();
  };
  const std::string denied = message("#!/bin/sh\necho access denied by acl file >&2\nexit 1\n");
  EXPECT_THAT(denied, HasSubstr("making one needs the capability CAP_NET_ADMIN"));
  EXPECT_THAT(denied, HasSubstr(": access denied by acl file"));
  EXPECT_THAT(message("#!/bin/sh\nexit 0\n"), HasSubstr(": gave no tap"));
  EXPECT_THAT(message("#!/nowhere\n"), HasSubstr(": cannot be run: No such file or directory"));
  EXPECT_THAT(message("#!/bin/sh\nexit 0\n", 2), HasSubstr("makes taps of one queue only"));
  EXPECT_THAT(message("#!/usr/bin/env python3\nimport socket\n"
                      "socket.send_fds(socket.socket(fileno=3), [b'x'], [0])\n"),
              HasSubstr("is no tap of the kind that was asked for"));
}

TEST_F(TapTest, SaysWhatIsMissing) {
  const auto message = [&](const TapOptions& options) {
    const auto opened = open_tap(options, *loop_);
    return opened ? std::string("opened") : opened.error().message();
  };
  EXPECT_THAT(message({.bridge = "br7"}), HasSubstr("br7: there is no such bridge"));
  EXPECT_THAT(message({.bridge = "lo"}), HasSubstr("lo: this interface is no bridge"));
  EXPECT_THAT(message({.name = "none", .is_managed = false}), HasSubstr("none: there is no such interface"));
  EXPECT_THAT(message({.name = "a-name-of-20-bytes.."}), HasSubstr("at most 15 bytes"));
  EXPECT_THAT(message({.name = "lo"}), HasSubstr("lo cannot be used: it is no tap"));
}

TEST_F(TapTest, OneThatIsDeletedHarmsNobody) {
  const auto end = open({.name = "t0"});
  ASSERT_NE(end, nullptr);
  end->set_use(1, {});
  end->want_packets(0, true);
  ASSERT_EQ(std::system("ip link del t0"), 0);
  for (int i = 0; i < 10; ++i) {
    loop_->run_once(std::chrono::milliseconds(1));
  }
  auto frame = frame_of(100, 1);
  const iovec piece{.iov_base = frame.data(), .iov_len = frame.size()};
  EXPECT_EQ(end->send(0, {}, std::span(&piece, 1), frame.size()), NetEnd::Sent::kDropped);
  EXPECT_TRUE(receive(*end, 3000).empty());
}

}  // namespace
}  // namespace vmm::net
