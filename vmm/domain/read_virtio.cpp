// What virtio devices have in common; the balloon, random numbers, the panic device and the watchdog.
#include <fmt/format.h>

#include <array>
#include <limits>

#include "vmm/domain/reader.h"

namespace vmm::domain {

namespace {

// libvirt: an address is honoured; vmm honours it where its one bus has the place, and says where it does
// not.
std::optional<PciAddress> read_pci_address(const ReadContext& context, const Element& address) {
  constexpr std::array<std::string_view, 4> kParts = {"domain", "bus", "slot", "function"};
  constexpr std::array<uint64_t, 4> kHighest = {0xffff, 0xff, 0x1f, 7};
  std::array<uint64_t, 4> values{};
  for (size_t i = 0; i < kParts.size(); ++i) {
    const Attribute* attribute = address.attribute(kParts[i]);
    if (attribute == nullptr) {
      continue;
    }
    const auto value = parse_address_number(attribute->value);
    if (!value || *value > kHighest[i]) {
      context.report.error(attribute->line, fmt::format("{}: give a number up to {:#x}",
                                                        address.place_of(*attribute), kHighest[i]));
      return std::nullopt;
    }
    values[i] = *value;
  }
  if (!address.mistaken.empty()) {
    return std::nullopt;
  }
  if (address.attribute("slot") == nullptr && values == std::array<uint64_t, 4>{}) {
    return std::nullopt;  // it says no place
  }
  constexpr uint64_t kFirstFreeSlot = 2;  // 0 is the host bridge, 1 the ISA bridge
  const bool is_on_our_bus = values[0] == 0 && values[1] == 0;
  if (!is_on_our_bus || values[2] < kFirstFreeSlot || values[3] != 0) {
    const std::string reason =
        !is_on_our_bus ? fmt::format("there is no bus {:04x}:{:02x}, only 0000:00", values[0], values[1])
        : values[2] < kFirstFreeSlot ? fmt::format("slot {:#04x} is that of a bridge", values[2])
                                     : std::string("each device has a slot of its own, and function 0");
    context.report.warning(address.line, fmt::format("{}: {}; vmm chooses a slot", address.place, reason));
    return std::nullopt;
  }
  return PciAddress{.slot = static_cast<uint8_t>(values[2]), .function = 0};
}

void read_rng_backend(const ReadContext& context, const Element& element, Rng& rng) {
  const Element* backend = element.child("backend");
  if (backend == nullptr || backend->attribute("model") == nullptr) {
    if (!element.has_refused_children && (backend == nullptr || backend->lacks("model"))) {
      context.report.error(element.line, fmt::format("{}: has no <backend model='random'/>; say where random "
                                                     "numbers come from",
                                                     element.place));
    }
    return;
  }
  if (backend->text.empty()) {
    return;
  }
  if (backend->value_of("model") != "random" || !backend->text.starts_with('/')) {
    context.report.error(backend->line,
                         fmt::format("{}: '{}' is not the path of a device; write /dev/urandom, or nothing",
                                     backend->place, printable(backend->text)));
    return;
  }
  rng.source = context.complete(*backend, backend->text);
}

void read_rng_rate(const ReadContext& context, const Element& element, Rng& rng) {
  const Element* rate = element.child("rate");
  if (rate == nullptr) {
    return;
  }
  constexpr uint32_t kHighest = std::numeric_limits<uint32_t>::max();
  const auto bytes = read_number(context, *rate, "bytes", 1, kHighest);
  if (rate->lacks("bytes")) {
    context.report.error(rate->line, fmt::format("{}: has no bytes=; say how many in a period", rate->place));
  }
  rng.rate_bytes = bytes.value_or(0);
  rng.rate_period_ms = read_number(context, *rate, "period", 1, kHighest).value_or(rng.rate_period_ms);
}

}  // namespace

std::optional<PciAddress> read_virtio_address(const ReadContext& context, const Element& device,
                                              MachineType machine) {
  const Element* address = device.child("address");
  if (address == nullptr) {
    return std::nullopt;
  }
  const std::string_view type = address->value_of("type");
  const std::string_view own = machine == MachineType::kPc ? "pci" : "virtio-mmio";
  if (type == "unassigned" || address->is_mistaken("type")) {
    return std::nullopt;
  }
  if (type != own) {
    context.report.warning(address->line,
                           fmt::format("{}: machine='{}' has its virtio devices on {}; vmm chooses the place",
                                       address->place, machine == MachineType::kPc ? "pc" : "microvm", own));
    return std::nullopt;
  }
  return machine == MachineType::kPc ? read_pci_address(context, *address) : std::nullopt;
}

void read_balloon(const ReadContext& context, const Element& devices, Domain& domain) {
  const Element* element = devices.child("memballoon");
  if (element == nullptr || element->value_of("model") == "none") {
    return;
  }
  if (element->lacks("model")) {
    context.report.error(element->line,
                         fmt::format("{}: has no model=; write model='virtio' or 'none'", element->place));
  }
  Balloon& balloon = domain.balloon.emplace();
  balloon.line = element->line;
  balloon.deflates_on_oom = read_flag(context, *element, "autodeflate", false);
  balloon.reports_free_pages = read_flag(context, *element, "freePageReporting", false);
  balloon.address = read_virtio_address(context, *element, domain.os.machine);
  balloon.alias = alias_of(*element);
  const MemoryBacking& backing = domain.memory_backing;
  if ((backing.hugepages || backing.locked) && element->mistaken.empty()) {
    context.report.warning(
        element->line,
        fmt::format("{}: <{}> keeps all of the guest's memory for it; what the balloon holds does "
                    "not go back to the host",
                    element->place, backing.hugepages ? "hugepages" : "locked"));
  }
}

void read_rngs(const ReadContext& context, const Element& devices, Domain& domain) {
  for (const Element& element : devices.children) {
    if (element.name != "rng") {
      continue;
    }
    if (element.lacks("model")) {
      context.report.error(element.line,
                           fmt::format("{}: has no model=; write model='virtio'", element.place));
    }
    Rng& rng = domain.rngs.emplace_back();
    rng.line = element.line;
    read_rng_backend(context, element, rng);
    read_rng_rate(context, element, rng);
    rng.address = read_virtio_address(context, element, domain.os.machine);
    rng.alias = alias_of(element);
  }
}

void read_panic_device(const ReadContext& context, const Element& devices, Domain& domain) {
  for (const Element& element : devices.children) {
    if (element.name != "panic") {
      continue;
    }
    if (domain.panic_device) {
      context.report.error(element.line, fmt::format("{}: the one of line {} is enough; remove it",
                                                     element.place, domain.panic_device->line));
      return;
    }
    if (element.is_mistaken("model")) {
      continue;
    }
    domain.panic_device = PanicDevice{.line = element.line, .alias = alias_of(element)};
    const Element* address = element.child("address");
    const Attribute* port = address == nullptr ? nullptr : address->attribute("iobase");
    if (port != nullptr && parse_address_number(port->value) != kPanicDevicePort) {
      context.report.error(port->line,
                           fmt::format("{}: the panic device stands at port {:#x}; write that, or "
                                       "remove it",
                                       address->place_of(*port), kPanicDevicePort));
    }
  }
}

std::optional<PciAddress> read_watchdog_address(const ReadContext& context, const Element& element,
                                                WatchdogModel model) {
  const Element* address = element.child("address");
  if (address == nullptr || address->value_of("type") != "pci") {
    return std::nullopt;
  }
  if (model == WatchdogModel::kIb700) {
    context.report.error(address->line,
                         fmt::format("{}: an ib700 stands at its ports; remove it", address->place));
    return std::nullopt;
  }
  return read_pci_address(context, *address);
}

void read_watchdog(const ReadContext& context, const Element& devices, Domain& domain) {
  for (const Element& element : devices.children) {
    if (element.name != "watchdog") {
      continue;
    }
    if (domain.watchdog) {
      context.report.error(element.line, fmt::format("{}: the one of line {} is enough; remove it",
                                                     element.place, domain.watchdog->line));
      return;
    }
    if (element.lacks("model")) {
      context.report.error(
          element.line, fmt::format("{}: has no model=; write model='i6300esb' or 'ib700'", element.place));
    }
    Watchdog watchdog;
    watchdog.line = element.line;
    watchdog.model = read_choice(context, element, "model", WatchdogModel::kIb700,
                                 {{"ib700", WatchdogModel::kIb700}, {"i6300esb", WatchdogModel::kI6300esb}});
    watchdog.action = read_choice(context, element, "action", WatchdogAction::kReset,
                                  {{"reset", WatchdogAction::kReset},
                                   {"shutdown", WatchdogAction::kShutdown},
                                   {"poweroff", WatchdogAction::kPoweroff},
                                   {"pause", WatchdogAction::kPause},
                                   {"inject-nmi", WatchdogAction::kInjectNmi},
                                   {"none", WatchdogAction::kNone}});
    if (element.is_mistaken("model")) {
      continue;
    }
    watchdog.address = read_watchdog_address(context, element, watchdog.model);
    if (watchdog.model == WatchdogModel::kI6300esb && domain.os.machine == MachineType::kMicrovm) {
      context.report.error(element.line, fmt::format("{}: an i6300esb stands on PCI, which machine='microvm' "
                                                     "does not have; use model='ib700'",
                                                     element.place));
    }
    domain.watchdog = watchdog;
  }
}

}  // namespace vmm::domain
