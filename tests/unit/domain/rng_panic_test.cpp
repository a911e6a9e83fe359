// <rng>, <panic> and <watchdog>.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/unit/domain/domain_text.h"

namespace vmm::domain {
namespace {

using ::testing::Contains;
using testing::DomainText;
using ::testing::ElementsAre;
using testing::errors;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::read;
using ::testing::SizeIs;
using testing::warnings;

constexpr std::string_view kRng = "<rng model='virtio'><backend model='random'/></rng>";

Reading with_small_devices(const std::string& devices) { return read(DomainText{.devices = devices}); }

TEST(DomainRng, IsReadAsVirtInstallWritesIt) {
  const auto reading = with_small_devices(
      "<rng model='virtio'><backend model='random'>/dev/urandom</backend>"
      "<address type='pci' domain='0x0000' bus='0x00' slot='0x06' function='0x0'/></rng>");
  EXPECT_THAT(reading.diagnostics, IsEmpty());
  ASSERT_TRUE(reading.domain);
  ASSERT_THAT(reading.domain->rngs, SizeIs(1));
  const Rng& rng = reading.domain->rngs[0];
  EXPECT_EQ(rng.source, "/dev/urandom");
  EXPECT_EQ(rng.rate_bytes, 0U);
  ASSERT_TRUE(rng.address);
  EXPECT_EQ(rng.address->slot, 6);
}

TEST(DomainRng, MayBeBoundedAndMayBeSeveral) {
  const auto reading = with_small_devices(
      "<rng model='virtio'><rate bytes='1024' period='250'/><backend model='builtin'/></rng>"
      "<rng model='virtio-non-transitional'><rate bytes='7'/><backend model='random'/></rng>");
  EXPECT_THAT(reading.diagnostics, IsEmpty());
  ASSERT_TRUE(reading.domain);
  ASSERT_THAT(reading.domain->rngs, SizeIs(2));
  EXPECT_EQ(reading.domain->rngs[0].rate_bytes, 1024U);
  EXPECT_EQ(reading.domain->rngs[0].rate_period_ms, 250U);
  EXPECT_EQ(reading.domain->rngs[0].source, "");
  EXPECT_EQ(reading.domain->rngs[1].rate_bytes, 7U);
  EXPECT_EQ(reading.domain->rngs[1].rate_period_ms, 1000U);
}

TEST(DomainRng, MistakesAreRefused) {
  for (const auto& [rng, message] : std::vector<std::pair<std::string, std::string>>{
           {"<rng><backend model='random'/></rng>", "<rng>: has no model="},
           {"<rng model='virtio'/>", "<rng>: has no <backend model='random'/>"},
           {"<rng model='virtio'><backend/></rng>", "<rng>: has no <backend model='random'/>"},
           {"<rng model='virtio'><backend model='random'>urandom</backend></rng>",
            "'urandom' is not the path"},
           {"<rng model='virtio'><backend model='builtin'>/dev/random</backend></rng>", "is not the path"},
           {"<rng model='virtio'><backend model='egd' type='udp'><source mode='bind' "
            "service='1'/></backend></rng>",
            "<rng>/<backend model='egd'>: entropy daemons are not there"},
           {"<rng model='virtio'><rate/><backend model='random'/></rng>", "<rng>/<rate>: has no bytes="},
           {"<rng model='virtio'><rate bytes='0'/><backend model='random'/></rng>", "<rng>/<rate bytes='0'>"},
           {"<rng model='virtio'><rate bytes='1' period='0'/><backend model='random'/></rng>", "period='0'"},
           {"<rng model='virtio'><backend model='random'/><driver iommu='on'/></rng>", "no virtual IOMMU"},
           {"<rng model='virtio'><backend model='random'/><address type='ccw'/></rng>",
            "it stands on PCI"}}) {
    EXPECT_THAT(errors(with_small_devices(rng)), ElementsAre(HasSubstr(message))) << rng;
  }
  EXPECT_THAT(
      errors(with_small_devices("<memballoon model='virtio'><address type='pci' slot='4'/></memballoon>\n"
                                "<rng model='virtio'><backend model='random'/><address type='pci' "
                                "slot='4'/></rng>")),
      ElementsAre(HasSubstr("guest.xml:9: <rng>/<address slot='0x04'>: the device of line 8")));
}

TEST(DomainRng, NeedsAPlace) {
  std::string devices;
  for (int i = 0; i < 9; ++i) {
    devices += std::string(kRng) + "\n";
  }
  DomainText text{.devices = devices};
  EXPECT_THAT(errors(read(text)), IsEmpty());
  text.os = "<os><type machine='microvm'>hvm</type><kernel>/k</kernel></os>";
  EXPECT_THAT(errors(read(text)), ElementsAre(HasSubstr("guest.xml:16: <rng>: the 8 places")));
  devices.clear();
  for (int i = 0; i < 31; ++i) {
    devices += std::string(kRng) + "\n";
  }
  EXPECT_THAT(errors(with_small_devices(devices)),
              ElementsAre(HasSubstr("guest.xml:38: <rng>: the 30 places")));
}

TEST(DomainWatchdog, IsReadWithItsModelActionAndPlace) {
  EXPECT_FALSE(with_small_devices("").domain->watchdog);
  const auto reading = with_small_devices(
      "<watchdog model='i6300esb' action='inject-nmi'><address type='pci' slot='0x07'/></watchdog>");
  EXPECT_THAT(reading.diagnostics, IsEmpty());
  ASSERT_TRUE(reading.domain && reading.domain->watchdog);
  EXPECT_EQ(reading.domain->watchdog->model, WatchdogModel::kI6300esb);
  EXPECT_EQ(reading.domain->watchdog->action, WatchdogAction::kInjectNmi);
  ASSERT_TRUE(reading.domain->watchdog->address);
  EXPECT_EQ(reading.domain->watchdog->address->slot, 7);
  const auto small = with_small_devices("<watchdog model='ib700'/>");
  EXPECT_THAT(small.diagnostics, IsEmpty());
  EXPECT_EQ(small.domain->watchdog->action, WatchdogAction::kReset);
}

TEST(DomainWatchdog, ThatOfQ35IsLeftOut) {
  const auto reading = with_small_devices("<watchdog model='itco' action='reset'/><watchdog model='ib700'/>");
  EXPECT_THAT(warnings(reading), ElementsAre(HasSubstr("it is part of machine='q35'")));
  ASSERT_TRUE(reading.domain && reading.domain->watchdog);
  EXPECT_EQ(reading.domain->watchdog->model, WatchdogModel::kIb700);
}

TEST(DomainWatchdog, MistakesAreRefused) {
  for (const auto& [watchdog, message] : std::vector<std::pair<std::string, std::string>>{
           {"<watchdog/>", "<watchdog>: has no model="},
           {"<watchdog model='diag288'/>", "not of this machine"},
           {"<watchdog model='ib700' action='dump'/>", "vmm takes no dumps of guests"},
           {"<watchdog model='ib700' action='bark'/>", "<watchdog action='bark'>"},
           {"<watchdog model='ib700'><address type='pci' slot='4'/></watchdog>", "stands at its ports"},
           {"<watchdog model='i6300esb'><address type='isa'/></watchdog>", "stands on PCI"},
           {"<watchdog model='ib700'/>\n<watchdog model='i6300esb'/>",
            "guest.xml:9: <watchdog>: the one of line 8 is enough"},
           {"<memballoon model='virtio'><address type='pci' slot='4'/></memballoon>\n"
            "<watchdog model='i6300esb'><address type='pci' slot='4'/></watchdog>",
            "guest.xml:9: <watchdog>/<address slot='0x04'>: the device of line 8"}}) {
    EXPECT_THAT(errors(with_small_devices(watchdog)), ElementsAre(HasSubstr(message))) << watchdog;
  }
  DomainText microvm{.os = "<os><type machine='microvm'>hvm</type><kernel>/k</kernel></os>",
                     .devices = "<watchdog model='i6300esb'/>"};
  EXPECT_THAT(errors(read(microvm)), ElementsAre(HasSubstr("use model='ib700'")));
  microvm.devices = "<watchdog model='ib700'/>";
  EXPECT_THAT(errors(read(microvm)), IsEmpty());
}

TEST(DomainWatchdog, WithoutAcpiThereIsNoPowerButtonToPress) {
  const auto reading =
      read(DomainText{.features = "", .devices = "<watchdog model='ib700' action='shutdown'/>"});
  EXPECT_THAT(warnings(reading), Contains(HasSubstr("<watchdog action='shutdown'>: without <features>")));
}

TEST(DomainWatchdog, ThatOnPciTakesAPlace) {
  std::string devices;
  for (int i = 0; i < 30; ++i) {
    devices += std::string(kRng) + "\n";
  }
  EXPECT_THAT(errors(with_small_devices(devices + "<watchdog model='ib700'/>")), IsEmpty());
  EXPECT_THAT(errors(with_small_devices(devices + "<watchdog model='i6300esb'/>")),
              ElementsAre(HasSubstr("guest.xml:38: <watchdog>: the 30 places")));
}

TEST(DomainPanic, IsThereWhereTheFileHasIt) {
  EXPECT_FALSE(with_small_devices("").domain->panic_device);
  for (const std::string panic : {"<panic/>", "<panic model='isa'/>",
                                  "<panic model='isa'><address type='isa' iobase='0x505'/></panic>"}) {
    const auto reading = with_small_devices(panic);
    EXPECT_THAT(reading.diagnostics, IsEmpty());
    EXPECT_TRUE(reading.domain && reading.domain->panic_device);
  }
  const auto hyperv = with_small_devices("<panic model='hyperv'/>");
  EXPECT_THAT(warnings(hyperv), ElementsAre(HasSubstr("<panic model='hyperv'>")));
  EXPECT_FALSE(hyperv.domain->panic_device);
}

TEST(DomainPanic, MistakesAreRefused) {
  for (const auto& [panic, message] : std::vector<std::pair<std::string, std::string>>{
           {"<panic model='s390'/>", "not of this machine"},
           {"<panic model='isa'><address type='isa' iobase='0x506'/></panic>", "stands at port 0x505"},
           {"<panic model='isa'><address type='pci' slot='3'/></panic>", "stands at an ISA port"},
           {"<panic/>\n<panic/>", "guest.xml:9: <panic>: the one of line 8 is enough"}}) {
    EXPECT_THAT(errors(with_small_devices(panic)), ElementsAre(HasSubstr(message))) << panic;
  }
}

TEST(DomainPanic, WithoutAcpiIsNotFound) {
  DomainText text{.features = "<features/>", .devices = "<panic/>"};
  EXPECT_THAT(warnings(read(text)),
              ElementsAre(HasSubstr("<domain>: without"), HasSubstr("the guest does not find it")));
}

}  // namespace
}  // namespace vmm::domain
