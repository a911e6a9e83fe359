#include "vmm/control/machine_guest.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

namespace vmm::control {
namespace {

std::filesystem::path told_path(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  // Behind a symbolic link `..` leads elsewhere than it looks.
  const bool goes_back = std::ranges::find(absolute, "..") != absolute.end();
  return error ? path : goes_back ? absolute : absolute.lexically_normal();
}

}  // namespace

Guest::State MachineGuest::state() const {
  switch (machine_.state()) {
    case Machine::State::kRunning:
      return State::kRunning;
    case Machine::State::kPaused:
      return State::kPaused;
    case Machine::State::kPausedForDisk:
      return State::kPausedForDisk;
    case Machine::State::kWatchdog:
      return State::kWatchdog;
    case Machine::State::kKept:
      return State::kKept;
  }
  return State::kRunning;
}

std::vector<Guest::Drive> MachineGuest::drives() const {
  std::vector<Drive> drives;
  for (Disks::Drive& drive : machine_.disks().drives()) {
    // Nobody who asks knows where vmm was started.
    if (!drive.file.empty()) {
      drive.file = told_path(drive.file);
    }
    for (block::DiskLayer& layer : drive.layers) {
      layer.path = told_path(layer.path).native();
    }
    drives.push_back({.device = std::move(drive.target),
                      .is_cdrom = drive.is_cdrom,
                      .is_read_only = drive.is_read_only,
                      .file = std::move(drive.file),
                      .format = drive.format,
                      .is_tray_open = drive.tray.is_open,
                      .is_locked = drive.tray.is_locked,
                      .layers = std::move(drive.layers),
                      .limits = drive.limits,
                      .counters = drive.counters,
                      .cache = drive.cache});
  }
  return drives;
}

std::optional<Guest::Throwaway> MachineGuest::throwaway() const {
  const auto space = machine_.disks().throwaway_space();
  return space ? std::optional(Throwaway{.used_bytes = space->used_bytes, .limit_bytes = space->limit_bytes})
               : std::nullopt;
}

Status MachineGuest::free_console(std::string_view device, bool is_forced) {
  VMM_ASSIGN_OR_RETURN(const ConsolePlace place, find_console(domain_, device));
  SharedConsole& console = machine_.console(place);
  if (is_forced) {
    console.detach();
  } else if (console.is_attached()) {
    return fail("somebody else is attached to {}; --force takes it from them", place.name);
  }
  return {};
}

Status MachineGuest::attach_to_console(std::string_view device, UniqueFd socket) {
  VMM_ASSIGN_OR_RETURN(const ConsolePlace place, find_console(domain_, device));
  VMM_TRY(free_console(device, /*is_forced=*/false));  // somebody else may have been quicker
  return machine_.console(place).attach(std::move(socket));
}

Result<Guest::Opened> MachineGuest::open_tray(std::string_view device, bool is_forced) {
  VMM_ASSIGN_OR_RETURN(const ide::CdTray::Opened opened, machine_.disks().open_tray(device, is_forced));
  return opened == ide::CdTray::Opened::kOpen ? Opened::kOpen : Opened::kGuestAsked;
}

}  // namespace vmm::control
