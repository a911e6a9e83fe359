// What can be said only of the domain as a whole: no two devices at one place, no file with two writers.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/domain/reader.h"

namespace vmm::domain {

namespace {

// Remembers who took a key first. Returns the line of an earlier taker.
template <typename Key>
class Taken {
 public:
  std::optional<int> take(const Key& key, int line) {
    const auto [place, is_new] = lines_.try_emplace(key, line);
    return is_new ? std::nullopt : std::optional(place->second);
  }

 private:
  std::map<Key, int> lines_;
};

// No two on PCI in one slot.
class Slots {
 public:
  explicit Slots(const ReadContext& context) : context_(context) {}

  void take(std::string_view element, const std::optional<PciAddress>& address, int line) {
    const auto other = address ? slots_.take(address->slot, line) : std::nullopt;
    if (other) {
      context_.report.error(line, fmt::format("<{}>/<address slot='{:#04x}'>: the device of line {} stands "
                                              "there; give another slot, or remove the address",
                                              element, address->slot, *other));
    }
  }

 private:
  const ReadContext& context_;
  Taken<uint8_t> slots_;
};

void check_slots(const ReadContext& context, const Domain& domain) {
  Slots slots(context);
  if (domain.balloon) {
    slots.take("memballoon", domain.balloon->address, domain.balloon->line);
  }
  if (domain.watchdog) {
    slots.take("watchdog", domain.watchdog->address, domain.watchdog->line);
  }
  for (const Rng& rng : domain.rngs) {
    slots.take("rng", rng.address, rng.line);
  }
  for (const Interface& interface : domain.interfaces) {
    slots.take("interface", interface.address, interface.line);
  }
  for (const Disk& disk : domain.disks) {
    slots.take("disk", disk.address, disk.line);
  }
}

void check_targets(const ReadContext& context, const Domain& domain) {
  Taken<std::string> targets;
  for (const Disk& disk : domain.disks) {
    const auto line = disk.target.empty() ? std::nullopt : targets.take(disk.target, disk.line);
    if (line) {
      context.report.error(disk.line,
                           fmt::format("<disk>/<target dev='{}'>: the disk of line {} has this name; "
                                       "give another",
                                       disk.target, *line));
    }
  }
}

// Whose <boot order=…/> it is.
struct NumberedBoot {
  std::string_view element;
  int line = 0;
  uint32_t order = 0;
};

std::vector<NumberedBoot> numbered_boots(const Domain& domain) {
  std::vector<NumberedBoot> boots;
  for (const Disk& disk : domain.disks) {
    if (disk.boot_order) {
      boots.push_back({"disk", disk.line, *disk.boot_order});
    }
  }
  for (const Interface& interface : domain.interfaces) {
    if (interface.boot_order) {
      boots.push_back({"interface", interface.line, *interface.boot_order});
    }
  }
  return boots;
}

void check_boot_numbers(const ReadContext& context, const Domain& domain) {
  std::map<uint32_t, NumberedBoot> orders;
  for (const NumberedBoot& each : numbered_boots(domain)) {
    const auto [place, is_new] = orders.try_emplace(each.order, each);
    if (!is_new) {
      context.report.error(
          each.line, fmt::format("<{}>/<boot order='{}'>: the {} of line {} has this order; give another",
                                 each.element, each.order, place->second.element, place->second.line));
    }
  }
}

// By name only: two names of one file are found out when the images are locked.
void check_images(const ReadContext& context, const Domain& domain) {
  std::map<std::string, const Disk*> images;
  for (const Disk& disk : domain.disks) {
    if (disk.source.empty()) {
      continue;
    }
    const auto [place, is_new] = images.try_emplace(disk.source.lexically_normal().native(), &disk);
    const Disk& other = *place->second;
    const bool both_read = (disk.read_only || disk.transient) && (other.read_only || other.transient);
    const bool both_share = disk.shareable && other.shareable;
    if (!is_new && !both_read && !both_share) {
      context.report.error(
          disk.source_line != 0 ? disk.source_line : disk.line,
          fmt::format("<disk>/<source>: {} is the image of {} (line {}) too; give another, or make "
                      "both <readonly/> or <shareable/>",
                      printable(disk.source.native()), other.target, other.line));
    }
  }
}

// No two lead to one file, socket or terminal.
class HostEnds {
 public:
  explicit HostEnds(const ReadContext& context) : context_(context) {}

  void check(std::string_view element, const Serial& end) {
    if (!end.path.empty()) {
      if (const auto line = paths_.take(end.path.lexically_normal().native(), end.line)) {
        context_.report.error(end.line,
                              fmt::format("<{}>/<source>: the port of line {} leads to {} too; give "
                                          "another path",
                                          element, *line, printable(end.path.native())));
      }
    }
    if (end.backend == CharBackend::kStdio) {
      if (stdio_line_) {
        context_.report.error(end.line,
                              fmt::format("<{} type='stdio'>: the port of line {} has the terminal; "
                                          "use another type",
                                          element, *stdio_line_));
      }
      stdio_line_ = end.line;
    }
  }

 private:
  const ReadContext& context_;
  Taken<std::string> paths_;
  std::optional<int> stdio_line_;
};

void check_serials(const ReadContext& context, const Domain& domain) {
  Taken<uint32_t> ports;
  HostEnds ends(context);
  for (const Serial& serial : domain.serials) {
    if (const auto line = ports.take(serial.port, serial.line)) {
      context.report.error(serial.line,
                           fmt::format("<serial>/<target port='{}'>: the port of line {} has this number; "
                                       "give another",
                                       serial.port, *line));
    }
    ends.check("serial", serial);
  }
  if (domain.debug_console) {
    ends.check("serial", domain.debug_console->end);
  }
  for (const Serial& console : domain.virtio_consoles) {
    ends.check("console", console);
  }
}

// What is to be booted from and is not there. A disc to install from may bring its drive later.
void check_boot_devices(const ReadContext& context, const Element& root, const Domain& domain) {
  const Element* const os = root.child("os");
  const Element* const devices = root.child("devices");
  const bool is_unsure =
      devices != nullptr &&
      (devices->has_refused_children || std::ranges::any_of(devices->children, [](const Element& each) {
         return (each.name == "disk" || each.name == "interface") && each.has_mistakes();
       }));
  if (os == nullptr || !domain.os.kernel.empty() || is_unsure) {
    return;
  }
  const auto has = [&domain](DiskDevice device) {
    return std::ranges::find(domain.disks, device, &Disk::device) != domain.disks.end();
  };
  for (const Element& each : os->children) {
    const std::string_view dev = each.name == "boot" ? each.value_of("dev") : std::string_view();
    const std::string_view missing = dev == "cdrom" && !has(DiskDevice::kCdrom)      ? "CD-ROM drive"
                                     : dev == "hd" && !has(DiskDevice::kDisk)        ? "disk"
                                     : dev == "network" && domain.interfaces.empty() ? "<interface>"
                                                                                     : "";
    if (!missing.empty()) {
      context.report.warning(each.line, fmt::format("<os>/<boot dev='{}'>: there is no {} in the file; it is "
                                                    "passed over",
                                                    dev, missing));
    }
  }
}

void check_boot(const ReadContext& context, const Element& root, const Domain& domain) {
  check_boot_devices(context, root, domain);
  const Element* const os = root.child("os");
  if (os == nullptr || os->child("boot") == nullptr) {
    return;
  }
  for (const NumberedBoot& each : numbered_boots(domain)) {
    context.report.error(
        each.line,
        fmt::format("<{}>/<boot>: <os>/<boot> gives an order too; keep one of the two", each.element));
    return;
  }
}

// Disks come first, as they do in the machine; how many these may be is checked where they are read.
void check_places(const ReadContext& context, const Domain& domain) {
  const bool is_microvm = domain.os.machine == MachineType::kMicrovm;
  const size_t most = is_microvm ? kMaxMicrovmDevices : kMaxPcDevices;
  auto taken = static_cast<size_t>(std::ranges::count(domain.disks, DiskBus::kVirtio, &Disk::bus));
  const auto take = [&](int line, std::string_view element) {
    if (++taken == most + 1) {
      context.report.error(line, fmt::format("{}: the {} places that machine='{}' has for virtio devices are "
                                             "taken; remove one of them",
                                             element, most, is_microvm ? "microvm" : "pc"));
    }
  };
  for (const Interface& interface : domain.interfaces) {
    take(interface.line, "<interface>");
  }
  if (domain.balloon) {
    take(domain.balloon->line, "<memballoon>");
  }
  for (const Rng& rng : domain.rngs) {
    take(rng.line, "<rng>");
  }
  for (const Serial& console : domain.virtio_consoles) {
    take(console.line, "<console>");
  }
  if (domain.watchdog && domain.watchdog->model == WatchdogModel::kI6300esb) {
    take(domain.watchdog->line, "<watchdog>");
  }
}

void check_balloon(const ReadContext& context, const Element& root, const Domain& domain) {
  const Element* const devices = root.child("devices");
  const bool is_unsure = devices == nullptr ? root.has_refused_children : devices->has_refused_children;
  if (!is_unsure && !domain.balloon && domain.current_memory_bytes < domain.memory_bytes) {
    context.report.warning(
        domain.current_memory_line,
        "<currentMemory>: less than <memory>, and there is no <memballoon model='virtio'>; "
        "the guest has all of <memory> from the start");
  }
}

void check_acpi(const ReadContext& context, const Element& root, const Domain& domain) {
  const Element* const features = root.child("features");
  if (domain.features.acpi || root.has_refused_children ||
      (features != nullptr && features->has_refused_children)) {
    return;
  }
  if (domain.panic_device) {
    context.report.warning(domain.panic_device->line,
                           "<panic>: without <features><acpi/></features> the guest does not find it");
  }
  if (domain.generation_id) {
    context.report.warning(domain.generation_id->line,
                           "<genid>: without <features><acpi/></features> the guest does not find it");
  }
  if (domain.watchdog && domain.watchdog->action == WatchdogAction::kShutdown) {
    context.report.warning(
        domain.watchdog->line,
        "<watchdog action='shutdown'>: without <features><acpi/></features> the guest has no "
        "power button, and nothing happens");
  }
  if (domain.vcpus > 1) {
    context.report.error(
        domain.vcpus_line,
        "<vcpu>: without ACPI the guest finds one CPU only; add <features><acpi/></features>");
    return;
  }
  context.report.warning(
      root.line,
      "<domain>: without <features><acpi/></features> the guest has no power button and cannot "
      "power off");
}

}  // namespace

void check_domain(const ReadContext& context, const Element& root, const Domain& domain) {
  check_targets(context, domain);
  check_slots(context, domain);
  check_boot_numbers(context, domain);
  check_interfaces(context, root, domain);
  check_images(context, domain);
  check_serials(context, domain);
  check_places(context, domain);
  check_balloon(context, root, domain);
  check_boot(context, root, domain);
  check_acpi(context, root, domain);
}

}  // namespace vmm::domain
