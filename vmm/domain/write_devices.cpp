// Devices as text.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "vmm/domain/write_parts.h"

namespace vmm::domain {
namespace {

std::string_view name_of(CacheMode mode) {
  switch (mode) {
    case CacheMode::kNone:
      return "none";
    case CacheMode::kWriteback:
      return "writeback";
    case CacheMode::kWritethrough:
      return "writethrough";
    case CacheMode::kDirectsync:
      return "directsync";
    case CacheMode::kUnsafe:
      break;
  }
  return "unsafe";
}

std::string_view name_of(DetectZeroes mode) {
  switch (mode) {
    case DetectZeroes::kOff:
      return "off";
    case DetectZeroes::kOn:
      return "on";
    case DetectZeroes::kUnmap:
      break;
  }
  return "unmap";
}

std::string_view name_of(ErrorPolicy policy) {
  switch (policy) {
    case ErrorPolicy::kReport:
      return "report";
    case ErrorPolicy::kStop:
      return "stop";
    case ErrorPolicy::kIgnore:
      return "ignore";
    case ErrorPolicy::kEnospace:
      break;
  }
  return "enospace";
}

std::string_view name_of(CharBackend backend) {
  switch (backend) {
    case CharBackend::kStdio:
      return "stdio";
    case CharBackend::kFile:
      return "file";
    case CharBackend::kPty:
      return "pty";
    case CharBackend::kUnix:
      return "unix";
    case CharBackend::kNull:
      break;
  }
  return "null";
}

std::string_view name_of(ImageFormat format) { return format == ImageFormat::kQcow2 ? "qcow2" : "raw"; }

XmlAttributes driver_attributes(const Disk& disk) {
  XmlAttributes attributes = {{"name", "qemu"},
                              {"type", std::string(name_of(disk.format))},
                              {"cache", std::string(name_of(disk.cache))},
                              {"error_policy", std::string(name_of(disk.write_error))},
                              {"rerror_policy", std::string(name_of(disk.read_error))},
                              {"io", disk.io == IoMode::kThreads ? "threads" : "io_uring"},
                              {"discard", disk.discard == DiscardMode::kUnmap ? "unmap" : "ignore"},
                              {"detect_zeroes", std::string(name_of(disk.detect_zeroes))}};
  if (disk.iothread) {
    attributes.emplace_back("iothread", fmt::format("{}", *disk.iothread));
  }
  if (disk.queues) {
    attributes.emplace_back("queues", fmt::format("{}", *disk.queues));
  }
  if (disk.queue_size) {
    attributes.emplace_back("queue_size", fmt::format("{}", *disk.queue_size));
  }
  if (!disk.event_idx) {
    attributes.emplace_back("event_idx", "off");
  }
  if (!disk.ioeventfd) {
    attributes.emplace_back("ioeventfd", "off");
  }
  return attributes;
}

void write_driver(const Disk& disk, XmlWriter& writer) {
  writer.open("driver", driver_attributes(disk));
  if (disk.metadata_cache_bytes != 0) {
    writer.open("metadata_cache");
    writer.add_text("max_size", fmt::format("{}", disk.metadata_cache_bytes), {{"unit", "bytes"}});
    writer.close();
  }
  writer.close();
}

// As libvirt's schema has it; other texts name a secret by its usage.
bool is_uuid(std::string_view text) {
  constexpr std::string_view kForm = "00000000-0000-0000-0000-000000000000";
  return std::ranges::equal(text, kForm, [](char c, char form) {
    const bool is_digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    return form == '-' ? c == '-' : is_digit;
  });
}

void write_encryption(const std::string& secret, XmlWriter& writer) {
  writer.open("encryption", {{"format", "luks"}});
  writer.add("secret", {{"type", "passphrase"}, {is_uuid(secret) ? "uuid" : "usage", secret}});
  writer.close();
}

void write_source(const Disk& disk, XmlWriter& writer) {
  if (disk.source.empty()) {
    if (disk.secret) {
      write_encryption(*disk.secret, writer);
    }
    return;
  }
  XmlAttributes attributes = {
      {disk.source_type == DiskSource::kFile ? "file" : "dev", written_path(disk.source)}};
  if (disk.source_is_optional) {
    attributes.emplace_back("startupPolicy", "optional");
  }
  writer.open("source", attributes);
  if (disk.secret) {
    write_encryption(*disk.secret, writer);
  }
  if (disk.data_file) {
    const bool is_file = disk.data_file_type == DiskSource::kFile;
    writer.open("dataStore", {{"type", is_file ? "file" : "block"}});
    writer.add("format", {{"type", "raw"}});
    writer.add("source", {{is_file ? "file" : "dev", written_path(*disk.data_file)}});
    writer.close();
  }
  writer.close();
}

void write_blockio(const Disk& disk, XmlWriter& writer) {
  XmlAttributes attributes;
  if (disk.logical_block_bytes != 0) {
    attributes.emplace_back("logical_block_size", fmt::format("{}", disk.logical_block_bytes));
  }
  if (disk.physical_block_bytes != 0) {
    attributes.emplace_back("physical_block_size", fmt::format("{}", disk.physical_block_bytes));
  }
  if (!attributes.empty()) {
    writer.add("blockio", attributes);
  }
}

void write_geometry(const DiskGeometry& geometry, XmlWriter& writer) {
  XmlAttributes attributes = {{"cyls", fmt::format("{}", geometry.cylinders)},
                              {"heads", fmt::format("{}", geometry.heads)},
                              {"secs", fmt::format("{}", geometry.sectors_per_track)}};
  if (geometry.translation != ChsTranslation::kAuto) {
    attributes.emplace_back("trans", geometry.translation == ChsTranslation::kLba ? "lba" : "none");
  }
  writer.add("geometry", attributes);
}

void write_number(const std::string& name, uint64_t value, XmlWriter& writer) {
  if (value != 0) {
    writer.add_text(name, fmt::format("{}", value));
  }
}

// libvirt's order: libxml2 takes no other for what the schema has in groups.
void write_iotune(const IoTune& tune, XmlWriter& writer) {
  const std::pair<std::string, const IoLimit&> limits[] = {
      {"total_bytes_sec", tune.total_bytes},   {"read_bytes_sec", tune.read_bytes},
      {"write_bytes_sec", tune.write_bytes},   {"total_iops_sec", tune.total_operations},
      {"read_iops_sec", tune.read_operations}, {"write_iops_sec", tune.write_operations}};
  writer.open("iotune");
  for (const auto& [name, limit] : limits) {
    write_number(name, limit.per_second, writer);
  }
  for (const auto& [name, limit] : limits) {
    write_number(name + "_max", limit.burst_per_second, writer);
  }
  write_number("size_iops_sec", tune.operation_bytes, writer);
  for (const auto& [name, limit] : limits) {
    write_number(name + "_max_length", limit.burst_per_second == 0 ? 0 : limit.burst_seconds, writer);
  }
  writer.close();
}

void write_disk_address(const Disk& disk, XmlWriter& writer) {
  if (disk.bus == DiskBus::kIde) {
    writer.add("address", {{"type", "drive"},
                           {"controller", "0"},
                           {"bus", fmt::format("{}", unsigned{disk.ide_place.channel})},
                           {"target", "0"},
                           {"unit", fmt::format("{}", unsigned{disk.ide_place.drive})}});
  } else if (disk.address) {
    write_pci_address(*disk.address, writer);
  }
}

// Empty: the back end has none.
XmlAttributes end_attributes(const Serial& end) {
  if (end.backend == CharBackend::kFile) {
    return {{"path", written_path(end.path)}, {"append", on_or_off(end.append)}};
  }
  if (end.backend == CharBackend::kUnix) {
    return {{"path", written_path(end.path)}, {"mode", end.listen ? "bind" : "connect"}};
  }
  return {};
}

void write_end(std::string_view element, const Serial& end, const XmlAttributes& target, XmlWriter& writer) {
  writer.open(element, {{"type", std::string(name_of(end.backend))}});
  const XmlAttributes attributes = end_attributes(end);
  if (!attributes.empty()) {
    writer.add("source", attributes);
  }
  if (!end.log_path.empty()) {
    writer.add("log", {{"file", written_path(end.log_path)}, {"append", on_or_off(end.log_append)}});
  }
  writer.add("target", target);
  write_alias(end.alias, writer);
}

XmlAttributes target_attributes(const Disk& disk) {
  XmlAttributes attributes = {{"dev", disk.target}, {"bus", disk.bus == DiskBus::kIde ? "ide" : "virtio"}};
  if (disk.tray_is_open) {
    attributes.emplace_back("tray", "open");
  }
  if (disk.rotation_rate) {
    attributes.emplace_back("rotation_rate", fmt::format("{}", *disk.rotation_rate));
  }
  return attributes;
}

// Each within the one that stands on it.
void write_backing_stores(const Disk& disk, XmlWriter& writer) {
  for (const BackingStore& store : disk.backing_stores) {
    const bool is_file = store.source_type == DiskSource::kFile;
    writer.open("backingStore", {{"type", is_file ? "file" : "block"}});
    writer.add("format", {{"type", std::string(name_of(store.format))}});
    if (!store.source.empty()) {
      writer.add("source", {{is_file ? "file" : "dev", written_path(store.source)}});
    }
  }
  if (disk.backing_ends) {
    writer.add("backingStore");
  }
  for (size_t i = 0; i < disk.backing_stores.size(); ++i) {
    writer.close();
  }
}

}  // namespace

void write_alias(const std::string& alias, XmlWriter& writer) {
  if (!alias.empty()) {
    writer.add("alias", {{"name", alias}});
  }
}

void write_pci_address(const PciAddress& address, XmlWriter& writer) {
  writer.add("address", {{"type", "pci"},
                         {"domain", "0x0000"},
                         {"bus", "0x00"},
                         {"slot", fmt::format("{:#04x}", unsigned{address.slot})},
                         {"function", fmt::format("{:#x}", unsigned{address.function})}});
}

void write_disk(const Disk& disk, XmlWriter& writer) {
  writer.open("disk", {{"type", disk.source_type == DiskSource::kFile ? "file" : "block"},
                       {"device", disk.device == DiskDevice::kCdrom ? "cdrom" : "disk"}});
  write_driver(disk, writer);
  write_source(disk, writer);
  write_backing_stores(disk, writer);
  writer.add("target", target_attributes(disk));
  if (disk.read_only) {
    writer.add("readonly");
  }
  if (disk.shareable) {
    writer.add("shareable");
  }
  if (disk.transient) {
    writer.add("transient");
  }
  if (!disk.serial.empty()) {
    writer.add_text("serial", disk.serial);
  }
  if (disk.world_wide_name) {
    writer.add_text("wwn", fmt::format("{:016x}", *disk.world_wide_name));
  }
  if (disk.geometry) {
    write_geometry(*disk.geometry, writer);
  }
  if (disk.boot_order) {
    writer.add("boot", {{"order", fmt::format("{}", *disk.boot_order)}});
  }
  if (disk.iotune) {
    write_iotune(*disk.iotune, writer);
  }
  write_blockio(disk, writer);
  write_alias(disk.alias, writer);
  write_disk_address(disk, writer);
  writer.close();
}

// Where a file has no such element, libvirt makes one of it and vmm does not.
void write_balloon(const Domain& domain, XmlWriter& writer) {
  if (!domain.balloon) {
    writer.add("memballoon", {{"model", "none"}});
    return;
  }
  const Balloon& balloon = *domain.balloon;
  writer.open("memballoon", {{"model", "virtio"},
                             {"autodeflate", on_or_off(balloon.deflates_on_oom)},
                             {"freePageReporting", on_or_off(balloon.reports_free_pages)}});
  write_alias(balloon.alias, writer);
  if (balloon.address) {
    write_pci_address(*balloon.address, writer);
  }
  writer.close();
}

void write_rng(const Rng& rng, XmlWriter& writer) {
  writer.open("rng", {{"model", "virtio"}});
  if (rng.rate_bytes != 0) {
    writer.add("rate", {{"bytes", fmt::format("{}", rng.rate_bytes)},
                        {"period", fmt::format("{}", rng.rate_period_ms)}});
  }
  if (rng.source.empty()) {
    writer.add("backend", {{"model", "builtin"}});
  } else {
    writer.add_text("backend", written_path(rng.source), {{"model", "random"}});
  }
  write_alias(rng.alias, writer);
  if (rng.address) {
    write_pci_address(*rng.address, writer);
  }
  writer.close();
}

void write_panic_device(const PanicDevice& device, XmlWriter& writer) {
  writer.open("panic", {{"model", "isa"}});
  write_alias(device.alias, writer);
  writer.close();
}

void write_serial(const Serial& serial, XmlWriter& writer) {
  write_end("serial", serial, {{"type", "isa-serial"}, {"port", fmt::format("{}", serial.port)}}, writer);
  writer.close();
}

void write_virtio_console(const Serial& console, XmlWriter& writer) {
  write_end("console", console, {{"type", "virtio"}}, writer);
  writer.close();
}

void write_debug_console(const DebugConsole& console, XmlWriter& writer) {
  write_end("serial", console.end, {{"type", "isa-debug"}}, writer);
  writer.add("address", {{"type", "isa"}, {"iobase", fmt::format("{:#x}", unsigned{console.port})}});
  writer.close();
}

std::string_view name_of(WatchdogAction action) {
  switch (action) {
    case WatchdogAction::kReset:
      return "reset";
    case WatchdogAction::kShutdown:
      return "shutdown";
    case WatchdogAction::kPoweroff:
      return "poweroff";
    case WatchdogAction::kPause:
      return "pause";
    case WatchdogAction::kInjectNmi:
      return "inject-nmi";
    case WatchdogAction::kNone:
      break;
  }
  return "none";
}

void write_watchdog(const Watchdog& watchdog, XmlWriter& writer) {
  writer.open("watchdog", {{"model", watchdog.model == WatchdogModel::kIb700 ? "ib700" : "i6300esb"},
                           {"action", std::string(name_of(watchdog.action))}});
  if (watchdog.address) {
    write_pci_address(*watchdog.address, writer);
  }
  writer.close();
}

}  // namespace vmm::domain
