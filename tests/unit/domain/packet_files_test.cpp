#include "vmm/domain/packet_files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace vmm::domain {
namespace {

class PacketFileOptionTest : public ::testing::Test {
 protected:
  PacketFileOptionTest() {
    std::string name = std::filesystem::temp_directory_path() / "vmm-packets-XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  ~PacketFileOptionTest() override { std::filesystem::remove_all(folder_); }

  std::string path(const char* name) const { return folder_ / name; }
  std::string complaint(const std::string& file) {
    const Status status = set_packet_files(domain_, file);
    EXPECT_TRUE(status || status.error().kind() == ErrorKind::kConfiguration);
    return status ? "" : status.error().message();
  }

  std::filesystem::path folder_;
  Domain domain_{.interfaces = {{}}};
};

TEST_F(PacketFileOptionTest, OneInterfaceHasTheFileAsItIsNamed) {
  EXPECT_EQ(complaint(path("packets.pcap")), "");
  EXPECT_EQ(domain_.interfaces[0].packet_file, path("packets.pcap"));
  EXPECT_EQ(complaint("packets.pcap"), "");
  EXPECT_EQ(domain_.interfaces[0].packet_file, std::filesystem::current_path() / "packets.pcap");
}

TEST_F(PacketFileOptionTest, SeveralHaveFilesWithTheirNames) {
  domain_.interfaces.push_back({.alias = "ua-lan"});
  EXPECT_EQ(complaint(path("a.b.pcap")), "");
  EXPECT_EQ(domain_.interfaces[0].packet_file, path("a.b-net0.pcap"));
  EXPECT_EQ(domain_.interfaces[1].packet_file, path("a.b-ua-lan.pcap"));
  EXPECT_EQ(complaint(path("plain")), "");
  EXPECT_EQ(domain_.interfaces[0].packet_file, path("plain-net0"));
}

TEST_F(PacketFileOptionTest, WhatIsThereIsNotWrittenOver) {
  std::ofstream(path("full")) << "x";
  EXPECT_EQ(complaint(path("full")),
            "--dump-net " + path("full") +
                ": there is such a file already, and vmm does not write over it; give "
                "another name, or remove it");
  std::ofstream(path("empty")).close();
  EXPECT_EQ(complaint(path("empty")), "");  // of mktemp
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(complaint(path("pipe")), "");  // to a program that shows them
  EXPECT_EQ(complaint("/dev/null"), "");
  EXPECT_EQ(complaint(folder_), "--dump-net " + folder_.native() + ": is a folder or a disk; name a file");
  EXPECT_EQ(complaint("here/"), "--dump-net here/: names no file");
}

TEST_F(PacketFileOptionTest, AGuestWithoutInterfacesHasNoPackets) {
  domain_.interfaces.clear();
  EXPECT_EQ(complaint("x"), "--dump-net x: the guest has no network interface; leave it out");
}

}  // namespace
}  // namespace vmm::domain
