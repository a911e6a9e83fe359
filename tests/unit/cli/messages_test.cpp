#include "vmm/cli/messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmm::cli {
namespace {

using domain::Diagnostic;
using domain::Severity;

Diagnostic message(Severity severity, std::string text) {
  return {.severity = severity, .file = "guest.xml", .line = 14, .text = std::move(text)};
}

TEST(Messages, TextSaysTheSeverityOfWhatIsNoError) {
  EXPECT_EQ(text_of_message(message(Severity::kError, "<vcpu>: 0; give at least 1"), false),
            "vmm: guest.xml:14: <vcpu>: 0; give at least 1");
  EXPECT_EQ(text_of_message(message(Severity::kWarning, "<video>: none"), false),
            "vmm: warning: guest.xml:14: <video>: none");
}

TEST(Messages, ColoursChangeNoLetter) {
  for (const char* text : {"<vcpu>: 0; give at least 1", "no element; a hint", "plain", ""}) {
    for (const Severity severity : {Severity::kError, Severity::kWarning, Severity::kNote}) {
      std::string line = text_of_message(message(severity, text), true);
      EXPECT_NE(line.find('\x1b'), std::string::npos);
      for (size_t at = line.find('\x1b'); at != std::string::npos; at = line.find('\x1b')) {
        line.erase(at, line.find('m', at) + 1 - at);
      }
      EXPECT_EQ(line, text_of_message(message(severity, text), false));
    }
  }
}

TEST(Messages, ATerminalObeysOnlyOurColours) {
  EXPECT_EQ(text_of_message({Severity::kError, "a\x1b.xml", 0, "no \x1b[2Jfile"}, false),
            "vmm: a?.xml: no ?[2Jfile");
}

TEST(Messages, JsonIsOneLineWithTheSameMembersAlways) {
  EXPECT_EQ(json_of_message(message(Severity::kError, "<disk>/<target bus='usb'>: no \"USB\"; use\n'ide'")),
            R"({"severity":"error","file":"guest.xml","line":14,"element":"<disk>/<target bus='usb'>",)"
            R"("message":"no \"USB\"","hint":"use\n'ide'"})");
  EXPECT_EQ(json_of_message({Severity::kNote, "", 0, "the guest ended"}),
            R"({"severity":"note","file":"","line":0,"element":"","message":"the guest ended","hint":""})");
}

TEST(Messages, JsonIsUtf8WhateverAFileIsCalled) {
  EXPECT_EQ(json_of_message({Severity::kError, "\xff.xml", 0, "x"}),
            "{\"severity\":\"error\",\"file\":\"\xef\xbf\xbd.xml\",\"line\":0,\"element\":\"\",\"message\":"
            "\"x\",\"hint\":\"\"}");
}

}  // namespace
}  // namespace vmm::cli
