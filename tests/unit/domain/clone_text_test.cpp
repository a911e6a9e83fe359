#include "vmm/domain/clone_text.h"

#include <gmock/gmock.h>

#include "tests/unit/domain/domain_text.h"

namespace vmm::domain {
namespace {

using testing::DomainText;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::read;
using ::testing::SizeIs;

// uuid: 000102…0f.
CloneOptions options_for(const std::string& new_folder = "/images") {
  CloneOptions options{.name = "twin", .old_folder = "/images", .new_folder = new_folder};
  for (size_t i = 0; i < options.uuid.size(); ++i) {
    options.uuid[i] = static_cast<uint8_t>(i);
  }
  return options;
}
constexpr const char* kTwinUuid = "00010203-0405-0607-0809-0a0b0c0d0e0f";

CloneText clone(const std::string& text, const CloneOptions& options = options_for()) {
  const Reading reading = read(text);
  EXPECT_TRUE(reading.domain) << (reading.diagnostics.empty() ? "" : reading.diagnostics[0].text);
  auto made = clone_domain_text(text, *reading.domain, options);
  EXPECT_TRUE(made) << (made ? "" : made.error().message());
  return made ? *std::move(made) : CloneText();
}

CloneText clone_devices(const std::string& devices, const CloneOptions& options = options_for()) {
  return clone(DomainText{.devices = devices}.text(), options);
}

Domain parsed(const CloneText& made, const std::string& folder = "/images") {
  Reading reading = parse_domain(made.text, "twin.xml", folder);
  EXPECT_TRUE(reading.domain) << (reading.diagnostics.empty() ? "" : reading.diagnostics[0].text);
  return reading.domain.value_or(Domain());
}

std::string image_disk(const std::string& target, const std::string& more = "") {
  return "<disk type='file'><source file='" + target + ".img'/><target dev='" + target + "'/>" + more +
         "</disk>";
}

TEST(CloneText, HasANameAndAUuidOfItsOwn) {
  EXPECT_THAT(clone(DomainText{}.text()).text,
              HasSubstr(std::string("<name>twin</name>\n  <uuid>") + kTwinUuid + "</uuid>\n"));
  const Domain domain = parsed(
      clone(DomainText{.general = "<uuid>ffffffffffffffffffffffffffffffff</uuid><name>old<!-- ! --></name>"}
                .text()));
  EXPECT_EQ(domain.name, "twin");
  EXPECT_EQ(domain.uuid, options_for().uuid);
}

TEST(CloneText, HasNoGenerationIdOfAnother) {
  const CloneText made =
      clone(DomainText{.others = "<genid>ffffffff-ffff-ffff-ffff-ffffffffffff</genid>"}.text());
  ASSERT_TRUE(parsed(made).generation_id);
  EXPECT_FALSE(parsed(made).generation_id->value);
}

TEST(CloneText, TheUuidOfTheSmbiosTablesFollows) {
  const std::string others =
      "<uuid>ffffffffffffffffffffffffffffffff</uuid><sysinfo type='smbios'><system>"
      "<entry name='serial'>1</entry><entry name='uuid'>ffffffff-ffff-ffff-ffff-ffffffffffff</entry>"
      "</system></sysinfo>";
  EXPECT_THAT(clone(DomainText{.others = others}.text()).text,
              HasSubstr(std::string("<entry name=\"uuid\">") + kTwinUuid + "</entry>"));
}

TEST(CloneText, DisksThatAreWrittenToGetOverlays) {
  const CloneText made =
      clone_devices(image_disk("vda") + image_disk("vdb", "<readonly/>") + image_disk("vdc", "<shareable/>") +
                    image_disk("vdd", "<transient/>") + image_disk("vde"));
  ASSERT_THAT(made.overlays, SizeIs(2));
  EXPECT_EQ(made.overlays[0].disk, 0U);
  EXPECT_EQ(made.overlays[0].path, "/images/twin-vda.qcow2");
  EXPECT_EQ(made.overlays[1].disk, 4U);
  const Domain domain = parsed(made);
  EXPECT_EQ(domain.disks[0].source, "/images/twin-vda.qcow2");
  EXPECT_EQ(domain.disks[0].format, ImageFormat::kQcow2);
  EXPECT_EQ(domain.disks[1].source, "/images/vdb.img");
  EXPECT_EQ(domain.disks[1].format, ImageFormat::kRaw);
  EXPECT_EQ(domain.disks[2].source, "/images/vdc.img");
  EXPECT_EQ(domain.disks[3].source, "/images/vdd.img");
  EXPECT_EQ(domain.disks[4].source, "/images/twin-vde.qcow2");
}

TEST(CloneText, ABlockDeviceBecomesAFile) {
  const CloneText made = clone_devices(
      "<disk type='block'><driver name='qemu' type='raw' cache='none'/><source dev='/dev/sdx'/>"
      "<backingStore/><target dev='vda'/></disk>");
  const Domain domain = parsed(made);
  EXPECT_EQ(domain.disks[0].source_type, DiskSource::kFile);
  EXPECT_EQ(domain.disks[0].source, "/images/twin-vda.qcow2");
  EXPECT_EQ(domain.disks[0].cache, CacheMode::kNone);
  EXPECT_THAT(made.text, Not(HasSubstr("backingStore")));
  EXPECT_THAT(made.text, HasSubstr("file=\"/images/twin-vda.qcow2\""));  // libvirt wants it absolute
}

TEST(CloneText, TheEncryptionStays) {
  const Domain domain = parsed(clone_devices(
      "<disk type='file'><driver type='qcow2'/><source file='a'><encryption format='qcow'><secret "
      "type='passphrase' usage='key'/></encryption></source><target dev='vda'/></disk>"));
  EXPECT_EQ(domain.disks[0].secret, "key");
}

TEST(CloneText, DiscsAndEmptyDrivesAreShared) {
  const CloneText made = clone_devices(
      "<disk type='file' device='cdrom'><source file='a.iso'/><target dev='hda' bus='ide'/></disk>"
      "<disk type='file' device='cdrom'><target dev='hdc' bus='ide'/></disk>");
  EXPECT_THAT(made.overlays, IsEmpty());
  EXPECT_EQ(parsed(made).disks[0].source, "/images/a.iso");
}

TEST(CloneText, SerialPortsInFilesAreNamedAnew) {
  const CloneText made = clone_devices(
      "<serial type='file'><source path='logs/out'/></serial>"
      "<serial type='unix'><source path='/run/guest.sock' mode='bind'/></serial>"
      "<serial type='unix'><source path='/run/other.sock' mode='connect'/></serial>"
      "<serial type='pty'/><console type='file'><source path='logs/out'/></console>");
  ASSERT_THAT(made.serial_ports, SizeIs(2));
  EXPECT_EQ(made.serial_ports[0].from, "/images/logs/out");
  EXPECT_EQ(made.serial_ports[0].to, "/images/logs/twin-out");
  EXPECT_EQ(made.serial_ports[1].to, "/run/twin-guest.sock");
  const Domain domain = parsed(made);
  EXPECT_EQ(domain.serials[0].path, "/images/logs/twin-out");
  EXPECT_EQ(domain.serials[1].path, "/run/twin-guest.sock");
  EXPECT_EQ(domain.serials[2].path, "/run/other.sock");
  EXPECT_THAT(made.text, Not(HasSubstr("\"logs/out\"")));
}

TEST(CloneText, LogsAreNamedAnew) {
  const CloneText made = clone_devices(
      "<serial type='pty'><log file='log'/></serial><console type='pty'><log file='log'/></console>");
  ASSERT_THAT(made.serial_ports, SizeIs(1));
  EXPECT_EQ(made.serial_ports[0].to, "/images/twin-log");
  EXPECT_EQ(parsed(made).serials[0].log_path, "/images/twin-log");
}

TEST(CloneText, RelativePathsStayRightInAnotherFolder) {
  const std::string text =
      DomainText{.os = "<os><type>hvm</type><kernel> vmlinuz </kernel><initrd>/initrd</initrd></os>",
                 .devices = image_disk("vda") + image_disk("vdb", "<readonly/>") +
                            "<serial type='file'><source path='out'/></serial>"}
          .text();
  const CloneText made = clone(text, options_for("/new"));
  const Domain domain = parsed(made, "/new");
  EXPECT_EQ(domain.os.kernel, "/images/vmlinuz");
  EXPECT_EQ(domain.os.initrd, "/initrd");
  EXPECT_EQ(domain.disks[0].source, "/new/twin-vda.qcow2");
  EXPECT_EQ(domain.disks[1].source, "/images/vdb.img");
  EXPECT_EQ(domain.serials[0].path, "/images/twin-out");
  EXPECT_EQ(made.serial_ports[0].to, "/images/twin-out");
}

TEST(CloneText, TheRestIsKept) {
  const std::string text =
      "<?xml version='1.0'?>\n<!-- first -->\n" +
      DomainText{.others =
                     "<metadata><x:y xmlns:x='http://x/'>a &lt;b&gt; <![CDATA[<c>]]></x:y></metadata>"
                     "<!-- of the owner -- -->",
                 .devices = "<!-- disks -->" + image_disk("vda", "<serial>S1</serial>") +
                            "<emulator>/usr/bin/qemu</emulator>"}
          .text() +
      "<!-- last -->\n";
  const std::string made = clone(text).text;
  for (const char* const kept : {"<?xml version='1.0'?>", "<!-- first -->", "<!-- of the owner -- -->",
                                 "<!-- disks -->", "a &lt;b&gt; <![CDATA[<c>]]>", "<serial>S1</serial>",
                                 "<emulator>/usr/bin/qemu</emulator>", "<!-- last -->"}) {
    EXPECT_THAT(made, HasSubstr(kept));
  }
}

TEST(CloneText, AMacAddressIsNotUsedTwice) {
  const DomainText text;
  const Reading reading = read(text);
  const std::string with_network = DomainText{.devices =
                                                  "<interface type='user'><mac address='52:54:00:00:00:01'/>"
                                                  "<model type='virtio'/></interface>"}
                                       .text();
  const auto made = clone_domain_text(with_network, *reading.domain, options_for());
  ASSERT_TRUE(made);
  EXPECT_THAT(made->text, Not(HasSubstr("mac")));
  EXPECT_THAT(made->text, HasSubstr("<model type=\"virtio\"/>"));
}

TEST(CloneText, FilesOfTheNetworkAreFoundFromAnotherFolder) {
  const Domain passt = parsed(
      clone_devices("<interface type='user'><backend type='passt' logFile='passt.log'/><rom file='net.rom'/>"
                    "</interface>",
                    options_for("/new")),
      "/new");
  ASSERT_EQ(passt.interfaces.size(), 1U);
  EXPECT_EQ(passt.interfaces[0].log_file, "/images/twin-passt.log");
  EXPECT_EQ(passt.interfaces[0].rom.file, "/images/net.rom");
  const Domain slirp = parsed(
      clone(DomainText{.others =
                           "<metadata><v:user-network xmlns:v='urn:vmm:domain:1' tftp='boot'/></metadata>",
                       .devices = "<interface/>"}
                .text(),
            options_for("/new")),
      "/new");
  ASSERT_TRUE(slirp.user_network);
  EXPECT_EQ(slirp.user_network->tftp_folder, "/images/boot");
}

TEST(CloneText, OddNamesAreEscaped) {
  CloneOptions options = options_for();
  options.name = "a & <b> 'c' \"d\"";
  const CloneText made = clone_devices(image_disk("vda"), options);
  const Domain domain = parsed(made);
  EXPECT_EQ(domain.name, options.name);
  EXPECT_EQ(domain.disks[0].source, made.overlays[0].path);
}

TEST(CloneText, WhatIsNoNameIsRefused) {
  const Reading reading = read(DomainText{});
  for (const std::string& name : {std::string(), std::string("a/b"), std::string(" a"), std::string("a\nb"),
                                  std::string("."), std::string(".."), std::string(".a"), std::string("-a"),
                                  std::string(201, 'x'), std::string("guest")}) {
    CloneOptions options = options_for();
    options.name = name;
    const auto made = clone_domain_text(DomainText{}.text(), *reading.domain, options);
    ASSERT_FALSE(made) << name;
    EXPECT_EQ(made.error().kind(), ErrorKind::kConfiguration);
    EXPECT_THAT(made.error().message(), HasSubstr("NAME '"));
  }
}

}  // namespace
}  // namespace vmm::domain
