#include "vmm/domain/table_manual.h"

#include <fmt/format.h>

#include <string_view>

#include "vmm/domain/element_table.h"
#include "vmm/domain/table_document.h"

namespace vmm::domain {

namespace {

constexpr std::string_view kHead =
    R"(.\" Made out of vmm/domain/element_table.cpp; what is wrong in it is mended there.
.TH VMM\-DOMAIN 5 "" "vmm" "File formats"
.ad l
.nh
.SH NAME
vmm\-domain \- the file that describes a guest of vmm
.SH DESCRIPTION
.BR vmm (1)
reads libvirt's domain XML (https://libvirt.org/formatdomain.html). Elements and attributes have libvirt's meaning and
defaults, or they are refused; none is guessed, and none is dropped without a word.
.PP
.RS 2
.EX
<domain type=\(aqkvm\(aq>
  <name>guest</name>
  <memory unit=\(aqMiB\(aq>1024</memory>
  <os>
    <type arch=\(aqx86_64\(aq machine=\(aqpc\(aq>hvm</type>
  </os>
  <features>
    <acpi/>
  </features>
  <devices>
    <disk type=\(aqfile\(aq>
      <driver name=\(aqqemu\(aq type=\(aqqcow2\(aq/>
      <source file=\(aqguest.qcow2\(aq/>
      <target dev=\(aqvda\(aq bus=\(aqvirtio\(aq/>
    </disk>
    <serial type=\(aqstdio\(aq/>
  </devices>
</domain>
.EE
.RE
.PP
.B vmm \-\-print\-example
prints this and others with comments;
.B vmm \-\-domain FILE \-\-check
says all that is wrong with one.
.PP
Relative paths are taken relative to the folder of the file. A disk without
.B <driver type=\|.\|.\|.>
is raw, sizes are in KiB and rounded up to whole MiB, a serial port without a type is a pseudoterminal, the first
.B <console>
is the first
.B <serial>
seen again, and without
.B <features><acpi/>
the guest has no ACPI. Without
.B <cpu>
the guest has the host's. Elements with a prefix are for other programs, and stand in
.BR <metadata> ;
there those of the namespace
.B urn:vmm:domain:1
are vmm's own.
)";

constexpr std::string_view kElements = R"(.SH ELEMENTS
.B done
has its meaning;
.B silent
says nothing about the guest, and is passed over;
.B harmless
is left out, with a warning that names the line;
.B refused
keeps the guest from starting, since leaving it out would change what the file means. What is not here is refused,
with the nearest name that is.
)";

constexpr std::string_view kTail = R"(.SH SEE ALSO
.BR vmm (1),
.BR vmm\-img (1),
https://libvirt.org/formatdomain.html
)";

// Letters that roff reads otherwise, and places where a long list may be broken.
std::string roff(std::string_view text) {
  constexpr std::string_view kEllipsis = "…";
  std::string result = text.starts_with('.') ? "\\&" : "";
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i).starts_with(kEllipsis)) {
      result += "\\|.\\|.\\|.";
      i += kEllipsis.size() - 1;
      continue;
    }
    switch (text[i]) {
      case '\\':
        result += "\\e";
        break;
      case '-':
        result += "\\-";
        break;
      case '\'':
        result += "\\(aq";
        break;
      case '|':
        result += "|\\:";
        break;
      default:
        result += text[i];
    }
  }
  return result;
}

std::string manual_answer(const Rule& rule) {
  return rule.remark.empty() ? std::string(answer_name(rule))
                             : fmt::format("{}: {}", answer_name(rule), roff(rule.remark));
}

std::string manual_entry(const Rule& rule) {
  if (rule.attribute.empty()) {
    return fmt::format(".TP\n.B {}\n{}\n", roff(display_path(rule.path)), manual_answer(rule));
  }
  const std::string name =
      rule.attribute == kTextOf ? "text" : fmt::format("\\fB{}\\fR", roff(rule.attribute));
  const std::string value = rule.value.empty() ? "" : fmt::format(" \\fI{}\\fR", roff(rule.value));
  return fmt::format(".br\n{}{}: {}\n", name, value, manual_answer(rule));
}

}  // namespace

std::string table_manual() {
  std::string result(kHead);
  result += ".SH LIMITS\n" + roff(limits_of_file());
  result += kElements;
  for (const Rule& rule : element_table()) {
    result += manual_entry(rule);
  }
  result += kTail;
  return result;
}

}  // namespace vmm::domain
