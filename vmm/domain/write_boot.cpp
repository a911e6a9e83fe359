// <os> and <sysinfo> as text.
#include <fmt/format.h>

#include <map>
#include <string>
#include <string_view>

#include "vmm/domain/write_parts.h"

namespace vmm::domain {
namespace {

std::string_view name_of(BootDevice device) {
  switch (device) {
    case BootDevice::kHardDisk:
      return "hd";
    case BootDevice::kCdrom:
      return "cdrom";
    case BootDevice::kNetwork:
      break;
  }
  return "network";
}

// Where libvirt's hypervisor and vmm have another default, it is said.
void write_bios(const Os& os, XmlWriter& writer) {
  XmlAttributes attributes = {{"useserial", yes_or_no(os.firmware_uses_serial)}};
  if (os.reboot_after_ms) {
    attributes.emplace_back("rebootTimeout", fmt::format("{}", *os.reboot_after_ms));
  }
  const bool is_default = os.firmware_uses_serial && !os.reboot_after_ms;
  if (os.kernel.empty() || !is_default) {
    writer.add("bios", attributes);
  }
}

void write_entries(std::string_view group, const std::map<std::string, std::string>& entries,
                   XmlWriter& writer) {
  if (entries.empty()) {
    return;
  }
  writer.open(group);
  for (const auto& [name, value] : entries) {
    writer.add_text("entry", value, {{"name", name}});
  }
  writer.close();
}

}  // namespace

void write_os(const Domain& domain, XmlWriter& writer) {
  const Os& os = domain.os;
  writer.open("os");
  writer.add_text("type", "hvm",
                  {{"arch", "x86_64"}, {"machine", os.machine == MachineType::kPc ? "pc" : "microvm"}});
  if (!os.loader.empty()) {
    writer.add_text("loader", written_path(os.loader), {{"readonly", "yes"}, {"type", "rom"}});
  }
  if (!os.kernel.empty()) {
    writer.add_text("kernel", written_path(os.kernel));
  }
  if (!os.initrd.empty()) {
    writer.add_text("initrd", written_path(os.initrd));
  }
  if (!os.command_line.empty()) {
    writer.add_text("cmdline", os.command_line);
  }
  for (const BootDevice device : os.boot_devices) {
    writer.add("boot", {{"dev", std::string(name_of(device))}});
  }
  if (os.boot_menu_ms) {
    writer.add("bootmenu", {{"enable", "yes"}, {"timeout", fmt::format("{}", *os.boot_menu_ms)}});
  }
  if (os.smbios) {
    writer.add("smbios", {{"mode", "sysinfo"}});
  }
  write_bios(os, writer);
  writer.close();
}

void write_sysinfo(const Domain& domain, XmlWriter& writer) {
  if (!domain.os.smbios) {
    return;
  }
  const SmbiosEntries& entries = *domain.os.smbios;
  writer.open("sysinfo", {{"type", "smbios"}});
  write_entries("bios", entries.bios, writer);
  write_entries("system", entries.system, writer);
  write_entries("baseBoard", entries.board, writer);
  write_entries("chassis", entries.chassis, writer);
  if (!entries.oem_strings.empty()) {
    writer.open("oemStrings");
    for (const std::string& each : entries.oem_strings) {
      writer.add_text("entry", each);
    }
    writer.close();
  }
  writer.close();
}

}  // namespace vmm::domain
