// Packets in a file for Wireshark, and the network around which they are recorded.
#include "vmm/net/recorded_end.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/unit/net/fake_net_end.h"

namespace vmm::net {
namespace {

class PacketFiles : public testing::Test {
 protected:
  PacketFiles() {
    std::string name = std::filesystem::temp_directory_path() / "vmm-net-XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  ~PacketFiles() override { std::filesystem::remove_all(folder_); }

  std::string path() const { return folder_ / "packets.pcap"; }
  Bytes contents() const {
    std::ifstream file(path(), std::ios::binary);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    const auto bytes = as_bytes(text);
    return {bytes.begin(), bytes.end()};
  }
  // The frames of the file, as a reader finds them.
  std::vector<Bytes> frames() const {
    const Bytes file = contents();
    std::vector<Bytes> frames;
    for (size_t at = 24; at + 16 <= file.size();) {
      const auto length = load_le<uint32_t>(&file[at + 8]);
      EXPECT_EQ(load_le<uint32_t>(&file[at + 12]), length);
      EXPECT_LT(load_le<uint32_t>(&file[at + 4]), 1'000'000'000U);
      EXPECT_LE(at + 16 + length, file.size());
      const auto begin = file.begin() + static_cast<ptrdiff_t>(at + 16);
      frames.emplace_back(begin, begin + length);
      at += 16 + length;
    }
    return frames;
  }

 private:
  std::filesystem::path folder_;
};

TEST_F(PacketFiles, BeginWithTheHeaderOfTheFormat) {
  ASSERT_TRUE(PcapFile::create(path()));
  Bytes expected = bytes_of({0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0});
  expected.resize(16);
  expected += bytes_of({0, 0, 4, 0, 1, 0, 0, 0});
  EXPECT_EQ(contents(), expected);
  EXPECT_EQ(std::filesystem::status(path()).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(PacketFiles, HaveThePacketsWithTheirTimes) {
  auto file = PcapFile::create(path());
  ASSERT_TRUE(file);
  file->write(pattern(60), PcapFile::Time(std::chrono::nanoseconds(1'700'000'000'123'456'789)));
  file->write(pattern(kMaxFrameBytes), PcapFile::Time(std::chrono::seconds(4'000'000'000)));
  EXPECT_EQ(frames(), (std::vector<Bytes>{pattern(60), pattern(kMaxFrameBytes)}));
  const Bytes bytes = contents();
  EXPECT_EQ(load_le<uint32_t>(&bytes[24]), 1'700'000'000U);
  EXPECT_EQ(load_le<uint32_t>(&bytes[28]), 123'456'789U);
}

TEST_F(PacketFiles, AreNotWrittenOver) {
  std::ofstream(path()) << "precious";
  const auto file = PcapFile::create(path());
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().message(),
            "the file of packets " + path() + " is there already, and vmm does not write over it");
  EXPECT_EQ(contents().size(), 8U);
}

// As on a full disk.
TEST_F(PacketFiles, ThatAreFullEndBehindAWholePacket) {
  auto file = PcapFile::create(path());
  ASSERT_TRUE(file);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{.rlim_cur = 300, .rlim_max = before.rlim_max};
  auto* const handler = ::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  for (int i = 0; i < 5; ++i) {
    file->write(pattern(100), PcapFile::Time());
  }
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  static_cast<void>(::signal(SIGXFSZ, handler));
  EXPECT_FALSE(file->is_open());
  EXPECT_EQ(frames(), (std::vector<Bytes>{pattern(100), pattern(100)}));
  EXPECT_EQ(contents().size(), 24U + 2 * 116U);
}

// Another reader of the format.
TEST_F(PacketFiles, AreReadByTcpdump) {
  ASSERT_EQ(std::system("tcpdump --version >/dev/null 2>&1"), 0) << "scripts/setup installs it";
  auto file = PcapFile::create(path());
  ASSERT_TRUE(file);
  Bytes arp =
      bytes_of({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0,  1, 8, 6, 0, 1, 8, 0,  6, 4, 0,
                1,    0x52, 0x54, 0,    0,    0,    1,    10,   0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2});
  file->write(arp, PcapFile::Time(std::chrono::nanoseconds(1'700'000'000'123'456'789)));
  file->write(pattern(kMaxFrameBytes), PcapFile::Time(std::chrono::seconds(1'700'000'001)));
  const std::string text = path() + ".txt";
  const std::string command =
      "TZ=UTC tcpdump -Z root -ttttn --nano -r " + path() + " >" + text + " 2>/dev/null";
  ASSERT_EQ(std::system(command.c_str()), 0);
  std::ifstream told(text);
  std::string line;
  ASSERT_TRUE(std::getline(told, line));
  EXPECT_EQ(line, "2023-11-14 22:13:20.123456789 ARP, Request who-has 10.0.2.2 tell 10.0.2.15, length 28");
  EXPECT_TRUE(std::getline(told, line));
  EXPECT_TRUE(line.starts_with("2023-11-14 22:13:21.000000000 ")) << line;
}

TEST_F(PacketFiles, ThatCannotBeMadeAreNamed) {
  const auto nowhere = PcapFile::create("/nowhere/packets.pcap");
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().message(),
            "cannot open the file of packets /nowhere/packets.pcap: No such file or directory");
  const auto full = PcapFile::create("/dev/full");
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().message(), "cannot write to the file of packets /dev/full");
}

TEST_F(PacketFiles, RecordBothDirectionsOfANetwork) {
  auto fake = std::make_unique<FakeNetEnd>();
  FakeNetEnd& network = *fake;
  RecordedEnd end(std::move(fake), PcapFile::create(path()).value());
  FakeNetReceiver device(end);
  end.set_use(1, {.tcp4 = true});
  end.want_packets(0, true);
  EXPECT_EQ(network.used_pairs, 1);
  EXPECT_EQ(end.takes(), network.takes());
  EXPECT_EQ(end.can_give(), network.can_give());

  EXPECT_EQ(device.send(pattern(100)), NetEnd::Sent::kDone);
  network.waiting.push_back(pattern(200, 7));
  network.tell();
  network.is_full = true;
  EXPECT_EQ(device.send(pattern(300)), NetEnd::Sent::kFull);  // it comes again
  network.is_full = false;
  network.drops = true;
  EXPECT_EQ(device.send(pattern(400)), NetEnd::Sent::kDropped);
  EXPECT_EQ(network.sent, (std::vector<Bytes>{pattern(100)}));
  EXPECT_EQ(device.received, (std::vector<Bytes>{pattern(200, 7)}));
  EXPECT_EQ(frames(), (std::vector<Bytes>{pattern(100), pattern(200, 7), pattern(400)}));
}

TEST_F(PacketFiles, ThatAreFullDoNotStopTheNetwork) {
  // A pipe, which holds 1 MiB.
  ASSERT_EQ(::mkfifo(path().c_str(), 0600), 0);
  const UniqueFd reader(::open(path().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  auto fake = std::make_unique<FakeNetEnd>();
  FakeNetEnd& network = *fake;
  RecordedEnd end(std::move(fake), PcapFile::create(path()).value());
  FakeNetReceiver device(end);
  for (int i = 0; i < 600; ++i) {
    EXPECT_EQ(device.send(pattern(1000)), NetEnd::Sent::kDone);
    network.waiting.push_back(pattern(1000));
    device.receive(0);
  }
  EXPECT_EQ(network.sent.size(), 600U);
  EXPECT_EQ(device.received.size(), 600U);
}

}  // namespace
}  // namespace vmm::net
