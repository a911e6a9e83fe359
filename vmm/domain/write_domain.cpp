#include "vmm/domain/write_domain.h"

#include <algorithm>
#include <string_view>

#include "vmm/domain/cpu_set.h"
#include "vmm/domain/element_table.h"
#include "vmm/domain/load.h"
#include "vmm/domain/write_parts.h"
#include "vmm/domain/xml_scan.h"

namespace vmm::domain {
namespace {

void write_user_network(const UserNetwork& network, XmlWriter& writer) {
  XmlAttributes attributes = {{"xmlns:vmm", std::string(kOwnNamespace)},
                              {"restrict", yes_or_no(network.is_restricted)}};
  if (!network.tftp_folder.empty()) {
    attributes.emplace_back("tftp", written_path(network.tftp_folder));
  }
  if (!network.boot_file.empty()) {
    attributes.emplace_back("bootfile", network.boot_file);
  }
  writer.add("vmm:user-network", attributes);
}

void write_metadata(const Domain& domain, XmlWriter& writer) {
  if (!domain.exit_port && !domain.user_network) {
    return;
  }
  writer.open("metadata");
  if (domain.exit_port) {
    writer.add("vmm:exit", {{"xmlns:vmm", std::string(kOwnNamespace)},
                            {"port", fmt::format("{:#x}", unsigned{domain.exit_port->port})}});
  }
  if (domain.user_network) {
    write_user_network(*domain.user_network, writer);
  }
  writer.close();
}

void write_identity(const Domain& domain, XmlWriter& writer) {
  writer.add_text("name", domain.name);
  if (domain.uuid) {
    writer.add_text("uuid", uuid_text(*domain.uuid));
  }
  if (domain.generation_id && domain.generation_id->value) {
    writer.add_text("genid", uuid_text(*domain.generation_id->value));
  } else if (domain.generation_id) {
    writer.add("genid");
  }
  if (!domain.title.empty()) {
    writer.add_text("title", domain.title);
  }
  if (!domain.description.empty()) {
    writer.add_text("description", domain.description);
  }
  write_metadata(domain, writer);
}

void write_size(std::string_view name, uint64_t bytes, XmlWriter& writer) {
  writer.add_text(name, fmt::format("{}", bytes >> 10U), {{"unit", "KiB"}});
}

bool is_plain(const MemoryBacking& backing) {
  return !backing.hugepages && backing.source == MemorySource::kAnonymous && !backing.locked &&
         !backing.shared && backing.share_pages && !backing.allocate_at_start;
}

void write_memory_backing(const MemoryBacking& backing, XmlWriter& writer) {
  if (is_plain(backing)) {
    return;
  }
  writer.open("memoryBacking");
  if (backing.hugepages) {
    writer.open("hugepages");
    if (backing.hugepage_bytes != 0) {
      writer.add("page", {{"size", fmt::format("{}", backing.hugepage_bytes >> 10U)}, {"unit", "KiB"}});
    }
    writer.close();
  }
  if (!backing.share_pages) {
    writer.add("nosharepages");
  }
  if (backing.locked) {
    writer.add("locked");
  }
  writer.add("source", {{"type", backing.source == MemorySource::kMemfd ? "memfd" : "anonymous"}});
  writer.add("access", {{"mode", backing.shared ? "shared" : "private"}});
  writer.add("allocation", {{"mode", backing.allocate_at_start ? "immediate" : "ondemand"}});
  writer.close();
}

void write_vcpus(const Domain& domain, XmlWriter& writer) {
  XmlAttributes attributes = {{"placement", "static"}};
  if (domain.pins.all) {
    attributes.emplace_back("cpuset", cpu_set_text(domain.pins.all->cpus));
  }
  writer.add_text("vcpu", fmt::format("{}", domain.vcpus), attributes);
}

void write_pins(const CpuPins& pins, XmlWriter& writer) {
  if (pins.vcpus.empty() && !pins.emulator && pins.iothreads.empty()) {
    return;
  }
  writer.open("cputune");
  for (const auto& [vcpu, set] : pins.vcpus) {
    writer.add("vcpupin", {{"vcpu", fmt::format("{}", vcpu)}, {"cpuset", cpu_set_text(set.cpus)}});
  }
  if (pins.emulator) {
    writer.add("emulatorpin", {{"cpuset", cpu_set_text(pins.emulator->cpus)}});
  }
  for (const auto& [id, set] : pins.iothreads) {
    writer.add("iothreadpin", {{"iothread", fmt::format("{}", id)}, {"cpuset", cpu_set_text(set.cpus)}});
  }
  writer.close();
}

// <iothreads> alone numbers them from 1.
void write_iothreads(const Domain& domain, XmlWriter& writer) {
  const auto& ids = domain.iothread_ids;
  if (ids.empty()) {
    return;
  }
  writer.add_text("iothreads", fmt::format("{}", ids.size()));
  if (ids.back() == ids.size()) {
    return;
  }
  writer.open("iothreadids");
  for (const uint32_t id : ids) {
    writer.add("iothread", {{"id", fmt::format("{}", id)}});
  }
  writer.close();
}

std::string_view name_of(FeaturePolicy policy) {
  switch (policy) {
    case FeaturePolicy::kForce:
      return "force";
    case FeaturePolicy::kRequire:
      return "require";
    case FeaturePolicy::kOptional:
      return "optional";
    case FeaturePolicy::kDisable:
      return "disable";
    case FeaturePolicy::kForbid:
      break;
  }
  return "forbid";
}

std::string_view name_of(CpuMode mode) {
  switch (mode) {
    case CpuMode::kHostPassthrough:
      return "host-passthrough";
    case CpuMode::kHostModel:
      return "host-model";
    case CpuMode::kCustom:
      break;
  }
  return "custom";
}

void write_topology(const Domain& domain, XmlWriter& writer) {
  const CpuTopology& topology = domain.topology;
  if (topology.sockets == domain.vcpus) {
    return;  // what there is without the element
  }
  writer.add("topology", {{"sockets", fmt::format("{}", topology.sockets)},
                          {"dies", fmt::format("{}", topology.dies)},
                          {"cores", fmt::format("{}", topology.cores)},
                          {"threads", fmt::format("{}", topology.threads)}});
}

void write_cpu(const Domain& domain, XmlWriter& writer) {
  const Cpu& cpu = domain.cpu;
  XmlAttributes attributes = {{"mode", std::string(name_of(cpu.mode))}};
  if (cpu.mode == CpuMode::kCustom) {
    attributes.emplace_back("match", "exact");
  }
  if (cpu.mode == CpuMode::kHostPassthrough) {
    attributes.emplace_back("migratable", on_or_off(cpu.migratable));
  }
  writer.open("cpu", attributes);
  if (cpu.mode == CpuMode::kCustom) {
    writer.add_text("model", cpu.model, {{"fallback", "forbid"}});
  }
  write_topology(domain, writer);
  for (const CpuFeature& feature : cpu.features) {
    writer.add("feature", {{"policy", std::string(name_of(feature.policy))}, {"name", feature.name}});
  }
  writer.close();
}

void write_features(const Features& features, XmlWriter& writer) {
  writer.open("features");
  if (features.acpi) {
    writer.add("acpi");
  }
  if (features.apic) {
    writer.add("apic");
  }
  if (features.pae) {
    writer.add("pae");
  }
  if (features.hide_kvm) {
    writer.open("kvm");
    writer.add("hidden", {{"state", "on"}});
    writer.close();
  }
  if (!features.pmu) {
    writer.add("pmu", {{"state", "off"}});
  }
  writer.close();
}

XmlAttributes clock_attributes(const Clock& clock) {
  switch (clock.offset) {
    case ClockOffset::kUtc:
      return {{"offset", "utc"}};
    case ClockOffset::kLocaltime:
      return {{"offset", "localtime"}};
    case ClockOffset::kTimezone:
      return {{"offset", "timezone"}, {"timezone", clock.timezone}};
    case ClockOffset::kVariable:
      break;
  }
  return {{"offset", "variable"},
          {"adjustment", fmt::format("{}", clock.adjustment_seconds)},
          {"basis", clock.basis_is_localtime ? "localtime" : "utc"}};
}

void write_clock(const Clock& clock, XmlWriter& writer) {
  writer.open("clock", clock_attributes(clock));
  if (!clock.kvmclock) {
    writer.add("timer", {{"name", "kvmclock"}, {"present", "no"}});
  }
  if (!clock.pit) {
    writer.add("timer", {{"name", "pit"}, {"present", "no"}});
  }
  writer.close();
}

std::string_view name_of(LifecycleAction action) {
  switch (action) {
    case LifecycleAction::kDestroy:
      return "destroy";
    case LifecycleAction::kRestart:
      return "restart";
    case LifecycleAction::kPreserve:
      break;
  }
  return "preserve";
}

void write_devices(const Domain& domain, XmlWriter& writer) {
  writer.open("devices");
  for (const Disk& disk : domain.disks) {
    write_disk(disk, writer);
  }
  for (const Interface& interface : domain.interfaces) {
    write_interface(interface, writer);
  }
  for (const Serial& serial : domain.serials) {
    write_serial(serial, writer);
  }
  if (domain.debug_console) {
    write_debug_console(*domain.debug_console, writer);
  }
  for (const Serial& console : domain.virtio_consoles) {
    write_virtio_console(console, writer);
  }
  for (const Rng& rng : domain.rngs) {
    write_rng(rng, writer);
  }
  write_balloon(domain, writer);
  if (domain.watchdog) {
    write_watchdog(*domain.watchdog, writer);
  }
  if (domain.panic_device) {
    write_panic_device(*domain.panic_device, writer);
  }
  writer.close();
}

}  // namespace

std::string uuid_text(const std::array<uint8_t, 16>& uuid) {
  std::string text;
  for (size_t i = 0; i < uuid.size(); ++i) {
    text += i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";
    text += fmt::format("{:02x}", uuid[i]);
  }
  return text;
}

std::string written_path(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  return error ? path.native() : absolute.native();
}

Result<std::string> domain_text(const Domain& domain) {
  XmlWriter writer;
  writer.open("domain", {{"type", "kvm"}});
  write_identity(domain, writer);
  write_size("memory", domain.memory_bytes, writer);
  write_size("currentMemory", domain.current_memory_bytes, writer);
  write_memory_backing(domain.memory_backing, writer);
  write_vcpus(domain, writer);
  write_iothreads(domain, writer);
  write_pins(domain.pins, writer);
  write_sysinfo(domain, writer);
  write_os(domain, writer);
  write_features(domain.features, writer);
  write_cpu(domain, writer);
  write_clock(domain.clock, writer);
  writer.add_text("on_poweroff", name_of(domain.on_poweroff));
  writer.add_text("on_reboot", name_of(domain.on_reboot));
  writer.add_text("on_crash", name_of(domain.on_crash));
  write_devices(domain, writer);
  writer.close();
  std::string text = writer.take();
  if (text.size() > kMaxFileBytes) {
    return fail_configuration(
        "{}: cannot be printed as a domain file: it would have {} bytes, and {} are read; give shorter texts",
        domain.file_name, text.size(), kMaxFileBytes);
  }
  if (const auto fault = scan_xml(text)) {
    return fail_configuration("{}: cannot be printed as a domain file: {}", domain.file_name, fault->text);
  }
  return text;
}

}  // namespace vmm::domain
