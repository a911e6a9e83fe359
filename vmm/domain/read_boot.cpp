// <os> and <sysinfo>: what boots the guest, and what its firmware says of it.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include "vmm/domain/reader.h"

namespace vmm::domain {

namespace {

constexpr uint32_t kMostMilliseconds = 65535;
constexpr uint32_t kMenuMilliseconds = 3000;
constexpr size_t kMostCharacters = 64;

MachineType machine_type(std::string_view machine) {
  return machine == "microvm" ? MachineType::kMicrovm : MachineType::kPc;
}

void read_path(const ReadContext& context, const Element& os, std::string_view name,
               std::filesystem::path& path, int& line) {
  const Element* element = os.child(name);
  if (element == nullptr) {
    return;
  }
  line = element->line;
  if (element->text.empty()) {
    context.report.error(line, fmt::format("{}: empty; give a path", element->place));
    return;
  }
  path = context.complete(*element, element->text);
}

// <bios rebootTimeout='-1'/> says "never".
std::optional<uint32_t> reboot_timeout(const ReadContext& context, const Element& bios) {
  const Attribute* timeout = bios.attribute("rebootTimeout");
  if (timeout == nullptr || trimmed(timeout->value) == "-1") {
    return std::nullopt;
  }
  const auto value = parse_unsigned(timeout->value);
  if (!value || *value > kMostMilliseconds) {
    context.report.error(timeout->line, fmt::format("{}: give a whole number from -1, which is never, to {}",
                                                    bios.place_of(*timeout), kMostMilliseconds));
    return std::nullopt;
  }
  return static_cast<uint32_t>(*value);
}

void read_boot_devices(const ReadContext& context, const Element& element, Os& os) {
  const Element* passed_over = nullptr;
  bool is_unsure = false;
  for (const Element& each : element.children) {
    if (each.name != "boot") {
      continue;
    }
    if (each.attribute("dev") == nullptr) {
      is_unsure = true;
      if (!each.is_mistaken("dev")) {
        context.report.error(each.line,
                             fmt::format("{}: has no dev=; write dev='hd' or dev='cdrom'", each.place));
      }
      continue;
    }
    const std::string_view dev = each.value_of("dev");
    if (dev == "fd") {
      passed_over = &each;  // and that has been said
    } else {
      os.boot_devices.push_back(read_choice(
          context, each, "dev", BootDevice::kHardDisk,
          {{"hd", BootDevice::kHardDisk}, {"cdrom", BootDevice::kCdrom}, {"network", BootDevice::kNetwork}}));
    }
  }
  if (passed_over != nullptr && !is_unsure && os.boot_devices.empty() && element.child("kernel") == nullptr) {
    context.report.error(passed_over->line, fmt::format("{}: there is nothing else that the guest may boot "
                                                        "from; write dev='hd' or dev='cdrom'",
                                                        passed_over->place));
  }
}

// With a <kernel> no firmware runs.
void warn_of_unused_firmware(const ReadContext& context, const Element& element, const Os& os) {
  const Element* menu = os.boot_menu_ms ? element.child("bootmenu") : nullptr;
  const Element* bios = element.child("bios");
  const bool wants_bios = bios != nullptr && (bios->value_of("useserial") == "yes" || os.reboot_after_ms);
  for (const Element* each : {element.child("loader"), menu, wants_bios ? bios : nullptr}) {
    if (each != nullptr) {
      context.report.warning(each->line,
                             fmt::format("{}: without effect where there is a <kernel>", each->place));
    }
  }
}

void read_firmware(const ReadContext& context, const Element& element, Os& os) {
  read_path(context, element, "loader", os.loader, os.loader_line);
  if (const Element* menu = element.child("bootmenu");
      menu != nullptr && read_flag(context, *menu, "enable", false)) {
    os.boot_menu_ms =
        read_number(context, *menu, "timeout", 0, kMostMilliseconds).value_or(kMenuMilliseconds);
  }
  if (const Element* bios = element.child("bios")) {
    os.firmware_uses_serial = read_flag(context, *bios, "useserial", true);
    os.reboot_after_ms = reboot_timeout(context, *bios);
  }
  if (element.child("kernel") != nullptr) {
    return warn_of_unused_firmware(context, element, os);
  }
  if (element.has_refused_children) {
    return;
  }
  if (os.machine == MachineType::kMicrovm) {
    context.report.error(os.line,
                         "<os>: machine='microvm' has no firmware; give <kernel>, or use machine='pc'");
  }
  for (const std::string_view name : {"initrd", "cmdline"}) {
    if (const Element* child = element.child(name)) {
      context.report.error(child->line,
                           fmt::format("{}: is for a <kernel>; give one, or remove it", child->place));
    }
  }
}

void check_length(const ReadContext& context, const Element& entry) {
  if (entry.text.size() > kMostCharacters) {
    context.report.error(entry.line, fmt::format("{}: {} characters are too many; {} fit", entry.place,
                                                 entry.text.size(), kMostCharacters));
  }
}

std::map<std::string, std::string> read_entries(const ReadContext& context, const Element& sysinfo,
                                                std::string_view group_name) {
  std::map<std::string, std::string> entries;
  const Element* group = sysinfo.child(group_name);
  if (group == nullptr) {
    return entries;
  }
  for (const Element& entry : group->children) {
    check_length(context, entry);
    const std::string name(entry.value_of("name"));
    if (entry.lacks("name")) {
      context.report.error(entry.line, fmt::format("{}: has no name=; say which one is meant", entry.place));
    } else if (entry.is_mistaken("name")) {
      continue;
    } else if (!entries.emplace(name, entry.text).second) {
      context.report.error(entry.line,
                           fmt::format("{}: '{}' stands there already; keep one", entry.place, name));
    }
  }
  return entries;
}

std::vector<std::string> read_oem_strings(const ReadContext& context, const Element& sysinfo) {
  constexpr size_t kMostStrings = 255;  // their number is a byte
  std::vector<std::string> strings;
  const Element* group = sysinfo.child("oemStrings");
  if (group == nullptr) {
    return strings;
  }
  for (const Element& entry : group->children) {
    check_length(context, entry);
    strings.push_back(entry.text);
  }
  if (strings.size() > kMostStrings) {
    context.report.error(group->line, fmt::format("{}: {} strings are too many; {} fit", group->place,
                                                  strings.size(), kMostStrings));
  }
  return strings;
}

const Element* entry_of(const Element& sysinfo, std::string_view group_name, std::string_view name) {
  const Element* group = sysinfo.child(group_name);
  if (group == nullptr) {
    return nullptr;
  }
  const auto found = std::ranges::find_if(
      group->children, [name](const Element& entry) { return entry.value_of("name") == name; });
  return found == group->children.end() ? nullptr : &*found;
}

// libvirt wants the same in both places, and takes the one for the other.
void read_system_uuid(const ReadContext& context, const Element& root, const Element& sysinfo,
                      Domain& domain) {
  const Element* entry = entry_of(sysinfo, "system", "uuid");
  if (entry == nullptr || entry->text.empty()) {
    return;
  }
  const auto uuid = parse_uuid(entry->text);
  if (!uuid) {
    context.report.error(entry->line, fmt::format("{}: '{}' is not 32 hexadecimal digits", entry->place,
                                                  printable(entry->text)));
  } else if (root.child("uuid") == nullptr) {
    domain.uuid = uuid;
  } else if (domain.uuid && uuid != domain.uuid) {
    context.report.error(
        entry->line, fmt::format("{}: is not the <uuid> of the domain; give the same there", entry->place));
  }
}

// SMBIOS 3.0, section 7.1.2.1, and libvirt: a year of two digits is one of 19.
bool is_date(std::string_view text) {
  std::array<uint64_t, 3> parts{};
  for (uint64_t& part : parts) {
    const size_t end = std::min(text.find('/'), text.size());
    const std::string_view digits = text.substr(0, end);
    const auto number = trimmed(digits) == digits ? parse_unsigned(digits) : std::nullopt;
    if (!number || (&part == &parts.back()) != (end == text.size())) {
      return false;
    }
    part = *number;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  const auto [month, day, year] = parts;
  return month >= 1 && month <= 12 && day >= 1 && day <= 31 && (year < 100 || year >= 1900);
}

void check_date(const ReadContext& context, const Element& sysinfo) {
  const Element* entry = entry_of(sysinfo, "bios", "date");
  if (entry != nullptr && !entry->text.empty() && !is_date(entry->text)) {
    context.report.error(entry->line,
                         fmt::format("{}: '{}' is not a date; write it as month/day/year, '04/30/2026'",
                                     entry->place, printable(entry->text)));
  }
}

void read_smbios(const ReadContext& context, const Element& root, Domain& domain) {
  const Element* os = root.child("os");
  const Element* smbios = os == nullptr ? nullptr : os->child("smbios");
  // Whether the guest sees it or not.
  if (const Element* sysinfo = root.child("sysinfo")) {
    read_system_uuid(context, root, *sysinfo, domain);
    check_date(context, *sysinfo);
  }
  if (smbios == nullptr || smbios->value_of("mode") != "sysinfo") {
    return;
  }
  const Element* sysinfo = root.child("sysinfo");
  if (sysinfo == nullptr) {
    if (!root.has_refused_children) {
      context.report.error(
          smbios->line,
          fmt::format("{}: there is no <sysinfo type='smbios'>; add it, or remove this", smbios->place));
    }
    return;
  }
  SmbiosEntries& entries = domain.os.smbios.emplace();
  entries.bios = read_entries(context, *sysinfo, "bios");
  entries.system = read_entries(context, *sysinfo, "system");
  entries.board = read_entries(context, *sysinfo, "baseBoard");
  entries.chassis = read_entries(context, *sysinfo, "chassis");
  entries.oem_strings = read_oem_strings(context, *sysinfo);
}

}  // namespace

std::optional<uint32_t> read_boot_order(const ReadContext& context, const Element& device) {
  const Element* boot = device.child("boot");
  if (boot == nullptr) {
    return std::nullopt;
  }
  if (boot->lacks("order")) {
    context.report.error(boot->line, fmt::format("{}: has no order=; give it a number from 1", boot->place));
  }
  return read_number(context, *boot, "order", 1, 65535);
}

void read_os(const ReadContext& context, const Element& root, Domain& domain) {
  const Element* os = root.child("os");
  if (os == nullptr) {
    if (!root.has_refused_children) {
      context.report.error(root.line, "<domain>: has no <os>; write at least <os><type>hvm</type></os>");
    }
    return;
  }
  domain.os.line = os->line;
  if (const Element* type = os->child("type")) {
    domain.os.machine = machine_type(type->value_of("machine"));
  } else if (!os->has_refused_children) {
    context.report.error(os->line, "<os>: has no <type>; write <type>hvm</type>");
  }
  read_path(context, *os, "kernel", domain.os.kernel, domain.os.kernel_line);
  read_path(context, *os, "initrd", domain.os.initrd, domain.os.initrd_line);
  if (const Element* command_line = os->child("cmdline")) {
    domain.os.command_line = command_line->text;
    domain.os.command_line_line = command_line->line;
  }
  read_firmware(context, *os, domain.os);
  read_boot_devices(context, *os, domain.os);
  read_smbios(context, root, domain);
}

}  // namespace vmm::domain
