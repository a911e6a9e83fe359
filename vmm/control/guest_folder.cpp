#include "vmm/control/guest_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

namespace vmm::control {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kOwnersOnly = 0700;
constexpr const char* kSocketName = "control";

// Of all guests of this user.
Result<fs::path> root_folder() {
  if (::geteuid() == 0) {
    return fs::path("/run/vmm");
  }
  const char* const folder = std::getenv("XDG_RUNTIME_DIR");
  if (folder == nullptr || *folder != '/') {
    return fail("$XDG_RUNTIME_DIR is not set");
  }
  return fs::path(folder) / "vmm";
}

Result<fs::path> folder_of(const std::string& name) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
    return fail("the name '{}' cannot be that of a folder", name);
  }
  VMM_ASSIGN_OR_RETURN(const fs::path root, root_folder());
  return root / name;
}

Status make_folder(const fs::path& path) {
  if (::mkdir(path.c_str(), kOwnersOnly) != 0 && errno != EEXIST) {
    return fail("cannot make the folder {}: {}", path.native(), errno_text(errno));
  }
  return {};
}

// The folder, locked; no descriptor where it was removed meanwhile.
Result<UniqueFd> lock_folder(const fs::path& path, const std::string& name) {
  VMM_TRY(make_folder(path));
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat ours{};
  if (!fd || ::fstat(fd.get(), &ours) != 0) {
    if (errno == ENOENT) {
      return UniqueFd();
    }
    return fail("cannot open {}: {}", path.native(), errno_text(errno));
  }
  if (ours.st_uid != ::geteuid()) {
    return fail("{} belongs to another user", path.native());
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail("another guest of the name '{}' runs", name);
  }
  struct stat there{};
  const bool is_there = ::stat(path.c_str(), &there) == 0 && there.st_ino == ours.st_ino;
  if (!is_there) {
    fd.reset();
  }
  return fd;
}

}  // namespace

Result<fs::path> control_socket_of(const std::string& name) {
  VMM_ASSIGN_OR_RETURN(const fs::path folder, folder_of(name));
  return folder / kSocketName;
}

Result<GuestFolder> GuestFolder::create(const std::string& name) {
  VMM_ASSIGN_OR_RETURN(fs::path path, folder_of(name));
  VMM_TRY(make_folder(path.parent_path()));
  constexpr int kTries = 3;  // a guest of this name may just end
  for (int i = 0; i < kTries; ++i) {
    VMM_ASSIGN_OR_RETURN(UniqueFd lock, lock_folder(path, name));
    if (lock) {
      return GuestFolder(std::move(path), std::move(lock));
    }
  }
  return fail("{} comes and goes", path.native());
}

GuestFolder::~GuestFolder() {
  if (lock_) {
    ::rmdir(path_.c_str());
  }
}

}  // namespace vmm::control
