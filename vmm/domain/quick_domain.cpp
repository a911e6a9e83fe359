#include "vmm/domain/quick_domain.h"

#include <string_view>

#include "vmm/domain/diagnostics.h"
#include "vmm/domain/element_table.h"
#include "vmm/domain/net_addresses.h"
#include "vmm/domain/xml_scan.h"
#include "vmm/domain/xml_writer.h"

namespace vmm::domain {
namespace {

constexpr size_t kLettersOfTheAlphabet = 26;

Status check_text(std::string_view option, std::string_view text) {
  if (scan_xml(escaped_value(text))) {
    return fail_configuration(
        "{} {}: has bytes that are no UTF-8, or control characters, which XML cannot hold; rename it", option,
        printable(text));
  }
  return {};
}

Status check_texts(const QuickDomain& quick) {
  VMM_TRY(check_text("--name", quick.name));
  VMM_TRY(check_text("--kernel", quick.kernel.native()));
  VMM_TRY(check_text("--initrd", quick.initrd.native()));
  VMM_TRY(check_text("--append", quick.command_line.value_or("")));
  VMM_TRY(check_text("--cdrom", quick.cdrom.native()));
  VMM_TRY(check_text("--netboot", quick.boot_path.native()));
  VMM_TRY(check_text("--netboot", quick.boot_url));
  for (const QuickDisk& disk : quick.disks) {
    VMM_TRY(check_text("--disk", disk.source.native()));
    VMM_TRY(check_text("--disk secret=", disk.secret));
    VMM_TRY(check_text("--disk data-file=", disk.data_file.native()));
  }
  return {};
}

Status check_bootable(const QuickDomain& quick) {
  if (quick.kernel.empty() && quick.disks.empty() && quick.cdrom.empty() && !quick.is_netbooted) {
    return fail_configuration(
        "vmm run: nothing to boot; give --kernel FILE, --disk FILE or --cdrom FILE, or --netboot");
  }
  if (quick.kernel.empty() && (!quick.initrd.empty() || quick.command_line)) {
    return fail_configuration("{}: is for a kernel; give that with --kernel FILE",
                              quick.initrd.empty() ? "--append" : "--initrd");
  }
  if (quick.machine == MachineType::kMicrovm && quick.kernel.empty()) {
    return fail_configuration("--machine microvm: has no firmware; give --kernel FILE, or --machine pc");
  }
  if (quick.machine == MachineType::kMicrovm && !quick.cdrom.empty()) {
    return fail_configuration(
        "--cdrom: the machine microvm has no CD-ROM drives; give the disc with --disk, or --machine pc");
  }
  return {};
}

size_t most_places(const QuickDomain& quick) {
  return quick.machine == MachineType::kPc ? kMaxPcDisks : kMaxMicrovmDisks;
}

// Each virtio device has one.
size_t all_places(const QuickDomain& quick) {
  return quick.machine == MachineType::kPc ? kMaxPcDevices : kMaxMicrovmDevices;
}

QuickNet net_of(const QuickDomain& quick) {
  const bool has_place = quick.disks.size() < all_places(quick);
  return quick.net.value_or(has_place ? QuickNet::kUser : QuickNet::kNone);
}

Status check_netboot(const QuickDomain& quick, QuickNet net) {
  constexpr size_t kLongestName = 127;
  const bool names_a_file = !quick.boot_path.empty() || !quick.boot_url.empty();
  if (!quick.is_netbooted) {
    return {};
  }
  if (!quick.kernel.empty() || net == QuickNet::kNone) {
    return fail_configuration("--netboot: is instead of {}; leave out one of them",
                              quick.kernel.empty() ? "--net none" : "--kernel");
  }
  if (net == QuickNet::kUser && !names_a_file) {
    return fail_configuration(
        "--netboot: nobody in the network of --net user tells the guest what to boot; give --netboot=FILE");
  }
  if (net != QuickNet::kUser && names_a_file) {
    return fail_configuration("--netboot=…: is for --net user; another network tells what it has");
  }
  if (quick.boot_path.filename().native().size() > kLongestName || quick.boot_url.size() > kLongestName) {
    return fail_configuration("--netboot: a name of more than {} bytes cannot be told; give a shorter one",
                              kLongestName);
  }
  return {};
}

Status check_net(const QuickDomain& quick) {
  const QuickNet net = net_of(quick);
  if (net != QuickNet::kNone && quick.disks.size() >= all_places(quick)) {
    return fail_configuration(
        "--net: the {} disks have all places of the machine; leave out a disk, or --net", quick.disks.size());
  }
  VMM_TRY(check_netboot(quick, net));
  if (net != QuickNet::kUser && !quick.forwards.empty()) {
    return fail_configuration(
        "--forward: is for --net user; by another, the guest is reached at its own address");
  }
  return {};
}

Status check_figures(const QuickDomain& quick) {
  if (quick.memory_mib < kMinMemoryBytes >> 20 || quick.memory_mib > kMaxMemoryBytes >> 20) {
    return fail_configuration("--memory: {} MiB are not from {} MiB to {} TiB", quick.memory_mib,
                              kMinMemoryBytes >> 20, kMaxMemoryBytes >> 40);
  }
  if (quick.vcpus < 1 || quick.vcpus > kMaxVcpus) {
    return fail_configuration("--cpus {}: from 1 to {} can be", quick.vcpus, kMaxVcpus);
  }
  if (quick.disks.size() > most_places(quick)) {
    return fail_configuration("--disk: {} disks are more than the {} that the machine has places for",
                              quick.disks.size(), most_places(quick));
  }
  if (quick.name.empty() || quick.name.front() == '.' || quick.name.front() == '-' ||
      quick.name.find_first_of("/\n") != std::string::npos) {
    return fail_configuration(
        "--name '{}': give a name, of one line, without '/', and not with '.' or '-' first",
        printable(quick.name));
  }
  return {};
}

std::string default_command_line(const QuickDomain& quick) {
  const bool has_root = !quick.disks.empty() && quick.initrd.empty();
  return has_root ? "console=ttyS0 root=/dev/vda rw" : "console=ttyS0";
}

std::string forward_text(const QuickForward& forward) {
  return fmt::format(
      "      <portForward proto='{}' address='{}'>\n"
      "        <range start='{}' to='{}'/>\n"
      "      </portForward>\n",
      forward.protocol == IpProtocol::kTcp ? "tcp" : "udp", ip_text(forward.address), forward.host_port,
      forward.guest_port);
}

std::string interface_text(const QuickDomain& quick) {
  std::string type = "user";
  std::string end;
  switch (net_of(quick)) {
    case QuickNet::kNone:
      return {};
    case QuickNet::kUser:
      for (const QuickForward& forward : quick.forwards) {
        end += forward_text(forward);
      }
      break;
    case QuickNet::kTap:
      type = "ethernet";
      end = fmt::format("      <target dev='{}' managed='no'/>\n", escaped_value(quick.net_device));
      break;
    case QuickNet::kBridge:
      type = "bridge";
      end = fmt::format("      <source bridge='{}'/>\n", escaped_value(quick.net_device));
      break;
  }
  return fmt::format(
      "    <interface type='{}'>\n{}"
      "      <model type='virtio'/>\n"
      "    </interface>\n",
      type, end);
}

// What the guest frees goes back to the host, where there is a place for the device.
std::string balloon_text(const QuickDomain& quick) {
  return quick.disks.size() + 1 < most_places(quick)
             ? "    <memballoon model='virtio' freePageReporting='on'/>\n"
             : "";
}

std::string network_text(const QuickDomain& quick) {
  if (!quick.boot_url.empty()) {
    return fmt::format("bootfile='{}'", escaped_value(quick.boot_url));
  }
  return fmt::format("tftp='{}' bootfile='{}'", escaped_value(quick.boot_path.parent_path().native()),
                     escaped_value(quick.boot_path.filename().native()));
}

std::string metadata_text(const QuickDomain& quick) {
  std::string own;
  if (quick.has_exit_port) {
    own += fmt::format("    <vmm:exit xmlns:vmm='{}' port='0xf4'/>\n", kOwnNamespace);
  }
  if (!quick.boot_path.empty() || !quick.boot_url.empty()) {
    own += fmt::format("    <vmm:user-network xmlns:vmm='{}' {}/>\n", kOwnNamespace, network_text(quick));
  }
  return own.empty() ? "" : fmt::format("  <metadata>\n{}  </metadata>\n", own);
}

std::string os_text(const QuickDomain& quick) {
  std::string text = fmt::format("    <type arch='x86_64' machine='{}'>hvm</type>\n",
                                 quick.machine == MachineType::kPc ? "pc" : "microvm");
  if (quick.kernel.empty()) {
    text += quick.is_netbooted ? "    <boot dev='network'/>\n" : "";
    text += quick.cdrom.empty() ? "" : "    <boot dev='cdrom'/>\n";
    text += quick.disks.empty() ? "" : "    <boot dev='hd'/>\n";
    return text;
  }
  text += fmt::format("    <kernel>{}</kernel>\n", escaped_value(quick.kernel.native()));
  if (!quick.initrd.empty()) {
    text += fmt::format("    <initrd>{}</initrd>\n", escaped_value(quick.initrd.native()));
  }
  return text + fmt::format("    <cmdline>{}</cmdline>\n",
                            escaped_value(quick.command_line.value_or(default_command_line(quick))));
}

// vda to vdz, then vdaa.
std::string target_name(size_t index) {
  const std::string last(1, static_cast<char>('a' + index % kLettersOfTheAlphabet));
  return index < kLettersOfTheAlphabet
             ? "vd" + last
             : fmt::format("vd{}{}", static_cast<char>('a' + index / kLettersOfTheAlphabet - 1), last);
}

std::string source_text(const QuickDisk& disk) {
  std::string children;
  if (!disk.secret.empty()) {
    children += fmt::format(
        "        <encryption format='luks'>\n"
        "          <secret type='passphrase' usage='{}'/>\n"
        "        </encryption>\n",
        escaped_value(disk.secret));
  }
  if (!disk.data_file.empty()) {
    children += fmt::format(
        "        <dataStore type='file'>\n"
        "          <format type='raw'/>\n"
        "          <source file='{}'/>\n"
        "        </dataStore>\n",
        escaped_value(disk.data_file.native()));
  }
  const std::string place =
      fmt::format("      <source {}='{}'", disk.source_type == DiskSource::kFile ? "file" : "dev",
                  escaped_value(disk.source.native()));
  return children.empty() ? place + "/>\n" : place + ">\n" + children + "      </source>\n";
}

std::string disk_text(const QuickDisk& disk, size_t index) {
  const bool is_file = disk.source_type == DiskSource::kFile;
  return fmt::format(
      "    <disk type='{}' device='disk'>\n"
      "      <driver name='qemu' type='{}'/>\n{}"
      "      <target dev='{}' bus='virtio'/>\n"
      "      <transient/>\n"
      "    </disk>\n",
      is_file ? "file" : "block", disk.format == ImageFormat::kQcow2 ? "qcow2" : "raw", source_text(disk),
      target_name(index));
}

std::string cdrom_text(const std::filesystem::path& disc) {
  return fmt::format(
      "    <disk type='file' device='cdrom'>\n"
      "      <driver name='qemu' type='raw'/>\n"
      "      <source file='{}'/>\n"
      "      <target dev='hdc' bus='ide'/>\n"
      "      <readonly/>\n"
      "    </disk>\n",
      escaped_value(disc.native()));
}

}  // namespace

Result<std::string> quick_domain_text(const QuickDomain& quick) {
  VMM_TRY(check_bootable(quick));
  VMM_TRY(check_figures(quick));
  VMM_TRY(check_net(quick));
  VMM_TRY(check_texts(quick));
  std::string devices;
  for (size_t i = 0; i < quick.disks.size(); ++i) {
    devices += disk_text(quick.disks[i], i);
  }
  devices += quick.cdrom.empty() ? "" : cdrom_text(quick.cdrom);
  devices += interface_text(quick);
  return fmt::format(
      "<!-- Made by vmm run. What is written to a transient disk is thrown away at the end. -->\n"
      "<domain type='kvm'>\n"
      "  <name>{}</name>\n{}"
      "  <memory unit='MiB'>{}</memory>\n"
      "  <vcpu>{}</vcpu>\n"
      "  <os>\n{}  </os>\n"
      "  <features>\n"
      "    <acpi/>\n"
      "  </features>\n"
      "  <devices>\n{}"
      "    <serial type='stdio'/>\n{}"
      "  </devices>\n"
      "</domain>\n",
      escaped_value(quick.name), metadata_text(quick), quick.memory_mib, quick.vcpus, os_text(quick), devices,
      balloon_text(quick));
}

}  // namespace vmm::domain
