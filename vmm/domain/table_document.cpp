#include "vmm/domain/table_document.h"

#include <fmt/format.h>

#include <string_view>

#include "vmm/domain/domain.h"
#include "vmm/domain/element_table.h"
#include "vmm/domain/load.h"
#include "vmm/domain/setting_document.h"
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
- **harmless**: is left out, with one warning that names the line; the guest runs. Screens, sound, USB and pointers have one
  warning for all of a kind.
- **refused**: leaving it out would change what the file means. The run ends with status 2 and one sentence for each such
  place, all of a file in one run.

Names that the table does not have are refused, with the nearest name that it has. An element that is refused as a whole, with
what stands in it, is not looked into: the disk of `<disk type='network'>`, say. Elements with a prefix
(`qemu:commandline`) are refused outside of `<metadata>`. In it, elements of the namespace `urn:vmm:domain:1` (any prefix; `vmm:`
below) are vmm's own: `<metadata><vmm:exit xmlns:vmm='urn:vmm:domain:1' port='0xf4'/></metadata>`.

Added to libvirt's format: paths of kernels, images, logs and sockets may be relative (libvirt's schema wants them
absolute, which `--print` makes them); they are taken relative to the folder of the file. A domain without
`<boot>` boots its first disk alone, as in libvirt; one without disks, which libvirt would not boot, its first disc.
`<portForward>` is there without passt, too. libvirt's own choices are kept where they surprise: the disks of a bus stand in the order of their names, a disk without `<driver type=…>` is raw, sizes are in KiB
and rounded up to whole MiB, a serial port without a type is a pseudoterminal, the first `<console>` is the first
`<serial>` seen again, and without `<features><acpi/>` the guest has no ACPI. Without `<cpu>`, or without a model in it, which libvirt
leaves to the hypervisor, the guest has the host's.

)";

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

}  // namespace

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

std::string limits_of_file() {
  return fmt::format(
      "A file of {} KiB, {} elements within each other, {} attributes of one element, {} KiB in one "
      "attribute; UTF-8, without\n"
      "DOCTYPE. {} vCPUs, {} MiB to {} TiB of memory, {} I/O threads, {} serial ports, {} disks on `pc` and "
      "{} on `microvm`,\n"
      "queues of {}.\n",
      kMaxFileBytes / 1024, kMaxDepth, kMaxAttributes, kMaxValueBytes / 1024, kMaxVcpus,
      kMinMemoryBytes >> 20, kMaxMemoryBytes >> 40, kMaxIoThreads, kMaxSerialPorts, kMaxPcDisks,
      kMaxMicrovmDisks, kMaxQueueSize);
}

std::string table_document() {
  std::string result(kIntroduction);
  result += "## Limits\n\n" + limits_of_file() + "\n";
  result += "## The table\n\n| what | answer | |\n|---|---|---|\n";
  for (const Rule& rule : element_table()) {
    result += fmt::format("| {} | {} | {} |\n", subject(rule), answer_name(rule), cell(rule.remark));
  }
  return result + setting_document();
}

}  // namespace vmm::domain
