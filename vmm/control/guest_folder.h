// GuestFolder: where a running guest is found by its name: /run/vmm/NAME for root, $XDG_RUNTIME_DIR/vmm/NAME
// for others. Only its user may look into it.
//
// It is locked (flock(2)) while the guest runs, so that what a killed vmm left behind is told from a guest
// that runs. Who starts removes some of what dead ones left: their names may never come again; `vmm list`
// removes it all. Threads: any.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"

namespace vmm::control {

// The control socket of the guest `name`, which need not run. Errors: a name that cannot be one of a folder;
// no $XDG_RUNTIME_DIR.
Result<std::filesystem::path> control_socket_of(const std::string& name);

// Of all guests of this user that have such a folder, by the alphabet; some may have ended, or been killed.
std::vector<std::string> guest_names();

// Of what dead guests of this user left behind. Nothing where others start just now.
void remove_dead_guests();

// Why a second guest of the name is refused: with the process of the first, where it is told.
Error name_is_taken(const std::string& name);

// A guest of this name runs, and is found by it.
bool is_guest_running(const std::string& name);

class GuestFolder {
 public:
  // Makes it. Nothing: a guest of this name runs. Errors: as above.
  static Result<std::optional<GuestFolder>> create(const std::string& name);
  GuestFolder(GuestFolder&&) noexcept = default;
  GuestFolder& operator=(GuestFolder&&) = delete;
  GuestFolder(const GuestFolder&) = delete;
  GuestFolder& operator=(const GuestFolder&) = delete;
  // Removes it, if it is empty.
  ~GuestFolder();

 private:
  GuestFolder(std::filesystem::path path, UniqueFd lock) : path_(std::move(path)), lock_(std::move(lock)) {}

  std::filesystem::path path_;
  UniqueFd lock_;
};

}  // namespace vmm::control
