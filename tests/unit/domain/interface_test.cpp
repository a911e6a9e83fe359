// <interface>.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/unit/domain/domain_text.h"
#include "vmm/domain/boot_order.h"
#include "vmm/domain/net_addresses.h"
#include "vmm/domain/port_forwards.h"
#include "vmm/domain/write_domain.h"

namespace vmm::domain {
namespace {

using testing::DomainText;
using ::testing::ElementsAre;
using testing::errors;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::read;
using ::testing::SizeIs;
using ::testing::StartsWith;
using testing::warnings;

std::string listed_interface(const std::string& inside, const std::string& type = "user") {
  return fmt::format("<interface type='{}'>{}</interface>", type, inside);
}
std::string bridged(const std::string& inside = "") {
  return listed_interface("<source bridge='br0'/>" + inside, "bridge");
}
std::string passt(const std::string& inside = "") {
  return listed_interface("<backend type='passt'/>" + inside);
}

Reading with_devices(const std::string& devices) { return read(DomainText{.devices = devices}); }

// Of one without a remark.
Interface interface_of(const std::string& device) {
  const Reading reading = with_devices(device);
  EXPECT_THAT(reading.diagnostics, IsEmpty())
      << device << "\n"
      << (reading.diagnostics.empty() ? "" : reading.diagnostics[0].text);
  return reading.domain && !reading.domain->interfaces.empty() ? reading.domain->interfaces[0] : Interface{};
}

// Each device, and how what is said of it goes on behind "guest.xml:8: ".
using Refusals = std::vector<std::pair<std::string, std::string>>;

void expect_refusals(const Refusals& refusals) {
  for (const auto& [device, message] : refusals) {
    EXPECT_THAT(errors(with_devices(device)), ElementsAre(StartsWith("guest.xml:8: " + message))) << device;
  }
}

void expect_warnings(const Refusals& told) {
  for (const auto& [device, message] : told) {
    const Reading reading = with_devices(device);
    EXPECT_TRUE(reading.domain) << device;
    EXPECT_THAT(warnings(reading), ElementsAre(StartsWith("guest.xml:8: warning: " + message))) << device;
  }
}

std::vector<std::string> ports(const PortForward& forward) {
  std::vector<std::string> result;
  for (const PortRange& range : forwarded_ports(forward)) {
    result.push_back(fmt::format("{}-{}:{}", range.first, range.last, range.to));
  }
  return result;
}

// --- The host's end -------------------------------------------------------------------------------------

TEST(DomainInterface, IsAUserNetworkWhereNothingIsSaid) {
  const Interface interface = interface_of("<interface/>");
  EXPECT_EQ(interface.line, 8);
  EXPECT_EQ(interface.type, InterfaceType::kUser);
  EXPECT_EQ(interface.backend, UserBackend::kSlirp);
  EXPECT_FALSE(interface.ipv4);
  EXPECT_FALSE(interface.ipv6);
  EXPECT_THAT(interface.forwards, IsEmpty());
  EXPECT_EQ(interface.driver, InterfaceDriver::kAny);
  EXPECT_EQ(interface.queues, 1U);
  EXPECT_FALSE(interface.rx_queue_size);
  EXPECT_TRUE(interface.event_idx && interface.ioeventfd && interface.link_is_up);
  EXPECT_TRUE(interface.host_offloads.checksum && interface.host_offloads.mergeable_buffers);
  EXPECT_FALSE(interface.mtu);
  EXPECT_FALSE(interface.boot_order);
  EXPECT_EQ(interface.filter, InterfaceFilter::kNone);
}

TEST(DomainInterface, IsNoneWhereTheFileHasNone) {
  const auto reading = read(DomainText{});
  ASSERT_TRUE(reading.domain);
  EXPECT_THAT(reading.domain->interfaces, IsEmpty());
}

TEST(DomainInterface, OfEachTypeSaysWhereItLeads) {
  const Interface tap = interface_of(listed_interface("<target dev='tap7' managed='no'/>", "ethernet"));
  EXPECT_EQ(tap.type, InterfaceType::kEthernet);
  EXPECT_EQ(tap.target, "tap7");
  EXPECT_FALSE(tap.target_is_managed);
  EXPECT_TRUE(interface_of(listed_interface("", "ethernet")).target.empty());

  const Interface bridge = interface_of(bridged("<target dev='web0'/>"));
  EXPECT_EQ(bridge.type, InterfaceType::kBridge);
  EXPECT_EQ(bridge.bridge, "br0");
  EXPECT_EQ(bridge.target, "web0");
  EXPECT_TRUE(bridge.target_is_managed);

  const Interface direct = interface_of(listed_interface("<source dev='eth0.2' mode='private'/>", "direct"));
  EXPECT_EQ(direct.type, InterfaceType::kDirect);
  EXPECT_EQ(direct.device, "eth0.2");
  EXPECT_EQ(direct.direct_mode, DirectMode::kPrivate);
  EXPECT_EQ(interface_of(listed_interface("<source dev='eth0'/>", "direct")).direct_mode, DirectMode::kVepa);

  const Interface network = interface_of(listed_interface("<source network='default'/>", "network"));
  EXPECT_EQ(network.type, InterfaceType::kNetwork);
  EXPECT_EQ(network.network, "default");
  EXPECT_TRUE(network.bridge.empty());
}

TEST(DomainInterface, OfADumpHasWhatTheRunGot) {
  const Interface interface = interface_of(listed_interface(
      "<mac address='52:54:00:aa:bb:cc'/>"
      "<source network='default' portid='6a2f6f0e-8c55-4a5e-9f0c-0d3b8f1c2a77' bridge='virbr0'/>"
      "<target dev='vnet3'/><model type='virtio'/><alias name='net0'/>",
      "network"));
  EXPECT_EQ(interface.network, "default");
  EXPECT_EQ(interface.bridge, "virbr0");
  EXPECT_TRUE(interface.target.empty());  // the next run gets another
  EXPECT_EQ(interface.alias, "net0");
}

TEST(DomainInterface, OfATypeThatIsNotThereIsRefusedWithWhatToUse) {
  for (const char* const type :
       {"vhostuser", "hostdev", "server", "client", "mcast", "udp", "vdpa", "internal", "null"}) {
    EXPECT_THAT(errors(with_devices(listed_interface("", type))),
                ElementsAre(AllOf(StartsWith(fmt::format("guest.xml:8: <interface type='{}'>: ", type)),
                                  HasSubstr("; use type='"))));
  }
  expect_refusals(
      {{listed_interface("", "brige"), "<interface type='brige'>: unknown value; did you mean 'bridge'?"}});
}

TEST(DomainInterface, WithoutItsSourceIsRefused) {
  expect_refusals({
      {listed_interface("", "bridge"),
       "<interface>: type='bridge' has no <source bridge='…'/>; say which is meant"},
      {listed_interface("<source/>", "bridge"), "<interface>: type='bridge' has no <source bridge='…'/>"},
      {listed_interface("", "direct"), "<interface>: type='direct' has no <source dev='…'/>"},
      {listed_interface("", "network"), "<interface>: type='network' has no <source network='…'/>"},
      {listed_interface("<source brigde='br0'/>", "bridge"),
       "<interface>/<source brigde='br0'>: unknown attribute"},
  });
}

TEST(DomainInterface, WithASourceOfAnotherTypeIsRefused) {
  expect_refusals({
      {listed_interface("<source bridge='br0'/>"),
       "<interface>/<source bridge='br0'>: means nothing with type='user'"},
      {listed_interface("<source dev='eth0'/>", "ethernet"),
       "<interface>/<source dev='eth0'>: means nothing with type='ethernet'"},
      {listed_interface("<source bridge='br0' mode='vepa'/>", "bridge"),
       "<interface>/<source mode='vepa'>: means nothing with type='bridge'"},
      {listed_interface("<source dev='eth0'/>"),
       "<interface>/<source dev='eth0'>: only passt takes one device"},
      {listed_interface("<source network='n'><ip address='10.0.0.1'/></source>", "network"),
       "<interface>/<source>/<ip>: the host's end gets no address"},
  });
}

TEST(DomainInterface, NamesDevicesAsTheHostDoes) {
  for (const char* const name : {"a23456789012345", "br-lan", "eth0.100"}) {
    EXPECT_EQ(interface_of(listed_interface(fmt::format("<source bridge='{}'/>", name), "bridge")).bridge,
              name);
  }
  for (const char* const name : {"a234567890123456", "a/b", "a b", "a:0", "tap%d", ".", ".."}) {
    EXPECT_THAT(errors(with_devices(listed_interface(fmt::format("<source bridge='{}'/>", name), "bridge"))),
                ElementsAre(HasSubstr("not a name of a network device")))
        << name;
  }
}

TEST(DomainInterface, NamesNetworksAsLibvirtDoes) {
  EXPECT_EQ(interface_of(listed_interface("<source network='my net'/>", "network")).network, "my net");
  for (const char* const name : {"../etc", ".hidden", "a&#10;b"}) {
    EXPECT_THAT(
        errors(with_devices(listed_interface(fmt::format("<source network='{}'/>", name), "network"))),
        ElementsAre(HasSubstr("not a name of one of libvirt's networks")));
  }
}

TEST(DomainInterface, ManagesEveryTapButThoseThatAreThere) {
  expect_refusals({
      {bridged("<target dev='t' managed='no'/>"),
       "<interface>/<target>: managed='no' is for type='ethernet'"},
      {listed_interface("<target managed='no'/>", "ethernet"),
       "<interface>/<target>: managed='no' has no dev="},
  });
  expect_warnings(
      {{listed_interface("<target dev='t'/>"), "<interface>/<target dev='t'>: type='user' has no device"}});
}

// --- The user network -----------------------------------------------------------------------------------

TEST(DomainInterface, MayBeWithPasst) {
  const Interface interface =
      interface_of(listed_interface("<backend type='passt' logFile='passt.log'/><source dev='eth0'/>"));
  EXPECT_EQ(interface.backend, UserBackend::kPasst);
  EXPECT_EQ(interface.log_file, "/images/passt.log");
  EXPECT_EQ(interface.device, "eth0");
  expect_refusals({
      {listed_interface("<backend logFile='/l'/>"),
       "<interface>/<backend logFile='/l'>: only type='passt' writes"},
      {bridged("<backend type='passt'/>"), "<interface>/<backend>: passt is for type='user'"},
      {listed_interface("<backend type='vhostuser'/>"), "<interface>/<backend type='vhostuser'>: "},
  });
  EXPECT_EQ(interface_of(bridged("<backend tap='/dev/net/tun' vhost='/dev/vhost-net'/>")).backend,
            UserBackend::kSlirp);
}

TEST(DomainInterface, HasANetworkOfEachFamily) {
  const Interface interface = interface_of(listed_interface(
      "<ip address='192.168.77.0' prefix='24'/><ip family='ipv6' address='2001:db8:77::' prefix='64'/>"));
  ASSERT_TRUE(interface.ipv4 && interface.ipv6);
  EXPECT_EQ(ip_text(interface.ipv4->address), "192.168.77.0");
  EXPECT_EQ(interface.ipv4->prefix, 24U);
  EXPECT_EQ(ip_text(interface.ipv6->address), "2001:db8:77::");
  EXPECT_EQ(interface.ipv6->prefix, 64U);
}

TEST(DomainInterface, HasANameOfItsOwn) {
  const std::string named = "<interface type='user'><alias name='net1'/></interface>";
  expect_refusals({
      {named + "<interface type='user'/>",
       "<interface>: its name is net1, as that of the interface of line 8; give it another one"},
      {named + named, "<interface>: its name is net1, as that of the interface of line 8"},
  });
}

TEST(DomainInterface, HasLibvirtsPrefixWhereNoneIsSaid) {
  for (const auto& [address, prefix] : std::vector<std::pair<std::string, uint32_t>>{
           {"10.0.2.0", 8}, {"172.16.0.0", 16}, {"192.168.1.0", 24}}) {
    const Interface interface = interface_of(listed_interface(fmt::format("<ip address='{}'/>", address)));
    ASSERT_TRUE(interface.ipv4);
    EXPECT_EQ(interface.ipv4->prefix, prefix) << address;
  }
  EXPECT_EQ(interface_of(listed_interface("<ip family='ipv6' address='fd00::'/>")).ipv6->prefix, 64U);
}

TEST(DomainInterface, WithAWrongNetworkIsRefused) {
  expect_refusals({
      {listed_interface("<ip address='10.0.2'/>"), "<interface>/<ip>: give address= an IPv4 address"},
      {listed_interface("<ip/>"), "<interface>/<ip>: give address= an IPv4 address"},
      {listed_interface("<ip address='fd00::'/>"),
       "<interface>/<ip>: give address= an IPv4 address, or add family="},
      {listed_interface("<ip family='ipv6' address='10.0.0.0'/>"),
       "<interface>/<ip>: give address= an IPv6 address"},
      {listed_interface("<ip address='10.0.2.0' prefix='28'/>"),
       "<interface>/<ip prefix='28'>: give a whole number from 1 to 27"},
      {listed_interface("<ip address='230.0.0.0'/>"), "<interface>/<ip>: no network has this address"},
      {listed_interface("<ip address='10.0.2.0'/><ip address='10.0.3.0'/>"),
       "<interface>/<ip>: there is one of this"},
      {bridged("<ip address='10.0.2.2'/>"), "<interface>/<ip>: only type='user' gives the guest its address"},
      {listed_interface("<ip address='10.0.2.2' peer='10.0.2.3'/>"), "<interface>/<ip peer='10.0.2.3'>: "},
  });
  EXPECT_EQ(interface_of(passt("<ip address='10.0.2.15' prefix='32'/>")).ipv4->prefix, 32U);
}

TEST(DomainInterface, ForwardsPorts) {
  const Interface interface = interface_of(listed_interface(
      "<portForward proto='tcp' address='127.0.0.1'><range start='2222' to='22'/></portForward>"
      "<portForward proto='udp' address='::1'><range start='5000' end='5009' to='6000'/>"
      "<range start='5003' end='5004' exclude='yes'/><range start='53'/></portForward>"));
  ASSERT_THAT(interface.forwards, SizeIs(2));
  const PortForward& ssh = interface.forwards[0];
  EXPECT_EQ(ssh.protocol, IpProtocol::kTcp);
  ASSERT_TRUE(ssh.address);
  EXPECT_EQ(ip_text(*ssh.address), "127.0.0.1");
  EXPECT_THAT(ports(ssh), ElementsAre("2222-2222:22"));
  const PortForward& many = interface.forwards[1];
  EXPECT_EQ(many.protocol, IpProtocol::kUdp);
  EXPECT_EQ(ip_text(*many.address), "::1");
  EXPECT_THAT(many.ranges, SizeIs(3));
  EXPECT_THAT(ports(many), ElementsAre("53-53:53", "5000-5002:6000", "5005-5009:6005"));
}

TEST(DomainInterface, ForwardsAllPortsWithPasstOnly) {
  const auto forwards = [](const std::string& ranges) {
    return interface_of(passt("<portForward proto='tcp' dev='eth0'>" + ranges + "</portForward>"))
        .forwards.at(0);
  };
  EXPECT_EQ(forwards("").device, "eth0");
  EXPECT_THAT(ports(forwards("")), ElementsAre("1-65535:1"));
  EXPECT_THAT(ports(forwards("<range start='1' end='1023' exclude='yes'/>")), ElementsAre("1024-65535:1024"));
  EXPECT_THAT(ports(forwards("<range start='1' end='65535' exclude='yes'/>")), IsEmpty());
  expect_refusals({
      {listed_interface("<portForward proto='tcp'/>"),
       "<interface>/<portForward>: only <backend type='passt'/> forwards"},
      {listed_interface("<portForward proto='tcp' dev='eth0'><range start='22'/></portForward>"),
       "<interface>/<portForward dev='eth0'>: only <backend type='passt'/> looks at the device"},
      {listed_interface("<portForward proto='tcp'><range start='1' end='2000'/></portForward>"),
       "<interface>/<portForward>: 2000 ports are too many; 1024 can be"},
  });
}

TEST(DomainInterface, WithAWrongForwardIsRefused) {
  const auto range = [](const std::string& attributes) {
    return listed_interface("<portForward proto='tcp'><range " + attributes + "/></portForward>");
  };
  expect_refusals({
      {range("start='0'"),
       "<interface>/<portForward>/<range start='0'>: give a whole number from 1 to 65535"},
      {range("start='65536'"), "<interface>/<portForward>/<range start='65536'>: "},
      {range("end='7'"), "<interface>/<portForward>/<range>: has no start="},
      {range("start='9' end='8'"), "<interface>/<portForward>/<range>: ends before it starts"},
      {range("start='1' end='10' to='65530'"),
       "<interface>/<portForward>/<range>: port 10 of the host would lead to port 65539"},
      {range("start='9' to='8' exclude='yes'"),
       "<interface>/<portForward>/<range>: what is excluded leads to no"},
      {listed_interface("<portForward><range start='9'/></portForward>"),
       "<interface>/<portForward>: has no proto="},
      {listed_interface("<portForward proto='sctp'><range start='9'/></portForward>"),
       "<interface>/<portForward proto='sctp'>: unknown value"},
      {passt("<portForward proto='tcp' dev='a/b'/>"),
       "<interface>/<portForward dev='a/b'>: not a name of a network"},
      {listed_interface("<portForward proto='tcp' address='localhost'><range start='9'/></portForward>"),
       "<interface>/<portForward address='localhost'>: not an address"},
      {bridged("<portForward proto='tcp'><range start='9'/></portForward>"),
       "<interface>/<portForward>: only type='user' forwards ports"},
  });
}

TEST(DomainInterface, ForwardsNoPortTwice) {
  const auto forward = [](const std::string& address, const std::string& range,
                          const std::string& protocol = "tcp") {
    return fmt::format("<portForward proto='{}'{}><range {}/></portForward>", protocol, address, range);
  };
  const std::string first = forward(" address='127.0.0.1'", "start='80' end='89'");
  for (const std::string& second :
       {forward(" address='127.0.0.1'", "start='85'"), forward("", "start='89' end='99'")}) {
    EXPECT_THAT(errors(with_devices(listed_interface(first + second))),
                ElementsAre(HasSubstr("is forwarded by line 8")));
    EXPECT_THAT(errors(with_devices(listed_interface(first) + "\n" + listed_interface(second))),
                ElementsAre(StartsWith("guest.xml:9: <interface>/<portForward>: port 8")));
  }
  for (const std::string& other : {forward(" address='127.0.0.2'", "start='85'"),
                                   forward("", "start='85'", "udp"), forward("", "start='90'")}) {
    EXPECT_THAT(errors(with_devices(listed_interface(first + other))), IsEmpty()) << other;
  }
}

TEST(DomainInterface, ForwardsWithABoundedNumberOfRanges) {
  std::string ranges;
  for (uint32_t i = 0; i <= kMaxPortRanges; ++i) {
    ranges += "<range start='1' end='65535' exclude='yes'/>";
  }
  EXPECT_THAT(errors(with_devices(passt("<portForward proto='tcp'>" + ranges + "</portForward>"))),
              ElementsAre(HasSubstr("more than 1024 ranges")));
}

TEST(DomainInterface, MayBeRestrictedAndServeAFolder) {
  const auto network = [](const std::string& attributes, const std::string& device) {
    return read(DomainText{
        .others = "<metadata><vmm:user-network xmlns:vmm='urn:vmm:domain:1' " + attributes + "/></metadata>",
        .devices = device});
  };
  const auto reading = network("restrict='yes' tftp='boot' bootfile='pxelinux.0'", "<interface/>");
  EXPECT_THAT(reading.diagnostics, IsEmpty());
  ASSERT_TRUE(reading.domain && reading.domain->user_network);
  EXPECT_TRUE(reading.domain->user_network->is_restricted);
  EXPECT_EQ(reading.domain->user_network->tftp_folder, "/images/boot");
  EXPECT_EQ(reading.domain->user_network->boot_file, "pxelinux.0");
  EXPECT_THAT(
      errors(network("bootfile='x'", "<interface/>")),
      ElementsAre(StartsWith("guest.xml:6: <metadata>/<vmm:user-network bootfile='x'>: is a file in")));
  EXPECT_THAT(errors(network("tftp='t' bootfile='" + std::string(128, 'x') + "'", "<interface/>")),
              ElementsAre(HasSubstr("give at most 127 printable characters")));
  EXPECT_THAT(errors(network("restrict='yes'", passt())),
              ElementsAre(StartsWith(
                  "guest.xml:6: <metadata>/<vmm:user-network>: the interface of line 8 is with passt")));
  EXPECT_THAT(warnings(network("restrict='yes'", bridged())), ElementsAre(HasSubstr("without effect")));
}

// --- The card -------------------------------------------------------------------------------------------

TEST(DomainInterface, HasTheAddressOfTheFile) {
  EXPECT_EQ(mac_text(interface_of(listed_interface("<mac address='52:54:00:AB:cd:0f' type='static'/>")).mac),
            "52:54:00:ab:cd:0f");
  expect_refusals({
      {listed_interface("<mac address='53:54:00:00:00:01'/>"),
       "<interface>/<mac address='53:54:00:00:00:01'>: is the address of a group of cards"},
      {listed_interface("<mac address='00:00:00:00:00:00'/>"),
       "<interface>/<mac address='00:00:00:00:00:00'>: is no card's address"},
      {listed_interface("<mac address='52:54:00:00:00'/>"),
       "<interface>/<mac address='52:54:00:00:00'>: not a MAC address"},
      {listed_interface("<mac address='52:54:00:00:00:0g'/>"),
       "<interface>/<mac address='52:54:00:00:00:0g'>: not a MAC"},
      {listed_interface("<mac address='52-54-00-00-00-01'/>"),
       "<interface>/<mac address='52-54-00-00-00-01'>: not a MAC"},
      {listed_interface("<mac/>"), "<interface>/<mac>: has no address="},
  });
}

TEST(DomainInterface, HasAnAddressOfItsOwnWhereTheFileHasNone) {
  const auto macs_of = [](const std::string& general, const std::string& devices) {
    std::vector<std::string> macs;
    const auto reading = read(DomainText{.general = general, .devices = devices});
    EXPECT_THAT(reading.diagnostics, IsEmpty());
    for (const Interface& each : reading.domain.value_or(Domain{}).interfaces) {
      macs.push_back(mac_text(each.mac));
    }
    return macs;
  };
  const std::string name = "<name>guest</name>";
  const std::string uuid = "<uuid>01234567-89ab-cdef-0123-456789abcdef</uuid>";
  const auto macs = macs_of(name, "<interface/><interface/><interface/>");
  ASSERT_THAT(macs, SizeIs(3));
  EXPECT_THAT(macs, Each(StartsWith("52:54:00:")));
  EXPECT_NE(macs[0], macs[1]);
  EXPECT_NE(macs[1], macs[2]);
  // Stable: what these are is kept by routers and by the guest.
  EXPECT_EQ(macs[0], "52:54:00:0b:ee:e4");
  EXPECT_EQ(macs_of(name, "<interface/>").at(0), macs[0]);
  EXPECT_NE(macs_of("<name>other</name>", "<interface/>").at(0), macs[0]);
  EXPECT_NE(macs_of(name + uuid, "<interface/>").at(0), macs[0]);
  EXPECT_EQ(macs_of("<name>other</name>" + uuid, "<interface/>"), macs_of(name + uuid, "<interface/>"));
  // Another has it already.
  const auto taken = macs_of(name, "<interface/><interface><mac address='" + macs[0] + "'/></interface>");
  EXPECT_NE(taken.at(0), macs[0]);
  EXPECT_EQ(taken.at(1), macs[0]);
}

TEST(DomainInterface, ThatHasTheAddressOfAnotherIsToldSo) {
  const std::string one = listed_interface("<mac address='52:54:00:00:00:01'/>");
  const auto reading = with_devices(one + "\n" + one);
  EXPECT_TRUE(reading.domain);
  EXPECT_THAT(warnings(reading),
              ElementsAre(StartsWith("guest.xml:9: warning: <interface>/<mac address="
                                     "'52:54:00:00:00:01'>: the interface of line 8 has")));
}

TEST(DomainInterface, IsOneOfVirtioWhateverTheFileNames) {
  for (const char* const model : {"virtio", "virtio-net-pci", "virtio-non-transitional"}) {
    interface_of(listed_interface(fmt::format("<model type='{}'/>", model)));
  }
  for (const char* const model : {"e1000", "e1000e", "rtl8139", "virtio-transitional", "pcnet"}) {
    expect_warnings({{listed_interface(fmt::format("<model type='{}'/>", model)),
                      fmt::format("<interface>/<model type='{}'>: the card is ", model)}});
  }
  expect_refusals(
      {{listed_interface("<model type='netfront'/>"), "<interface>/<model type='netfront'>: not of this"}});
}

TEST(DomainInterface, HasAnMtuAndALink) {
  EXPECT_EQ(interface_of(bridged("<mtu size='9000'/>")).mtu, 9000U);
  EXPECT_FALSE(interface_of(bridged("<link state='down'/>")).link_is_up);
  EXPECT_TRUE(interface_of(bridged("<link state='up'/>")).link_is_up);
  expect_refusals({
      {bridged("<mtu size='67'/>"), "<interface>/<mtu size='67'>: give a whole number from 68 to 65535"},
      {bridged("<mtu size='65536'/>"), "<interface>/<mtu size='65536'>: "},
      {bridged("<mtu/>"), "<interface>/<mtu>: has no size="},
      {bridged("<link state='off'/>"), "<interface>/<link state='off'>: unknown value"},
  });
}

TEST(DomainInterface, HasQueuesAndSwitches) {
  const Interface interface = interface_of(
      bridged("<driver name='vhost' queues='8' rx_queue_size='1024' tx_queue_size='256' txmode='iothread' "
              "ioeventfd='off' event_idx='off' packed='off'><host csum='off' tso6='off' mrg_rxbuf='off'/>"
              "<guest tso4='off' ecn='off'/></driver>"));
  EXPECT_EQ(interface.driver, InterfaceDriver::kVhost);
  EXPECT_EQ(interface.queues, 8U);
  EXPECT_EQ(interface.rx_queue_size, 1024U);
  EXPECT_EQ(interface.tx_queue_size, 256U);
  EXPECT_FALSE(interface.ioeventfd || interface.event_idx);
  const HostOffloads& host = interface.host_offloads;
  EXPECT_FALSE(host.checksum || host.tso6 || host.mergeable_buffers);
  EXPECT_TRUE(host.gso && host.tso4 && host.ecn && host.ufo);
  const GuestOffloads& guest = interface.guest_offloads;
  EXPECT_FALSE(guest.tso4 || guest.ecn);
  EXPECT_TRUE(guest.checksum && guest.tso6 && guest.ufo);
}

TEST(DomainInterface, WithAWrongDriverIsRefused) {
  expect_refusals({
      {bridged("<driver queues='9'/>"), "<interface>/<driver queues='9'>: give a whole number from 1 to 8"},
      {bridged("<driver queues='0'/>"), "<interface>/<driver queues='0'>: "},
      {listed_interface("<driver queues='2'/>"), "<interface>/<driver queues='2'>: type='user' has one"},
      {bridged("<driver rx_queue_size='128'/>"),
       "<interface>/<driver rx_queue_size='128'>: give a whole number from 256"},
      {bridged("<driver tx_queue_size='300'/>"),
       "<interface>/<driver tx_queue_size='300'>: give a power of two"},
      {bridged("<driver name='vfio'/>"), "<interface>/<driver name='vfio'>: for another hypervisor"},
      {bridged("<driver iommu='on'/>"), "<interface>/<driver iommu='on'>: vmm has no virtual IOMMU"},
  });
  expect_warnings({
      {listed_interface("<driver name='vhost'/>"),
       "<interface>/<driver name='vhost'>: the host's kernel moves"},
      {bridged("<driver txmode='timer'/>"), "<interface>/<driver txmode='timer'>: "},
      {bridged("<driver packed='on'/>"), "<interface>/<driver packed='on'>: "},
      {bridged("<driver rss='on'/>"), "<interface>/<driver rss='on'>: "},
  });
}

TEST(DomainInterface, IsBoundedInEachDirection) {
  const Interface interface = interface_of(bridged(
      "<bandwidth><inbound average='1000' peak='5000' burst='1024'/><outbound average='128'/></bandwidth>"));
  ASSERT_TRUE(interface.inbound && interface.outbound);
  EXPECT_EQ(interface.inbound->average_kib, 1000U);
  EXPECT_EQ(interface.inbound->peak_kib, 5000U);
  EXPECT_EQ(interface.inbound->burst_kib, 1024U);
  EXPECT_EQ(interface.outbound->average_kib, 128U);
  EXPECT_EQ(interface.outbound->peak_kib, 0U);
  expect_refusals({
      {bridged("<bandwidth><inbound peak='9'/></bandwidth>"),
       "<interface>/<bandwidth>/<inbound>: has no average="},
      {bridged("<bandwidth><inbound average='0'/></bandwidth>"),
       "<interface>/<bandwidth>/<inbound average='0'>: "},
      {bridged("<bandwidth><outbound average='9' peak='8'/></bandwidth>"),
       "<interface>/<bandwidth>/<outbound peak='8'>: lower than average="},
      {bridged("<bandwidth><outbound average='9' floor='8'/></bandwidth>"),
       "<interface>/<bandwidth>/<outbound floor='8'>: "},
  });
  expect_warnings({{bridged("<bandwidth><inbound floor='9'/></bandwidth>"),
                    "<interface>/<bandwidth>/<inbound floor='9'>: nothing is set aside"}});
}

TEST(DomainInterface, IsFilteredByLibvirtsSimplestFilters) {
  const Interface interface = interface_of(
      bridged("<filterref filter='clean-traffic'><parameter name='MAC' value='52:54:00:00:00:01'/>"
              "<parameter name='IP' value='10.0.0.7'/><parameter name='IP' value='10.0.0.8'/></filterref>"));
  EXPECT_EQ(interface.filter, InterfaceFilter::kCleanTraffic);
  ASSERT_THAT(interface.filter_ips, SizeIs(2));
  EXPECT_EQ(ip_text(interface.filter_ips[1]), "10.0.0.8");
  EXPECT_EQ(interface_of(bridged("<filterref filter='no-mac-spoofing'/>")).filter,
            InterfaceFilter::kNoMacSpoofing);
  EXPECT_EQ(interface_of(bridged("<filterref filter='no-arp-mac-spoofing'/>")).filter,
            InterfaceFilter::kNoArpMacSpoofing);
  const Interface half = interface_of(
      bridged("<filterref filter='no-arp-ip-spoofing'><parameter name='IP' value='10.0.0.7'/></filterref>"));
  EXPECT_EQ(half.filter, InterfaceFilter::kNoArpIpSpoofing);
  EXPECT_THAT(half.filter_ips, SizeIs(1));
  expect_refusals({
      {bridged("<filterref filter='no-arp-ip-spoofing'/>"),
       "<interface>/<filterref>: the guest's address is not learned"},
      {bridged("<filterref filter='allow-dhcp'/>"),
       "<interface>/<filterref filter='allow-dhcp'>: libvirt's filters are"},
      {bridged("<filterref filter='no-ip-spoofing'/>"),
       "<interface>/<filterref>: the guest's address is not learned"},
      {bridged("<filterref/>"), "<interface>/<filterref>: has no filter="},
      {bridged("<filterref filter='no-ip-spoofing'><parameter name='IP' value='fd00::1'/></filterref>"),
       "<interface>/<filterref>/<parameter>: give value= an IPv4 address"},
      {bridged(
           "<filterref filter='clean-traffic'><parameter name='CTRL_IP_LEARNING' value='dhcp'/></filterref>"),
       "<interface>/<filterref>/<parameter name='CTRL_IP_LEARNING'>: "},
  });
}

TEST(DomainInterface, HasAPlaceAndARom) {
  const Interface interface = interface_of(
      bridged("<rom file='net.rom' bar='off'/><address type='pci' slot='0x09'/><alias name='ua-net'/>"));
  EXPECT_EQ(interface.rom.file, "/images/net.rom");
  EXPECT_FALSE(interface.rom.is_in_bar);
  ASSERT_TRUE(interface.address);
  EXPECT_EQ(interface.address->slot, 9);
  EXPECT_EQ(interface.alias, "ua-net");
  EXPECT_FALSE(interface_of(bridged("<rom enabled='no'/>")).rom.is_enabled);
  expect_refusals({
      {bridged("<rom enabled='no' bar='on'/>"), "<interface>/<rom>: enabled='no' goes with neither"},
      {bridged("<address type='pci' slot='9'/>") + bridged("<address type='pci' slot='9'/>"),
       "<interface>/<address slot='0x09'>: the device of line 8 stands there"},
      {bridged("<address type='ccw'/>"), "<interface>/<address type='ccw'>: a card stands on PCI"},
  });
}

TEST(DomainInterface, WhatIsNotThereIsRefusedOrLeftOut) {
  expect_refusals({
      {bridged("<virtualport type='openvswitch'/>"), "<interface>/<virtualport>: only Linux's own bridges"},
      {bridged("<vlan><tag id='42'/></vlan>"), "<interface>/<vlan>: vmm tags no packets"},
      {bridged("<port isolated='yes'/>"), "<interface>/<port isolated='yes'>: not there; isolate the tap"},
      {bridged("<teaming type='persistent'/>"), "<interface>/<teaming>: "},
      {listed_interface("<script path='/up'/>", "ethernet"), "<interface>/<script>: vmm runs no scripts"},
      {listed_interface("<downscript path='/down'/>", "ethernet"),
       "<interface>/<downscript>: vmm runs no scripts"},
      {bridged("<guest dev='eth0'/>"), "<interface>/<guest>: for containers"},
      {bridged("<boot order='1' loadparm='x'/>"), "<interface>/<boot loadparm='x'>: not for x86"},
  });
  expect_warnings({
      {bridged("<coalesce><rx><frames max='7'/></rx></coalesce>"), "<interface>/<coalesce>: "},
      {bridged("<tune><sndbuf>1600</sndbuf></tune>"), "<interface>/<tune>: "},
      {listed_interface("<source network='n' portgroup='g'/>", "network"),
       "<interface>/<source portgroup='g'>: "},
      {bridged("<acpi index='1'/>"), "<interface>/<acpi>: "},
  });
  interface_of(bridged("<port isolated='no'/>"));
}

TEST(DomainInterface, HasAPlaceOfTheMachinesOwn) {
  std::string devices;
  for (uint32_t i = 0; i < kMaxMicrovmDevices; ++i) {
    devices += "<interface/>";
  }
  const auto on_microvm = [](const std::string& text) {
    return read(
        DomainText{.os = "<os><type machine='microvm'>hvm</type><kernel>k</kernel></os>", .devices = text});
  };
  EXPECT_THAT(on_microvm(devices).diagnostics, IsEmpty());
  EXPECT_THAT(
      errors(on_microvm(devices + "<interface/>")),
      ElementsAre(HasSubstr("<interface>: the 8 places that machine='microvm' has for virtio devices are")));
  EXPECT_THAT(errors(on_microvm(devices + "<memballoon model='virtio'/>")),
              ElementsAre(HasSubstr("<memballoon>: the 8 places")));
  std::string many;
  for (uint32_t i = 0; i <= kMaxPcDevices; ++i) {
    many += "<interface/>";
  }
  EXPECT_THAT(errors(with_devices(many)),
              ElementsAre(HasSubstr("<interface>: more than 30 interfaces; remove it")));
}

// A slip brings no second message about what it may have been.
TEST(DomainInterface, WithASlipIsToldOnce) {
  for (const char* const device :
       {"<interface tpye='bridge'><source bridge='br0'/></interface>",
        "<interface type='bridge'><sorce bridge='br0'/></interface>",
        "<interface><mac adress='52:54:00:00:00:01'/></interface>",
        "<interface><backend type='past' logFile='/l'/><portForward proto='tcp'/></interface>",
        "<interface><portForward proto='tcp'><range strat='22'/></portForward></interface>",
        "<interface><portForward prot='tcp'><range start='22'/></portForward></interface>",
        "<interface><filterref fitler='clean-traffic'/></interface>",
        "<interface><bandwidth><inbound averge='9'/></bandwidth></interface>",
        "<interface><mtu siez='9000'/></interface>", "<interface><ip addres='10.0.0.0'/></interface>",
        "<interface><boot odrer='1'/></interface>"}) {
    const auto reading = with_devices(device);
    EXPECT_THAT(errors(reading), ElementsAre(HasSubstr("unknown"))) << device;
    EXPECT_THAT(warnings(reading), IsEmpty()) << device;
  }
}

// --- Booting --------------------------------------------------------------------------------------------

std::vector<std::string> sources(const std::string& boot_devices, const std::string& devices) {
  const auto reading =
      read(DomainText{.os = "<os><type>hvm</type>" + boot_devices + "</os>", .devices = devices});
  EXPECT_THAT(reading.diagnostics, IsEmpty());
  std::vector<std::string> names;
  const Domain domain = reading.domain.value_or(Domain{});
  for (const BootSource& source : boot_sources(domain, "")) {
    names.push_back(source.disk != nullptr ? source.disk->target : source.interface->alias);
  }
  return names;
}

TEST(DomainInterface, IsBootedFromInItsTurn) {
  const std::string disk = "<disk><source file='a'/><target dev='vda'/></disk>";
  const std::string cards = bridged("<alias name='a'/>") + bridged("<alias name='b'/>");
  EXPECT_THAT(sources("", disk + cards), ElementsAre("vda"));
  EXPECT_THAT(sources("<boot dev='network'/><boot dev='hd'/>", disk + cards), ElementsAre("a", "vda"));
  EXPECT_THAT(sources("<boot dev='network'/>", disk + cards), ElementsAre("a"));
  const std::string second = "<disk><source file='a'/><target dev='vda'/><boot order='2'/></disk>";
  EXPECT_THAT(sources("", second + bridged("<boot order='3'/><alias name='a'/>") +
                              bridged("<boot order='1'/><alias name='b'/>")),
              ElementsAre("b", "vda", "a"));
}

// What a start is told, and --check: a card that nothing can be booted from.
TEST(DomainInterface, IsToldWhereNothingCanBeBootedFromIt) {
  const auto told = [](const std::string& os, const std::string& device, const std::string& metadata = "") {
    return warnings(read(
        DomainText{.os = "<os>" + os + "</os>",
                   .others = metadata.empty() ? ""
                                              : "<metadata><vmm:user-network xmlns:vmm='urn:vmm:domain:1' " +
                                                    metadata + "/></metadata>",
                   .devices = device}));
  };
  const std::string network = "<type>hvm</type><boot dev='network'/>";
  const std::string nothing =
      "<interface>: the guest is to boot from it, and its network names no file to boot";
  EXPECT_THAT(told(network, "<interface/>"), ElementsAre(HasSubstr(nothing)));
  EXPECT_THAT(told("<type>hvm</type>", "<interface><boot order='1'/></interface>"),
              ElementsAre(HasSubstr(nothing)));
  EXPECT_THAT(told(network, "<interface/>", "tftp='t'"), ElementsAre(HasSubstr(nothing)));
  EXPECT_THAT(
      told(network, bridged("<rom enabled='no'/>")),
      ElementsAre(HasSubstr("<interface>/<rom enabled='no'>: firmware has nothing to boot from this")));
  EXPECT_THAT(told("<type machine='microvm'>hvm</type><kernel>k</kernel>", bridged("<rom file='r'/>")),
              ElementsAre(HasSubstr("<interface>/<rom file=…>: machine='microvm' has neither")));
  EXPECT_THAT(told(network, "<interface/>", "tftp='t' bootfile='f'"), IsEmpty());
  EXPECT_THAT(told(network, "<interface/>", "bootfile='http://10.0.2.2/f'"), IsEmpty());
  EXPECT_THAT(told(network, "<interface><rom file='r'/></interface>"), IsEmpty());
  EXPECT_THAT(told("<type>hvm</type>", "<interface/>"), IsEmpty());
  EXPECT_THAT(told("<type>hvm</type><kernel>k</kernel><boot dev='network'/>", "<interface/>"), IsEmpty());
}

TEST(DomainInterface, HasABootOrderOfItsOwn) {
  expect_refusals({
      {"<disk><source file='a'/><target dev='vda'/><boot order='1'/></disk>" +
           listed_interface("<boot order='1'/>"),
       "<interface>/<boot order='1'>: the disk of line 8 has this order; give another"},
      {listed_interface("<boot order='0'/>"), "<interface>/<boot order='0'>: give a whole number from 1"},
  });
  EXPECT_THAT(
      errors(read(DomainText{.os = "<os><type>hvm</type><boot dev='network'/></os>",
                             .devices = listed_interface("<boot order='1'/>")})),
      ElementsAre(HasSubstr("<interface>/<boot>: <os>/<boot> gives an order too; keep one of the two")));
}

}  // namespace
}  // namespace vmm::domain
