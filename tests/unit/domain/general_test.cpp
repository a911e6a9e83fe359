// Identity, memory, booting, features, clock and life cycle.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/domain/domain_text.h"
#include "vmm/base/bytes.h"
#include "vmm/domain/reader.h"

namespace vmm::domain {
namespace {

using ::testing::_;
using ::testing::Contains;
using testing::DomainText;
using ::testing::ElementsAre;
using testing::errors;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::read;
using ::testing::SizeIs;
using ::testing::StartsWith;
using testing::warnings;

TEST(DomainFile, SmallestOneHasLibvirtsDefaults) {
  const auto reading = read(DomainText{});
  ASSERT_TRUE(reading.domain) << errors(reading).front();
  EXPECT_THAT(reading.diagnostics, IsEmpty());
  const Domain& domain = *reading.domain;
  EXPECT_EQ(domain.name, "guest");
  EXPECT_FALSE(domain.uuid);
  EXPECT_EQ(domain.memory_bytes, 64 * kMiB);
  EXPECT_EQ(domain.vcpus, 1U);
  EXPECT_EQ(domain.os.machine, MachineType::kPc);
  EXPECT_EQ(domain.os.kernel, "/boot/vmlinuz");
  EXPECT_EQ(domain.os.initrd, "");
  EXPECT_EQ(domain.os.command_line, "");
  EXPECT_EQ(domain.cpu.mode, CpuMode::kHostPassthrough);
  EXPECT_EQ(domain.clock.offset, ClockOffset::kUtc);
  EXPECT_TRUE(domain.clock.kvmclock);
  EXPECT_EQ(domain.on_poweroff, LifecycleAction::kDestroy);
  EXPECT_EQ(domain.on_reboot, LifecycleAction::kRestart);
  EXPECT_EQ(domain.on_crash, LifecycleAction::kDestroy);
  EXPECT_FALSE(domain.memory_backing.hugepages);
  EXPECT_TRUE(domain.memory_backing.share_pages);
  EXPECT_FALSE(domain.features.hide_kvm);
  EXPECT_THAT(domain.disks, IsEmpty());
  EXPECT_THAT(domain.serials, IsEmpty());
}

TEST(DomainFile, IdentityIsKept) {
  const auto reading = read(DomainText{
      .general = "<name>web 1</name><uuid>01234567-89ab-cdef-0123-456789ABCDEF</uuid><title>T</title>"
                 "<description>a &lt; b</description><metadata><x:y xmlns:x='z'><deep/></x:y></metadata>"});
  ASSERT_TRUE(reading.domain) << errors(reading).front();
  EXPECT_EQ(reading.domain->name, "web 1");
  EXPECT_EQ(reading.domain->uuid, (std::array<uint8_t, 16>{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                                                           0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}));
  EXPECT_EQ(reading.domain->title, "T");
  EXPECT_EQ(reading.domain->description, "a < b");
}

TEST(DomainFile, NameAndMemoryAndOsAndTypeAreNeeded) {
  EXPECT_THAT(errors(read("<domain></domain>")),
              ElementsAre(HasSubstr("has no type="), HasSubstr("has no <name>"), HasSubstr("has no <memory>"),
                          HasSubstr("has no <os>")));
}

TEST(DomainFile, BadIdentityIsRefused) {
  EXPECT_THAT(errors(read(DomainText{.general = "<name>a/b</name>"})),
              ElementsAre(HasSubstr("guest.xml:2: <name>")));
  for (const std::string name : {".", ".."}) {
    EXPECT_THAT(errors(read(DomainText{.general = "<name>" + name + "</name>"})),
                ElementsAre(HasSubstr("guest.xml:2: <name>")));
  }
  EXPECT_THAT(errors(read(DomainText{.general = "<name> </name>"})),
              ElementsAre(HasSubstr("guest.xml:2: <name>")));
  for (const std::string uuid :
       {"", "1234", "0123456789abcdef0123456789abcdef0", "g123456789abcdef0123456789abcdef"}) {
    EXPECT_THAT(errors(read(DomainText{.general = "<name>a</name><uuid>" + uuid + "</uuid>"})),
                ElementsAre(HasSubstr("guest.xml:2: <uuid>: '" + uuid + "' is not 32 hexadecimal digits")));
  }
}

TEST(DomainFile, ElementThatStandsTwiceIsRefused) {
  EXPECT_THAT(errors(read(DomainText{.general = "<name>a</name><name>b</name>"})),
              ElementsAre("guest.xml:2: <name>: stands twice; remove one"));
}

TEST(DomainFile, UnknownElementIsRefusedWithTheNearestName) {
  EXPECT_THAT(errors(read(DomainText{.others = "<on_powerof>destroy</on_powerof>"})),
              ElementsAre("guest.xml:6: <on_powerof>: unknown element; did you mean <on_poweroff>?"));
  EXPECT_THAT(errors(read(DomainText{.others = "<frobnicate/>"})),
              ElementsAre("guest.xml:6: <frobnicate>: unknown element"));
  EXPECT_THAT(errors(read(DomainText{.devices = "<dsik/>"})),
              ElementsAre("guest.xml:8: <dsik>: unknown element; did you mean <disk>?"));
}

TEST(DomainFile, UnknownAttributeAndValueAreRefusedWithTheNearestName) {
  EXPECT_THAT(errors(read(DomainText{.memory = "<memory units='MiB'>64</memory>"})),
              ElementsAre("guest.xml:3: <memory units='MiB'>: unknown attribute; did you mean unit=?"));
  EXPECT_THAT(
      errors(read(DomainText{.others = "<on_reboot>restrat</on_reboot>"})),
      ElementsAre("guest.xml:6: <on_reboot>restrat</on_reboot>: unknown value; did you mean 'restart'?"));
  EXPECT_THAT(errors(read(DomainText{.others = "<on_reboot>7</on_reboot>"})),
              ElementsAre("guest.xml:6: <on_reboot>7</on_reboot>: unknown value; use 'destroy', 'restart' or "
                          "'preserve'"));
}

TEST(DomainFile, ElementsOfOtherNamespacesAreRefusedOutsideMetadata) {
  EXPECT_THAT(errors(read(DomainText{
                  .others = "<qemu:commandline xmlns:qemu='q'><qemu:arg value='-s'/></qemu:commandline>"})),
              ElementsAre(HasSubstr("guest.xml:6: <qemu:commandline>: vmm is not QEMU")));
  EXPECT_THAT(errors(read(DomainText{.others = "<other:thing/>"})),
              ElementsAre(HasSubstr("belong in <metadata>")));
}

// --- What only vmm has ---

DomainText with_metadata(const std::string& metadata) {
  return DomainText{.others = "<metadata>" + metadata + "</metadata>"};
}

TEST(ExitPortOfADomain, IsAbsentUnlessTheFileHasIt) {
  EXPECT_FALSE(read(DomainText{}).domain->exit_port);
  EXPECT_FALSE(read(with_metadata("<x:exit xmlns:x='urn:x' port='0xf4'/>")).domain->exit_port);
  EXPECT_FALSE(read(with_metadata("<exit port='0xf4'/>text<a:b a='b'/>")).domain->exit_port);
}

TEST(ExitPortOfADomain, IsReadWhateverThePrefixIsAndWhereverItIsDeclared) {
  for (const std::string element : {"<vmm:exit xmlns:vmm='urn:vmm:domain:1' port='0xf4'/>",
                                    "<x:exit xmlns:x='urn:vmm:domain:1' port=' 244 '></x:exit>",
                                    "<exit xmlns='urn:vmm:domain:1' port='0xf4'/>"}) {
    const auto reading = read(with_metadata(element));
    EXPECT_THAT(reading.diagnostics, IsEmpty()) << element;
    ASSERT_TRUE(reading.domain && reading.domain->exit_port) << element;
    EXPECT_EQ(reading.domain->exit_port->port, 0xf4);
    EXPECT_EQ(reading.domain->exit_port->line, 6);
  }
  const auto above = read(DomainText{
      .others = "<metadata xmlns:v='urn:vmm:domain:1'><v:exit port='0x501'/><o:p xmlns:o='o'/></metadata>"});
  ASSERT_TRUE(above.domain && above.domain->exit_port);
  EXPECT_EQ(above.domain->exit_port->port, 0x501);
}

TEST(ExitPortOfADomain, MistakesAreRefused) {
  const std::string own = "xmlns:vmm='urn:vmm:domain:1'";
  for (const std::string port :
       {"", "port=''", "port='f4'", "port='-1'", "port='0xc000'", "port='0x1000000f4'"}) {
    EXPECT_THAT(
        errors(read(with_metadata("<vmm:exit " + own + " " + port + "/>"))),
        ElementsAre("guest.xml:6: <metadata>/<vmm:exit>: give it a port below 0xc000, as port='0xf4'"));
  }
  EXPECT_THAT(errors(read(with_metadata("<vmm:exit " + own + " prot='0xf4'/>"))),
              ElementsAre(HasSubstr("unknown attribute; did you mean port=?")));
  EXPECT_THAT(errors(read(with_metadata("<vmm:exti " + own + " port='0xf4'/>"))),
              ElementsAre(HasSubstr("unknown element; did you mean <vmm:exit>?")));
  EXPECT_THAT(errors(read(with_metadata("<a:exit xmlns:a='urn:vmm:domain:1' port='1'/>"
                                        "<vmm:exit " +
                                        own + " port='2'/>"))),
              ElementsAre("guest.xml:6: <metadata>/<vmm:exit>: stands twice; remove one"));
}

TEST(ExitPortOfADomain, OurPrefixWithoutOurNamespaceIsNotPassedOver) {
  EXPECT_THAT(errors(read(with_metadata("<vmm:exit port='0xf4'/>"))),
              ElementsAre("guest.xml:6: <metadata>/<vmm:exit>: its prefix stands for nothing; write "
                          "xmlns:vmm='urn:vmm:domain:1'"));
  EXPECT_THAT(errors(read(with_metadata("<vmm:exit xmlns:vmm='urn:vmm' port='0xf4'/>"))),
              ElementsAre(HasSubstr("its prefix stands for 'urn:vmm'; write")));
}

TEST(DomainFile, TextWhereNoneBelongsIsRefused) {
  EXPECT_THAT(errors(read(DomainText{.features = "<features>on<acpi/></features>"})),
              ElementsAre(HasSubstr("guest.xml:5: <features>: holds the text 'on'")));
}

TEST(DomainFile, AllErrorsAreReportedInOneRunInTheOrderOfTheFile) {
  const auto reading = read(DomainText{.general = "<name>a</name><colour/>",
                                       .memory = "<memory unit='parsec'>64</memory>",
                                       .os = "<os><type machine='virt'>hvm</type><kernel>k</kernel></os>",
                                       .others = "<vcpu>0</vcpu>",
                                       .devices = "<hostdev mode='subsystem'/>"});
  EXPECT_FALSE(reading.domain);
  EXPECT_THAT(
      errors(reading),
      ElementsAre(HasSubstr("guest.xml:2: <colour>"), HasSubstr("guest.xml:3: <memory unit='parsec'>"),
                  HasSubstr("guest.xml:4: <os>/<type machine='virt'>"), HasSubstr("guest.xml:6: <vcpu>"),
                  HasSubstr("guest.xml:8: <hostdev>: devices of the host are not")));
}

// A slip hides nothing that stands inside, and brings no other message about what it may have been.
TEST(DomainFile, AMistakeHidesNoOther) {
  const auto subjects = [](const std::string& text) {
    std::vector<std::string> result;
    for (const std::string& line : errors(read(text))) {
      result.push_back(line.substr(line.find(": ") + 2));
    }
    return result;
  };
  std::string foreign = DomainText{.devices = "<hostdev mode='subsystem'/>"}.text();
  foreign.replace(foreign.find("kvm"), 3, "xen");
  EXPECT_THAT(subjects(foreign), ElementsAre(StartsWith("<domain type='xen'>: vmm runs on KVM"),
                                             StartsWith("<hostdev>: devices of the host")));
  foreign.replace(foreign.find("xen"), 3, "kmv");
  EXPECT_THAT(subjects(foreign), ElementsAre(StartsWith("<domain type='kmv'>: unknown value"),
                                             StartsWith("<hostdev>: devices of the host")));
  std::string misspelt = DomainText{}.text();
  misspelt.replace(misspelt.find("type="), 5, "tpye=");
  EXPECT_THAT(subjects(misspelt), ElementsAre(HasSubstr("unknown attribute; did you mean type=?")));

  const std::string devices = DomainText{.devices = "<disk/>\n<dsik/>"}.text();
  std::string named = devices;
  named.replace(named.find("<devices>"), 9, "<devices foo='1'>");
  EXPECT_THAT(subjects(named),
              ElementsAre(StartsWith("<devices foo='1'>: unknown attribute"),
                          StartsWith("<disk>: has no <source file='…'/>"),
                          StartsWith("<disk>: has no <target"), StartsWith("<dsik>: unknown element")));
  std::string told = devices;
  told.replace(told.find("<devices>"), 9, "<devices>some");
  EXPECT_THAT(subjects(told), ElementsAre(StartsWith("<devices>: holds the text 'some'"), _, _,
                                          StartsWith("<dsik>: unknown element")));
}

// Of an element that is nothing but its values, too.
TEST(DomainFile, AMistakeHidesNoOtherOfTheSameElement) {
  const auto subjects = [](const DomainText& part) {
    std::vector<std::string> result;
    for (const std::string& line : errors(read(part))) {
      result.push_back(line.substr(line.find(": ") + 2));
    }
    return result;
  };
  EXPECT_THAT(
      subjects(
          {.devices =
               "<disk><driver nmae='qemu' queues='0'/><source file='a' fiel='b' startupPolicy='optional'/>"
               "<target dev='vda' bus='usb' tray='open'/><boot order='0' oder='1'/></disk>"}),
      ElementsAre(StartsWith("<disk>/<driver nmae='qemu'>: unknown attribute"),
                  StartsWith("<disk>/<source fiel='b'>: unknown attribute"),
                  StartsWith("<disk>/<target bus='usb'>: vmm has no USB"),
                  StartsWith("<disk>/<boot oder='1'>: unknown attribute"),
                  StartsWith("<disk>/<driver queues='0'>: give a whole number"),
                  StartsWith("<disk>/<source startupPolicy='optional'>: only a CD-ROM"),
                  StartsWith("<disk>/<target tray='open'>: only CD-ROM"),
                  StartsWith("<disk>/<boot order='0'>: give a whole number")));
  EXPECT_THAT(
      subjects({.others = "<vcpu crrent='1'>0</vcpu><cputune><vcpupin vcpu='x' cpus='1'/></cputune>"}),
      ElementsAre(StartsWith("<vcpu crrent='1'>"), StartsWith("<cputune>/<vcpupin cpus='1'>"),
                  StartsWith("<vcpu>: 0; give at least 1"), StartsWith("<cputune>/<vcpupin vcpu='x'>")));
  EXPECT_THAT(subjects({.devices = "<rng model='virtio'><backend model='random'/><rate bytes='0' peroid='1'/>"
                                   "<address type='pci' slot='99' fnction='0'/></rng>"}),
              ElementsAre(StartsWith("<rng>/<rate peroid='1'>"), StartsWith("<rng>/<address fnction='0'>"),
                          StartsWith("<rng>/<rate bytes='0'>"), StartsWith("<rng>/<address slot='99'>")));
}

// One that nobody knows what it was meant for does not excuse what is there.
TEST(DomainFile, AnUnknownAttributeExcusesNoValueThatIsThere) {
  EXPECT_THAT(errors(read(DomainText{.memory = "<memory unit='MiB' foobar='1'>abc</memory>"})), SizeIs(2));
  EXPECT_THAT(errors(read(DomainText{
                  .os = "<os><type>hvm</type><bootmenu foobar='yes' timeout='x' enable='yes'/></os>"})),
              SizeIs(2));
  for (const std::string device :
       {"<disk><source file='a'/><target dev='hda' bus='ide' foobar='1'/><readonly/></disk>",
        "<disk><source file='a'/><target dev='vda'/><address type='pci' slot='99' foobar='0'/></disk>"}) {
    EXPECT_THAT(errors(read(DomainText{.devices = device})), SizeIs(2)) << device;
  }
}

TEST(DomainFile, WhatIsToBeBootedMayBeAMistakeToo) {
  for (const auto& [boot, disk] : std::vector<std::pair<std::string, std::string>>{
           {"hd", "<disk type='network'><source protocol='rbd'/><target dev='vda'/></disk>"},
           {"cdrom", "<disk devce='cdrom'><target dev='hdc' bus='ide'/></disk>"}}) {
    const auto reading =
        read(DomainText{.os = "<os><type>hvm</type><boot dev='" + boot + "'/></os>", .devices = disk});
    EXPECT_THAT(errors(reading), SizeIs(1)) << disk;
    EXPECT_THAT(warnings(reading), IsEmpty()) << disk;
  }
  EXPECT_THAT(
      errors(read(DomainText{.features = "<features><acpy/></features>", .others = "<vcpu>2</vcpu>"})),
      ElementsAre(HasSubstr("<acpy>: unknown element")));
}

// Each alone: what is missing may be the mistake.
TEST(DomainFile, AMistakeInAnElementIsTheOnlyMessageAboutIt) {
  for (const std::string device :
       {"<watchdog modle='ib700'/>",
        "<watchdog model='i6300' action='reset'/>",
        "<rng model='virtio'><backend "
        "modle='random'/></rng>",
        "<rng model='virtio'><backend model='random'/><rate byts='1'/></rng>",
        "<disk><source flie='a'/><target dev='vda'/></disk>",
        "<disk><source file='a'/><target dve='vda'/></disk>",
        "<disk><source file='a'/><target dev='sda' bus='usb'/><wwn>5000c500a0b1c2d3</wwn></disk>",
        "<disk><source file='a'/><target dev='sda' bus='sat'/><readonly/><address type='drive'/></disk>",
        "<disk device='cdrom'><target dev='sda' buss='sata'/></disk>",
        "<disk><source file='a'/><target dev='vda'/><boot odrer='1'/></disk>",
        "<disk><source file='a'/><target dev='vda'/><geometry cyl='1' heads='1' secs='1'/></disk>",
        "<disk><source file='a'/><target dev='vda'/><address typ='pci' slot='0x05'/></disk>",
        "<disk><driver type='qcow2'/><source file='a'/><target dev='vda'/><backingStore type='file'><format "
        "tpye='raw'/><source file='b'/></backingStore></disk>",
        "<disk><driver type='qcow2'/><source file='a'/><target dev='vda'/><backingStore type='file'><format "
        "type='raw'/><source flie='b'/></backingStore></disk>",
        "<disk><driver type='qcow2'/><source file='a'><encryption format='luks'><secret type='passphrase' "
        "uuidd='x'/></encryption></source><target dev='vda'/></disk>",
        "<disk><driver type='qcow2'><metadata_cache><max_size "
        "unti='MiB'>1</max_size></metadata_cache></driver>"
        "<source file='a'/><target dev='vda'/></disk>",
        "<disk><source>a</source><target dev='vda'/></disk>",
        "<console/><console type='null'><target tpye='virtio'/></console>",
        "<disk><source fdgroup='x'/><target dev='vda'/></disk>",
        "<disk><driver type='qcow2'/><source file='a'/><target dev='vda'/><backingStore type='file'><format "
        "type='raw'/><source protocol='nbd'/></backingStore></disk>",
        "<serial type='pty'><address type='isa' iobase='0x3f8' irq='0x4'/></serial>",
        "<serial typ='file'><source path='/a'/></serial><console type='file'><source path='/a'/></console>",
        "<serial type='fil'><source path='/a'/></serial><console type='file'><source path='/a'/></console>",
        "<serial type='file'><source pth='/a'/></serial><console type='file'><source path='/a'/></console>",
        "<serial type='file'><source path='/a'/></serial><console type='file'><source pth='/a'/></console>",
        "<serial type='tcp'/><serial type='pty'/><serial type='pty'/><serial type='pty'/><serial "
        "type='pty'/>",
        "<disk><source file='a'/><target dev='hda' bus='ide'/></disk><disk><source file='b'/><target "
        "dev='hdb' "
        "bus='ide'/><address type='drive' controller='0' bus='0' unti='1'/></disk>",
        "<disk><source file='a'/><target dev='vda'/><address type='pci' slt='0x05' function='0x1'/></disk>",
        "<panic model='pseries'/><panic model='isa'/>",
        "<watchdog model='diag288'/><watchdog model='ib700'/>",
        "<disk><driver type='qcow2'/><source file='a'><encryption format='luks'><secrett "
        "type='passphrase'/></encryption></source><target dev='vda'/></disk>",
        "<disk device='cdrm'><source file='a'/><target dev='hda' bus='ide'/><blockio "
        "logical_block_size='2048'/></disk>",
        "<disk><source file='a'/><target dev='vda'/><iotune><total_bytes_sec>x</total_bytes_sec>"
        "<total_bytes_sec_max>5</total_bytes_sec_max></iotune></disk>",
        "<disk><source file='a'/><target dev='vda'/><iotune><total_byte_sec>5</total_byte_sec>"
        "<total_bytes_sec_max>5</total_bytes_sec_max></iotune></disk>"}) {
    const auto reading = read(DomainText{.devices = device});
    EXPECT_THAT(errors(reading), SizeIs(1)) << device;
    EXPECT_THAT(warnings(reading), IsEmpty()) << device;
  }
  for (const std::string other :
       {"<vcpu plcement='auto'>2</vcpu>", "<cputune><vcpupin vcup='0' cpuset='1'/></cputune>",
        "<cputune><emulatorpin cpusset='1'/></cputune>", "<iothreadids><iothread di='1'/></iothreadids>",
        "<cpu><topology socket='1' cores='1' threads='1'/></cpu>",
        "<cpu mode='host-model'><feature nmae='aes' policy='require'/></cpu>",
        "<clock offset='utcc' basis='utc'/>", "<clock><timer nme='pit'/></clock>",
        "<memoryBacking><hugepages><page siez='2' unit='MiB'/></hugepages>"
        "</memoryBacking>",
        "<on_crash>coredump-destroy</on_crash>",
        "<metadata><vmm:exit xmlns:vmm='urn:vmm:domain:1' prot='0xf4'/></metadata>",
        "<vcpu>4</vcpu><cpu><topology sockets='1' dies='1' clusters='2' cores='2' threads='1'/></cpu>",
        "<cpu mode='host-pasthrough' migratable='on'/>", "<clock><timer name='hpet' presen='no'/></clock>",
        "<clock><timer name='hpet' present='non'/></clock>",
        "<vcpu>four</vcpu><cputune><vcpupin vcpu='3' cpuset='1'/></cputune>",
        "<iothreads>x</iothreads><cputune><iothreadpin iothread='2' cpuset='1'/></cputune>",
        "<iothreadids><iothread di='7'/></iothreadids><cputune><iothreadpin iothread='7' "
        "cpuset='1'/></cputune>"}) {
    const auto reading = read(DomainText{.others = other});
    EXPECT_THAT(errors(reading), SizeIs(1)) << other;
    EXPECT_THAT(warnings(reading), IsEmpty()) << other;
  }
  EXPECT_THAT(errors(read(DomainText{.memory = "<memory unti='GiB'>8</memory>"})), SizeIs(1));
  EXPECT_THAT(errors(read(DomainText{.os = "<os><type>hvm</type><boot dev='fd'/><boot deb='hd'/></os>"})),
              SizeIs(1));
  EXPECT_THAT(
      errors(read(DomainText{.os = "<os><type>hvm</type><smbios mode='sysinfo'/></os>",
                             .others = "<sysinfo type='smbios'><bios><entry nmae='vendor'>x</entry></bios>"
                                       "</sysinfo>"})),
      SizeIs(1));
}

TEST(DomainFile, AnElementThatStandsElsewhereIsToldItsPlace) {
  EXPECT_THAT(errors(read(DomainText{.others = "<watchdog model='ib700'/>"})),
              ElementsAre("guest.xml:6: <watchdog>: unknown element here; it belongs in <devices>"));
  EXPECT_THAT(errors(read(DomainText{.devices = "<vcpu>2</vcpu>"})),
              ElementsAre("guest.xml:8: <vcpu>: unknown element here; it belongs in <domain>"));
  EXPECT_THAT(errors(read(DomainText{.others = "<backenstore/>"})),
              ElementsAre("guest.xml:6: <backenstore>: unknown element"));
}

TEST(DomainFile, ElementsOfQemuAreThoseOfItsNamespaceWhateverTheirPrefix) {
  std::string text = DomainText{.others = "<q:commandline/>"}.text();
  text.replace(text.find("<domain"), 7, "<domain xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'");
  std::string usual = DomainText{.others = "<qemu:commandline/>"}.text();
  const auto found = errors(read(text));
  EXPECT_EQ(found, errors(read(usual)));
  EXPECT_THAT(found, ElementsAre(HasSubstr("<qemu:commandline>")));
}

TEST(DomainFile, MoreCpusNowThanThereCanBeAreToldAsThat) {
  EXPECT_THAT(errors(read(DomainText{.others = "<vcpu current='5'>4</vcpu>"})),
              ElementsAre(HasSubstr("current='5' is more than the 4 that there can be")));
}

TEST(DomainFile, TooLittleMemoryIsToldOnceAndWithTheUnitThatIsMeant) {
  const auto reading =
      read(DomainText{.memory = "<memory>512</memory><currentMemory unit='MiB'>256</currentMemory>"});
  EXPECT_THAT(errors(reading), ElementsAre(HasSubstr("give at least 2 MiB (without unit= it is in KiB)")));
  EXPECT_THAT(warnings(reading), IsEmpty());
}

TEST(DomainFile, TheBeginOfAValueIsAskedFor) {
  EXPECT_THAT(errors(read(DomainText{.devices = "<watchdog model='i6300'/>"})),
              ElementsAre(HasSubstr("unknown value; did you mean 'i6300esb'?")));
  EXPECT_THAT(errors(read(DomainText{.os = "<os><type machine='pc-i440fx'>hvm</type></os>"})),
              ElementsAre(Not(HasSubstr("did you mean"))));
}

TEST(DomainFile, AMistakenAttributeBringsNoMessageAboutWhatItMayHaveBeen) {
  for (const auto& [part, found] : std::vector<std::pair<DomainText, std::vector<std::string>>>{
           {{.devices = "<disk tpye='block'><driver tyep='qcow2'><metadata_cache><max_size>1</max_size>"
                        "</metadata_cache></driver><source dev='/dev/sda'><dataStore tpye='block'><source "
                        "dev='/dev/sdb'/></dataStore></source><target dev='vda' bsu='virtio'/></disk>"},
            {"<disk tpye='block'>", "<disk>/<driver tyep='qcow2'>", "<dataStore tpye='block'>",
             "<disk>/<target bsu='virtio'>"}},
           {{.devices = "<disk type='file' deivce='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>"},
            {"<disk deivce='cdrom'>"}},
           {{.devices = "<disk type='flie'><source file='a'/><target dev='vda'/><boot odrer='1'/></disk>"},
            {"<disk type='flie'>", "<disk>/<boot odrer='1'>"}},
           {{.devices = "<memballoon modle='virtio'><stats period='1'/></memballoon>"},
            {"<memballoon modle='virtio'>"}},
           {{.devices = "<rng modle='virtio'><backend model='random'/></rng>"}, {"<rng modle='virtio'>"}},
           {{.devices = "<serial tpye='file'><source path='a' append='on'/><target type='isa-debgu'><model "
                        "name='isa-debugcon'/></target></serial>"},
            {"<serial tpye='file'>", "<serial>/<target type='isa-debgu'>"}},
           {{.others = "<cpu mdoe='host-model'><feature name='x2apic'/></cpu>"}, {"<cpu mdoe='host-model'>"}},
           {{.others =
                 "<vcpu plcement='auto'>2</vcpu><cpu><topology sockets='1' cores='2' threads='1'/></cpu>"},
            {"<vcpu plcement='auto'>"}},
           {{.devices = "<console/><console type='null'><target type='virtoi'/></console>"},
            {"<console>/<target type='virtoi'>"}},
           {{.others = "<clock ofset='timezone' timezone='Europe/Paris'><timer nmae='pit'/></clock>"},
            {"<clock ofset='timezone'>", "<clock>/<timer nmae='pit'>"}}}) {
    const auto reading = read(part);
    const auto lines = errors(reading);
    ASSERT_EQ(lines.size(), found.size()) << ::testing::PrintToString(lines);
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_THAT(lines[i], HasSubstr(found[i]));
    }
    EXPECT_TRUE(reading.incomplete);
    EXPECT_THAT(warnings(reading), Not(Contains(HasSubstr("has a meaning only")))) << found.front();
  }
}

// The root's own row of the table is none of a child's.
TEST(DomainFile, ADomainInADomainIsUnknown) {
  EXPECT_THAT(errors(read(DomainText{.others = "<domain type='kvm'><name>b</name></domain>"})),
              ElementsAre(StartsWith("guest.xml:6: <domain>: unknown element")));
}

TEST(DomainFile, QemuDomainRunsUnderKvmWithAWarning) {
  std::string text = DomainText{}.text();
  text.replace(text.find("kvm"), 3, "qemu");
  const auto reading = read(text);
  EXPECT_TRUE(reading.domain);
  EXPECT_THAT(warnings(reading),
              ElementsAre("guest.xml:1: warning: <domain type='qemu'>: runs under KVM all the same"));
}

TEST(DomainMemory, UnitsAreLibvirts) {
  EXPECT_EQ(scaled_bytes(5, "", "KiB"), 5'120U);
  EXPECT_EQ(scaled_bytes(5, "", "bytes"), 5U);
  EXPECT_FALSE(scaled_bytes(5, " ", "KiB"));
  EXPECT_EQ(scaled_bytes(5, "b", "KiB"), 5U);
  EXPECT_EQ(scaled_bytes(5, "bytes", "KiB"), 5U);
  EXPECT_EQ(scaled_bytes(5, "KB", "KiB"), 5'000U);
  EXPECT_EQ(scaled_bytes(5, "k", "KiB"), 5'120U);
  EXPECT_EQ(scaled_bytes(5, "KiB", "KiB"), 5'120U);
  EXPECT_EQ(scaled_bytes(5, "MB", "KiB"), 5'000'000U);
  EXPECT_EQ(scaled_bytes(5, "M", "KiB"), 5 * kMiB);
  EXPECT_EQ(scaled_bytes(5, "MiB", "KiB"), 5 * kMiB);
  EXPECT_EQ(scaled_bytes(5, "gb", "KiB"), 5'000'000'000U);
  EXPECT_EQ(scaled_bytes(5, "G", "KiB"), 5 * 1024 * kMiB);
  EXPECT_EQ(scaled_bytes(1, "TB", "KiB"), 1'000'000'000'000U);
  EXPECT_EQ(scaled_bytes(1, "TiB", "KiB"), kMiB * kMiB);
  EXPECT_FALSE(scaled_bytes(1, "KiBi", "KiB"));
  EXPECT_FALSE(scaled_bytes(1, "iB", "KiB"));
  EXPECT_FALSE(scaled_bytes(uint64_t{1} << 40, "TiB", "KiB"));
}

TEST(DomainMemory, IsInKibibytesByDefaultAndRoundedUpToMebibytes) {
  EXPECT_EQ(read(DomainText{.memory = "<memory> 65536 </memory>"}).domain.value_or(Domain{}).memory_bytes,
            64 * kMiB);
  EXPECT_EQ(read(DomainText{.memory = "<memory>65537</memory>"}).domain.value_or(Domain{}).memory_bytes,
            65 * kMiB);
  EXPECT_EQ(read(DomainText{.memory = "<memory unit='GB'>1</memory>"}).domain.value_or(Domain{}).memory_bytes,
            954 * kMiB);
}

TEST(DomainMemory, BadSizesAreRefused) {
  for (const std::string size :
       {"0", "1", "-1", "1.5", "64MiB", "99999999999999999999", "18446744073709551615", "x", ""}) {
    const auto reading = read(DomainText{.memory = "<memory>" + size + "</memory>"});
    EXPECT_FALSE(reading.domain) << size;
    EXPECT_THAT(errors(reading), ElementsAre(HasSubstr("guest.xml:3: <memory>: "))) << size;
  }
}

TEST(DomainMemory, LowerCurrentMemoryIsAWarning) {
  const auto reading = read(DomainText{.others = "<currentMemory unit='MiB'>32</currentMemory>"});
  EXPECT_TRUE(reading.domain);
  EXPECT_THAT(warnings(reading), ElementsAre(HasSubstr("guest.xml:6: warning: <currentMemory>")));
  EXPECT_THAT(read(DomainText{.others = "<currentMemory>65536</currentMemory>"}).diagnostics, IsEmpty());
}

TEST(DomainMemory, CurrentMemoryOfNothingOrMoreThanAllIsAllAsInLibvirt) {
  const auto nothing = read(DomainText{.others = "<currentMemory>0</currentMemory>"});
  ASSERT_TRUE(nothing.domain);
  EXPECT_THAT(nothing.diagnostics, IsEmpty());
  EXPECT_EQ(nothing.domain->current_memory_bytes, nothing.domain->memory_bytes);
  const auto more = read(DomainText{.others = "<currentMemory unit='GiB'>4</currentMemory>",
                                    .devices = "<memballoon model='virtio'/>"});
  ASSERT_TRUE(more.domain);
  EXPECT_THAT(warnings(more),
              ElementsAre("guest.xml:6: warning: <currentMemory>: more than <memory>; the guest has that"));
  EXPECT_EQ(more.domain->current_memory_bytes, more.domain->memory_bytes);
}

TEST(DomainMemory, AnEmptyUnitIsTheUsualOne) {
  EXPECT_EQ(
      read(DomainText{.memory = "<memory unit=''>65536</memory>"}).domain.value_or(Domain{}).memory_bytes,
      64 * kMiB);
}

TEST(DomainMemory, BackingIsRead) {
  const auto reading = read(DomainText{
      .others =
          "<memoryBacking><hugepages><page size='2' unit='M'/></hugepages><nosharepages/><locked/>"
          "<source type='memfd'/><access mode='shared'/><allocation mode='immediate'/></memoryBacking>"});
  ASSERT_TRUE(reading.domain) << errors(reading).front();
  const MemoryBacking& backing = reading.domain->memory_backing;
  EXPECT_EQ(backing.line, 6);
  EXPECT_TRUE(backing.hugepages);
  EXPECT_EQ(backing.hugepage_bytes, 2 * kMiB);
  EXPECT_EQ(backing.source, MemorySource::kMemfd);
  EXPECT_TRUE(backing.locked);
  EXPECT_TRUE(backing.shared);
  EXPECT_FALSE(backing.share_pages);
  EXPECT_TRUE(backing.allocate_at_start);
}

TEST(DomainMemory, HugePageSizeIsThePageTablesOwn) {
  EXPECT_EQ(read(DomainText{.others = "<memoryBacking><hugepages/></memoryBacking>"})
                .domain.value_or(Domain{})
                .memory_backing.hugepage_bytes,
            0U);
  for (const std::string size : {"3000", "0", "1", "16384", "4"}) {
    EXPECT_THAT(errors(read(DomainText{.others = "<memoryBacking><hugepages><page size='" + size +
                                                 "'/></hugepages></memoryBacking>"})),
                ElementsAre(HasSubstr("guest.xml:6: <memoryBacking>/<hugepages>/<page>")));
  }
}

TEST(DomainOs, PathsAreTakenRelativeToTheFilesFolder) {
  const auto reading = read(
      DomainText{.os = "<os><type arch='x86_64' "
                       "machine='microvm'>hvm</type><kernel>vmlinuz</kernel>\n<initrd>sub/initrd</initrd>"
                       "<cmdline> console=ttyS0  quiet </cmdline><boot dev='hd'/><boot dev='cdrom'/></os>"});
  ASSERT_TRUE(reading.domain) << errors(reading).front();
  const Os& os = reading.domain->os;
  EXPECT_EQ(os.machine, MachineType::kMicrovm);
  EXPECT_EQ(os.kernel, "/images/vmlinuz");
  EXPECT_EQ(os.kernel_line, 4);
  EXPECT_EQ(os.initrd, "/images/sub/initrd");
  EXPECT_EQ(os.initrd_line, 5);
  EXPECT_EQ(os.command_line, "console=ttyS0  quiet");
  EXPECT_THAT(os.boot_devices, ElementsAre(BootDevice::kHardDisk, BootDevice::kCdrom));
}

TEST(DomainOs, APathThatALogWouldNotShowAsItIsIsRefused) {
  for (const std::string path : {"a&#10;b", "a\x7f", "a\xe2\x80\xae", "a\xc2\x9b"}) {
    EXPECT_THAT(errors(read(DomainText{.os = "<os><type>hvm</type><kernel>" + path + "</kernel></os>"})),
                ElementsAre(HasSubstr("guest.xml:4: <os>/<kernel>: the path has control characters")));
  }
  EXPECT_THAT(errors(read(DomainText{.os = "<os><type>hvm</type><kernel>" + std::string(5000, 'k') +
                                           "</kernel></os>"})),
              ElementsAre(HasSubstr("the path has 5000 bytes")));
  EXPECT_THAT(errors(read(DomainText{.os = "<os><type>hvm</type><kernel>\xc3\xa9t\xc3\xa9 " +
                                           std::string(200, 'k') + "</kernel></os>"})),
              IsEmpty());
}

TEST(DomainOs, VersionedPcIsPc) {
  const auto reading =
      read(DomainText{.os = "<os><type machine='pc-i440fx-7.2'>hvm</type><kernel>k</kernel></os>"});
  ASSERT_TRUE(reading.domain);
  EXPECT_EQ(reading.domain->os.machine, MachineType::kPc);
}

TEST(DomainOs, WithoutAKernelFirmwareBootsTheGuest) {
  const auto reading = read(DomainText{.os = "<os><type>hvm</type></os>"});
  ASSERT_TRUE(reading.domain) << errors(reading).front();
  const Os& os = reading.domain->os;
  EXPECT_TRUE(os.kernel.empty());
  EXPECT_TRUE(os.loader.empty());
  EXPECT_TRUE(os.firmware_uses_serial);
  EXPECT_EQ(os.boot_menu_ms, std::nullopt);
  EXPECT_EQ(os.reboot_after_ms, std::nullopt);
}

TEST(DomainOs, FirmwareAndItsMenuAreRead) {
  const auto reading = read(DomainText{
      .os = "<os firmware='bios'><type>hvm</type><loader type='rom' readonly='yes'>bios.bin</loader>"
            "<bootmenu enable='yes' timeout='500'/><bios useserial='no' rebootTimeout='0'/></os>"});
  ASSERT_TRUE(reading.domain) << errors(reading).front();
  const Os& os = reading.domain->os;
  EXPECT_EQ(os.loader, "/images/bios.bin");
  EXPECT_EQ(os.boot_menu_ms, 500U);
  EXPECT_FALSE(os.firmware_uses_serial);
  EXPECT_EQ(os.reboot_after_ms, 0U);
}

TEST(DomainGenerationId, IsSaidOrLeftToEachStart) {
  const auto with_id = [](const std::string& id) { return read(DomainText{.others = id}); };
  EXPECT_FALSE(with_id("").domain->generation_id);
  const auto empty = with_id("<genid/>");
  EXPECT_THAT(empty.diagnostics, IsEmpty());
  ASSERT_TRUE(empty.domain && empty.domain->generation_id);
  EXPECT_FALSE(empty.domain->generation_id->value);
  const auto said = with_id("<genid>00010203-0405-0607-0809-0a0b0c0d0e0f</genid>");
  ASSERT_TRUE(said.domain && said.domain->generation_id && said.domain->generation_id->value);
  EXPECT_EQ(said.domain->generation_id->value->at(3), 3);
  EXPECT_THAT(errors(with_id("<genid>1234</genid>")),
              ElementsAre("guest.xml:6: <genid>: '1234' is not 32 hexadecimal digits"));
  EXPECT_THAT(warnings(read(DomainText{.features = "", .others = "<genid/>"})),
              ::testing::Contains(HasSubstr("<genid>: without <features><acpi/></features>")));
}

TEST(DomainOs, ARebootTimeoutIsANumberOrMinusOne) {
  for (const std::string value : {"-2", "65536", "", "soon"}) {
    const auto reading =
        read(DomainText{.os = "<os><type>hvm</type><bios rebootTimeout='" + value + "'/></os>"});
    EXPECT_THAT(errors(reading),
                ElementsAre(HasSubstr("give a whole number from -1, which is never, to 65535")))
        << value;
  }
}

TEST(DomainOs, WhatIsToBeBootedFromIsNamed) {
  EXPECT_THAT(errors(read(DomainText{.os = "<os><type>hvm</type><boot/></os>"})),
              ElementsAre("guest.xml:4: <os>/<boot>: has no dev=; write dev='hd' or dev='cdrom'"));
}

TEST(DomainOs, WhatCannotBeBootedFromIsReported) {
  const auto warnings_of = [](const std::string& dev, const std::string& devices) {
    return warnings(
        read(DomainText{.os = "<os><type>hvm</type><boot dev='" + dev + "'/></os>", .devices = devices}));
  };
  const std::string disk = "<disk><source file='a'/><target dev='vda'/></disk>";
  const std::string cdrom = "<disk device='cdrom'><target dev='hdc'/></disk>";
  EXPECT_THAT(warnings_of("network'/><boot dev='hd", disk),
              ElementsAre(HasSubstr("guest.xml:4: warning: <os>/<boot dev='network'>: there "
                                    "is no <interface> in the file; it is passed over")));
  EXPECT_THAT(warnings_of("network'/><boot dev='hd",
                          disk + "<interface type='bridge'><source bridge='b'/></interface>"),
              IsEmpty());
  EXPECT_THAT(warnings_of("fd'/><boot dev='hd", disk), ElementsAre(HasSubstr("vmm has no floppy drives")));
  EXPECT_THAT(warnings_of("cdrom", disk),
              ElementsAre(HasSubstr("guest.xml:4: warning: <os>/<boot dev='cdrom'>: there "
                                    "is no CD-ROM drive in the file")));
  EXPECT_THAT(warnings_of("hd", cdrom), ElementsAre(HasSubstr("there is no disk in the file")));
  EXPECT_THAT(warnings_of("cdrom", cdrom), IsEmpty());
  EXPECT_THAT(warnings_of("hd", disk), IsEmpty());
}

TEST(DomainOs, AGuestThatIsToBootFromWhatIsNotThereAloneIsRefused) {
  const std::string boot = "<boot dev='fd'/>";
  EXPECT_THAT(errors(read(DomainText{.os = "<os><type>hvm</type>" + boot + boot + "</os>"})),
              ElementsAre(HasSubstr("<os>/<boot>: there is nothing else that the guest may boot from")));
  EXPECT_THAT(errors(read(DomainText{.os = "<os><type>hvm</type><kernel>k</kernel>" + boot + "</os>"})),
              IsEmpty());
}

TEST(DomainOs, TheMenuWaitsThreeSecondsAndARebootTimeoutOfMinusOneIsNever) {
  const auto reading =
      read(DomainText{.os = "<os><type>hvm</type><bootmenu enable='yes'/><bios rebootTimeout='-1'/></os>"});
  ASSERT_TRUE(reading.domain) << errors(reading).front();
  EXPECT_EQ(reading.domain->os.boot_menu_ms, 3000U);
  EXPECT_EQ(reading.domain->os.reboot_after_ms, std::nullopt);
  EXPECT_THAT(
      errors(read(DomainText{.os = "<os><type>hvm</type><bootmenu enable='yes' timeout='70000'/></os>"})),
      ElementsAre(HasSubstr("guest.xml:4: <os>/<bootmenu timeout='70000'>")));
}

TEST(DomainOs, SysinfoIsReadWhereItIsAskedFor) {
  constexpr std::string_view kUuid = "01234567-89ab-cdef-0123-456789abcdef";
  const auto text = [&](const std::string& mode, const std::string& uuid) {
    return DomainText{
        .os = "<os><type>hvm</type>" + mode + "</os>",
        .others =
            fmt::format("<uuid>{}</uuid><sysinfo type='smbios'><system><entry name='serial'>S1</entry><entry "
                        "name='uuid'>{}</entry></system><oemStrings><entry>b</entry><entry>a</entry>"
                        "</oemStrings></sysinfo>",
                        kUuid, uuid)};
  };
  const auto reading = read(text("<smbios mode='sysinfo'/>", "0123456789ABCDEF0123456789abcdef"));
  ASSERT_TRUE(reading.domain) << errors(reading).front();
  ASSERT_TRUE(reading.domain->os.smbios);
  EXPECT_EQ(reading.domain->os.smbios->system.at("serial"), "S1");
  EXPECT_THAT(reading.domain->os.smbios->oem_strings, ElementsAre("b", "a"));
  EXPECT_FALSE(read(text("", "")).domain.value_or(Domain{}).os.smbios);
  EXPECT_THAT(errors(read(text("", "00234567-89ab-cdef-0123-456789abcdef"))),
              ElementsAre(HasSubstr("is not the <uuid> of the domain")));
  DomainText alone = text("<smbios mode='sysinfo'/>", "0123456789ABCDEF0123456789abcdef");
  alone.others = alone.others.substr(alone.others.find("<sysinfo"));
  EXPECT_EQ(read(alone).domain.value_or(Domain{}).uuid, parse_uuid(kUuid));
  EXPECT_THAT(errors(read(text("<smbios mode='sysinfo'/>", "00234567-89ab-cdef-0123-456789abcdef"))),
              ElementsAre(HasSubstr("is not the <uuid> of the domain")));
}

TEST(DomainOs, WhatIsForFirmwareAndStandsBesideAKernelIsTold) {
  const auto warnings_of = [](const std::string& elements) {
    return warnings(read(DomainText{.os = "<os><type>hvm</type><kernel>/k</kernel>" + elements + "</os>"}));
  };
  EXPECT_THAT(warnings_of("<loader type='rom'>/bios</loader><bootmenu enable='yes'/><bios useserial='yes'/>"),
              ElementsAre("guest.xml:4: warning: <os>/<loader>: without effect where there is a <kernel>",
                          "guest.xml:4: warning: <os>/<bootmenu>: without effect where there is a <kernel>",
                          "guest.xml:4: warning: <os>/<bios>: without effect where there is a <kernel>"));
  EXPECT_THAT(warnings_of("<bios rebootTimeout='100'/>"), ElementsAre(HasSubstr("<os>/<bios>")));
  EXPECT_THAT(warnings_of("<bootmenu enable='no'/><bios useserial='no' rebootTimeout='-1'/>"), IsEmpty());
}

TEST(DomainOs, SysinfoThatSaysNothingOrTooMuchIsRefused) {
  const auto refused = [](const std::string& sysinfo) {
    return errors(
        read(DomainText{.os = "<os><type>hvm</type><smbios mode='sysinfo'/></os>", .others = sysinfo}));
  };
  EXPECT_THAT(refused(""), ElementsAre(HasSubstr("there is no <sysinfo type='smbios'>")));
  const auto dated = [&](const std::string& date) {
    return refused("<sysinfo type='smbios'><bios><entry name='date'>" + date + "</entry></bios></sysinfo>");
  };
  for (const std::string date : {"", "4/30/2026", "04/30/99", "12/31/1900"}) {
    EXPECT_THAT(dated(date), IsEmpty()) << date;
  }
  for (const std::string date : {"2026-04-30", "13/1/2026", "0/1/2026", "1/32/2026", "1/1/1899",
                                 "1/1"
                                 "1/1/2026/",
                                 "1//2026", "1 /1/2026"}) {
    EXPECT_THAT(dated(date), ElementsAre(HasSubstr("is not a date; write it as month/day/year"))) << date;
  }
  EXPECT_THAT(refused("<sysinfo type='smbios'><system><entry name='uuid'>7</entry></system></sysinfo>"),
              ElementsAre(HasSubstr("'7' is not 32 hexadecimal digits")));
  EXPECT_THAT(refused("<sysinfo type='smbios'><bios><entry>x</entry></bios></sysinfo>"),
              ElementsAre(HasSubstr("has no name=")));
  EXPECT_THAT(
      refused(
          "<sysinfo type='smbios'><bios><entry name='version'>x</entry><entry name='version'>y</entry></bios>"
          "</sysinfo>"),
      ElementsAre(HasSubstr("'version' stands there already")));
  EXPECT_THAT(refused("<sysinfo type='smbios'><oemStrings><entry>" + std::string(65, 'x') +
                      "</entry></oemStrings></sysinfo>"),
              ElementsAre(HasSubstr("65 characters are too many")));
  std::string many;
  for (int i = 0; i < 256; ++i) {
    many += "<entry>x</entry>";
  }
  EXPECT_THAT(refused("<sysinfo type='smbios'><oemStrings>" + many + "</oemStrings></sysinfo>"),
              ElementsAre(HasSubstr("256 strings are too many")));
}

TEST(DomainOs, UefiIsRefusedForNow) {
  constexpr std::string_view kAnswer = "UEFI is not there yet; leave it out, and SeaBIOS boots the guest";
  EXPECT_THAT(errors(read(DomainText{
                  .os = "<os><type>hvm</type><loader readonly='yes' type='pflash'>/OVMF.fd</loader></os>"})),
              ElementsAre(fmt::format("guest.xml:4: <os>/<loader type='pflash'>: {}", kAnswer)));
  EXPECT_THAT(errors(read(DomainText{.os = "<os firmware='efi'><type>hvm</type></os>"})),
              ElementsAre(fmt::format("guest.xml:4: <os firmware='efi'>: {}", kAnswer)));
}

TEST(DomainOs, WhatFirmwareCannotDoIsRefused) {
  EXPECT_THAT(errors(read(DomainText{.os = "<os><type machine='microvm'>hvm</type></os>"})),
              ElementsAre(HasSubstr("machine='microvm' has no firmware; give <kernel>")));
  EXPECT_THAT(
      errors(read(DomainText{.os = "<os><type>hvm</type><initrd>i</initrd><cmdline>c</cmdline></os>"})),
      ElementsAre("guest.xml:4: <os>/<initrd>: is for a <kernel>; give one, or remove it",
                  "guest.xml:4: <os>/<cmdline>: is for a <kernel>; give one, or remove it"));
}

TEST(DomainOs, BadTypeOrEmptyPathIsRefused) {
  EXPECT_THAT(errors(read(DomainText{.os = "<os><kernel>k</kernel></os>"})),
              ElementsAre(HasSubstr("<os>: has no <type>")));
  EXPECT_THAT(errors(read(DomainText{.os = "<os><type>hvm</type><kernel></kernel></os>"})),
              ElementsAre("guest.xml:4: <os>/<kernel>: empty; give a path"));
  EXPECT_THAT(errors(read(DomainText{.os = "<os><type arch='aarch64'>hvm</type><kernel>k</kernel></os>"})),
              ElementsAre(HasSubstr("<os>/<type arch='aarch64'>: vmm runs x86-64 guests")));
  EXPECT_THAT(errors(read(DomainText{.os = "<os><type machine='virt'>hvm</type><kernel>k</kernel></os>"})),
              ElementsAre(HasSubstr("unknown value; use 'pc', 'pc-i440fx-*', 'microvm'")));
}

TEST(DomainFeatures, AreRead) {
  const auto reading =
      read(DomainText{.features = "<features><acpi/><apic/><pae/><kvm><hidden state='on'/></kvm>"
                                  "<pmu state='off'/><vmport state='off'/></features>"});
  ASSERT_TRUE(reading.domain) << errors(reading).front();
  EXPECT_THAT(reading.diagnostics, IsEmpty());
  EXPECT_TRUE(reading.domain->features.acpi);
  EXPECT_TRUE(reading.domain->features.hide_kvm);
  EXPECT_FALSE(reading.domain->features.pmu);
}

TEST(DomainFeatures, WithoutAcpiThereIsOneCpuAndAWarning) {
  const auto one = read(DomainText{.features = ""});
  ASSERT_TRUE(one.domain);
  EXPECT_FALSE(one.domain->features.acpi);
  EXPECT_THAT(warnings(one), ElementsAre(HasSubstr("no power button")));
  EXPECT_THAT(errors(read(DomainText{.features = "", .others = "<vcpu>2</vcpu>"})),
              ElementsAre(HasSubstr("guest.xml:6: <vcpu>: without ACPI")));
}

TEST(DomainClock, OffsetsAndTimersAreRead) {
  const auto reading =
      read(DomainText{.others = "<clock offset='variable' adjustment='-3600' basis='localtime'>"
                                "<timer name='kvmclock' present='no'/><timer name='pit' present='no'/>"
                                "<timer name='hpet' present='no'/><timer name='rtc' tickpolicy='delay'/>"
                                "</clock>"});
  ASSERT_TRUE(reading.domain) << errors(reading).front();
  EXPECT_THAT(reading.diagnostics, IsEmpty());
  const Clock& clock = reading.domain->clock;
  EXPECT_EQ(clock.offset, ClockOffset::kVariable);
  EXPECT_EQ(clock.adjustment_seconds, -3600);
  EXPECT_TRUE(clock.basis_is_localtime);
  EXPECT_FALSE(clock.kvmclock);
  EXPECT_FALSE(clock.pit);
}

// libvirt calls such a clock 'variable' from then on.
TEST(DomainClock, AnAdjustmentOfAnotherOffsetMakesItVariable) {
  for (const bool is_localtime : {false, true}) {
    const auto reading = read(DomainText{
        .others = fmt::format("<clock offset='{}' adjustment='3600'/>", is_localtime ? "localtime" : "utc")});
    ASSERT_TRUE(reading.domain) << errors(reading).front();
    EXPECT_THAT(reading.diagnostics, IsEmpty());
    EXPECT_EQ(reading.domain->clock.offset, ClockOffset::kVariable);
    EXPECT_EQ(reading.domain->clock.adjustment_seconds, 3600);
    EXPECT_EQ(reading.domain->clock.basis_is_localtime, is_localtime);
  }
  const auto reset = read(DomainText{.others = "<clock offset='localtime' adjustment='reset'/>"});
  EXPECT_EQ(reset.domain.value_or(Domain{}).clock.offset, ClockOffset::kLocaltime);
  const auto zone = read(DomainText{.others = "<clock offset='timezone' timezone='UTC' adjustment='1'/>"});
  EXPECT_TRUE(zone.domain);
  EXPECT_THAT(warnings(zone), ElementsAre(HasSubstr("has a meaning only with another offset=")));
}

TEST(DomainClock, NoTimerStandsTwice) {
  EXPECT_THAT(errors(read(DomainText{
                  .others = "<clock><timer name='pit'/>\n<timer name='pit' present='no'/></clock>"})),
              ElementsAre("guest.xml:7: <clock>/<timer>: the timer 'pit' stands twice; remove one"));
}

TEST(DomainClock, TimezoneIsANameAndNotAPath) {
  EXPECT_EQ(read(DomainText{.others = "<clock offset='timezone' timezone='Europe/Paris'/>"})
                .domain.value_or(Domain{})
                .clock.timezone,
            "Europe/Paris");
  for (const std::string clock :
       {"<clock offset='timezone'/>", "<clock offset='timezone' timezone='/etc/passwd'/>",
        "<clock offset='timezone' timezone='../../x'/>"}) {
    EXPECT_THAT(errors(read(DomainText{.others = clock})), ElementsAre(HasSubstr("guest.xml:6: <clock")))
        << clock;
  }
}

TEST(DomainClock, WhatCannotBeDoneIsSaid) {
  EXPECT_THAT(warnings(read(DomainText{.others = "<clock><timer name='hpet'/></clock>"})),
              ElementsAre(HasSubstr("vmm has no HPET")));
  for (const std::string clock : {"<clock><timer name='rtc' present='no'/></clock>",
                                  "<clock><timer/></clock>", "<clock offset='variable' adjustment='soon'/>",
                                  "<clock adjustment='soon'/>", "<clock offset='absolute' start='0'/>"}) {
    EXPECT_FALSE(read(DomainText{.others = clock}).domain) << clock;
  }
}

TEST(DomainLifecycle, ActionsAreRead) {
  const auto reading = read(DomainText{
      .others =
          "<on_poweroff>preserve</on_poweroff><on_reboot>destroy</on_reboot><on_crash>restart</on_crash>"});
  ASSERT_TRUE(reading.domain);
  EXPECT_EQ(reading.domain->on_poweroff, LifecycleAction::kPreserve);
  EXPECT_EQ(reading.domain->on_reboot, LifecycleAction::kDestroy);
  EXPECT_EQ(reading.domain->on_crash, LifecycleAction::kRestart);
}

}  // namespace
}  // namespace vmm::domain
