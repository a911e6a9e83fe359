#include "vmm/domain/quick_domain.h"

#include <gmock/gmock.h>

#include "vmm/domain/load.h"
#include "vmm/domain/net_addresses.h"

namespace vmm::domain {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

QuickDomain with_kernel() { return {.name = "run-1", .kernel = "/boot/vmlinuz"}; }

std::string text_of(const QuickDomain& quick) {
  auto text = quick_domain_text(quick);
  EXPECT_TRUE(text) << (text ? "" : text.error().message());
  return text ? *text : "";
}

// As the reader of domain files understands it, without a remark.
Domain domain_of(const QuickDomain& quick) {
  Reading reading = parse_domain(text_of(quick), "quick", "/elsewhere");
  EXPECT_THAT(reading.diagnostics, IsEmpty());
  EXPECT_TRUE(reading.domain);
  return reading.domain.value_or(Domain());
}

std::string refusal(const QuickDomain& quick) {
  const auto text = quick_domain_text(quick);
  EXPECT_FALSE(text);
  EXPECT_EQ(text ? ErrorKind::kHost : text.error().kind(), ErrorKind::kConfiguration);
  return text ? "" : text.error().message();
}

TEST(QuickDomain, AKernelAloneHasTheConsoleOnItsCommandLine) {
  const Domain domain = domain_of(with_kernel());
  EXPECT_EQ(domain.name, "run-1");
  EXPECT_EQ(domain.memory_bytes, uint64_t{1} << 30);
  EXPECT_EQ(domain.vcpus, 1U);
  EXPECT_EQ(domain.os.machine, MachineType::kPc);
  EXPECT_EQ(domain.os.kernel, "/boot/vmlinuz");
  EXPECT_EQ(domain.os.command_line, "console=ttyS0");
  EXPECT_TRUE(domain.features.acpi);
  ASSERT_EQ(domain.serials.size(), 1U);
  EXPECT_EQ(domain.serials[0].backend, CharBackend::kStdio);
}

TEST(QuickDomain, TheFirstDiskIsTheRootWhereThereIsNoInitrd) {
  QuickDomain quick = with_kernel();
  quick.disks = {{.source = "/a.img"}};
  EXPECT_EQ(domain_of(quick).os.command_line, "console=ttyS0 root=/dev/vda rw");
  quick.initrd = "/initrd";
  EXPECT_EQ(domain_of(quick).os.command_line, "console=ttyS0");
  EXPECT_EQ(domain_of(quick).os.initrd, "/initrd");
  quick.command_line = "";
  EXPECT_EQ(domain_of(quick).os.command_line, "");
}

TEST(QuickDomain, EveryDiskIsThrowaway) {
  QuickDomain quick = with_kernel();
  quick.machine = MachineType::kMicrovm;
  quick.disks = {{.source = "/a.qcow2", .format = ImageFormat::kQcow2},
                 {.source = "/dev/sdx", .source_type = DiskSource::kBlock}};
  const Domain domain = domain_of(quick);
  EXPECT_EQ(domain.os.machine, MachineType::kMicrovm);
  ASSERT_EQ(domain.disks.size(), 2U);
  EXPECT_EQ(domain.disks[0].target, "vda");
  EXPECT_EQ(domain.disks[0].format, ImageFormat::kQcow2);
  EXPECT_EQ(domain.disks[0].source, "/a.qcow2");
  EXPECT_EQ(domain.disks[1].target, "vdb");
  EXPECT_EQ(domain.disks[1].source_type, DiskSource::kBlock);
  EXPECT_EQ(domain.disks[1].source, "/dev/sdx");
  EXPECT_TRUE(domain.disks[0].transient && domain.disks[1].transient);
}

TEST(QuickDomain, ADiskMayBeEncryptedAndHaveItsDataElsewhere) {
  QuickDomain quick = with_kernel();
  quick.disks = {{.source = "/a.qcow2",
                  .format = ImageFormat::kQcow2,
                  .secret = "the 'key'",
                  .data_file = "/data & more"}};
  const Domain domain = domain_of(quick);
  ASSERT_EQ(domain.disks.size(), 1U);
  EXPECT_EQ(domain.disks[0].source, "/a.qcow2");
  EXPECT_EQ(domain.disks[0].secret, "the 'key'");
  EXPECT_EQ(domain.disks[0].data_file, "/data & more");
}

TEST(QuickDomain, TheDiscIsBootedBeforeTheDisk) {
  const QuickDomain quick{.name = "n", .disks = {{.source = "/a.img"}}, .cdrom = "/disc.iso"};
  const Domain domain = domain_of(quick);
  EXPECT_THAT(domain.os.boot_devices, ElementsAre(BootDevice::kCdrom, BootDevice::kHardDisk));
  ASSERT_EQ(domain.disks.size(), 2U);
  EXPECT_EQ(domain.disks[1].device, DiskDevice::kCdrom);
  EXPECT_EQ(domain.disks[1].target, "hdc");
  EXPECT_EQ(domain.disks[1].source, "/disc.iso");
}

TEST(QuickDomain, WhatXmlUsesForItselfIsEscaped) {
  const std::string odd = "/a 'b' \"c\" <d> & e ]]> -- &amp; ü/x.img";
  QuickDomain quick{.name = "<n & 'm'>", .kernel = odd, .command_line = "a=\"<&>\" --\tb\nc"};
  quick.initrd = odd;
  quick.disks = {{.source = odd}};
  quick.cdrom = odd;
  const Domain domain = domain_of(quick);
  EXPECT_EQ(domain.name, "<n & 'm'>");
  EXPECT_EQ(domain.os.kernel, odd);
  EXPECT_EQ(domain.os.initrd, odd);
  EXPECT_EQ(domain.os.command_line, "a=\"<&>\" --\tb\nc");
  ASSERT_EQ(domain.disks.size(), 2U);
  EXPECT_EQ(domain.disks[0].source, odd);
  EXPECT_EQ(domain.disks[1].source, odd);
}

TEST(QuickDomain, WhatXmlCannotHoldIsRefusedByItsOption) {
  QuickDomain quick = with_kernel();
  quick.disks = {{.source = "/\xff.img"}};
  EXPECT_THAT(refusal(quick), HasSubstr("--disk /"));
  quick = with_kernel();
  quick.command_line = "a\x01";
  EXPECT_THAT(refusal(quick), HasSubstr("--append"));
}

TEST(QuickDomain, AsManyDisksAsTheMachineHasPlacesFor) {
  QuickDomain quick = with_kernel();
  quick.disks.assign(kMaxPcDisks, {.source = "/a.img"});
  EXPECT_EQ(domain_of(quick).disks.back().target, "vdab");
  quick.cdrom = "/disc.iso";
  EXPECT_EQ(domain_of(quick).disks.size(), kMaxPcDisks + 1);
  quick.disks.push_back({.source = "/a.img"});
  EXPECT_THAT(refusal(quick), HasSubstr("--disk: 29 disks"));
  quick = with_kernel();
  quick.machine = MachineType::kMicrovm;
  quick.disks.assign(kMaxMicrovmDisks, {.source = "/a.img"});
  EXPECT_EQ(domain_of(quick).disks.size(), kMaxMicrovmDisks);
  quick.disks.push_back({.source = "/a.img"});
  EXPECT_THAT(refusal(quick), HasSubstr("--disk: 9 disks"));
}

TEST(QuickDomain, HasAUserNetworkWhereNothingIsSaid) {
  QuickDomain quick = with_kernel();
  ASSERT_EQ(domain_of(quick).interfaces.size(), 1U);
  EXPECT_EQ(domain_of(quick).interfaces[0].type, InterfaceType::kUser);
  quick.net = QuickNet::kNone;
  EXPECT_THAT(domain_of(quick).interfaces, IsEmpty());
}

TEST(QuickDomain, HasTheNetworkThatIsSaid) {
  QuickDomain quick = with_kernel();
  quick.net = QuickNet::kTap;
  quick.net_device = "tap7";
  const Domain tapped = domain_of(quick);
  ASSERT_EQ(tapped.interfaces.size(), 1U);
  EXPECT_EQ(tapped.interfaces[0].type, InterfaceType::kEthernet);
  EXPECT_EQ(tapped.interfaces[0].target, "tap7");
  EXPECT_FALSE(tapped.interfaces[0].target_is_managed);
  quick.net = QuickNet::kBridge;
  quick.net_device = "br&0";
  const Domain bridged = domain_of(quick);
  ASSERT_EQ(bridged.interfaces.size(), 1U);
  EXPECT_EQ(bridged.interfaces[0].type, InterfaceType::kBridge);
  EXPECT_EQ(bridged.interfaces[0].bridge, "br&0");
}

TEST(QuickDomain, ForwardsPortsOfTheUserNetwork) {
  QuickDomain quick = with_kernel();
  quick.forwards = {
      {.address = *parse_ip("127.0.0.1"), .host_port = 2222, .guest_port = 22},
      {.protocol = IpProtocol::kUdp, .address = *parse_ip("::1"), .host_port = 5353, .guest_port = 53}};
  const Domain domain = domain_of(quick);
  ASSERT_EQ(domain.interfaces.size(), 1U);
  const auto& forwards = domain.interfaces[0].forwards;
  ASSERT_EQ(forwards.size(), 2U);
  EXPECT_EQ(forwards[0].protocol, IpProtocol::kTcp);
  EXPECT_EQ(forwards[0].address, parse_ip("127.0.0.1"));
  EXPECT_EQ(forwards[0].ranges.at(0).first, 2222);
  EXPECT_EQ(forwards[0].ranges.at(0).to, 22);
  EXPECT_EQ(forwards[1].protocol, IpProtocol::kUdp);
  EXPECT_EQ(forwards[1].address, parse_ip("::1"));
  quick.net = QuickNet::kTap;
  quick.net_device = "tap7";
  EXPECT_THAT(refusal(quick), HasSubstr("--forward: is for --net user"));
}

TEST(QuickDomain, HasNoNetworkWhereTheDisksHaveAllPlaces) {
  QuickDomain quick = with_kernel();
  quick.machine = MachineType::kMicrovm;
  quick.disks.assign(kMaxMicrovmDisks, {.source = "/a.img"});
  EXPECT_THAT(domain_of(quick).interfaces, IsEmpty());
  quick.net = QuickNet::kUser;
  EXPECT_THAT(refusal(quick), HasSubstr("--net: the 8 disks have all places of the machine"));
}

TEST(QuickDomain, MayBeBootedFromTheNetworkFirst) {
  QuickDomain quick{.name = "n", .is_netbooted = true, .boot_path = "/srv/tftp/pxelinux.0"};
  Domain domain = domain_of(quick);
  EXPECT_THAT(domain.os.boot_devices, ElementsAre(BootDevice::kNetwork));
  ASSERT_TRUE(domain.user_network);
  EXPECT_EQ(domain.user_network->tftp_folder, "/srv/tftp");
  EXPECT_EQ(domain.user_network->boot_file, "pxelinux.0");
  quick.disks = {{.source = "/a.img"}};
  quick.boot_path.clear();
  quick.boot_url = "http://10.0.2.2:8000/it's";
  quick.has_exit_port = true;
  domain = domain_of(quick);
  EXPECT_THAT(domain.os.boot_devices, ElementsAre(BootDevice::kNetwork, BootDevice::kHardDisk));
  EXPECT_EQ(domain.user_network->boot_file, quick.boot_url);
  EXPECT_TRUE(domain.exit_port);
  EXPECT_FALSE(domain_of({.name = "n", .net = QuickNet::kBridge, .net_device = "br0", .is_netbooted = true})
                   .user_network);
}

TEST(QuickDomain, IsBootedFromANetworkThatTellsWhat) {
  QuickDomain quick{.name = "n", .is_netbooted = true};
  EXPECT_THAT(refusal(quick), HasSubstr("give --netboot=FILE"));
  quick.boot_url = "tftp://h/" + std::string(127, 'x');
  EXPECT_THAT(refusal(quick), HasSubstr("--netboot: a name of more than 127 bytes"));
  quick.boot_url = "tftp://h/f";
  quick.net = QuickNet::kNone;
  EXPECT_THAT(refusal(quick), HasSubstr("--netboot: is instead of --net none"));
  quick.net = QuickNet::kTap;
  quick.net_device = "tap7";
  EXPECT_THAT(refusal(quick), HasSubstr("--netboot=…: is for --net user"));
  quick = with_kernel();
  quick.is_netbooted = true;
  EXPECT_THAT(refusal(quick), HasSubstr("--netboot: is instead of --kernel"));
}

TEST(QuickDomain, WhatDoesNotGoTogetherIsRefused) {
  EXPECT_THAT(refusal({.name = "n"}), HasSubstr("give --kernel FILE, --disk FILE or --cdrom FILE"));
  QuickDomain disk{.name = "n", .disks = {{.source = "/a.img"}}};
  EXPECT_THAT(text_of(disk), Not(HasSubstr("cdrom")));
  disk.command_line = "x";
  EXPECT_THAT(refusal(disk), HasSubstr("--append: is for a kernel"));
  disk.initrd = "/i";
  EXPECT_THAT(refusal(disk), HasSubstr("--initrd: is for a kernel"));
  disk = {.name = "n", .machine = MachineType::kMicrovm, .disks = {{.source = "/a.img"}}};
  EXPECT_THAT(refusal(disk), HasSubstr("--machine microvm: has no firmware"));
  disk.kernel = "/k";
  disk.cdrom = "/c.iso";
  EXPECT_THAT(refusal(disk), HasSubstr("--cdrom: the machine microvm"));
}

TEST(QuickDomain, FiguresOutOfRangeAreRefused) {
  QuickDomain quick = with_kernel();
  quick.memory_mib = 1;
  EXPECT_THAT(refusal(quick), HasSubstr("--memory: 1 MiB"));
  quick = with_kernel();
  quick.vcpus = kMaxVcpus + 1;
  EXPECT_THAT(refusal(quick), HasSubstr("--cpus 256"));
  quick.vcpus = 0;
  EXPECT_THAT(refusal(quick), HasSubstr("--cpus 0"));
  quick = with_kernel();
  quick.name = "a/b";
  EXPECT_THAT(refusal(quick), HasSubstr("--name 'a/b'"));
}

}  // namespace
}  // namespace vmm::domain
