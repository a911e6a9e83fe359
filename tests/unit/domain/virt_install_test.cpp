// Domain files of virt-install and of libvirt, as they wrote them (tests/integration/virt_install/generate.py
// has the options): what is taken, what is refused, and what becomes of a q35 machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "tests/unit/domain/domain_text.h"
#include "vmm/domain/boot_order.h"

namespace vmm::domain {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using testing::errors;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::warnings;

const std::filesystem::path kVirtInstallFolder = VMM_VIRT_INSTALL_FOLDER;

Reading read_virt_install(const std::string& name) {
  const auto text = read_domain_file(kVirtInstallFolder / (name + ".xml"));
  EXPECT_TRUE(text) << name;
  return parse_domain(text.value_or(""), name, "/images");
}

Domain virt_install_domain(const std::string& name) {
  Reading reading = read_virt_install(name);
  EXPECT_THAT(errors(reading), IsEmpty());
  return reading.domain ? *std::move(reading.domain) : Domain();
}

std::vector<std::string> names_of_files() {
  std::vector<std::string> names;
  for (const auto& each : std::filesystem::directory_iterator(kVirtInstallFolder)) {
    if (each.path().extension() == ".xml") {
      names.push_back(each.path().stem());
    }
  }
  std::ranges::sort(names);
  return names;
}

std::vector<std::string> booted(const Domain& domain) {
  std::vector<std::string> targets;
  for (const Disk* const disk : boot_order(domain, "")) {
    targets.push_back(disk->target);
  }
  return targets;
}

// By file: what each of its errors begins with (refused.txt, which the integration test has too).
std::map<std::string, std::vector<std::string>> refused_files() {
  std::map<std::string, std::vector<std::string>> result;
  std::ifstream file(kVirtInstallFolder / "refused.txt");
  for (std::string line; std::getline(file, line);) {
    const size_t space = line.find(' ');
    if (!line.starts_with('#') && space != std::string::npos) {
      result[line.substr(0, space)].push_back(line.substr(space + 1));
    }
  }
  return result;
}

// What the diagnostics are about, without files, lines and reasons.
std::vector<std::string> subjects(const std::vector<std::string>& lines) {
  std::vector<std::string> result;
  for (const std::string& line : lines) {
    const size_t begin = line.find('<');
    result.push_back(line.substr(begin, line.find(": ", begin) - begin));
  }
  return result;
}

TEST(VirtInstall, FilesAreTakenOrRefusedForWhatTheTableSays) {
  const std::vector<std::string> names = names_of_files();
  auto refused = refused_files();
  EXPECT_GT(names.size(), 80U);
  for (const std::string& name : names) {
    const Reading reading = read_virt_install(name);
    EXPECT_EQ(reading.domain.has_value(), !refused.contains(name)) << name;
    EXPECT_EQ(subjects(errors(reading)), refused[name]) << name;
    refused.erase(name);
  }
  EXPECT_THAT(refused, IsEmpty());
}

TEST(VirtInstall, WhatIsLeftOutIsToldOnceForEachElement) {
  for (const std::string& name : names_of_files()) {
    const auto told = subjects(warnings(read_virt_install(name)));
    EXPECT_LE(told.size(), 20U) << name;
    for (const std::string& subject : told) {
      // As many as virt-install writes of them; what is left out for one reason is told once.
      const int most = subject == "<channel>" || subject.starts_with("<disk>") ? 2 : 1;
      EXPECT_LE(std::ranges::count(told, subject), most) << name << ": " << subject;
    }
  }
}

TEST(VirtInstall, AQ35MachineIsReplacedWithAWarning) {
  const Reading reading = read_virt_install("import");
  EXPECT_THAT(subjects(warnings(reading)), Contains("<os>/<type machine='q35'>"));
  EXPECT_EQ(reading.domain->os.machine, MachineType::kPc);
  EXPECT_THAT(subjects(warnings(read_virt_install("debian11-dumpxml"))),
              Contains("<os>/<type machine='pc-q35-7.2'>"));
  EXPECT_THAT(subjects(warnings(read_virt_install("import-pc"))), Not(Contains(HasSubstr("machine"))));
}

TEST(VirtInstall, AnInstallationBootsItsDiscFirstAndThenItsDisk) {
  for (const char* const system : {"debian11", "fedora37", "win10", "generic", "install-pc"}) {
    const Domain first = virt_install_domain(std::string(system) + "-1");
    ASSERT_EQ(first.disks.size(), 2U) << system;
    EXPECT_EQ(first.disks[1].device, DiskDevice::kCdrom);
    EXPECT_EQ(first.disks[1].source, "/images/disc.iso");
    EXPECT_THAT(booted(first), ElementsAre(first.disks[1].target, first.disks[0].target)) << system;
    EXPECT_EQ(first.on_reboot, LifecycleAction::kDestroy);

    const Domain second = virt_install_domain(std::string(system) + "-2");
    ASSERT_EQ(second.disks.size(), 2U) << system;
    EXPECT_EQ(booted(second).front(), second.disks[0].target) << system;
    // The second part of Windows' installer wants its disc once more.
    EXPECT_EQ(second.disks[1].source.empty(), system != std::string_view("win10")) << system;
    EXPECT_EQ(second.on_reboot, LifecycleAction::kRestart);
  }
  EXPECT_THAT(booted(virt_install_domain("boot-order")), ElementsAre("sda", "vda"));
}

TEST(VirtInstall, SataDrivesStandOnIdeAtThePlacesOfTheirLetters) {
  const Domain domain = virt_install_domain("disks-many-1");
  ASSERT_EQ(domain.disks.size(), 4U);
  EXPECT_EQ(domain.disks[0].target, "vda");
  EXPECT_EQ(domain.disks[1].target, "vdb");
  EXPECT_EQ(domain.disks[2].bus, DiskBus::kIde);
  EXPECT_EQ(domain.disks[2].target, "sda");
  EXPECT_EQ(domain.disks[2].device, DiskDevice::kDisk);
  EXPECT_EQ(domain.disks[2].ide_place, (IdePlace{.channel = 0, .drive = 0}));
  EXPECT_EQ(domain.disks[3].target, "sdb");
  EXPECT_EQ(domain.disks[3].device, DiskDevice::kCdrom);
  EXPECT_EQ(domain.disks[3].ide_place, (IdePlace{.channel = 0, .drive = 1}));
  EXPECT_EQ(domain.disks[0].format, ImageFormat::kQcow2);
  EXPECT_EQ(domain.disks[1].format, ImageFormat::kRaw);
}

TEST(VirtInstall, AddressesAreHonouredWhereTheyFitAndToldWhereNot) {
  const Domain on_pc = virt_install_domain("disk-address");
  ASSERT_TRUE(on_pc.disks[0].address);
  EXPECT_EQ(on_pc.disks[0].address->slot, 7);

  const Domain dumped =
      virt_install_domain("install-pc-dumpxml");  // libvirt's own choices for the same machine
  ASSERT_TRUE(dumped.disks[0].address && dumped.balloon && dumped.balloon->address);
  EXPECT_NE(dumped.disks[0].address->slot, dumped.balloon->address->slot);

  const Reading q35 = read_virt_install("debian11-dumpxml");
  EXPECT_FALSE(q35.domain->disks[0].address);
  EXPECT_THAT(
      warnings(q35),
      Contains(HasSubstr("<disk>/<address>: there is no bus 0000:03, only 0000:00; vmm chooses a slot")));
  EXPECT_THAT(warnings(q35), Contains(HasSubstr("<memballoon>/<address>: there is no bus 0000:04")));
}

TEST(VirtInstall, NetworkCardsAreReadAndBootedFrom) {
  const Domain user = virt_install_domain("network-user");
  ASSERT_EQ(user.interfaces.size(), 1U);
  EXPECT_EQ(user.interfaces[0].type, InterfaceType::kUser);
  EXPECT_EQ(user.interfaces[0].mac, (MacAddress{{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}}));
  for (const char* const name : {"network-bridge-1", "network-bridge-2"}) {
    const Domain bridged = virt_install_domain(name);
    ASSERT_EQ(bridged.interfaces.size(), 1U) << name;
    EXPECT_EQ(bridged.interfaces[0].type, InterfaceType::kBridge);
    EXPECT_EQ(bridged.interfaces[0].bridge, "br0");
  }
  const Domain first = virt_install_domain("pxe-1");
  EXPECT_EQ(boot_sources(first, "").at(0).interface, &first.interfaces.at(0));
  const Domain second = virt_install_domain("pxe-2");
  EXPECT_THAT(booted(second), ElementsAre("vda"));
}

TEST(VirtInstall, WhatItTunesIsRead) {
  const Domain tuned = virt_install_domain("disk-iotune");
  ASSERT_TRUE(tuned.disks[0].iotune);
  EXPECT_EQ(tuned.disks[0].iotune->read_bytes.per_second, 10'485'760U);
  EXPECT_EQ(tuned.disks[0].iotune->write_bytes.per_second, 5'242'880U);
  EXPECT_EQ(tuned.disks[0].iotune->total_operations.per_second, 500U);
  for (const char* const name : {"vcpus-pinned", "vcpus-pinned-dumpxml"}) {
    const CpuPins pins = virt_install_domain(name).pins;
    EXPECT_THAT(pins.all->cpus, ElementsAre(0)) << name;
    EXPECT_THAT(pins.vcpus.at(0).cpus, ElementsAre(0)) << name;
    EXPECT_THAT(pins.emulator->cpus, ElementsAre(0)) << name;
  }
}

}  // namespace
}  // namespace vmm::domain
