#include "vmm/domain/install_disc.h"

#include <gtest/gtest.h>

#include "tests/unit/domain/domain_text.h"

namespace vmm::domain {
namespace {

using testing::DomainText;
using testing::read;

Domain firmware_domain(const std::string& devices) {
  DomainText text{.os = "<os><type machine='pc'>hvm</type></os>", .devices = devices};
  Reading reading = read(text);
  EXPECT_TRUE(reading.domain.has_value()) << (reading.diagnostics.empty() ? "" : reading.diagnostics[0].text);
  return *std::move(reading.domain);
}

std::string disk_on(const std::string& target, const std::string& bus, const std::string& device = "disk") {
  return "<disk type='file' device='" + device + "'><source file='" + target + ".img'/><target dev='" +
         target + "' bus='" + bus + "'/></disk>";
}

TEST(InstallDisc, GoesIntoANewDrive) {
  Domain domain = firmware_domain(disk_on("vda", "virtio"));
  ASSERT_TRUE(insert_install_disc(domain, "/disc.iso").has_value());
  ASSERT_EQ(domain.disks.size(), 2U);
  const Disk& drive = domain.disks[1];
  EXPECT_EQ(drive.target, "hdc");
  EXPECT_EQ(drive.device, DiskDevice::kCdrom);
  EXPECT_EQ(drive.bus, DiskBus::kIde);
  EXPECT_EQ(drive.ide_place, (IdePlace{.channel = 1, .drive = 0}));
  EXPECT_TRUE(drive.read_only);
  EXPECT_EQ(drive.source, "/disc.iso");
  EXPECT_EQ(drive.serial, "VMM00003");
  EXPECT_EQ(domain.os.install_target, "hdc");
}

TEST(InstallDisc, MustBeThereAndBeInTheDrive) {
  Domain domain = firmware_domain(
      "<disk device='cdrom'><source file='a.iso' startupPolicy='optional'/><target dev='hdc' "
      "tray='open'/></disk>");
  ASSERT_TRUE(insert_install_disc(domain, "/disc.iso").has_value());
  EXPECT_FALSE(domain.disks[0].source_is_optional);
  EXPECT_FALSE(domain.disks[0].tray_is_open);
}

TEST(InstallDisc, GoesIntoTheDriveThatIsThere) {
  Domain domain = firmware_domain(disk_on("vda", "virtio") + disk_on("hdb", "ide", "cdrom"));
  ASSERT_TRUE(insert_install_disc(domain, "/disc.iso").has_value());
  ASSERT_EQ(domain.disks.size(), 2U);
  EXPECT_EQ(domain.disks[1].source, "/disc.iso");
  EXPECT_EQ(domain.os.install_target, "hdb");
}

TEST(InstallDisc, FindsAPlaceThatIsFree) {
  Domain domain = firmware_domain(disk_on("hda", "ide") + disk_on("hdc", "ide"));
  ASSERT_TRUE(insert_install_disc(domain, "/disc.iso").has_value());
  EXPECT_EQ(domain.os.install_target, "hdd");
  EXPECT_EQ(domain.disks[2].ide_place, (IdePlace{.channel = 1, .drive = 1}));
}

TEST(InstallDisc, FourDisksLeaveNoPlace) {
  Domain domain = firmware_domain(disk_on("hda", "ide") + disk_on("hdb", "ide") + disk_on("hdc", "ide") +
                                  disk_on("hdd", "ide"));
  const Status status = insert_install_disc(domain, "/disc.iso");
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().kind(), ErrorKind::kConfiguration);
}

TEST(InstallDisc, NeedsFirmware) {
  Reading reading = read(DomainText());
  ASSERT_TRUE(reading.domain.has_value());
  const Status status = insert_install_disc(*reading.domain, "/disc.iso");
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().message().find("no <kernel>"), std::string::npos);
}

}  // namespace
}  // namespace vmm::domain
