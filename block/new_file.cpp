#include "block/new_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "vmm/base/unique_fd.h"

namespace vmm::block {
namespace {

constexpr std::string_view kSuffix = ".part";
constexpr unsigned kNewMode = 0666;

unsigned process_umask() {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return mask;
}

// What a handler can read: the paths of files that are being made. An image and its data file, or a few
// clones; more than that have no place, and stay behind as they do after SIGKILL.
constexpr size_t kUnfinishedFiles = 16;
struct Unfinished {
  std::atomic<bool> is_taken = false;
  std::atomic<bool> is_set = false;
  std::array<char, PATH_MAX> path{};
};
std::array<Unfinished, kUnfinishedFiles> unfinished;

int note_unfinished(const std::string& path) {
  for (size_t i = 0; i < unfinished.size() && path.size() < PATH_MAX; ++i) {
    if (!unfinished[i].is_taken.exchange(true)) {
      unfinished[i].path.fill('\0');
      path.copy(unfinished[i].path.data(), path.size());
      unfinished[i].is_set = true;
      return static_cast<int>(i);
    }
  }
  return -1;
}

void forget_unfinished(int place) {
  if (place >= 0) {
    unfinished[static_cast<size_t>(place)].is_set = false;
    unfinished[static_cast<size_t>(place)].is_taken = false;
  }
}

// No signal comes between the making of a file and the note of it.
class SignalsHeld {
 public:
  SignalsHeld() {
    sigset_t all{};
    sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~SignalsHeld() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;

 private:
  sigset_t before_{};
};

Status sync_path(const std::string& path, int flags) {
  const UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) {
    return fail("{} cannot be flushed: {}", path, errno_text(errno));
  }
  return {};
}

// For a name that nobody else may have got meanwhile; file systems without that do it all the same.
bool rename_to(const std::string& from, const std::string& to, bool may_replace) {
  if (!may_replace) {
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) {
      return true;
    }
    if (errno != EINVAL) {
      return false;
    }
  }
  return std::rename(from.c_str(), to.c_str()) == 0;
}

// Where a file of that name comes into being: a symbolic link may lead to what is not there yet.
std::string end_of_links(const std::string& path) {
  constexpr int kMostLinks = 40;  // as the kernel follows
  std::filesystem::path name = path;
  std::error_code error;
  for (int i = 0; i < kMostLinks && std::filesystem::is_symlink(name, error); ++i) {
    const std::filesystem::path target = std::filesystem::read_symlink(name, error);
    if (error) {
      break;
    }
    name = name.parent_path() / target;
  }
  return name;
}

}  // namespace

bool remove_unfinished_files() {
  bool removed = false;
  for (Unfinished& file : unfinished) {
    removed = (file.is_set && ::unlink(file.path.data()) == 0) || removed;
  }
  return removed;
}

Status flush_file(const std::string& path) { return sync_path(path, O_RDONLY); }

Result<NewFile> NewFile::create(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) {
    if (errno == ELOOP) {
      return fail("{} cannot be made: {}", path, errno_text(errno));
    }
    NewFile file(end_of_links(path), {});
    VMM_TRY(file.make_beside(kNewMode & ~process_umask()));
    return file;
  }
  std::error_code error;
  const std::string name = std::filesystem::canonical(path, error);
  if (error) {
    return fail("{} cannot be found: {}", path, error.message());
  }
  // Locked, so that nobody's image is taken away; a folder or a pipe is refused by name.
  VMM_ASSIGN_OR_RETURN(ImageFile old, open_image_file({.path = path, .for_guest = false}));
  const bool is_block_device = old.files.main.is_block_device;
  NewFile file(name, std::move(old));
  if (is_block_device) {
    file.old_ = {};  // the image takes the lock itself
    file.path_ = name;
    return file;
  }
  VMM_TRY(file.make_beside(info.st_mode & 07777U));
  // Who may not give it to the owner of the old one keeps it.
  static_cast<void>(!::chown(file.path_.c_str(), info.st_uid, info.st_gid));
  return file;
}

Status NewFile::make_beside(unsigned mode) {
  std::string pattern = name_ + ".XXXXXX" + std::string(kSuffix);
  const SignalsHeld held;
  const UniqueFd fd(::mkostemps(pattern.data(), static_cast<int>(kSuffix.size()), O_CLOEXEC));
  if (!fd) {
    return fail("{} cannot be made: {}", name_, errno_text(errno));
  }
  path_ = pattern;
  is_temporary_ = true;
  place_ = note_unfinished(std::filesystem::absolute(path_));
  if (::fchmod(fd.get(), mode) != 0) {
    return fail("{} cannot be given its permissions: {}", path_, errno_text(errno));
  }
  return {};
}

NewFile::NewFile(NewFile&& other) noexcept
    : name_(std::move(other.name_)),
      path_(std::move(other.path_)),
      old_(std::move(other.old_)),
      is_temporary_(std::exchange(other.is_temporary_, false)),
      place_(std::exchange(other.place_, -1)) {}

NewFile::~NewFile() {
  if (is_temporary_) {
    ::unlink(path_.c_str());
  }
  forget_unfinished(place_);
}

Status NewFile::keep_unflushed() { return is_temporary_ ? take_name(true) : Status(); }

Status NewFile::take_name(bool may_replace) {
  if (!rename_to(path_, name_, may_replace)) {
    return fail("{} cannot be given its name: {}", name_, errno_text(errno));
  }
  is_temporary_ = false;
  forget_unfinished(std::exchange(place_, -1));
  return {};
}

Status NewFile::take_mode_of(const std::string& image) const {
  struct stat info{};
  if (is_block_device() || ::stat(image.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return {};
  }
  if (::chmod(path_.c_str(), (info.st_mode & kNewMode) | S_IRUSR | S_IWUSR) != 0) {
    return fail("{} cannot get the mode of {}: {}", path_, image, errno_text(errno));
  }
  return {};
}

Status NewFile::keep(bool may_replace) {
  VMM_TRY(flush_file(path_));
  if (!is_temporary_) {
    return {};
  }
  VMM_TRY(take_name(may_replace));
  const std::string folder = std::filesystem::path(name_).parent_path();
  Status synced = sync_path(folder.empty() ? "." : folder, O_RDONLY | O_DIRECTORY);
  if (!synced && !may_replace) {
    ::unlink(name_.c_str());  // nothing had the name before
  }
  return synced;
}

}  // namespace vmm::block
