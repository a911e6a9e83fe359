#include "vmm/domain/libvirt_network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace vmm::domain {
namespace {

using ::testing::HasSubstr;

// The bridge, or what is wrong.
std::string found_in(const std::string& text) {
  const auto bridge = bridge_of_network_text(text, "lan");
  EXPECT_TRUE(bridge || bridge.error().kind() == ErrorKind::kConfiguration);
  return bridge ? *bridge : bridge.error().message();
}

std::string network(const std::string& inside) {
  return "<network><name>lan</name>" + inside + "<bridge name='virbr7' stp='on' delay='0'/></network>";
}

TEST(LibvirtNetwork, HasItsBridgeWhateverItForwards) {
  EXPECT_EQ(found_in(network("")), "virbr7");
  for (const char* const mode : {"nat", "route", "open", "bridge"}) {
    EXPECT_EQ(found_in(network("<forward mode='" + std::string(mode) + "'/>")), "virbr7");
  }
  EXPECT_EQ(found_in("<?xml version='1.0'?>\n<!-- made by virsh -->\n" + network("<forward/>")), "virbr7");
}

TEST(LibvirtNetwork, OneThatRunsIsInAStatus) {
  EXPECT_EQ(
      found_in("<networkstatus><class_id bitmap='0-2'/><floor sum='0'/>" + network("") + "</networkstatus>"),
      "virbr7");
}

TEST(LibvirtNetwork, WithoutABridgeOfTheKernelsIsRefusedWithWhatToDo) {
  EXPECT_THAT(
      found_in(network("<forward mode='passthrough'/>")),
      HasSubstr("libvirt's network lan has no bridge (<forward mode='passthrough'>); use type='bridge'"));
  EXPECT_THAT(found_in("<network><forward mode='bridge'><interface dev='eth0'/></forward></network>"),
              HasSubstr("lan names no bridge; use type='bridge'"));
  EXPECT_THAT(found_in(network("<virtualport type='openvswitch'/>")), HasSubstr("use type='ethernet'"));
  EXPECT_THAT(
      found_in(network("<portgroup name='a'/><portgroup name='b'><vlan><tag id='4'/></vlan></portgroup>")),
      HasSubstr("has a <virtualport> or <vlan>"));
}

TEST(LibvirtNetwork, WhatIsNoNetworkIsRefused) {
  for (const char* const text : {"", "<network", "<!DOCTYPE x><network/>", "text"}) {
    EXPECT_THAT(found_in(text), HasSubstr("malformed")) << text;
  }
  EXPECT_THAT(found_in("<domain/>"), HasSubstr("has no <network> in it"));
  EXPECT_THAT(found_in("<networkstatus/>"), HasSubstr("has no <network> in it"));
  EXPECT_THAT(found_in("<network><bridge name='../x'/></network>"), HasSubstr("names no bridge"));
}

TEST(LibvirtNetwork, IsLookedUpWhereItRunsAndThenWhereItIsDefined) {
  std::string name = std::filesystem::temp_directory_path() / "vmm-network-XXXXXX";
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  const std::filesystem::path top = name;
  const std::array folders = {top / "run", top / "etc"};
  const auto none = find_network_bridge("lan", folders);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().message(),
            "the bridge of libvirt's network lan cannot be found (" + name +
                "/run/lan.xml: No such file or " + "directory; " + name +
                "/etc/lan.xml: No such file or directory); as root: virsh net-start lan; " +
                "or name it, with type='bridge' and <source bridge=…/>");
  std::filesystem::create_directory(folders[0]);
  std::filesystem::create_directory(folders[1]);
  std::ofstream(folders[1] / "lan.xml") << "<network><bridge name='defined'/></network>";
  EXPECT_EQ(find_network_bridge("lan", folders).value(), "defined");
  std::ofstream(folders[0] / "lan.xml")
      << "<networkstatus><network><bridge name='runs'/></network></networkstatus>";
  EXPECT_EQ(find_network_bridge("lan", folders).value(), "runs");
  std::filesystem::remove_all(top);
}

}  // namespace
}  // namespace vmm::domain
