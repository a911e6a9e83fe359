#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/domain/domain_text.h"

namespace vmm::domain {
namespace {

using testing::DomainText;
using ::testing::ElementsAre;
using testing::errors;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::read;
using ::testing::SizeIs;
using testing::warnings;

Reading with_devices(const std::string& devices) { return read(DomainText{.devices = devices}); }

std::vector<Serial> serials(const std::string& devices) {
  const auto reading = with_devices(devices);
  EXPECT_TRUE(reading.domain) << (errors(reading).empty() ? "" : errors(reading).front());
  return reading.domain.value_or(Domain{}).serials;
}

TEST(DomainSerial, EveryBackendIsRead) {
  const auto found = serials(
      "<serial type='stdio'/>"
      "<serial type='file'><source path='log' append='on'/></serial>"
      "<serial type='unix'><source mode='connect' path='/run/s'/></serial>"
      "<serial type='null'/>");
  ASSERT_THAT(found, SizeIs(4));
  EXPECT_EQ(found[0].backend, CharBackend::kStdio);
  EXPECT_EQ(found[1].backend, CharBackend::kFile);
  EXPECT_EQ(found[2].backend, CharBackend::kUnix);
  EXPECT_FALSE(found[2].listen);
  EXPECT_EQ(found[3].backend, CharBackend::kNull);
  EXPECT_EQ(found[3].port, 3U);
}

TEST(DomainSerial, BackendsHaveTheirPaths) {
  const auto found = serials(
      "<serial type='file'><source path='log' append='on'/><target port='2'/></serial>"
      "<serial type='unix'><source path='/run/s'/><target type='isa-serial' port='0'><model "
      "name='isa-serial'/></target>"
      "<alias name='serial0'/></serial>"
      "<serial type='pty'><source path='/dev/pts/7'/><target port='1'/></serial>");
  ASSERT_THAT(found, SizeIs(3));
  EXPECT_EQ(found[0].port, 0U);
  EXPECT_EQ(found[0].backend, CharBackend::kUnix);
  EXPECT_EQ(found[0].path, "/run/s");
  EXPECT_TRUE(found[0].listen);
  EXPECT_EQ(found[0].alias, "serial0");
  EXPECT_EQ(found[1].port, 1U);
  EXPECT_EQ(found[1].backend, CharBackend::kPty);
  EXPECT_EQ(found[1].path, "");
  EXPECT_EQ(found[2].port, 2U);
  EXPECT_EQ(found[2].backend, CharBackend::kFile);
  EXPECT_EQ(found[2].path, "/images/log");
  EXPECT_TRUE(found[2].append);
}

TEST(DomainSerial, IsAPseudoterminalByDefaultAsInLibvirt) {
  const auto found = serials("<serial/>");
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].backend, CharBackend::kPty);
  EXPECT_EQ(found[0].port, 0U);
}

TEST(DomainSerial, PortWithoutNumberComesAfterTheHighest) {
  const auto found =
      serials("<serial type='null'/><serial type='null'><target port='1'/></serial><serial type='stdio'/>");
  ASSERT_THAT(found, SizeIs(3));
  EXPECT_EQ(found[0].port, 1U);
  EXPECT_EQ(found[1].port, 2U);
  EXPECT_EQ(found[2].port, 3U);
  EXPECT_EQ(found[2].backend, CharBackend::kStdio);
  EXPECT_THAT(errors(with_devices("<serial type='null'><target port='3'/></serial>\n<serial type='null'/>")),
              ElementsAre(HasSubstr("guest.xml:9: <serial>: there is no port after 3")));
}

TEST(DomainSerial, ConsoleIsTheFirstSerialPortSeenAgain) {
  const auto both = serials(
      "<serial type='stdio'><target port='0'/></serial><console type='pty'><target type='serial' "
      "port='0'/></console>");
  ASSERT_THAT(both, SizeIs(1));
  EXPECT_EQ(both[0].backend, CharBackend::kStdio);
  const auto alone = serials("<console type='unix'><source path='c'/></console>");
  ASSERT_THAT(alone, SizeIs(1));
  EXPECT_EQ(alone[0].port, 0U);
  EXPECT_EQ(alone[0].backend, CharBackend::kUnix);
  EXPECT_EQ(alone[0].path, "/images/c");
}

TEST(DomainSerial, OtherConsolesAreRefused) {
  EXPECT_THAT(errors(with_devices("<console/>\n<console/>")),
              ElementsAre(HasSubstr("guest.xml:9: <console>: only the first")));
  EXPECT_THAT(errors(with_devices("<console type='pty'><target type='virtio' port='0'/></console>")),
              ElementsAre(HasSubstr("<console>/<target type='virtio'>: virtio consoles are not there yet")));
}

TEST(DomainSerial, NoTwoOfOneKind) {
  EXPECT_THAT(
      errors(with_devices("<serial type='stdio'/>\n<serial type='stdio'/>")),
      ElementsAre(HasSubstr("guest.xml:9: <serial type='stdio'>: the port of line 8 has the terminal")));
  EXPECT_THAT(
      errors(with_devices("<serial type='null'><target port='0'/></serial>\n<serial type='null'><target "
                          "port='0'/></serial>")),
      ElementsAre(HasSubstr("guest.xml:9: <serial>/<target port='0'>: the port of line 8")));
  EXPECT_THAT(
      errors(with_devices("<serial type='file'><source path='a'/></serial>\n<serial type='unix'><source "
                          "path='./a'/></serial>")),
      ElementsAre(HasSubstr("guest.xml:9: <serial>/<source>: the port of line 8 leads to")));
}

TEST(DomainSerial, BadOnesAreRefused) {
  for (const std::string serial :
       {"<serial type='file'/>", "<serial type='unix'><source path=''/></serial>", "<serial type='tcp'/>",
        "<serial type='null'><target port='4'/></serial>", "<serial type='null'><target port='x'/></serial>",
        "<serial type='null'><target type='usb-serial'/></serial>",
        "<serial type='null'><protocol type='telnet'/></serial>",
        "<serial type='null'><log file='x'/></serial>"}) {
    EXPECT_THAT(errors(with_devices(serial)), ElementsAre(HasSubstr("guest.xml:8: <serial"))) << serial;
  }
  EXPECT_THAT(
      errors(with_devices("<serial type='unix'><source path='/" + std::string(108, 'x') + "'/></serial>")),
      ElementsAre(HasSubstr("at most 107 bytes")));
  EXPECT_THAT(errors(with_devices("<serial/>\n<serial/>\n<serial/>\n<serial/>\n<serial/>")),
              ElementsAre(HasSubstr("guest.xml:12: <serial>: more than 4 serial ports")));
}

TEST(DomainDevices, HarmlessOnesAreLeftOutWithOneWarningEach) {
  const auto reading = with_devices(
      "<emulator>/usr/bin/qemu-system-x86_64</emulator>\n"
      "<controller type='usb' index='0' model='qemu-xhci' ports='15'><address type='pci' "
      "slot='7'/></controller>\n"
      "<controller type='pci' index='0' model='pci-root'/>\n"
      "<input type='tablet' bus='usb'><address type='usb' bus='0' port='1'/></input>\n"
      "<input type='keyboard' bus='ps2'/>\n"
      "<graphics type='spice' autoport='yes'><listen type='address'/></graphics>\n"
      "<video><model type='qxl' ram='65536'/></video>\n"
      "<memballoon model='virtio'><stats period='5'/></memballoon>\n"
      "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>\n"
      "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>\n"
      "<sound model='ich6'/>");
  EXPECT_TRUE(reading.domain);
  EXPECT_THAT(
      warnings(reading),
      ElementsAre(HasSubstr("guest.xml:9: warning: <controller type='usb'>"),
                  HasSubstr("guest.xml:11: warning: <input type='tablet'>"),
                  HasSubstr("guest.xml:13: warning: <graphics>"), HasSubstr("guest.xml:14: warning: <video>"),
                  HasSubstr("guest.xml:15: warning: <memballoon>/<stats>"),
                  HasSubstr("guest.xml:16: warning: <rng>"), HasSubstr("guest.xml:17: warning: <channel>"),
                  HasSubstr("guest.xml:18: warning: <sound>")));
  EXPECT_THAT(testing::lines(reading, Severity::kNote),
              ElementsAre("guest.xml:8: note: <emulator>: vmm is the emulator"));
}

}  // namespace
}  // namespace vmm::domain
