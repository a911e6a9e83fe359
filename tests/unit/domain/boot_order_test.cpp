#include "vmm/domain/boot_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/domain/domain_text.h"
#include "vmm/domain/install_disc.h"

namespace vmm::domain {
namespace {

using testing::DomainText;
using ::testing::ElementsAre;
using testing::read;

std::string listed_disk(const std::string& target, const std::string& inside = "") {
  return "<disk><source file='" + target + "'/><target dev='" + target + "'/>" + inside + "</disk>";
}
std::string cdrom(const std::string& target, const std::string& inside = "") {
  return "<disk device='cdrom'><target dev='" + target + "'/>" + inside + "</disk>";
}

Domain domain_of(const std::string& boot_devices, const std::string& devices) {
  const Reading reading =
      read(DomainText{.os = "<os><type>hvm</type>" + boot_devices + "</os>", .devices = devices});
  EXPECT_TRUE(reading.domain) << (reading.diagnostics.empty() ? "" : reading.diagnostics[0].text);
  return reading.domain.value_or(Domain{});
}

std::vector<std::string> order(const Domain& domain, std::string_view first = "") {
  std::vector<std::string> targets;
  for (const Disk* each : boot_order(domain, first)) {
    targets.push_back(each->target);
  }
  return targets;
}

// Of the starts after the first one.
std::vector<std::string> order_after_install(const std::string& boot_devices, const std::string& devices) {
  Domain domain = domain_of(boot_devices, devices);
  EXPECT_TRUE(insert_install_disc(domain, "/disc.iso").has_value());
  EXPECT_EQ(order(domain, domain.os.install_target).front(), domain.os.install_target);
  return order(domain);
}

TEST(BootOrder, IsTheFirstDiskWhereNothingIsSaidAndTheFirstCdromWhereThereIsNone) {
  EXPECT_THAT(order(domain_of("", cdrom("hdc") + listed_disk("vda") + listed_disk("vdb") + cdrom("hdd"))),
              ElementsAre("vda"));
  EXPECT_THAT(order(domain_of("", cdrom("hdc") + cdrom("hdd"))), ElementsAre("hdc"));
}

TEST(BootOrder, IsThatOfTheKindsOrOfTheNumbers) {
  EXPECT_THAT(order(domain_of("<boot dev='cdrom'/><boot dev='hd'/>", listed_disk("vda") + cdrom("hdc"))),
              ElementsAre("hdc", "vda"));
  EXPECT_THAT(order(domain_of("<boot dev='cdrom'/>", listed_disk("vda") + cdrom("hdc"))), ElementsAre("hdc"));
  EXPECT_THAT(order(domain_of("", listed_disk("vda", "<boot order='7'/>") +
                                      listed_disk("vdb", "<boot order='2'/>") + cdrom("hdc"))),
              ElementsAre("vdb", "vda"));
}

TEST(BootOrder, IsTheUsualOneWhereTheDomainHasNoneOfTheKinds) {
  EXPECT_THAT(order(domain_of("<boot dev='cdrom'/>", listed_disk("vda"))), ElementsAre("vda"));
}

TEST(BootOrder, IsLedByTheDiskThatIsWantedOnce) {
  EXPECT_THAT(order(domain_of("", listed_disk("vda") + cdrom("hdc")), "hdc"), ElementsAre("hdc", "vda"));
}

TEST(BootOrder, HasTheInstallDiscBehindEveryDiskWhateverTheFileSays) {
  EXPECT_THAT(order_after_install("<boot dev='cdrom'/>", listed_disk("vda")), ElementsAre("vda", "hdc"));
  EXPECT_THAT(order_after_install("<boot dev='cdrom'/>", cdrom("hdc") + listed_disk("vda")),
              ElementsAre("vda", "hdc"));
  EXPECT_THAT(
      order_after_install("<boot dev='network'/><boot dev='hd'/>", listed_disk("vda") + "<interface/>"),
      ElementsAre("vda", "hdc"));
  EXPECT_THAT(
      order_after_install("<boot dev='cdrom'/><boot dev='hd'/>", listed_disk("vda") + listed_disk("vdb")),
      ElementsAre("vda", "vdb", "hdc"));
  EXPECT_THAT(order_after_install("", listed_disk("vda") + cdrom("hdc", "<boot order='1'/>")),
              ElementsAre("vda", "hdc"));
  EXPECT_THAT(order_after_install("", listed_disk("vda") + listed_disk("vdb", "<boot order='2'/>") +
                                          cdrom("hdc", "<boot order='1'/>")),
              ElementsAre("vdb", "vda", "hdc"));
}

}  // namespace
}  // namespace vmm::domain
