// passt: its command line, programs in its place, and itself where it is.
#include "vmm/net/passt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "tests/unit/block/disk_harness.h"
#include "tests/unit/net/fake_net_end.h"
#include "tests/unit/net/own_network.h"

namespace vmm::net {
namespace {

using block::Loop;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Words = std::vector<std::string>;

TEST(PasstWords, AreFewWhereNothingIsAsked) {
  EXPECT_THAT(passt_words({.program = "/p"}, 3), ElementsAre("/p", "--quiet", "--fd", "3"));
}

TEST(PasstWords, HaveTheGuestsAddressesAndWhatElseItIsTold) {
  const Words words = passt_words({.program = "/p",
                                   .device = "eth0",
                                   .ip4 = IpAddress::v4(172, 17, 2, 4),
                                   .prefix4 = 24,
                                   .ip6 = IpAddress::parse("2001:db8:ac10:fd01::feed"),
                                   .mtu = 1400,
                                   .log_file = "/var/log/passt.log"},
                                  3);
  EXPECT_EQ(words, (Words{"/p", "--quiet", "--fd", "3", "--mtu", "1400", "--interface", "eth0", "--log-file",
                          "/var/log/passt.log", "--address", "172.17.2.4", "--netmask", "24", "--address",
                          "2001:db8:ac10:fd01::feed"}));
}

TEST(PasstWords, HaveTheForwardedPorts) {
  const Words words =
      passt_words({.program = "/p",
                   .forwards = {{.address = IpAddress::v4(127, 0, 0, 1),
                                 .ranges = {{.first = 2222, .last = 2222, .to = 22}}},
                                {.is_udp = true,
                                 .address = IpAddress::parse("1:2:3::4"),
                                 .device = "myeth0",
                                 .ranges = {{.first = 5000, .last = 5020, .to = 5000},
                                            {.first = 5010, .last = 5015, .to = 5010, .is_excluded = true}}},
                                {.ranges = {{.first = 2000, .last = 2002, .to = 80}}},
                                {.device = "lo", .ranges = {{.first = 1, .last = 1, .to = 1}}},
                                {.is_udp = true}}},
                  3);
  EXPECT_EQ(Words(words.begin() + 4, words.end()),
            (Words{"--tcp-ports", "127.0.0.1/2222-2222:22-22", "--udp-ports",
                   "1:2:3::4%myeth0/5000-5020,~5010-5015", "--tcp-ports", "2000-2002:80-82", "--tcp-ports",
                   "0.0.0.0%lo/1-1", "--udp-ports", "all"}));
}

// A program in passt's place.
class Program {
 public:
  explicit Program(const std::string& script) {
    std::string name = "/tmp/vmm-passt-XXXXXX";
    const UniqueFd file(::mkstemp(name.data()));
    EXPECT_TRUE(file);
    path_ = name;
    EXPECT_EQ(::write(file.get(), script.data(), script.size()), static_cast<ssize_t>(script.size()));
    EXPECT_EQ(::fchmod(file.get(), 0700), 0);
  }
  ~Program() { ::unlink(path_.c_str()); }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string message_of(const PasstOptions& options) {
  Loop loop;
  const auto opened = open_passt(options, *loop);
  return opened ? std::string("opened") : opened.error().message();
}

TEST(Passt, SaysWhyItIsNotThere) {
  EXPECT_THAT(message_of({.program = "/nowhere/passt"}),
              HasSubstr("/nowhere/passt: cannot be run: No such file or directory"));
  EXPECT_THAT(message_of({.program = "/bin/true", .device = "vmm-none"}),
              HasSubstr("vmm-none: there is no such interface"));
  const Program mute("#!/bin/sh\nexit 1\n");
  EXPECT_THAT(message_of({.program = mute.path()}), HasSubstr("passt: has ended at once"));
  const Program failing(
      "#!/bin/sh\nprintf 'Failed to send 47 bytes to syslog\\nNo route\\nNot \\033usable\\n' >&2\nexit 1\n");
  EXPECT_THAT(message_of({.program = failing.path()}), HasSubstr("passt: No route; Not ?usable"));
}

// It goes into the background when it is ready, as passt does, and sends back what it gets.
constexpr const char* kEcho = R"(#!/usr/bin/env python3
import os, socket, sys
peer = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))
if os.fork():
    os._exit(0)
for descriptor in 0, 1, 2:
    os.close(descriptor)
while data := peer.recv(65536):
    peer.sendall(data)
)";

TEST(Passt, IsSpokenTo) {
  const Program program(kEcho);
  Loop loop;
  auto end = open_passt({.program = program.path()}, *loop);
  ASSERT_TRUE(end) << end.error().message();
  FakeNetReceiver device(**end);
  (*end)->set_use(1, {});
  (*end)->want_packets(0, true);
  const Bytes frame = ethernet(kBroadcast, 0x88b5, pattern(1000));
  EXPECT_EQ(device.send(frame), NetEnd::Sent::kDone);
  loop.run_until([&] { return !device.received.empty(); });
  EXPECT_EQ(device.received[0], frame);
}

// A frame that passt answers: who has the gateway's address?
TEST(Passt, ItselfAnswersAndEndsWithItsSocket) {
  ASSERT_TRUE(check_passt({})) << "scripts/setup installs it";
  const OwnNetwork network;
  if (!network.is_there()) {
    GTEST_SKIP() << "a network namespace of one's own needs root";
  }
  ASSERT_EQ(
      std::system("ip link set lo up && ip link add br0 type bridge && ip addr add 192.0.2.1/24 dev br0 && "
                  "ip link set br0 up && ip route add default via 192.0.2.254"),
      0);
  Loop loop;
  auto end = open_passt({.forwards = {{.address = IpAddress::v4(127, 0, 0, 1),
                                       .ranges = {{.first = 2222, .last = 2222, .to = 22}}}}},
                        *loop);
  ASSERT_TRUE(end) << end.error().message();
  EXPECT_EQ(std::system("ss -Hltn | grep -q 127.0.0.1:2222"), 0);
  FakeNetReceiver device(**end);
  (*end)->set_use(1, {});
  (*end)->want_packets(0, true);
  Bytes request = bytes_of({0, 1, 8, 0, 6, 4, 0, 1});
  request += kGuestMac;
  request += bytes_of({192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 254});
  EXPECT_EQ(device.send(ethernet(kBroadcast, kEtherTypeArp, request)), NetEnd::Sent::kDone);
  const auto is_answer = [](const Bytes& frame) {
    return frame.size() >= 42 && type_of(frame) == kEtherTypeArp && frame[21] == std::byte{2};
  };
  loop.run_until([&] { return std::ranges::any_of(device.received, is_answer); });
  end->reset();
  bool is_gone = false;
  for (int i = 0; i < 500 && !is_gone; ++i) {
    is_gone = std::system("ss -Hltn | grep -q 127.0.0.1:2222") != 0;
    ::usleep(20'000);
  }
  EXPECT_TRUE(is_gone) << "it listens though nobody is there";
}

}  // namespace
}  // namespace vmm::net
