#include <fmt/format.h>
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

TEST(DomainSerial, MayHaveALogWhateverItsType) {
  const auto found = serials(
      "<serial type='pty'><log file='log'/></serial>"
      "<serial type='null'><log file='/var/log/guest' append='on'/></serial><serial type='stdio'/>");
  ASSERT_THAT(found, SizeIs(3));
  EXPECT_EQ(found[0].log_path, "/images/log");
  EXPECT_FALSE(found[0].log_append);
  EXPECT_EQ(found[1].log_path, "/var/log/guest");
  EXPECT_TRUE(found[1].log_append);
  EXPECT_EQ(found[2].log_path, "");
  const auto console = with_devices("<console type='null'><log file='/l'/><target type='virtio'/></console>");
  ASSERT_TRUE(console.domain);
  EXPECT_EQ(console.domain->virtio_consoles[0].log_path, "/l");
  EXPECT_THAT(errors(with_devices("<serial type='pty'><log append='on'/></serial>")),
              ElementsAre(HasSubstr("<log>: names no file")));
}

TEST(DomainSerial, ALogThatOnlyTheConsoleNamesIsToldOf) {
  const std::string serial = "<serial type='pty'><log file='a'/></serial>";
  EXPECT_THAT(warnings(with_devices(serial + "<console type='pty'><log file='a' append='off'/></console>")),
              ::testing::IsEmpty());
  EXPECT_THAT(warnings(with_devices(serial + "<console type='pty'><log file='b'/></console>")),
              ElementsAre(HasSubstr("what it says of its own is left out")));
}

TEST(DomainSerial, IsAPseudoterminalByDefaultAsInLibvirt) {
  const auto found = serials("<serial/>");
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].backend, CharBackend::kPty);
  EXPECT_EQ(found[0].port, 0U);
}

TEST(DomainSerial, PortWithoutNumberIsTheFirstThatIsFree) {
  const auto found =
      serials("<serial type='null'/><serial type='null'><target port='1'/></serial><serial type='stdio'/>");
  ASSERT_THAT(found, SizeIs(3));
  EXPECT_EQ(found[0].port, 0U);
  EXPECT_EQ(found[1].port, 1U);
  EXPECT_EQ(found[2].port, 2U);
  EXPECT_EQ(found[2].backend, CharBackend::kStdio);
  const auto last = serials("<serial type='null'><target port='3'/></serial><serial type='stdio'/>");
  ASSERT_THAT(last, SizeIs(2));
  EXPECT_EQ(last[0].port, 0U);
  EXPECT_EQ(last[0].backend, CharBackend::kStdio);
  EXPECT_EQ(last[1].port, 3U);
}

TEST(DomainSerial, WhatMeansNothingToItsTypeIsToldOf) {
  const auto warnings_of = [](const std::string& type, const std::string& path) {
    const auto reading =
        with_devices("<serial type='" + type + "'><source" + path + " append='on' mode='bind'/></serial>");
    EXPECT_TRUE(reading.domain) << type;
    return warnings(reading);
  };
  const auto append = HasSubstr("append='on'>: has a meaning only with type='file'");
  const auto mode = HasSubstr("mode='bind'>: has a meaning only with type='unix'");
  for (const std::string type : {"stdio", "null"}) {
    EXPECT_THAT(warnings_of(type, ""), ElementsAre(append, mode));
    EXPECT_THAT(warnings_of(type, " path='/x'"),
                ElementsAre(append, mode, HasSubstr("path='/x'>: has a meaning only with type='file' or")));
  }
  EXPECT_THAT(warnings_of("pty", " path='/dev/pts/1'"), ElementsAre(append, mode));
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

TEST(DomainSerial, ConsoleBesideADebugConsoleIsASerialPort) {
  const auto reading =
      with_devices("<serial type='null'><target type='isa-debug'/></serial><console type='stdio'/>");
  ASSERT_TRUE(reading.domain);
  EXPECT_TRUE(reading.domain->debug_console);
  ASSERT_THAT(reading.domain->serials, SizeIs(1));
  EXPECT_EQ(reading.domain->serials[0].backend, CharBackend::kStdio);
}

TEST(DomainSerial, ConsoleThatSaysAnotherEndThanItsPortIsTold) {
  const auto warnings_of = [](const std::string& console) {
    return warnings(with_devices("<serial type='file'><source path='a'/></serial>\n" + console));
  };
  const auto told = HasSubstr("guest.xml:9: warning: <console>: is the <serial> of line 8 seen again");
  EXPECT_THAT(warnings_of("<console type='file'><source path='b'/></console>"), ElementsAre(told));
  EXPECT_THAT(warnings_of("<console type='pty'/>"), ElementsAre(told));
  EXPECT_THAT(warnings_of("<console type='file'><source path='./a'/></console>"), ElementsAre(told));
  EXPECT_THAT(warnings_of("<console type='file'><source path='a' append='on'/></console>"),
              ElementsAre(told));
  EXPECT_THAT(warnings_of("<console type='file'><source path='a'/></console>"), IsEmpty());
  EXPECT_THAT(warnings_of("<console type='file'><source path='a' append='off' mode='bind'/></console>"),
              IsEmpty());
  EXPECT_THAT(warnings_of("<console/>"), IsEmpty());
  EXPECT_THAT(errors(with_devices("<serial type='pty'/>\n<console type='file'/>")), IsEmpty());
}

TEST(DomainSerial, OtherConsolesAreRefused) {
  EXPECT_THAT(errors(with_devices("<console/>\n<console/>")),
              ElementsAre(HasSubstr("guest.xml:9: <console>: only the first")));
  EXPECT_THAT(errors(with_devices("<console type='pty'><address type='pci' slot='3'/></console>")),
              ElementsAre(HasSubstr("<console>/<address type='pci'>: vmm places its consoles itself")));
  EXPECT_THAT(errors(with_devices("<console type='pty'><address type='virtio-serial'/></console>")),
              ElementsAre(HasSubstr("<console>/<address>: COM ports stand where PCs have them")));
}

TEST(DomainConsole, OfVirtioIsADeviceOfItsOwnInTheOrderOfTheFile) {
  const auto reading = with_devices(
      "<console type='unix'><source path='a'/><target type='virtio' port='3'/>"
      "<address type='virtio-serial' controller='0' bus='0' port='1'/></console>"
      "<serial type='stdio'/>"
      "<console type='stdio'><target type='serial' port='0'/></console>"
      "<console type='file'><source path='b' append='on'/><target type='virtio' port='1'/><alias "
      "name='c'/></console>"
      "<controller type='virtio-serial' index='0' ports='16'><address type='pci' slot='9'/></controller>");
  EXPECT_THAT(reading.diagnostics, IsEmpty());
  ASSERT_TRUE(reading.domain);
  ASSERT_THAT(reading.domain->serials, SizeIs(1));
  EXPECT_EQ(reading.domain->serials[0].backend, CharBackend::kStdio);
  const auto& consoles = reading.domain->virtio_consoles;
  ASSERT_THAT(consoles, SizeIs(2));
  EXPECT_EQ(consoles[0].backend, CharBackend::kUnix);
  EXPECT_EQ(consoles[0].path, "/images/a");
  EXPECT_EQ(consoles[0].port, 0U);
  EXPECT_EQ(consoles[1].backend, CharBackend::kFile);
  EXPECT_TRUE(consoles[1].append);
  EXPECT_EQ(consoles[1].port, 1U);
  EXPECT_EQ(consoles[1].alias, "c");
}

TEST(DomainConsole, OfVirtioAloneBringsNoSerialPort) {
  const auto reading = with_devices("<console type='null'><target type='virtio'/></console>");
  ASSERT_TRUE(reading.domain);
  EXPECT_THAT(reading.domain->serials, IsEmpty());
  EXPECT_THAT(reading.domain->virtio_consoles, SizeIs(1));
}

TEST(DomainConsole, OfVirtioHasItsLimits) {
  std::string many;
  for (uint32_t i = 0; i <= kMaxVirtioConsoles; ++i) {
    many += "<console type='null'><target type='virtio'/></console>\n";
  }
  EXPECT_THAT(errors(with_devices(many)),
              ElementsAre(HasSubstr("guest.xml:16: <console>: more than 8 consoles of virtio")));
  EXPECT_THAT(
      errors(with_devices("<serial type='stdio'/>\n<console type='stdio'><target type='virtio'/></console>")),
      ElementsAre(HasSubstr("guest.xml:9: <console type='stdio'>: the port of line 8 has the terminal")));
  EXPECT_THAT(
      errors(with_devices("<console type='file'><source path='l'/><target type='virtio'/></console>\n"
                          "<console type='file'><source path='l'/><target type='virtio'/></console>")),
      ElementsAre(HasSubstr("guest.xml:9: <console>/<source>: the port of line 8 leads to")));
}

TEST(DomainDebugConsole, IsNoSerialPort) {
  const auto reading = with_devices(
      "<serial type='stdio'><target port='0'/></serial>"
      "<serial type='file'><source path='firmware.log'/><target type='isa-debug' port='1'>"
      "<model name='isa-debugcon'/></target><address type='isa' iobase='0xe9'/></serial>");
  EXPECT_THAT(reading.diagnostics, IsEmpty());
  ASSERT_TRUE(reading.domain && reading.domain->debug_console);
  EXPECT_THAT(reading.domain->serials, SizeIs(1));
  EXPECT_EQ(reading.domain->debug_console->port, 0xe9);
  EXPECT_EQ(reading.domain->debug_console->end.backend, CharBackend::kFile);
  EXPECT_EQ(reading.domain->debug_console->end.path, "/images/firmware.log");
}

TEST(DomainDebugConsole, IsWhereFirmwarePrintsAndTakesNoPlaceOfAComPort) {
  const auto reading =
      with_devices("<serial type='null'><target type='isa-debug'/></serial><serial type='null'/>");
  ASSERT_TRUE(reading.domain && reading.domain->debug_console);
  EXPECT_EQ(reading.domain->debug_console->port, 0x402);
  ASSERT_THAT(reading.domain->serials, SizeIs(1));
  EXPECT_EQ(reading.domain->serials[0].port, 0U);
  EXPECT_TRUE(
      with_devices("<serial type='null'/><serial type='null'/><serial type='null'/><serial type='null'/>"
                   "<serial type='null'><target type='isa-debug'/></serial>")
          .domain);
}

TEST(DomainDebugConsole, MistakesAreRefused) {
  const std::string debug = "<serial type='null'><target type='isa-debug'/>";
  for (const auto& [devices, message] : std::vector<std::pair<std::string, std::string>>{
           {debug + "<address type='isa' iobase='0xc000'/></serial>", "give a port below 0xc000"},
           {debug + "<address type='isa' iobase='x'/></serial>", "give a port below 0xc000"},
           {debug + "<address type='pci' slot='3'/></serial>", "<serial>/<address type='pci'>"},
           {fmt::format("{0}</serial>\n{0}</serial>", debug),
            "guest.xml:9: <serial>: more than one debug console"},
           {"<serial type='null'><target type='isa-debug'><model name='isa-serial'/></target></serial>",
            "does not go with <target type='isa-debug'>"},
           {"<serial type='null'><target><model name='isa-debugcon'/></target></serial>",
            "does not go with <target type='isa-serial'>"},
           {"<serial type='null'><address type='isa' iobase='0x3f8'/></serial>", "use <target port=…/>"},
           {"<serial type='stdio'/>\n<serial type='stdio'><target type='isa-debug'/></serial>",
            "guest.xml:9: <serial type='stdio'>: the port of line 8 has the terminal"}}) {
    EXPECT_THAT(errors(with_devices(devices)), ElementsAre(HasSubstr(message))) << devices;
  }
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
        "<serial type='null'><protocol type='telnet'/></serial>"}) {
    EXPECT_THAT(errors(with_devices(serial)), ElementsAre(HasSubstr("guest.xml:8: <serial"))) << serial;
  }
  EXPECT_THAT(
      errors(with_devices("<serial type='unix'><source path='/" + std::string(108, 'x') + "'/></serial>")),
      ElementsAre(HasSubstr("at most 107 bytes")));
  EXPECT_THAT(errors(with_devices("<serial/>\n<serial/>\n<serial/>\n<serial/>\n<serial/>")),
              ElementsAre(HasSubstr("guest.xml:12: <serial>: more than 4 serial ports")));
}

TEST(DomainDevices, HarmlessOnesAreLeftOutWithOneWarningForEachReason) {
  const auto reading = with_devices(
      "<emulator>/usr/bin/qemu-system-x86_64</emulator>\n"
      "<controller type='usb' index='0' model='qemu-xhci' ports='15'><address type='pci' "
      "slot='7'/></controller>\n"
      "<controller type='pci' index='0' model='pci-root'/>\n"
      "<input type='tablet' bus='usb'><address type='usb' bus='0' port='1'/></input>\n"
      "<input type='keyboard' bus='ps2'/><input type='mouse' bus='ps2'/><controller type='usb' index='1'/>\n"
      "<graphics type='spice' autoport='yes'><listen type='address'/></graphics>\n"
      "<video><model type='qxl' ram='65536'/></video>\n"
      "<memballoon model='virtio'><stats period='5'/></memballoon>\n"
      "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>\n"
      "<sound model='ich6'/>");
  EXPECT_TRUE(reading.domain);
  EXPECT_THAT(warnings(reading), ElementsAre(HasSubstr("guest.xml:9: warning: <controller type='usb'>"),
                                             HasSubstr("guest.xml:11: warning: <input type='tablet'>"),
                                             HasSubstr("guest.xml:13: warning: <graphics>"),
                                             HasSubstr("guest.xml:15: warning: <memballoon>/<stats>"),
                                             HasSubstr("guest.xml:16: warning: <channel>"),
                                             HasSubstr("guest.xml:17: warning: <sound>")));
  EXPECT_THAT(warnings(with_devices("<input type='mouse' bus='ps2'/>")),
              ElementsAre(HasSubstr("<input type='mouse'>: there is no screen to point at")));
  EXPECT_THAT(testing::lines(reading, Severity::kNote),
              ElementsAre("guest.xml:8: note: <emulator>: vmm is the emulator"));
}

}  // namespace
}  // namespace vmm::domain
