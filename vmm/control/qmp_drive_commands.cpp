#include "vmm/control/qmp_drive_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "vmm/domain/throwaway.h"

namespace vmm::control {
std::optional<Fault> unknown_drive(const Guest& guest, const std::string& device, unsigned takes) {
  const std::vector<Guest::Drive> drives = guest.drives();
  const auto drive = std::ranges::find(drives, device, &Guest::Drive::device);
  if (drive == drives.end()) {
    return Fault{.error_class = "DeviceNotFound",
                 .description = fmt::format("Device '{}' not found", device)};
  }
  if ((takes & kCdrom) != 0 && !drive->is_cdrom) {
    return Fault{.description = fmt::format("Device '{}' is not removable", device)};
  }
  return std::nullopt;
}

Answer query_throwaway(Guest& guest, const Request& /*request*/) {
  const auto throwaway = guest.throwaway();
  if (!throwaway) {
    return fault("No disk of the guest is throwaway");
  }
  Json told{{"used", throwaway->used_bytes}};
  if (throwaway->limit_bytes) {
    told["limit"] = *throwaway->limit_bytes;
  }
  return told;
}

Answer set_throwaway_limit(Guest& guest, const Request& request) {
  if (!guest.throwaway()) {
    return fault("No disk of the guest is throwaway");
  }
  if (request.bytes && *request.bytes < domain::kMinThrowawayLimitBytes) {
    return fault(fmt::format("{} bytes are fewer than the {} that tables alone need", *request.bytes,
                             domain::kMinThrowawayLimitBytes));
  }
  guest.set_throwaway_limit(request.bytes);
  return Json::object();
}

Answer boot_once(Guest& guest, const Request& request) {
  return answer_of(guest.boot_once_from(request.device));
}

// A tray that the guest holds locked is no error: it is asked to open it.
Answer open_tray(Guest& guest, const Request& request) {
  const auto opened = guest.open_tray(request.device, request.is_forced);
  return answer_of(opened ? Status() : std::unexpected(opened.error()));
}

Answer close_tray(Guest& guest, const Request& request) {
  return answer_of(guest.close_tray(request.device));
}

Answer remove_medium(Guest& guest, const Request& request) {
  return answer_of(guest.remove_disc(request.device));
}

Answer eject(Guest& guest, const Request& request) {
  const auto opened = guest.open_tray(request.device, request.is_forced);
  if (!opened) {
    return fault(opened.error().message());
  }
  if (*opened == Guest::Opened::kGuestAsked) {
    return fault(
        fmt::format("Device '{}' is locked and force was not specified, wait for tray to open and try again",
                    request.device));
  }
  return answer_of(guest.remove_disc(request.device));
}

Answer insert_medium(Guest& guest, const Request& request) {
  return answer_of(guest.insert_disc(request.device, request.file, request.format));
}

Answer change_medium(Guest& guest, const Request& request) {
  return answer_of(guest.change_disc(request.device, request.file, request.format, request.is_forced));
}

}  // namespace vmm::control
