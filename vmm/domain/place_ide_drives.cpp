// Where the drives on IDE stand: two channels, two drives each.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "vmm/domain/reader.h"

namespace vmm::domain {
namespace {

constexpr size_t kPlaces = 4;

// Lines of the <disk> elements; 0: the place is free.
using Places = std::array<int, kPlaces>;

IdePlace place_of(size_t number) {
  return {.channel = static_cast<uint8_t>(number / 2), .drive = static_cast<uint8_t>(number % 2)};
}

// kPlaces: it is none of ours.
size_t place_of_address(const Element& address) {
  const auto number = [&address](std::string_view name) -> std::optional<uint64_t> {
    return address.attribute(name) == nullptr ? 0 : parse_unsigned(address.value_of(name));
  };
  const auto channel = number("bus");
  const auto drive = number("unit");
  const bool is_ours =
      number("controller") == 0 && number("target") == 0 && channel && drive && *channel < 2 && *drive < 2;
  return is_ours ? 2 * *channel + *drive : kPlaces;
}

// libvirt: the n-th letter is the n-th place.
size_t place_of_name(std::string_view target) {
  return target.size() == 3 ? std::min(static_cast<size_t>(target[2] - 'a'), kPlaces) : kPlaces;
}

size_t wanted_place(const ReadContext& context, const Element& element, const Disk& disk) {
  const Element* address = element.child("address");
  if (address == nullptr || address->value_of("type") == "unassigned" || address->is_mistaken("type")) {
    return place_of_name(disk.target);
  }
  if (address->value_of("type") == "drive") {
    return address->mistaken.empty() ? place_of_address(*address) : place_of_name(disk.target);
  }
  context.report.warning(
      address->line, fmt::format("{}: IDE drives have addresses of type='drive'; the place is that of dev=",
                                 address->place));
  return place_of_name(disk.target);
}

void take(size_t place, Places& places, Disk& disk) {
  places[place] = disk.line;
  disk.ide_place = place_of(place);
  if (disk.serial.empty()) {
    disk.serial = ide_serial(disk.ide_place);
  }
}

void place_drive(const ReadContext& context, const Element& element, Places& places, Disk& disk) {
  const size_t place = wanted_place(context, element, disk);
  const Element* const address = element.child("address");
  if (place >= kPlaces && address != nullptr && address->value_of("type") == "drive") {
    context.report.error(
        address->line,
        fmt::format("{}: there is no such place on IDE; controller= and target= are 0, bus= and unit= "
                    "0 or 1",
                    address->place));
  } else if (place >= kPlaces) {
    context.report.error(
        element.line,
        fmt::format("{}: the machine has four IDE drives, hda to hdd; use one of these", element.place));
  } else if (places[place] != 0) {
    context.report.error(
        element.line,
        fmt::format("{}: the disk of line {} is the same IDE drive; give another dev= or <address>",
                    element.place, places[place]));
  } else {
    take(place, places, disk);
  }
}

// It is on another bus in libvirt: its name and its address promise no place here.
void place_sata_drive(const ReadContext& context, const Element& element, Places& places, size_t& next,
                      Disk& disk) {
  size_t place = place_of_name(disk.target);
  if (place >= kPlaces || places[place] != 0) {
    // Behind those before it, where there is one free: the guest finds them in this order.
    auto free = std::find(places.begin() + static_cast<ptrdiff_t>(next), places.end(), 0);
    free = free == places.end() ? std::ranges::find(places, 0) : free;
    place = static_cast<size_t>(free - places.begin());
  }
  if (place >= kPlaces) {
    context.report.error(
        element.line,
        fmt::format("{}: stands on IDE, whose four places are taken; {}", element.place,
                    disk.device == DiskDevice::kCdrom ? "remove it, or another" : "use bus='virtio'"));
    return;
  }
  take(place, places, disk);
  next = place + 1;
}

}  // namespace

std::string ide_serial(IdePlace place) {
  return fmt::format("VMM{:05}", 2U * place.channel + place.drive + 1U);
}

void place_ide_drives(const ReadContext& context, std::span<const Element* const> elements, Domain& domain) {
  Places places{};
  size_t next = 0;
  for (const bool is_sata : {false, true}) {
    for (size_t i = 0; i < domain.disks.size(); ++i) {
      const Element& element = *elements[i];
      Disk& disk = domain.disks[i];
      const Element* const target = element.child("target");
      if (disk.bus != DiskBus::kIde || (target->value_of("bus") == "sata") != is_sata) {
        continue;
      }
      if (domain.os.machine != MachineType::kPc) {
        context.report.error(element.line,
                             fmt::format("{}: only machine='pc' has IDE; use bus='virtio'", element.place));
      } else if (is_sata) {
        place_sata_drive(context, element, places, next, disk);
      } else {
        place_drive(context, element, places, disk);
      }
    }
  }
}

}  // namespace vmm::domain
