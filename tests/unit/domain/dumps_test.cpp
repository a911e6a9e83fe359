// Dumps of running guests, in the form that `virsh dumpxml` gives them: what the table says of them.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/unit/domain/domain_text.h"

namespace vmm::domain {
namespace {

using testing::errors;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using testing::warnings;

Reading read_dump(const std::string& name) {
  const auto text = read_domain_file(std::filesystem::path(VMM_DUMPS_FOLDER) / name);
  EXPECT_TRUE(text);
  return parse_domain(text.value_or(""), name, "/images");
}

TEST(Dumps, OfARunningGuestAreTakenAndWhatTheRunGotSaysNothing) {
  const Reading reading = read_dump("running.xml");
  EXPECT_THAT(errors(reading), IsEmpty());
  ASSERT_TRUE(reading.domain);
  const Domain& domain = *reading.domain;
  ASSERT_EQ(domain.disks.size(), 2U);
  EXPECT_EQ(domain.disks[0].source, "/var/lib/libvirt/images/web.qcow2");
  EXPECT_EQ(domain.disks[0].alias, "virtio-disk0");
  EXPECT_EQ(domain.disks[1].device, DiskDevice::kCdrom);
  ASSERT_EQ(domain.serials.size(), 1U);
  EXPECT_EQ(domain.serials[0].path, "");
  EXPECT_EQ(domain.balloon.value_or(Balloon{}).alias, "balloon0");
  ASSERT_EQ(domain.rngs.size(), 1U);
  EXPECT_EQ(domain.rngs[0].alias, "rng0");
}

TEST(Dumps, OfARunningGuestHaveOneWarningForEachThatIsLeftOut) {
  EXPECT_THAT(warnings(read_dump("running.xml")),
              UnorderedElementsAre(
                  HasSubstr("<resource>"), HasSubstr("<os>/<type machine='pc-q35-7.2'>"),
                  HasSubstr("<clock>/<timer tickpolicy='catchup'>"),
                  HasSubstr("<disk>/<address>: there is no bus 0000:04"),
                  HasSubstr("<disk>/<target bus='sata'>"), HasSubstr("<controller type='usb'>"),
                  HasSubstr("<channel>"), HasSubstr("<input type='tablet'>"), HasSubstr("<graphics>"),
                  HasSubstr("<audio>"), HasSubstr("<memballoon>/<address>: there is no bus 0000:05"),
                  HasSubstr("<rng>/<address>: there is no bus 0000:06"), HasSubstr("<seclabel>")));
}

TEST(Dumps, OfAGuestOnAnOverlaySayWhatItStandsOn) {
  const Reading reading = read_dump("running-overlay.xml");
  EXPECT_THAT(errors(reading), IsEmpty());
  ASSERT_TRUE(reading.domain);
  const Disk& disk = reading.domain->disks.at(0);
  EXPECT_EQ(disk.source, "/var/lib/libvirt/images/web.snapshot1");
  EXPECT_EQ(disk.target, "vda");
  ASSERT_EQ(disk.backing_stores.size(), 2U);
  EXPECT_EQ(disk.backing_stores[0].source, "/var/lib/libvirt/images/web.qcow2");
  EXPECT_EQ(disk.backing_stores[0].format, ImageFormat::kQcow2);
  EXPECT_EQ(disk.backing_stores[1].source, "/var/lib/libvirt/images/debian.qcow2");
  EXPECT_TRUE(disk.backing_ends);
}

}  // namespace
}  // namespace vmm::domain
