#include "tests/unit/domain/domain_fields.h"

#include <fmt/format.h>

#include <concepts>
#include <type_traits>

// The structures are taken apart by all of their members: a new one that is missing here does not compile. It
// wants its place here, in write_….cpp and in generated_domain.cpp; only what no domain file says is passed
// over.

namespace vmm::domain::testing {
namespace {

class FieldsLister {
 public:
  template <typename T>
    requires std::integral<T> || std::is_enum_v<T>
  void add(const std::string& name, T value) {
    if constexpr (std::is_enum_v<T>) {
      fields[name] = std::to_string(static_cast<int>(value));
    } else {
      fields[name] = std::to_string(value);
    }
  }
  void add(const std::string& name, const std::string& value) { fields[name] = fmt::format("'{}'", value); }
  void add(const std::string& name, const std::filesystem::path& value) { add(name, value.native()); }

  template <typename T>
  void add(const std::string& name, const std::optional<T>& value) {
    if (value) {
      fields[name] = "there";  // of what has no value of its own
      add(name, *value);
    } else {
      fields[name] = "absent";
    }
  }
  template <typename T>
  void add(const std::string& name, const std::vector<T>& values) {
    fields[name + ".size"] = std::to_string(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      add(fmt::format("{}[{}]", name, i), values[i]);
    }
  }
  void add(const std::string& name, const std::map<std::string, std::string>& values) {
    fields[name + ".size"] = std::to_string(values.size());
    for (const auto& [key, value] : values) {
      add(fmt::format("{}.{}", name, key), value);
    }
  }
  void add(const std::string& name, const std::array<uint8_t, 16>& bytes) {
    fields[name] = fmt::format("{:02x}", fmt::join(bytes, ""));
  }

  void add(const std::string& name, const PciAddress& value) {
    const auto& [slot, function] = value;
    fields[name] = fmt::format("{}.{}", slot, function);
  }
  void add(const std::string& name, const IdePlace& value) {
    const auto& [channel, drive] = value;
    fields[name] = fmt::format("{}.{}", channel, drive);
  }
  void add(const std::string& name, const GenerationId& value) {
    const auto& [line, id] = value;
    add(name + ".value", id);
  }
  void add(const std::string& name, const ExitPort& value) {
    const auto& [line, port] = value;
    fields[name] = std::to_string(port);
  }

  void add(const std::string& name, const MemoryBacking& value) {
    const auto& [line, hugepages, hugepage_bytes, source, locked, shared, share_pages, allocate_at_start] =
        value;
    add(name + ".hugepages", hugepages);
    add(name + ".hugepage_bytes", hugepage_bytes);
    add(name + ".source", source);
    add(name + ".locked", locked);
    add(name + ".shared", shared);
    add(name + ".share_pages", share_pages);
    add(name + ".allocate_at_start", allocate_at_start);
  }

  void add(const std::string& name, const SmbiosEntries& value) {
    const auto& [bios, system, board, chassis, oem_strings] = value;
    add(name + ".bios", bios);
    add(name + ".system", system);
    add(name + ".board", board);
    add(name + ".chassis", chassis);
    add(name + ".oem_strings", oem_strings);
  }

  void add(const std::string& name, const Os& value) {
    const auto& [line, machine, kernel, kernel_line, initrd, initrd_line, command_line, command_line_line,
                 loader, loader_line, boot_devices, install_target, boot_menu_ms, firmware_uses_serial,
                 smbios, reboot_after_ms] = value;
    add(name + ".machine", machine);
    add(name + ".kernel", kernel);
    add(name + ".initrd", initrd);
    add(name + ".command_line", command_line);
    add(name + ".loader", loader);
    add(name + ".boot_devices", boot_devices);
    add(name + ".boot_menu_ms", boot_menu_ms);
    add(name + ".firmware_uses_serial", firmware_uses_serial);
    add(name + ".smbios", smbios);
    add(name + ".reboot_after_ms", reboot_after_ms);
  }

  void add(const std::string& name, const CpuFeature& value) {
    const auto& [feature, policy, line] = value;
    add(name + ".name", feature);
    add(name + ".policy", policy);
  }

  void add(const std::string& name, const CpuTopology& value) {
    const auto& [sockets, dies, cores, threads] = value;
    fields[name] = fmt::format("{} {} {} {}", sockets, dies, cores, threads);
  }

  void add(const std::string& name, const Cpu& value) {
    const auto& [line, mode, model, migratable, features] = value;
    add(name + ".mode", mode);
    add(name + ".model", model);
    add(name + ".migratable", migratable);
    add(name + ".features", features);
  }

  void add(const std::string& name, const Clock& value) {
    const auto& [line, offset, timezone, adjustment_seconds, basis_is_localtime, kvmclock, pit] = value;
    add(name + ".offset", offset);
    add(name + ".timezone", timezone);
    add(name + ".adjustment_seconds", adjustment_seconds);
    add(name + ".basis_is_localtime", basis_is_localtime);
    add(name + ".kvmclock", kvmclock);
    add(name + ".pit", pit);
  }

  void add(const std::string& name, const Features& value) {
    const auto& [acpi, apic, pae, hide_kvm, pmu] = value;
    add(name + ".acpi", acpi);
    add(name + ".apic", apic);
    add(name + ".pae", pae);
    add(name + ".hide_kvm", hide_kvm);
    add(name + ".pmu", pmu);
  }

  void add(const std::string& name, const CpuSet& value) {
    const auto& [line, cpus] = value;
    fields[name] = fmt::format("{}", fmt::join(cpus, ","));
  }

  void add(const std::string& name, const std::map<uint32_t, CpuSet>& values) {
    fields[name + ".size"] = std::to_string(values.size());
    for (const auto& [number, cpus] : values) {
      add(fmt::format("{}[{}]", name, number), cpus);
    }
  }

  void add(const std::string& name, const CpuPins& value) {
    const auto& [all, vcpus, emulator, iothreads] = value;
    add(name + ".all", all);
    add(name + ".vcpus", vcpus);
    add(name + ".emulator", emulator);
    add(name + ".iothreads", iothreads);
  }

  void add(const std::string& name, const IoLimit& value) {
    const auto& [per_second, burst_per_second, burst_seconds] = value;
    add(name + ".per_second", per_second);
    add(name + ".burst_per_second", burst_per_second);
    add(name + ".burst_seconds", burst_seconds);
  }

  void add(const std::string& name, const IoTune& value) {
    const auto& [total_bytes, read_bytes, write_bytes, total_operations, read_operations, write_operations,
                 operation_bytes] = value;
    add(name + ".total_bytes", total_bytes);
    add(name + ".read_bytes", read_bytes);
    add(name + ".write_bytes", write_bytes);
    add(name + ".total_operations", total_operations);
    add(name + ".read_operations", read_operations);
    add(name + ".write_operations", write_operations);
    add(name + ".operation_bytes", operation_bytes);
  }

  void add(const std::string& name, const DiskGeometry& value) {
    const auto& [cylinders, heads, sectors_per_track, translation] = value;
    fields[name] = fmt::format("{} {} {}", cylinders, heads, sectors_per_track);
    add(name + ".translation", translation);
  }

  void add(const std::string& name, const BackingStore& value) {
    const auto& [source_type, source, format] = value;
    add(name + ".source_type", source_type);
    add(name + ".source", source);
    add(name + ".format", format);
  }

  void add(const std::string& name, const Disk& value) {
    const auto& [line, target, bus, device, ide_place, source_type, source, source_line, source_is_optional,
                 tray_is_open, format, data_file, data_file_type, backing_stores, backing_ends,
                 metadata_cache_bytes, secret, read_only, shareable, transient, kept_as, is_committed, serial,
                 world_wide_name, rotation_rate, geometry, cache, io, discard, detect_zeroes, write_error,
                 read_error, iothread, queues, queue_size, event_idx, ioeventfd, iotune, logical_block_bytes,
                 physical_block_bytes, boot_order, address, alias] = value;
    add(name + ".target", target);
    add(name + ".bus", bus);
    add(name + ".device", device);
    add(name + ".ide_place", ide_place);
    add(name + ".source_type", source_type);
    add(name + ".source", source);
    add(name + ".source_is_optional", source_is_optional);
    add(name + ".tray_is_open", tray_is_open);
    add(name + ".format", format);
    add(name + ".data_file", data_file);
    add(name + ".data_file_type", data_file_type);
    add(name + ".backing_stores", backing_stores);
    add(name + ".backing_ends", backing_ends);
    add(name + ".metadata_cache_bytes", metadata_cache_bytes);
    add(name + ".secret", secret);
    add(name + ".read_only", read_only);
    add(name + ".shareable", shareable);
    add(name + ".transient", transient);
    add(name + ".serial", serial);
    add(name + ".world_wide_name", world_wide_name);
    add(name + ".rotation_rate", rotation_rate);
    add(name + ".geometry", geometry);
    add(name + ".cache", cache);
    add(name + ".io", io);
    add(name + ".discard", discard);
    add(name + ".detect_zeroes", detect_zeroes);
    add(name + ".write_error", write_error);
    add(name + ".read_error", read_error);
    add(name + ".iothread", iothread);
    add(name + ".queues", queues);
    add(name + ".queue_size", queue_size);
    add(name + ".event_idx", event_idx);
    add(name + ".ioeventfd", ioeventfd);
    add(name + ".iotune", iotune);
    add(name + ".logical_block_bytes", logical_block_bytes);
    add(name + ".physical_block_bytes", physical_block_bytes);
    add(name + ".boot_order", boot_order);
    add(name + ".address", address);
    add(name + ".alias", alias);
  }

  void add(const std::string& name, const MacAddress& value) {
    const auto& [bytes] = value;
    fields[name] = fmt::format("{:02x}", fmt::join(bytes, ":"));
  }

  void add(const std::string& name, const IpAddress& value) {
    const auto& [is_v6, bytes] = value;
    fields[name] = fmt::format("{} {:02x}", is_v6, fmt::join(bytes, ""));
  }

  void add(const std::string& name, const InterfaceIp& value) {
    const auto& [address, prefix] = value;
    add(name + ".address", address);
    add(name + ".prefix", prefix);
  }

  void add(const std::string& name, const PortRange& value) {
    const auto& [first, last, to, is_excluded] = value;
    fields[name] = fmt::format("{} {} {}", first, last, to);
    add(name + ".is_excluded", is_excluded);
  }

  void add(const std::string& name, const PortForward& value) {
    const auto& [line, protocol, address, device, ranges] = value;
    add(name + ".protocol", protocol);
    add(name + ".address", address);
    add(name + ".device", device);
    add(name + ".ranges", ranges);
  }

  void add(const std::string& name, const Bandwidth& value) {
    const auto& [average_kib, peak_kib, burst_kib] = value;
    add(name + ".average_kib", average_kib);
    add(name + ".peak_kib", peak_kib);
    add(name + ".burst_kib", burst_kib);
  }

  void add(const std::string& name, const HostOffloads& value) {
    const auto& [checksum, gso, tso4, tso6, ecn, ufo, mergeable_buffers] = value;
    add(name + ".checksum", checksum);
    add(name + ".gso", gso);
    add(name + ".tso4", tso4);
    add(name + ".tso6", tso6);
    add(name + ".ecn", ecn);
    add(name + ".ufo", ufo);
    add(name + ".mergeable_buffers", mergeable_buffers);
  }

  void add(const std::string& name, const GuestOffloads& value) {
    const auto& [checksum, tso4, tso6, ecn, ufo] = value;
    add(name + ".checksum", checksum);
    add(name + ".tso4", tso4);
    add(name + ".tso6", tso6);
    add(name + ".ecn", ecn);
    add(name + ".ufo", ufo);
  }

  void add(const std::string& name, const InterfaceRom& value) {
    const auto& [is_enabled, is_in_bar, file] = value;
    add(name + ".is_enabled", is_enabled);
    add(name + ".is_in_bar", is_in_bar);
    add(name + ".file", file);
  }

  void add(const std::string& name, const Interface& value) {
    const auto& [line, type, mac, network, bridge, device, direct_mode, target, target_is_managed, backend,
                 log_file, ipv4, ipv6, forwards, driver, queues, rx_queue_size, tx_queue_size, event_idx,
                 ioeventfd, host_offloads, guest_offloads, inbound, outbound, filter, filter_ips, link_is_up,
                 mtu, rom, boot_order, address, alias, packet_file] = value;
    add(name + ".type", type);
    add(name + ".mac", mac);
    add(name + ".network", network);
    add(name + ".bridge", bridge);
    add(name + ".device", device);
    add(name + ".direct_mode", direct_mode);
    add(name + ".target", target);
    add(name + ".target_is_managed", target_is_managed);
    add(name + ".backend", backend);
    add(name + ".log_file", log_file);
    add(name + ".ipv4", ipv4);
    add(name + ".ipv6", ipv6);
    add(name + ".forwards", forwards);
    add(name + ".driver", driver);
    add(name + ".queues", queues);
    add(name + ".rx_queue_size", rx_queue_size);
    add(name + ".tx_queue_size", tx_queue_size);
    add(name + ".event_idx", event_idx);
    add(name + ".ioeventfd", ioeventfd);
    add(name + ".host_offloads", host_offloads);
    add(name + ".guest_offloads", guest_offloads);
    add(name + ".inbound", inbound);
    add(name + ".outbound", outbound);
    add(name + ".filter", filter);
    add(name + ".filter_ips", filter_ips);
    add(name + ".link_is_up", link_is_up);
    add(name + ".mtu", mtu);
    add(name + ".rom", rom);
    add(name + ".boot_order", boot_order);
    add(name + ".address", address);
    add(name + ".alias", alias);
  }

  void add(const std::string& name, const UserNetwork& value) {
    const auto& [line, is_restricted, tftp_folder, boot_file] = value;
    add(name + ".is_restricted", is_restricted);
    add(name + ".tftp_folder", tftp_folder);
    add(name + ".boot_file", boot_file);
  }

  void add(const std::string& name, const Balloon& value) {
    const auto& [line, deflates_on_oom, reports_free_pages, address, alias] = value;
    add(name + ".alias", alias);
    add(name + ".deflates_on_oom", deflates_on_oom);
    add(name + ".reports_free_pages", reports_free_pages);
    add(name + ".address", address);
  }

  void add(const std::string& name, const Serial& value) {
    const auto& [line, port, backend, path, append, listen, log_path, log_append, alias] = value;
    add(name + ".port", port);
    add(name + ".backend", backend);
    add(name + ".path", path);
    add(name + ".append", append);
    add(name + ".listen", listen);
    add(name + ".log_path", log_path);
    add(name + ".log_append", log_append);
    add(name + ".alias", alias);
  }

  void add(const std::string& name, const Watchdog& value) {
    const auto& [line, model, action, address] = value;
    add(name + ".model", model);
    add(name + ".action", action);
    add(name + ".address", address);
  }

  void add(const std::string& name, const Rng& value) {
    const auto& [line, source, rate_bytes, rate_period_ms, address, alias] = value;
    add(name + ".alias", alias);
    add(name + ".source", source);
    add(name + ".rate_bytes", rate_bytes);
    add(name + ".rate_period_ms", rate_period_ms);
    add(name + ".address", address);
  }

  void add(const std::string& name, const DebugConsole& value) {
    const auto& [end, port] = value;
    add(name + ".end", end);
    fields.erase(name + ".end.port");  // it says nothing
    add(name + ".port", port);
  }

  void add(const std::string& name, const PanicDevice& value) {
    const auto& [line, alias] = value;
    fields[name] = "there";
    add(name + ".alias", alias);
  }

  void add(const Domain& value) {
    const auto& [file_name, doubtful_lines, settings, is_strict, name, uuid, generation_id, title,
                 description, memory_bytes, memory_line, current_memory_bytes, current_memory_line,
                 memory_backing, vcpus, vcpus_line, topology, cpu, iothread_ids, pins, os, features, clock,
                 on_poweroff, on_reboot, on_crash, disks, throwaway, interfaces, user_network, balloon, rngs,
                 serials, virtio_consoles, debug_console, panic_device, watchdog, exit_port] = value;
    static_cast<void>(is_strict);
    static_cast<void>(doubtful_lines);
    add("name", name);
    add("uuid", uuid);
    add("generation_id", generation_id);
    add("title", title);
    add("description", description);
    add("memory_bytes", memory_bytes);
    add("current_memory_bytes", current_memory_bytes);
    add("memory_backing", memory_backing);
    add("vcpus", vcpus);
    add("topology", topology);
    add("cpu", cpu);
    add("iothread_ids", iothread_ids);
    add("pins", pins);
    add("os", os);
    add("features", features);
    add("clock", clock);
    add("on_poweroff", on_poweroff);
    add("on_reboot", on_reboot);
    add("on_crash", on_crash);
    add("disks", disks);
    add("interfaces", interfaces);
    add("user_network", user_network);
    add("balloon", balloon);
    add("rngs", rngs);
    add("serials", serials);
    add("virtio_consoles", virtio_consoles);
    add("debug_console", debug_console);
    add("panic_device", panic_device);
    add("watchdog", watchdog);
    add("exit_port", exit_port);
  }

  DomainFields fields;
};

}  // namespace

DomainFields fields_of(const Domain& domain) {
  FieldsLister lister;
  lister.add(domain);
  return std::move(lister.fields);
}

}  // namespace vmm::domain::testing
