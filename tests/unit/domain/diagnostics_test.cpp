// Messages taken apart and put together again.
#include "vmm/domain/diagnostics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "tests/unit/domain/domain_text.h"
#include "vmm/domain/element_table.h"

namespace vmm::domain {
namespace {

using testing::DomainText;
using testing::read;

std::string together(const MessageParts& parts) {
  return std::string(parts.element) + (parts.element.empty() ? "" : ": ") + std::string(parts.message) +
         (parts.hint.empty() ? "" : "; ") + std::string(parts.hint);
}

void expect_parts(std::string_view text, std::string_view element, std::string_view message,
                  std::string_view hint) {
  const MessageParts parts = parts_of(text);
  EXPECT_EQ(parts.element, element) << text;
  EXPECT_EQ(parts.message, message) << text;
  EXPECT_EQ(parts.hint, hint) << text;
  EXPECT_EQ(together(parts), text);
}

TEST(MessagePartsOf, ElementMessageAndHint) {
  expect_parts("<disk>/<target bus='usb'>: vmm has no USB; use bus='ide'", "<disk>/<target bus='usb'>",
               "vmm has no USB", "use bus='ide'");
  expect_parts("<disk> vda: a.img: there is no such file; make it; or not", "<disk> vda",
               "a.img: there is no such file", "make it; or not");
  expect_parts("<vcpu>0: 1</vcpu>: give at least 1", "<vcpu>0", "1</vcpu>: give at least 1", "");
  expect_parts("<os>/<type>xen</type>: full virtual machines", "<os>/<type>xen</type>",
               "full virtual machines", "");
  expect_parts("<source file='a>: b; c'>: gone", "<source file='a>: b; c'>", "gone", "");
  expect_parts("malformed XML: a comment does not end", "", "malformed XML: a comment does not end", "");
  expect_parts("<?…?> stands elsewhere, remove it", "", "<?…?> stands elsewhere, remove it", "");
  expect_parts("<source file='it's>: b", "<source file='it's>", "b", "");
  expect_parts("<source file='a>: b", "", "<source file='a>: b", "");
  expect_parts("<", "", "<", "");
  expect_parts("", "", "", "");
}

// Whatever the table says can be told in its parts.
TEST(MessagePartsOf, NothingOfARealMessageIsLost) {
  for (const Rule& rule : element_table()) {
    const std::string text = display_path(rule.path) + ": " + std::string(rule.remark);
    EXPECT_EQ(parts_of(text).element, display_path(rule.path));
    EXPECT_EQ(together(parts_of(text)), text);
  }
}

TEST(DiagnosticOf, IsTheLineReadAgain) {
  for (const Diagnostic& each : {Diagnostic{Severity::kError, "guest.xml", 14, "<vcpu>: 0"},
                                 Diagnostic{Severity::kNote, "guest.xml", 0, "longer"},
                                 Diagnostic{Severity::kWarning, "", 0, "/dev/kvm is not there: load it"}}) {
    const Diagnostic again = diagnostic_of(each.severity, to_line_of_log(each), "guest.xml");
    EXPECT_EQ(again.severity, each.severity);
    EXPECT_EQ(again.file, each.file);
    EXPECT_EQ(again.line, each.line);
    EXPECT_EQ(again.text, each.text);
  }
}

TEST(DiagnosticOf, WhatOnlyBeginsLikeTheFileIsAboutNone) {
  for (const char* line :
       {"guest.xml.old: gone", "guest.xml:x: gone", "guest.xml:0: gone", "guest.xml:-1: gone",
        "guest.xml:99999999999: gone", "guest.xml", "guest.xml:12", ""}) {
    const Diagnostic found = diagnostic_of(Severity::kError, line, "guest.xml");
    EXPECT_EQ(found.file, "") << line;
    EXPECT_EQ(found.text, line);
  }
  EXPECT_EQ(diagnostic_of(Severity::kError, ":1: x", "").text, ":1: x");
}

TEST(AReading, WithErrorsHasWhatCouldBeRead) {
  const Reading reading =
      read(DomainText{.devices = "<disk><source file='a'/><target dev='vda'/></disk><hostdev/>"});
  EXPECT_FALSE(reading.domain);
  ASSERT_TRUE(reading.incomplete);
  ASSERT_EQ(reading.incomplete->disks.size(), 1U);
  EXPECT_EQ(reading.incomplete->disks.front().source, "/images/a");
  EXPECT_FALSE(read("<domain").incomplete);
  EXPECT_FALSE(read(DomainText{}).incomplete);
}

TEST(AReading, OfWarningsStrictMakesErrors) {
  Reading reading = read(DomainText{.others = "<cpu mode='host-passthrough'/>", .devices = "<video/>"});
  ASSERT_TRUE(reading.domain);
  EXPECT_EQ(testing::warnings(reading).size(), 1U);
  EXPECT_TRUE(take_domain(reading));
  make_errors_of_warnings(reading.diagnostics);
  EXPECT_TRUE(testing::warnings(reading).empty());
  const auto domain = take_domain(std::move(reading));
  ASSERT_FALSE(domain);
  EXPECT_EQ(domain.error().message(),
            "guest.xml:8: <video>: vmm has no screen; the serial console is the console");
  EXPECT_EQ(domain.error().kind(), ErrorKind::kConfiguration);
}

}  // namespace
}  // namespace vmm::domain
