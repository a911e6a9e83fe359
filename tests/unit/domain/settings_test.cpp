// --set PATH=VALUE: other values for one run, checked as those of the file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <utility>

#include "tests/unit/domain/domain_fields.h"
#include "tests/unit/domain/domain_text.h"
#include "vmm/domain/element_table.h"
#include "vmm/domain/setting_table.h"
#include "vmm/domain/write_domain.h"

namespace vmm::domain {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using testing::DomainFields;
using testing::DomainText;
using ::testing::ElementsAre;
using testing::errors;
using testing::fields_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

const DomainText kGuestToSet = {
    .os = "<os><type>hvm</type><kernel>/boot/vmlinuz</kernel></os>",
    .others =
        "<vcpu current='2'>2</vcpu><currentMemory unit='MiB'>32</currentMemory><iothreads>2</iothreads>"
        "<iothreadids><iothread id='3'/><iothread id='4'/></iothreadids>",
    .devices =
        "<disk type='file'><driver name='qemu' type='raw' cache='none'/><source file='a.img'/>"
        "<target dev='vda' bus='virtio'/></disk>\n"
        "<disk type='block' device='cdrom'><source dev='/dev/sr0'/><target dev='hdc' bus='ide'/></disk>\n"
        "<interface type='bridge'><source bridge='br0'/></interface>\n"
        "<serial type='stdio'><target port='0'/></serial><serial type='pty'><target port='3'/></serial>"};

Reading read_with_settings(const DomainText& text, const std::vector<std::string>& settings) {
  return parse_domain(text.text(), "guest.xml", "/images", settings);
}

Domain domain_with(const std::vector<std::string>& settings, const DomainText& text = kGuestToSet) {
  auto reading = read_with_settings(text, settings);
  EXPECT_THAT(errors(reading), IsEmpty());
  return reading.domain.value_or(Domain{});
}

std::vector<std::string> errors_with(const std::vector<std::string>& settings,
                                     const DomainText& text = kGuestToSet) {
  return errors(read_with_settings(text, settings));
}

// A value for each path that is another than that of kGuestToSet, and a file that it fits in.
struct SettingExample {
  std::string setting;
  std::vector<std::string> others = {};  // what goes together with it
  DomainText text = kGuestToSet;
  // Where there is no domain without it: a field, and what it is with it.
  std::pair<std::string, std::string> becomes = {};
};

DomainText from_firmware() {
  DomainText text = kGuestToSet;
  text.os = "<os><type>hvm</type></os>";
  return text;
}

DomainText with_card_of_xen() {
  DomainText text = kGuestToSet;
  text.devices = "<interface><model type='netfront'/></interface>";
  return text;
}

// Limits of <iotune>: a burst goes with what it is above, and its length with the burst.
void add_examples_of_limits(std::vector<SettingExample>& examples) {
  const std::string iotune = "disk.vda.iotune.";
  for (const char* const name : {"total_bytes_sec", "read_bytes_sec", "write_bytes_sec", "total_iops_sec",
                                 "read_iops_sec", "write_iops_sec"}) {
    const std::string limit = iotune + name + "=1000";
    const std::string burst = iotune + name + "_max=2000";
    examples.push_back({limit});
    examples.push_back({burst, {limit}});
    examples.push_back({iotune + name + "_max_length=5", {limit, burst}});
  }
  examples.push_back({iotune + "size_iops_sec=4096", {iotune + "total_iops_sec=1000"}});
}

std::vector<SettingExample> setting_examples() {
  std::vector<SettingExample> examples = {
      {"name=other"},
      {"uuid=6a2f6f0e-8c55-4a5e-9f0c-0d3b8f1c2a77"},
      {"genid=6a2f6f0e-8c55-4a5e-9f0c-0d3b8f1c2a78"},
      {"title=A title"},
      {"description=What it is"},
      {"memory=2GiB"},
      {"currentMemory=16MiB"},
      {"memoryBacking.hugepages=yes"},
      {"memoryBacking.locked=yes"},
      {"memoryBacking.nosharepages=yes"},
      {"memoryBacking.source.type=memfd"},
      {"memoryBacking.access.mode=shared"},
      {"memoryBacking.allocation.mode=immediate"},
      {"vcpu=4"},
      {"vcpu.cpuset=0-1"},
      {"cputune.vcpupin.1.cpuset=1"},
      {"cputune.emulatorpin.cpuset=0"},
      {"cputune.iothreadpin.3.cpuset=1"},
      {"iothreads=1"},
      {"cpu.mode=host-model"},
      {"cpu.model=Westmere"},
      {"cpu.migratable=off", {"cpu.mode=host-passthrough"}},
      {"cpu.topology.sockets=1",
       {"cpu.topology.cores=2", "cpu.topology.threads=1"},
       kGuestToSet,
       {"topology", "1 1 2 1"}},
      {"cpu.topology.dies=2",
       {"cpu.topology.sockets=1", "cpu.topology.cores=1", "cpu.topology.threads=1"},
       kGuestToSet,
       {"topology", "1 2 1 1"}},
      {"cpu.topology.cores=2",
       {"cpu.topology.sockets=1", "cpu.topology.threads=1"},
       kGuestToSet,
       {"topology", "1 1 2 1"}},
      {"cpu.topology.threads=2",
       {"cpu.topology.sockets=1", "cpu.topology.cores=1"},
       kGuestToSet,
       {"topology", "1 1 1 2"}},
      {"os.machine=microvm", {}, {.devices = ""}},
      {"os.kernel=/other"},
      {"os.initrd=/initrd"},
      {"os.cmdline=console=ttyS0 quiet"},
      {"os.loader=/bios.bin"},
      {"os.boot=cdrom,hd"},
      {"os.bootmenu.enable=yes", {}, from_firmware()},
      {"os.bootmenu.timeout=100", {"os.bootmenu.enable=yes"}, from_firmware()},
      {"os.bios.useserial=no"},
      {"os.bios.rebootTimeout=100"},
      {"features.acpi=no", {"vcpu=1"}},
      {"features.kvm.hidden=on"},
      {"features.pmu=off"},
      {"clock.offset=localtime"},
      {"clock.timezone=Europe/Paris",
       {"clock.offset=timezone"},
       kGuestToSet,
       {"clock.timezone", "'Europe/Paris'"}},
      {"clock.adjustment=-5", {"clock.offset=variable"}},
      {"clock.basis=localtime", {"clock.offset=variable"}},
      {"on_poweroff=restart"},
      {"on_reboot=destroy"},
      {"on_crash=preserve"},
      {"disk.vda.type=block"},
      {"disk.vda.source=/other.img"},
      {"disk.hdc.startupPolicy=optional"},
      {"disk.vda.format=qcow2"},
      {"disk.vda.cache=unsafe"},
      {"disk.vda.io=threads"},
      {"disk.vda.discard=unmap"},
      {"disk.vda.detect_zeroes=on"},
      {"disk.vda.error_policy=stop"},
      {"disk.vda.rerror_policy=ignore"},
      {"disk.vda.iothread=4"},
      {"disk.vda.queues=1"},
      {"disk.vda.queue_size=64"},
      {"disk.vda.event_idx=off"},
      {"disk.vda.ioeventfd=off"},
      {"disk.vda.bus=ide"},
      {"disk.hdc.tray=open"},
      {"disk.vda.serial=0001"},
      {"disk.hdc.wwn=5000c500a0b1c2d3"},
      {"disk.vda.readonly=yes"},
      {"disk.vda.shareable=yes"},
      {"disk.vda.transient=yes"},
      {"disk.vda.boot.order=1"},
      {"disk.vda.blockio.logical_block_size=512"},
      {"disk.vda.blockio.physical_block_size=4096"},
      {"interface.0.type=ethernet"},
      {"interface.0.mac=52:54:00:00:00:07"},
      {"interface.0.model=virtio", {}, with_card_of_xen(), {"interfaces.size", "1"}},
      {"interface.0.source.bridge=br1"},
      {"interface.0.source.dev=eth0",
       {"interface.0.type=direct"},
       kGuestToSet,
       {"interfaces[0].device", "'eth0'"}},
      {"interface.0.source.mode=private", {"interface.0.type=direct", "interface.0.source.dev=eth0"}},
      {"interface.0.source.network=default",
       {"interface.0.type=network"},
       kGuestToSet,
       {"interfaces[0].network", "'default'"}},
      {"interface.0.target.dev=tap0"},
      {"interface.0.target.managed=no", {"interface.0.type=ethernet", "interface.0.target.dev=tap0"}},
      {"interface.0.backend.type=passt", {"interface.0.type=user"}},
      {"interface.0.backend.logFile=/log", {"interface.0.type=user", "interface.0.backend.type=passt"}},
      {"interface.0.driver.name=vhost"},
      {"interface.0.driver.queues=2"},
      {"interface.0.driver.rx_queue_size=512"},
      {"interface.0.driver.tx_queue_size=512"},
      {"interface.0.driver.event_idx=off"},
      {"interface.0.driver.ioeventfd=off"},
      {"interface.0.bandwidth.inbound.average=100"},
      {"interface.0.bandwidth.inbound.peak=200", {"interface.0.bandwidth.inbound.average=100"}},
      {"interface.0.bandwidth.inbound.burst=50", {"interface.0.bandwidth.inbound.average=100"}},
      {"interface.0.bandwidth.outbound.average=100"},
      {"interface.0.bandwidth.outbound.peak=200", {"interface.0.bandwidth.outbound.average=100"}},
      {"interface.0.bandwidth.outbound.burst=50", {"interface.0.bandwidth.outbound.average=100"}},
      {"interface.0.link=down"},
      {"interface.0.mtu=9000"},
      {"interface.0.rom.file=/net.rom"},
      {"interface.0.rom.enabled=no"},
      {"interface.0.boot.order=2"},
      {"serial.0.type=null"},
      {"serial.3.path=/log", {"serial.3.type=file"}, kGuestToSet, {"serials[1].path", "'/log'"}},
      {"serial.3.append=on", {"serial.3.type=file", "serial.3.path=/log"}},
      {"serial.3.mode=connect", {"serial.3.type=unix", "serial.3.path=/socket"}},
      {"serial.3.log.file=/log"},
      {"serial.3.log.append=on", {"serial.3.log.file=/log"}},
      {"memballoon.model=virtio"},
      {"memballoon.autodeflate=on", {"memballoon.model=virtio"}},
      {"memballoon.freePageReporting=on", {"memballoon.model=virtio"}},
      {"rng.model=virtio", {"rng.backend.model=random"}, kGuestToSet, {"rngs.size", "1"}},
      {"rng.backend=/dev/hwrng", {"rng.model=virtio", "rng.backend.model=random"}},
      {"rng.backend.model=random", {"rng.model=virtio"}, kGuestToSet, {"rngs.size", "1"}},
      {"rng.rate.bytes=1000", {"rng.model=virtio", "rng.backend.model=random"}},
      {"rng.rate.period=500", {"rng.model=virtio", "rng.backend.model=random", "rng.rate.bytes=1000"}},
      {"watchdog.model=i6300esb"},
      {"watchdog.action=pause", {"watchdog.model=ib700"}}};
  add_examples_of_limits(examples);
  return examples;
}

// Without these there is no domain, or none of this kind.
bool is_needed(const std::string& setting) {
  constexpr std::string_view kNeeded[] = {"name",
                                          "memory",
                                          "cpu.topology.sockets",
                                          "cpu.topology.dies",
                                          "cpu.topology.cores",
                                          "cpu.topology.threads",
                                          "clock.timezone",
                                          "disk.vda.source",
                                          "interface.0.source.bridge",
                                          "interface.0.source.dev",
                                          "interface.0.source.network",
                                          "serial.3.path",
                                          "rng.backend.model"};
  const std::string path = setting.substr(0, setting.find('='));
  return path.ends_with("_max") || std::ranges::find(kNeeded, path) != std::end(kNeeded);
}

// The row that the setting is of.
const SettingRule* setting_rule_of(const std::string& setting) {
  std::string_view instance;
  return find_setting(std::string_view(setting).substr(0, setting.find('=')), instance);
}

TEST(Settings, EveryOneOfTheTableHasAnExample) {
  std::set<const SettingRule*> shown;
  for (const SettingExample& example : setting_examples()) {
    const SettingRule* const rule = setting_rule_of(example.setting);
    ASSERT_NE(rule, nullptr) << example.setting;
    EXPECT_TRUE(shown.insert(rule).second) << example.setting;
  }
  for (const SettingRule& rule : setting_table()) {
    EXPECT_TRUE(shown.contains(&rule)) << rule.path;
  }
}

TEST(Settings, EveryOneOfTheTableChangesTheDomain) {
  for (const SettingExample& example : setting_examples()) {
    std::vector<std::string> settings = example.others;
    const auto without = read_with_settings(example.text, settings);
    settings.push_back(example.setting);
    const auto with = read_with_settings(example.text, settings);
    ASSERT_TRUE(with.domain) << example.setting << ": " << ::testing::PrintToString(errors(with));
    const DomainFields fields = fields_of(*with.domain);
    const auto& [field, value] = example.becomes;
    if (field.empty()) {
      ASSERT_TRUE(without.domain) << example.setting << ": " << ::testing::PrintToString(errors(without));
      EXPECT_NE(fields_of(*without.domain), fields) << example.setting;
    } else {
      EXPECT_FALSE(without.domain) << example.setting;
      EXPECT_EQ(fields.at(field), value) << example.setting;
    }
  }
}

// Of the file that the domain is printed as.
Reading read_printed_with(const Domain& domain, const std::string& setting) {
  const auto text = domain_text(domain);
  EXPECT_TRUE(text);
  return parse_domain(text.value_or(""), "guest.xml", "/images", std::vector{setting});
}

TEST(Settings, WithoutAValueMakeNothing) {
  const DomainText text = {
      .features = "",
      .devices = "<disk><source file='a'/><target dev='vda'/></disk><interface/><serial type='pty'/>"};
  const DomainFields plain = fields_of(domain_with({}, text));
  constexpr std::string_view kAreThere[] = {"name", "memory", "os.kernel", "disk.*.source"};
  for (const SettingRule& rule : setting_table()) {
    if (std::ranges::find(kAreThere, rule.path) != std::end(kAreThere)) {
      continue;
    }
    const std::string setting = setting_path(rule, rule.path.starts_with("disk.") ? "vda" : "0") + "=";
    EXPECT_EQ(fields_of(domain_with({setting}, text)), plain) << setting;
  }
}

TEST(Settings, WithoutAValueAreTheDefaultOrSayWhatIsMissing) {
  for (const SettingExample& example : setting_examples()) {
    std::vector<std::string> settings = example.others;
    settings.push_back(example.setting);
    const Domain domain = domain_with(settings, example.text);
    const std::string setting = example.setting.substr(0, example.setting.find('=') + 1);
    const auto reading = read_printed_with(domain, setting);
    if (is_needed(setting)) {
      ASSERT_FALSE(reading.domain) << setting;
      EXPECT_THAT(errors(reading), Contains("--set " + setting + ": the file is right without it"));
      EXPECT_THAT(errors(reading), Contains(AnyOf(HasSubstr("has no "), HasSubstr("needs "),
                                                  HasSubstr("make them agree"), HasSubstr("give that too"))))
          << setting;
    } else {
      ASSERT_TRUE(reading.domain) << setting << ::testing::PrintToString(errors(reading));
      // Its example is.
      const bool is_default = setting == "features.acpi=" || setting == "interface.0.model=";
      EXPECT_EQ(fields_of(*reading.domain) == fields_of(domain), is_default) << setting;
    }
  }
}

TEST(Settings, WithoutAValueLeaveTheRestOfTheFile) {
  const DomainText text = {.os = "<os><type>hvm</type><boot dev='cdrom'/></os>",
                           .features = "<features><acpi/><kvm><hidden state='on'/></kvm></features>",
                           .others = "<vcpu cpuset='1' current='2'>2</vcpu>",
                           .devices =
                               "<disk><driver cache='none'/><source file='a'/><target dev='vda'/></disk>"
                               "<disk device='cdrom'><target dev='hdc'/></disk>"
                               "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"};
  EXPECT_THAT(domain_with({"disk.vda.boot.order="}, text).os.boot_devices, ElementsAre(BootDevice::kCdrom));
  EXPECT_THAT(domain_with({"vcpu.cpuset=3"}, {}).pins.all->cpus, ElementsAre(3));
  EXPECT_EQ(domain_with({"memoryBacking.locked=no"}, {}).memory_backing.line, 0);
  EXPECT_FALSE(domain_with({"features.kvm.hidden="}, text).features.hide_kvm);
  EXPECT_FALSE(domain_with({"features.acpi=", "vcpu="}, text).features.acpi);
  const Domain one = domain_with({"vcpu="}, text);
  EXPECT_EQ(one.vcpus, 1U);
  EXPECT_THAT(one.pins.all->cpus, ElementsAre(1));
  const Domain random = domain_with({"rng.backend="}, text);
  ASSERT_EQ(random.rngs.size(), 1U);
  EXPECT_EQ(random.rngs[0].source, "");
  EXPECT_THAT(domain_with({"rng.model="}, text).rngs, IsEmpty());
}

TEST(Settings, OfASourceForgetWhatTheOtherStoodOn) {
  const DomainText text = {.devices =
                               "<disk><driver type='qcow2'/><source file='a'/><backingStore type='file'>"
                               "<format type='raw'/><source file='b'/><backingStore/></backingStore>"
                               "<target dev='vda'/></disk>"};
  const Domain domain = domain_with({"disk.vda.source=/c.img", "disk.vda.format=raw"}, text);
  EXPECT_THAT(domain.disks.at(0).backing_stores, IsEmpty());
  EXPECT_FALSE(domain.disks.at(0).backing_ends);
}

TEST(Settings, OfASourceStandInPlaceOfANetworksToo) {
  const DomainText text = {
      .devices =
          "<disk type='network'><driver type='raw'/><source protocol='iscsi' name='iqn:x/1'>"
          "<host name='h' port='1'/><auth username='u'/></source><auth username='u'/>"
          "<target dev='vda'/></disk>"};
  for (const auto& settings :
       std::vector<std::vector<std::string>>{{"disk.vda.type=file", "disk.vda.source=/x.img"},
                                             {"disk.vda.source=/x.img", "disk.vda.type=file"}}) {
    EXPECT_EQ(domain_with(settings, text).disks.at(0).source, "/x.img");
  }
}

TEST(Settings, EveryOneIsOfAnElementThatIsDone) {
  for (const SettingRule& setting : setting_table()) {
    const auto rules = rules_of(setting.element);
    ASSERT_FALSE(rules.empty()) << setting.path;
    EXPECT_EQ(rules.front().answer, Answer::kDone) << setting.path;
    const bool is_done = std::ranges::any_of(rules, [&setting](const Rule& rule) {
      return rule.attribute == setting.attribute && rule.answer == Answer::kDone;
    });
    EXPECT_TRUE(is_done) << setting.path;
  }
}

TEST(Settings, AreReadInThePlaceOfWhatTheFileSays) {
  const Domain domain =
      domain_with({"memory=2GiB", "vcpu=4", "disk.vda.cache=unsafe", "os.cmdline=a=b 'c' <d> & e"});
  EXPECT_EQ(domain.memory_bytes, uint64_t{2} << 30U);
  EXPECT_EQ(domain.current_memory_bytes, domain.memory_bytes);  // the file's is of the file's memory
  EXPECT_EQ(domain.vcpus, 4U);
  EXPECT_EQ(domain.disks[0].cache, CacheMode::kUnsafe);
  EXPECT_EQ(domain.os.command_line, "a=b 'c' <d> & e");
}

TEST(Settings, OfMemoryLeaveACurrentMemoryThatIsSetToo) {
  for (const auto& settings : std::vector<std::vector<std::string>>{{"memory=2GiB", "currentMemory=1GiB"},
                                                                    {"currentMemory=1GiB", "memory=2GiB"}}) {
    EXPECT_EQ(domain_with(settings).current_memory_bytes, uint64_t{1} << 30U);
  }
}

TEST(Settings, OfAPathAreRelativeToTheCurrentFolder) {
  const Domain domain = domain_with({"disk.vda.source=other.qcow2", "os.initrd=../initrd"});
  EXPECT_EQ(domain.disks[0].source, std::filesystem::current_path() / "other.qcow2");
  EXPECT_EQ(domain.os.initrd, std::filesystem::current_path() / "../initrd");
  EXPECT_EQ(domain_with({}).disks[0].source, "/images/a.img");
}

TEST(Settings, OfADisksTypeTakeItsPathAlong) {
  const Domain by_type = domain_with({"disk.vda.type=block"});
  EXPECT_EQ(by_type.disks[0].source, "/images/a.img");
  EXPECT_EQ(by_type.disks[0].source_type, DiskSource::kBlock);
  for (const auto& settings :
       std::vector<std::vector<std::string>>{{"disk.hdc.type=file", "disk.hdc.source=/disc.iso"},
                                             {"disk.hdc.source=/disc.iso", "disk.hdc.type=file"}}) {
    const Domain domain = domain_with(settings);
    EXPECT_EQ(domain.disks[1].source, "/disc.iso");
    EXPECT_EQ(domain.disks[1].source_type, DiskSource::kFile);
  }
}

TEST(Settings, WithoutAValueTakeAwayWhatTheFileSays) {
  const Domain domain = domain_with({"disk.hdc.source=", "disk.vda.cache=", "currentMemory="});
  EXPECT_EQ(domain.disks[1].source, "");
  EXPECT_EQ(domain.disks[0].cache, CacheMode::kWriteback);
  EXPECT_EQ(domain.current_memory_bytes, domain.memory_bytes);
  EXPECT_THAT(errors_with({"name="}),
              ElementsAre(HasSubstr("has no <name>"), "--set name=: the file is right without it"));
}

TEST(Settings, OfTheBootOrderStandInPlaceOfTheFiles) {
  DomainText text = from_firmware();
  text.devices.insert(text.devices.find("<target dev='hdc'"), "<boot order='1'/>");
  const Domain by_kind = domain_with({"os.boot=hd,cdrom"}, text);
  EXPECT_EQ(by_kind.os.boot_devices, (std::vector{BootDevice::kHardDisk, BootDevice::kCdrom}));
  EXPECT_EQ(by_kind.disks[1].boot_order, std::nullopt);
  text.os = "<os><type>hvm</type><boot dev='hd'/><boot dev='cdrom'/></os>";
  text.devices.replace(text.devices.find("<boot order='1'/>"), 17, "");
  const Domain by_number = domain_with({"disk.hdc.boot.order=1", "disk.vda.boot.order=2"}, text);
  EXPECT_THAT(by_number.os.boot_devices, IsEmpty());
  EXPECT_EQ(by_number.disks[1].boot_order, 1U);
  for (const auto& both : std::vector<std::vector<std::string>>{{"os.boot=hd", "disk.hdc.boot.order=1"},
                                                                {"disk.hdc.boot.order=1", "os.boot=hd"}}) {
    EXPECT_THAT(errors_with(both, text), Contains(HasSubstr("keep one of the two")));
  }
}

TEST(Settings, OfASerialPortFindItAsItIsNumbered) {
  EXPECT_EQ(domain_with({"serial.3.type=null"}).serials.back().backend, CharBackend::kNull);
  const DomainText text = {.devices =
                               "<serial type='pty'><target type='isa-debug'/></serial>"
                               "<serial type='pty'><target port='3'/></serial><serial type='pty'/>"};
  const Domain domain = domain_with({"serial.0.type=null"}, text);
  EXPECT_EQ(domain.serials[0].backend, CharBackend::kNull);
  EXPECT_EQ(domain.serials[1].backend, CharBackend::kPty);
  EXPECT_THAT(errors_with({"serial.1.type=null"}, text), ElementsAre(HasSubstr("no serial port 1")));
  // What is left of another type would mean nothing.
  const DomainText file = {.devices = "<serial type='file'><source path='a' append='on'/></serial>"};
  EXPECT_THAT(read_with_settings(file, {"serial.0.type=null"}).diagnostics, IsEmpty());
  const DomainText console = {.devices = "<console type='pty'/>"};
  EXPECT_EQ(domain_with({"serial.0.type=stdio"}, console).serials[0].backend, CharBackend::kStdio);
  EXPECT_THAT(errors_with({"serial.1.type=null"}, console),
              ElementsAre(HasSubstr("there is no serial port 1 in the file")));
}

TEST(Settings, OfAPinFindTheOneOfTheThread) {
  DomainText text = kGuestToSet;
  text.others += "<cputune><vcpupin vcpu='1' cpuset='1'/><emulatorpin cpuset='0'/></cputune>";
  const Domain domain = domain_with({"cputune.vcpupin.0.cpuset=3", "cputune.vcpupin.1.cpuset=2"}, text);
  EXPECT_THAT(domain.pins.vcpus.at(0).cpus, ElementsAre(3));
  EXPECT_THAT(domain.pins.vcpus.at(1).cpus, ElementsAre(2));
  const Domain without = domain_with({"cputune.vcpupin.1.cpuset=", "cputune.emulatorpin.cpuset="}, text);
  EXPECT_THAT(without.pins.vcpus, IsEmpty());
  EXPECT_EQ(without.pins.emulator, std::nullopt);
  EXPECT_THAT(errors_with({"cputune.iothreadpin.9.cpuset=1"}),
              ElementsAre(StartsWith("--set cputune.iothreadpin.9.cpuset=1: <cputune>/<iothreadpin>: there "
                                     "is no I/O thread 9")));
}

TEST(Settings, ThatAreNotKnownAreRefusedWithTheNearest) {
  EXPECT_THAT(errors_with({"memroy=2GiB"}),
              ElementsAre("--set memroy=2GiB: there is nothing of this name to be "
                          "set; did you mean memory?"));
  EXPECT_THAT(errors_with({"disk.vda.cahce=none"}), ElementsAre(HasSubstr("did you mean disk.vda.cache?")));
  EXPECT_THAT(errors_with({"cputune.vcpupin.1.cpuse=0"}),
              ElementsAre(HasSubstr("did you mean cputune.vcpupin.1.cpuset?")));
  EXPECT_THAT(errors_with({"os.comandline=x"}), ElementsAre(HasSubstr("did you mean os.cmdline?")));
  EXPECT_THAT(errors_with({"colour=blue"}), ElementsAre(HasSubstr("--set help lists what there is")));
  EXPECT_THAT(errors_with({""}), ElementsAre(HasSubstr("write --set PATH=VALUE")));
  EXPECT_THAT(errors_with({"=x"}), ElementsAre(HasSubstr("nothing of this name")));
  EXPECT_THAT(errors_with({"disk.vdb.cache=none"}),
              ElementsAre("--set disk.vdb.cache=none: there is no disk vdb in the file; it has vda, hdc"));
  EXPECT_THAT(errors_with({"disk.vda.cache=none"}, {}),
              ElementsAre(HasSubstr("there is no disk in the file")));
}

TEST(Settings, AreCheckedAsTheFileIsAndNamedInPlaceOfALine) {
  EXPECT_THAT(
      errors_with({"disk.vda.cache=nine"}),
      ElementsAre(AllOf(StartsWith("--set disk.vda.cache=nine: <disk>/<driver cache='nine'>: unknown value"),
                        HasSubstr("'none'"))));
  EXPECT_THAT(errors_with({"disk.vda.bus=usb"}),
              ElementsAre(StartsWith("--set disk.vda.bus=usb: <disk>/<target bus='usb'>: vmm has no USB")));
  EXPECT_THAT(errors_with({"memory=9TiB"}),
              ElementsAre(StartsWith("--set memory=9TiB: <memory>: more than")));
  EXPECT_THAT(errors_with({"memory=2Gigs"}), ElementsAre(HasSubstr("unknown unit")));
  EXPECT_THAT(errors_with({"vcpu=many"}), ElementsAre(StartsWith("--set vcpu=many: <vcpu>: 'many' is not")));
  EXPECT_THAT(errors_with({"disk.vda.iothread=9"}), ElementsAre(StartsWith("--set disk.vda.iothread=9: ")));
  EXPECT_THAT(errors_with({"cpu.topology.cores=2"}),
              ElementsAre(StartsWith("--set cpu.topology.cores=2: <cpu>/<topology>: has no sockets="),
                          StartsWith("--set cpu.topology.cores=2: <cpu>/<topology>: has no threads=")));
  EXPECT_THAT(errors_with({"os.boot=hd,net"}),
              ElementsAre(StartsWith("--set os.boot=hd,net: <os>/<boot dev='net'>")));
}

TEST(Settings, ThatAreWrongByThemselvesAreToldSo) {
  for (const char* const bare : {"memory=2048", "memory=GiB"}) {
    EXPECT_THAT(errors_with({bare}), Contains(HasSubstr("give a number and its unit, such as 2GiB")));
  }
  EXPECT_THAT(errors_with({"features.acpi=on"}), ElementsAre(HasSubstr("yes and no can be")));
  EXPECT_THAT(errors_with({"vcpu=2", "vcpu=2"}),
              ElementsAre(HasSubstr("is set twice; keep one"), HasSubstr("is set twice; keep one")));
  for (const char* const bytes : {"title=\xff", "title=\x1b[31m"}) {
    const auto lines = errors_with({bytes});
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_THAT(lines[0], HasSubstr("which XML cannot hold"));
    EXPECT_EQ(lines[0].find('\x1b'), std::string::npos);
  }
}

// The error is in a line of the file that nobody changed.
TEST(Settings, AreBlamedForWhatIsRightWithoutThem) {
  const DomainText text = {.others =
                               "<vcpu>2</vcpu><cpu><topology sockets='1' cores='2' threads='1'/></cpu>"};
  EXPECT_THAT(errors_with({"vcpu=4"}, text),
              ElementsAre(StartsWith("guest.xml:6: <cpu>/<topology>: makes 2 vCPUs, and <vcpu> says 4"),
                          "--set vcpu=4: the file is right without it"));
  const DomainText wrong = {.others = "<vcpu>0</vcpu>"};
  EXPECT_THAT(errors_with({"title=x"}, wrong), ElementsAre(HasSubstr("give at least 1")));
}

TEST(Settings, AreNamedByWhatTheRunSaysLater) {
  const Domain domain = domain_with({"title=x", "disk.vda.source=/other.img"});
  EXPECT_EQ(domain.where(domain.disks[0].source_line), "--set disk.vda.source=/other.img");
  EXPECT_EQ(domain.where(domain.disks[0].line), "guest.xml:8");
}

}  // namespace
}  // namespace vmm::domain
