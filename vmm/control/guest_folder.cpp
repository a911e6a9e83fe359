#include "vmm/control/guest_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "vmm/base/unix_socket.h"

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

UniqueFd open_folder(const fs::path& path) {
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

// The folder of all guests, shared with others that start: meanwhile nobody removes what dead ones left.
Result<UniqueFd> share_root(const fs::path& root) {
  VMM_TRY(make_folder(root));
  UniqueFd fd = open_folder(root);
  int error = fd ? 0 : errno;
  while (error == 0 && ::flock(fd.get(), LOCK_SH) != 0) {
    error = errno == EINTR ? 0 : errno;
  }
  if (error != 0) {
    return fail("cannot open and lock {}: {}", root.native(), errno_text(error));
  }
  return fd;
}

enum class Locking : uint8_t { kDone, kTaken, kGone };
struct Locked {
  Locking outcome = Locking::kGone;  // it was removed meanwhile
  UniqueFd lock;
};

Result<Locked> lock_folder(const fs::path& path) {
  VMM_TRY(make_folder(path));
  UniqueFd fd = open_folder(path);
  struct stat ours{};
  if (!fd || ::fstat(fd.get(), &ours) != 0) {
    if (errno == ENOENT) {
      return Locked();
    }
    return fail("cannot open {}: {}", path.native(), errno_text(errno));
  }
  if (ours.st_uid != ::geteuid()) {
    return fail("{} belongs to another user", path.native());
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return Locked{.outcome = Locking::kTaken, .lock = {}};
  }
  struct stat there{};
  const bool is_there = ::stat(path.c_str(), &there) == 0 && there.st_ino == ours.st_ino;
  return is_there ? Locked{.outcome = Locking::kDone, .lock = std::move(fd)} : Locked();
}

// Whoever may start a guest of this name waits meanwhile.
void remove_if_dead(const fs::path& path) {
  const UniqueFd fd = open_folder(path);
  struct stat info{};
  if (!fd || ::fstat(fd.get(), &info) != 0 || info.st_uid != ::geteuid() ||
      ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return;
  }
  if (::fstatat(fd.get(), kSocketName, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(info.st_mode)) {
    ::unlinkat(fd.get(), kSocketName, 0);
  }
  ::rmdir(path.c_str());
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    found.push_back(it->path());
  }
  return found;
}

uint32_t any_number() {
  uint32_t number = 0;
  return ::getrandom(&number, sizeof number, GRND_NONBLOCK) == sizeof number ? number : 0;
}

// At most so many of the folders are looked at, from any one on.
void remove_some_dead(const fs::path& root, const UniqueFd& root_lock, size_t most) {
  if (::flock(root_lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return;  // others start; a later one has the time
  }
  const std::vector<fs::path> entries = entries_of(root);
  const uint32_t first = any_number();
  for (size_t i = 0; i < std::min(most, entries.size()); ++i) {
    remove_if_dead(entries[(first + i) % entries.size()]);
  }
}

}  // namespace

Result<fs::path> control_socket_of(const std::string& name) {
  VMM_ASSIGN_OR_RETURN(const fs::path folder, folder_of(name));
  return folder / kSocketName;
}

std::vector<std::string> guest_names() {
  std::vector<std::string> names;
  if (const auto root = root_folder()) {
    for (const fs::path& entry : entries_of(*root)) {
      names.push_back(entry.filename());
    }
  }
  std::ranges::sort(names);
  return names;
}

void remove_dead_guests() {
  const auto root = root_folder();
  const UniqueFd root_lock = root ? open_folder(*root) : UniqueFd();
  if (root_lock) {
    remove_some_dead(*root, root_lock, std::numeric_limits<size_t>::max());
  }
}

Error name_is_taken(const std::string& name) {
  // It locks its folder a moment before it listens there.
  constexpr int kTries = 20;
  constexpr std::chrono::milliseconds kMoment(5);
  const auto path = control_socket_of(name);
  int process = 0;
  for (int i = 0; path && process == 0 && i < kTries; ++i) {
    process = listening_process(*path);
    if (process == 0) {
      std::this_thread::sleep_for(kMoment);
    }
  }
  return Error(
      fmt::format("a guest of the name '{}' runs already{}; end it first, give this one another name "
                  "(--set name=…), or its control socket another place (--control PATH)",
                  name, process == 0 ? "" : fmt::format(", as process {}", process)));
}

bool is_guest_running(const std::string& name) {
  const auto path = control_socket_of(name);
  return path && listening_process(*path) != 0;
}

Result<std::optional<GuestFolder>> GuestFolder::create(const std::string& name) {
  VMM_ASSIGN_OR_RETURN(fs::path path, folder_of(name));
  const fs::path root = path.parent_path();
  VMM_ASSIGN_OR_RETURN(const UniqueFd root_lock, share_root(root));
  constexpr int kTries = 3;  // a guest of this name may just end
  for (int i = 0; i < kTries; ++i) {
    VMM_ASSIGN_OR_RETURN(Locked locked, lock_folder(path));
    if (locked.outcome == Locking::kTaken) {
      return std::nullopt;
    }
    if (locked.outcome == Locking::kDone) {
      constexpr size_t kFew = 32;  // a start is as quick among hundreds of guests
      remove_some_dead(root, root_lock, kFew);
      return GuestFolder(std::move(path), std::move(locked.lock));
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
