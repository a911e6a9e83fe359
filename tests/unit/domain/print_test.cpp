// A domain as text: what is read of it is the same domain, and libvirt's schema accepts it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "tests/unit/domain/domain_fields.h"
#include "tests/unit/domain/domain_text.h"
#include "tests/unit/domain/generated_domain.h"
#include "vmm/domain/write_domain.h"

namespace vmm::domain {
namespace {

using ::testing::AllOf;
using testing::DomainText;
using ::testing::ElementsAre;
using testing::errors;
using testing::fields_of;
using testing::generated_domain;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::read;

constexpr uint32_t kPrintedSeeds = 1000;

std::string printed_text(const Domain& domain) {
  const auto text = domain_text(domain);
  EXPECT_TRUE(text) << text.error().message();
  return text.value_or("");
}

Domain read_printed(const std::string& text) {
  auto reading = read(text);
  EXPECT_THAT(errors(reading), IsEmpty()) << text;
  return reading.domain.value_or(Domain{});
}

Domain read_to_print(const DomainText& text) { return read_printed(text.text()); }

TEST(PrintedDomain, IsReadBackAsTheSame) {
  for (uint32_t seed = 0; seed < kPrintedSeeds && !::testing::Test::HasFailure(); ++seed) {
    const Domain domain = generated_domain(seed);
    const std::string text = printed_text(domain);
    const Domain again = read_printed(text);
    EXPECT_EQ(fields_of(again), fields_of(domain)) << "seed " << seed << "\n" << text;
    EXPECT_EQ(printed_text(again), text) << "seed " << seed;
  }
}

// "disks[3].cache" -> "disks.cache"
std::string without_indexes(std::string name) {
  for (size_t open = name.find('['); open != std::string::npos; open = name.find('[')) {
    name.erase(open, name.find(']') + 1 - open);
  }
  return name;
}

// Else the test above would say nothing about the field.
TEST(PrintedDomain, HasEveryFieldWithSeveralValuesAmongTheGenerated) {
  std::map<std::string, std::set<std::string>> values;
  for (uint32_t seed = 0; seed < kPrintedSeeds; ++seed) {
    for (const auto& [name, value] : fields_of(generated_domain(seed))) {
      values[without_indexes(name)].insert(value);
    }
  }
  for (const char* const always : {"features.apic", "features.pae"}) {  // the reader takes them for granted
    EXPECT_EQ(values[always], std::set<std::string>{"1"});
    values.erase(always);
  }
  for (const auto& [name, seen] : values) {
    EXPECT_GT(seen.size(), 1U) << name << " is always " << *seen.begin();
  }
}

TEST(PrintedDomain, OfTheSmallestFileShowsTheDefaults) {
  const std::string text = printed_text(read_to_print({}));
  EXPECT_EQ(text,
            "<domain type='kvm'>\n"
            "  <name>guest</name>\n"
            "  <memory unit='KiB'>65536</memory>\n"
            "  <currentMemory unit='KiB'>65536</currentMemory>\n"
            "  <vcpu placement='static'>1</vcpu>\n"
            "  <os>\n"
            "    <type arch='x86_64' machine='pc'>hvm</type>\n"
            "    <kernel>/boot/vmlinuz</kernel>\n"
            "  </os>\n"
            "  <features>\n"
            "    <acpi/>\n"
            "    <apic/>\n"
            "    <pae/>\n"
            "  </features>\n"
            "  <cpu mode='host-passthrough' migratable='on'/>\n"
            "  <clock offset='utc'/>\n"
            "  <on_poweroff>destroy</on_poweroff>\n"
            "  <on_reboot>restart</on_reboot>\n"
            "  <on_crash>destroy</on_crash>\n"
            "  <devices>\n"
            "    <memballoon model='none'/>\n"
            "  </devices>\n"
            "</domain>\n");
}

TEST(PrintedDomain, HasNothingThatWasLeftOut) {
  const std::string text = printed_text(read_to_print(
      {.others = "<metadata><other:x xmlns:other='urn:other'/></metadata>",
       .devices =
           "<graphics type='vnc'/><console type='pty'/><controller type='usb' index='0' model='none'/>"}));
  EXPECT_THAT(text, Not(HasSubstr("graphics")));
  EXPECT_THAT(text, Not(HasSubstr("usb")));
  EXPECT_THAT(text, Not(HasSubstr("other")));
  EXPECT_THAT(text, HasSubstr("<serial type='pty'>"));  // which the console is
}

TEST(PrintedDomain, HasCompletePaths) {
  Domain domain = read_to_print({});
  domain.os.kernel = "folder/vmlinuz";
  EXPECT_THAT(printed_text(domain),
              HasSubstr("<kernel>" + std::filesystem::absolute("folder/vmlinuz").native() + "</kernel>"));
}

TEST(PrintedDomain, OfAPathThatXmlCannotHoldIsRefused) {
  Domain domain = read_to_print({});
  for (const char* const path : {"/caf\xe9/vmlinuz", "/bell\a/vmlinuz"}) {
    domain.os.kernel = path;
    const auto text = domain_text(domain);
    ASSERT_FALSE(text);
    EXPECT_EQ(text.error().kind(), ErrorKind::kConfiguration);
    EXPECT_THAT(text.error().message(), HasSubstr("cannot be printed"));
  }
}

TEST(PrintedDomain, OfAnEncryptedDriveWithoutADiscIsReadBack) {
  const Domain domain = read_to_print(
      {.devices = "<disk device='cdrom'><driver type='qcow2'/><target dev='hdc' bus='ide'/>"
                  "<encryption format='luks'><secret type='passphrase' usage='key'/></encryption></disk>"});
  EXPECT_EQ(fields_of(read_printed(printed_text(domain))), fields_of(domain));
}

// As it is printed, it warns of nothing that was passed over before.
TEST(PrintedDomain, HasNoBootDevicesThatArePassedOver) {
  const Domain domain = read_to_print({.os = "<os><type>hvm</type><boot dev='hd'/><boot dev='fd'/></os>",
                                       .devices = "<disk><source file='a'/><target dev='vda'/></disk>"});
  EXPECT_THAT(domain.os.boot_devices, ElementsAre(BootDevice::kHardDisk));
  EXPECT_THAT(read(printed_text(domain)).diagnostics, IsEmpty());
}

TEST(PrintedDomain, ThatCouldNotBeReadBackIsRefused) {
  Domain domain = read_to_print({});
  domain.file_name = "guest.xml";
  domain.description = std::string(kMaxFileBytes / 4, '&');
  const auto text = domain_text(domain);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().kind(), ErrorKind::kConfiguration);
  EXPECT_THAT(text.error().message(),
              HasSubstr("guest.xml: cannot be printed as a domain file: it would have"));
}

TEST(PrintedDomain, HasTheAliasesOfAllDevices) {
  const Domain domain =
      read_to_print({.devices = "<rng model='virtio'><backend model='random'/><alias name='ua-r'/></rng>"
                                "<memballoon model='virtio'><alias name='ua-b'/></memballoon>"
                                "<panic model='isa'><alias name='ua-p'/></panic>"});
  const std::string text = printed_text(domain);
  for (const char* const alias : {"ua-r", "ua-b", "ua-p"}) {
    EXPECT_THAT(text, HasSubstr(fmt::format("<alias name='{}'/>", alias)));
  }
}

TEST(PrintedDomain, OfADataFileOnABlockDeviceSaysSo) {
  const Domain domain = read_to_print(
      {.devices = "<disk><driver type='qcow2'/><source file='/a'><dataStore type='block'><source "
                  "dev='/dev/sdx'/></dataStore></source><target dev='vda'/></disk>"});
  EXPECT_THAT(printed_text(domain),
              AllOf(HasSubstr("<dataStore type='block'>"), HasSubstr("dev='/dev/sdx'")));
}

// What means nothing to the rest of the element would make two texts of one domain.
TEST(PrintedDomain, IsFedWithMeaningOnly) {
  const auto reading =
      read(DomainText{.others = "<clock offset='utc' timezone='Europe/Paris' basis='localtime'/>",
                      .devices = "<serial type='file'><source path='/log' mode='connect'/></serial>"
                                 "<serial type='unix'><source path='/socket' append='on'/></serial>"});
  ASSERT_TRUE(reading.domain);
  const auto warnings = testing::warnings(reading);
  EXPECT_EQ(warnings.size(), 4U);
  EXPECT_THAT(warnings, Each(HasSubstr("has a meaning only with")));
  EXPECT_EQ(fields_of(read_printed(printed_text(*reading.domain))), fields_of(*reading.domain));
}

TEST(Title, IsOfOneLine) {
  EXPECT_THAT(errors(read(DomainText{.general = "<name>guest</name><title>one\ntwo</title>"})),
              ElementsAre(HasSubstr("guest.xml:2: <title>: give a title of one line")));
}

// The schema of the libvirt that is installed; 9.0 has no <dataStore> yet.
TEST(PrintedDomain, FollowsLibvirtsSchema) {
  const std::filesystem::path schema = "/usr/share/libvirt/schemas/domain.rng";
  if (!std::filesystem::exists(schema) || std::system("command -v xmllint >/dev/null") != 0) {
    GTEST_SKIP() << "no libvirt0 or no libxml2-utils here";
  }
  std::string folder = (std::filesystem::temp_directory_path() / "vmm-print-XXXXXX").native();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  constexpr uint32_t kFiles = 30;
  for (uint32_t seed = 0; seed < kFiles; ++seed) {
    Domain domain = generated_domain(seed);
    for (Disk& disk : domain.disks) {
      disk.data_file.reset();
    }
    std::ofstream(fmt::format("{}/{}.xml", folder, seed)) << printed_text(domain);
  }
  const std::string errors = folder + "/errors";
  const int status = std::system(
      fmt::format("xmllint --noout --relaxng {} {}/*.xml 2>{}", schema.native(), folder, errors).c_str());
  std::stringstream said;
  said << std::ifstream(errors).rdbuf();
  EXPECT_EQ(status, 0) << said.str().substr(0, 4000);
  if (status == 0) {
    std::filesystem::remove_all(folder);
  }
}

}  // namespace
}  // namespace vmm::domain
