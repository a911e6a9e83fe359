// The table itself, row by row: what it promises is what a file gets.
#include "vmm/domain/element_table.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "tests/unit/domain/domain_text.h"
#include "vmm/domain/table_document.h"
#include "vmm/domain/table_manual.h"

namespace vmm::domain {
namespace {

using ::testing::IsEmpty;
using testing::read;

constexpr int kLeafLine = 3;

std::vector<std::string> parts_of(std::string_view path) {
  std::vector<std::string> parts;
  if (path != "domain") {
    std::istringstream stream{std::string(path)};
    for (std::string part; std::getline(stream, part, '/');) {
      parts.push_back(part == "*" ? "disk" : part);
    }
  }
  return parts;
}

// A file in which the element of the row has the row's attribute with that value. It stands in line
// kLeafLine, and the elements around it in the one before.
std::string file_with(const Rule& rule, const std::string& value) {
  const auto parts = parts_of(rule.path);
  const std::string attribute(rule.attribute.substr(0, rule.attribute.find('|')));
  const bool is_text = rule.attribute == kTextOf;
  const std::string leaf_attribute =
      attribute.empty() || is_text ? std::string() : fmt::format(" {}='{}'", attribute, value);
  if (parts.empty()) {
    return fmt::format("\n\n<domain{}></domain>", leaf_attribute);
  }
  std::string text = "<domain>\n";
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    text += fmt::format("<{}>", parts[i]);
  }
  text += fmt::format("\n<{0}{1}>{2}</{0}>\n", parts.back(), leaf_attribute, is_text ? value : "");
  for (size_t i = parts.size() - 1; i > 0; --i) {
    text += fmt::format("</{}>", parts[i - 1]);
  }
  return text + "</domain>";
}

std::vector<std::string> values_of(const Rule& rule) {
  std::vector<std::string> values;
  std::istringstream stream{std::string(rule.attribute.empty() ? "" : rule.value)};
  for (std::string value; std::getline(stream, value, '|');) {
    values.push_back(value.ends_with('*') ? value.substr(0, value.size() - 1) + "7.2" : value);
  }
  return values.empty() ? std::vector<std::string>{"other"} : values;
}

bool says(const Reading& reading, Severity severity, int line, std::string_view text) {
  return std::any_of(reading.diagnostics.begin(), reading.diagnostics.end(), [&](const Diagnostic& each) {
    return each.severity == severity && each.line == line && each.text.find(text) != std::string::npos;
  });
}

std::string all_lines(const Reading& reading) {
  std::string result;
  for (const Diagnostic& each : reading.diagnostics) {
    result += to_line(each) + "\n";
  }
  return result;
}

TEST(ElementTable, WhatIsRefusedIsRefusedOnItsLineWithItsAdvice) {
  for (const Rule& rule : element_table()) {
    if (rule.answer != Answer::kRefused) {
      continue;
    }
    for (const std::string& value : values_of(rule)) {
      const auto text = file_with(rule, value);
      const auto reading = read(text);
      EXPECT_FALSE(reading.domain);
      EXPECT_TRUE(says(reading, Severity::kError, kLeafLine, rule.remark)) << text << "\n"
                                                                           << all_lines(reading);
    }
  }
}

TEST(ElementTable, WhatIsLeftOutIsAWarningOnItsLine) {
  for (const Rule& rule : element_table()) {
    if ((rule.answer != Answer::kHarmless && rule.answer != Answer::kLeftOut) || rule.remark.empty()) {
      continue;
    }
    for (const std::string& value : values_of(rule)) {
      const auto text = file_with(rule, value);
      const auto reading = read(text);
      EXPECT_TRUE(says(reading, Severity::kWarning, kLeafLine, rule.remark)) << text << "\n"
                                                                             << all_lines(reading);
    }
  }
}

// Two attributes of one element: what one leaves out does not undo what the other refuses.
TEST(ElementTable, WhatIsRefusedIsNotLeftOut) {
  for (const Rule& refused : element_table()) {
    if (refused.answer != Answer::kRefused || refused.attribute.empty() || refused.attribute == kTextOf ||
        refused.path == "domain") {
      continue;
    }
    for (const Rule& left_out : rules_of(refused.path)) {
      if (left_out.answer != Answer::kLeftOut || left_out.attribute == refused.attribute) {
        continue;
      }
      const auto attribute = [](const Rule& rule) {
        return fmt::format(" {}='{}'", rule.attribute.substr(0, rule.attribute.find('|')),
                           values_of(rule).front());
      };
      for (const std::string& attributes :
           {attribute(refused) + attribute(left_out), attribute(left_out) + attribute(refused)}) {
        std::string text = file_with(*rules_of(refused.path).data(), "");
        const std::string name = parts_of(refused.path).back();
        text.insert(text.find("\n<" + name) + name.size() + 2, attributes);
        const auto reading = read(text);
        EXPECT_TRUE(says(reading, Severity::kError, kLeafLine, refused.remark)) << text << all_lines(reading);
        EXPECT_FALSE(says(reading, Severity::kWarning, kLeafLine, ""));
      }
    }
  }
}

// Of libvirt's own names, what a dump or virt-manager may hold, and the answer.
TEST(ElementTable, KnowsWhatLibvirtWrites) {
  struct Case {
    const char* others;
    const char* devices;
    const char* answer;  // what an error or a warning says; empty: neither
  };
  for (const Case& each : {
           Case{"", "<disk><driver discard_no_unref='off'/><source file='a'/><target dev='vda'/></disk>", ""},
           Case{"", "<disk><driver discard_no_unref='on'/><source file='a'/><target dev='vda'/></disk>",
                "is free for other data"},
           Case{"<iothreadids><iothread id='1'><poll min='1' max='9' grow='2' "
                "shrink='2'/></iothread></iothreadids>",
                "", "waits as vmm has it"},
           Case{"<clock offset='absolute' start='0'/>", "", "offset='absolute'>: not there"},
           Case{"<throttlegroups><throttlegroup/></throttlegroups>", "", "do not share limits"},
           Case{"", "<controller type='ide' model='piix3'/>", ""},
           Case{"", "<controller type='sata' index='0' ports='6'/>", ""},
           Case{"",
                "<console type='unix'><source path='c' mode='connect'><reconnect "
                "enabled='no'/></source></console>",
                ""},
           Case{"",
                "<console type='unix'><source path='c' mode='connect'><reconnect enabled='yes' "
                "timeout='9'/></source></console>",
                "then the other side may come and go"},
           Case{"", "<input type='passthrough' bus='virtio'><source evdev='/dev/input/event1'/></input>",
                "are not passed on"},
       }) {
    const testing::DomainText text = {.others = each.others, .devices = each.devices};
    const auto reading = read(text);
    if (std::string_view(each.answer).empty()) {
      EXPECT_TRUE(reading.domain && reading.diagnostics.empty()) << text.text() << all_lines(reading);
    } else {
      EXPECT_EQ(reading.diagnostics.size(), 1U) << all_lines(reading);
      EXPECT_THAT(all_lines(reading), ::testing::HasSubstr(each.answer));
    }
  }
  for (const char* const features : {"<acpi/><ps2 state='on'/>", "<acpi/><ps2 state='off'/>"}) {
    EXPECT_TRUE(
        read(testing::DomainText{.features = fmt::format("<features>{}</features>", features)}).domain);
  }
  EXPECT_TRUE(
      read(testing::DomainText{
               .os = "<os><type>hvm</type><loader stateless='yes' format='raw' type='rom'>/b</loader></os>"})
          .domain);
}

TEST(ElementTable, EveryValueThatIsDoneIsKnownToTheReaders) {
  for (const Rule& rule : element_table()) {
    if (rule.answer == Answer::kRefused || rule.attribute.empty() || rule.value.empty()) {
      continue;
    }
    for (const std::string& value : values_of(rule)) {
      const auto reading = read(file_with(rule, value));
      EXPECT_FALSE(says(reading, Severity::kError, kLeafLine, "not a value that vmm knows"))
          << rule.path << " " << value;
      EXPECT_FALSE(says(reading, Severity::kError, kLeafLine, value + "'>: unknown"))
          << rule.path << " " << value;
    }
  }
}

TEST(ElementTable, EveryRowCanBeReached) {
  std::set<std::string> seen;
  for (const Rule& rule : element_table()) {
    const auto key = fmt::format("{}|{}|{}", rule.path, rule.attribute, rule.value);
    EXPECT_TRUE(seen.insert(key).second) << key << " stands twice";
    const auto rules = rules_of(rule.path);
    ASSERT_FALSE(rules.empty());
    EXPECT_TRUE(rules.front().attribute.empty()) << rule.path << ": the element's own row is not the first";
    const bool is_within = &rule >= rules.data() && &rule < rules.data() + rules.size();
    EXPECT_TRUE(is_within) << key << " stands apart from the other rows of its path";
    const auto slash = rule.path.rfind('/');
    if (slash != std::string_view::npos && rule.path.find('*') == std::string_view::npos) {
      const auto parent = rules_of(rule.path.substr(0, slash));
      ASSERT_FALSE(parent.empty()) << rule.path << " has no parent";
      EXPECT_EQ(parent.front().answer, Answer::kDone) << rule.path << ": its parent is never looked into";
    }
  }
}

TEST(ElementTable, WhatIsNotDoneSaysWhy) {
  for (const Rule& rule : element_table()) {
    if (rule.answer == Answer::kRefused || rule.answer == Answer::kHarmless) {
      EXPECT_FALSE(rule.remark.empty()) << rule.path << " " << rule.attribute;
    }
  }
}

TEST(NearestName, IsASlipOfThePenAway) {
  const std::vector<std::string_view> names = {"disk", "devices", "memory", "memoryBacking", "os"};
  EXPECT_EQ(nearest_name("dsik", names), "disk");
  EXPECT_EQ(nearest_name("device", names), "devices");
  EXPECT_EQ(nearest_name("memorybacking", names), "memoryBacking");
  EXPECT_EQ(nearest_name("colour", names), "");
  EXPECT_EQ(nearest_name("", names), "");
  EXPECT_EQ(nearest_name(std::string(100'000, 'd'), names), "");
}

// VMM_UPDATE_DOCUMENTS=1 writes the document anew.
void expect_document(const std::string& path, const std::string& wanted) {
  if (std::getenv("VMM_UPDATE_DOCUMENTS") != nullptr) {
    std::ofstream(path) << wanted;
  }
  std::stringstream document;
  document << std::ifstream(path).rdbuf();
  EXPECT_EQ(document.str(), wanted) << "run this test once with VMM_UPDATE_DOCUMENTS=1";
}

TEST(ElementTable, IsWhatTheDocumentShows) { expect_document(VMM_DOMAIN_DOCUMENT, table_document()); }

TEST(ElementTable, IsWhatTheManualPageShows) { expect_document(VMM_DOMAIN_MANUAL, table_manual()); }

}  // namespace
}  // namespace vmm::domain
