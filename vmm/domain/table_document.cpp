#include "vmm/domain/table_document.h"

#include <fmt/format.h>

#include <string_view>

#include "vmm/domain/domain.h"
#include "vmm/domain/element_table.h"
#include "vmm/domain/load.h"
#include "vmm/domain/setting_table.h"
#include "vmm/domain/xml_scan.h"

namespace vmm::domain {

namespace {

constexpr std::string_view kIntroduction = R"(# The domain file

`vmm` reads libvirt's domain XML (<https://libvirt.org/formatdomain.html>). Elements and attributes have libvirt's
meaning and defaults, or they are refused; none is guessed, and none is dropped without a word.

This page is written by the program out of its table (`vmm/domain/element_table.cpp`); a test keeps the two the same
(run `domain_tests` once with `VMM_UPDATE_DOCUMENTS=1` after a change).

- **done**: has its meaning.
- **silent**: says nothing about the guest, and is passed over.
- **harmless**: is left out, with one warning that names the line; the guest runs.
- **refused**: leaving it out would change what the file means. The run ends with status 2 and one sentence for each such
  place, all of a file in one run.

Names that the table does not have are refused, with the nearest name that it has. Elements with a prefix
(`qemu:commandline`) are refused outside of `<metadata>`. In it, elements of the namespace `urn:vmm:domain:1` (any prefix; `vmm:`
below) are vmm's own: `<metadata><vmm:exit xmlns:vmm='urn:vmm:domain:1' port='0xf4'/></metadata>`.

Added to libvirt's format: paths of kernels, images, logs and sockets may be relative; they are taken relative to the folder
of the file. libvirt's own choices are kept where they surprise: a disk without `<driver type=…>` is raw, sizes are in KiB
and rounded up to whole MiB, a serial port without a type is a pseudoterminal, the first `<console>` is the first
`<serial>` seen again, and without `<features><acpi/>` the guest has no ACPI. Without `<cpu>`, which libvirt leaves to the
hypervisor, the guest has the host's.

)";

std::string_view answer_name(const Rule& rule) {
  switch (rule.answer) {
    case Answer::kDone:
      return "done";
    case Answer::kSkipped:
      return "silent";
    case Answer::kHarmless:
    case Answer::kLeftOut:
      return rule.remark.empty() ? "silent" : "harmless";
    case Answer::kRefused:
      break;
  }
  return "refused";
}

// "|" ends a cell of a table in Markdown.
std::string cell(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '|') {
      result += "\\|";
    } else {
      result += c;
    }
  }
  return result;
}

std::string subject(const Rule& rule) {
  const std::string place = display_path(rule.path);
  if (rule.attribute.empty()) {
    return fmt::format("`{}`", place);
  }
  const std::string name = rule.attribute == kTextOf ? "text" : fmt::format("`{}`", cell(rule.attribute));
  return rule.value.empty() ? name : fmt::format("{} `{}`", name, cell(rule.value));
}

std::string limits() {
  return fmt::format(
      "## Limits\n\n"
      "A file of {} KiB, {} elements within each other, {} attributes of one element, {} KiB in one "
      "attribute; UTF-8, without\n"
      "DOCTYPE. {} vCPUs, {} MiB to {} TiB of memory, {} I/O threads, {} serial ports, {} disks on `pc` and "
      "{} on `microvm`,\n"
      "queues of {}.\n\n",
      kMaxFileBytes / 1024, kMaxDepth, kMaxAttributes, kMaxValueBytes / 1024, kMaxVcpus,
      kMinMemoryBytes >> 20, kMaxMemoryBytes >> 40, kMaxIoThreads, kMaxSerialPorts, kMaxPcDisks,
      kMaxMicrovmDisks, kMaxQueueSize);
}

constexpr std::string_view kSettingsIntroduction = R"(
## `--print`

`vmm --domain FILE --print` prints the effective domain and runs nothing: the defaults in sight, complete paths, what is left out
left out, what `--set` and `--ephemeral` change changed. One domain has one such text, which vmm reads back as the same domain, and
which follows libvirt's schema. That schema is narrower than libvirt itself for some texts, which are printed as they
are: serial numbers, aliases, time zones, a `rebootTimeout` above 32767; and it has `<dataStore>` since libvirt 10.10. What vmm
has and libvirt has not is in vmm's namespace in `<metadata>` (`<vmm:exit>`), where the schema takes anything. What other programs
keep in `<metadata>` is not printed.

## `--set`

`--set PATH=VALUE`, any number of them, is another value for one run, with `--print` too. The value is checked as if it stood in the
file, and messages name the option in place of a line. Without a value (`disk.hdc.source=`) what the file says is taken away,
and the default holds. Relative paths are taken relative to the current folder. In `disk.vda.…` is the disk's
`<target dev='vda'/>`; `serial.0` is COM1.

| path | is | value |
|---|---|---|
)";

// "`on`, `off`", or what the table says of a value that is not one of a few.
std::string values_of(const SettingRule& setting) {
  const auto rules = rules_of(setting.element);
  const auto values = known_values(rules, setting.attribute);
  std::string result;
  for (const std::string_view value : values) {
    result += fmt::format("{}`{}`", result.empty() ? "" : ", ", value);
  }
  for (const Rule& rule : rules) {
    const bool is_any =
        !setting.attribute.empty() && rule.attribute == setting.attribute && rule.value.empty();
    if (is_any && rule.answer == Answer::kDone) {
      result += rule.remark;
    }
  }
  return setting.kind == SettingKind::kSwitch ? "`yes`, `no`" : result;
}

std::string setting_row(const SettingRule& setting) {
  const std::string place = display_path(setting.element);
  const std::string is = setting.attribute.empty() || setting.attribute == kTextOf
                             ? place
                             : fmt::format("{} {}=", place, setting.attribute);
  const std::string values = values_of(setting);
  return fmt::format("| `{}` | `{}` | {}{}{} |\n", setting.path, is, values,
                     values.empty() || setting.remark.empty() ? "" : "; ", setting.remark);
}

}  // namespace

std::string table_document() {
  std::string result(kIntroduction);
  result += limits();
  result += "## The table\n\n| what | answer | |\n|---|---|---|\n";
  for (const Rule& rule : element_table()) {
    result += fmt::format("| {} | {} | {} |\n", subject(rule), answer_name(rule), cell(rule.remark));
  }
  result += kSettingsIntroduction;
  for (const SettingRule& setting : setting_table()) {
    result += setting_row(setting);
  }
  return result;
}

}  // namespace vmm::domain
