#include "block/overlay_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>
#include <vector>

#include "vmm/base/log.h"

namespace vmm::block {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kNewFileMode = 0666;      // less what umask(2) takes away: it may get a name
constexpr uint64_t kStatBlockBytes = 512;  // stat(2), st_blocks
// Of the host's file system, whatever it has: so much is left to others.
constexpr uint64_t kMostLeftFree = uint64_t{64} << 20U;
constexpr uint64_t kPartLeftFree = 64;

bool is_in_memory(int fd) {
  struct statfs info{};
  return ::fstatfs(fd, &info) == 0 && (info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC);
}

// Removed as soon as it is there.
UniqueFd make_and_unlink(const fs::path& folder) {
  std::string path = folder / ".vmm-throwaway.XXXXXX";
  UniqueFd fd(::mkostemp(path.data(), O_CLOEXEC));
  if (fd && ::unlink(path.c_str()) != 0) {
    fd.reset();
  }
  return fd;
}

// On failure the reason, without a place.
Result<UniqueFd> make_in(const fs::path& folder, bool may_be_kept) {
  UniqueFd fd(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, kNewFileMode));
  if (!fd && errno == EOPNOTSUPP && !may_be_kept) {
    fd = make_and_unlink(folder);
  }
  if (!fd) {
    return fail("{}", errno_text(errno));
  }
  if (is_in_memory(fd.get())) {
    return fail("it is in memory (tmpfs), which --ephemeral=memory asks for");
  }
  return fd;
}

fs::path cache_folder() {
  const auto variable = [](const char* name) {
    const char* const value = std::getenv(name);
    return value != nullptr && *value == '/' ? fs::path(value) : fs::path();
  };
  if (const fs::path cache = variable("XDG_CACHE_HOME"); !cache.empty()) {
    return cache / "vmm";
  }
  const fs::path home = variable("HOME");
  return home.empty() ? home : home / ".cache" / "vmm";
}

Result<UniqueFd> make_in_cache(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    return fail("{}", error.message());
  }
  return make_in(folder, false);
}

// `folder` empty: memory.
std::string name_in(const fs::path& base, const fs::path& folder) {
  return fmt::format("the overlay of {} in {}", base.native(), folder.empty() ? "memory" : folder.native());
}

}  // namespace

Result<std::shared_ptr<OverlayFile>> OverlayFile::create(const fs::path& base, const Options& options) {
  const auto made = [&](UniqueFd fd, const fs::path& folder) {
    return std::shared_ptr<OverlayFile>(
        new OverlayFile(std::move(fd), name_in(base, folder), folder, options));
  };
  if (options.in_memory) {
    UniqueFd fd(::memfd_create("vmm-throwaway", MFD_CLOEXEC));
    if (!fd) {
      return fail("no memory can be had for what is written to {}: {}", base.native(), errno_text(errno));
    }
    return made(std::move(fd), {});
  }
  if (!options.folder.empty()) {
    auto fd = make_in(options.folder, options.may_be_kept);
    return fd ? Result<std::shared_ptr<OverlayFile>>(made(*std::move(fd), options.folder))
              : fail("{}: what is written to {} cannot be put there: {}", options.folder.native(),
                     base.native(), fd.error().message());
  }
  const fs::path beside = base.has_parent_path() ? base.parent_path() : fs::path(".");
  auto fd = make_in(beside, options.may_be_kept);
  if (fd) {
    return made(*std::move(fd), beside);
  }
  const std::string reason = fd.error().message();
  const fs::path cache = cache_folder();
  if (cache.empty()) {
    return fail("{}: what is written to {} cannot be put there: {}; name another folder (--ephemeral-dir)",
                beside.native(), base.native(), reason);
  }
  fd = make_in_cache(cache);
  if (!fd) {
    return fail(
        "what is written to {} can be put neither into {} ({}) nor into {} ({}); name another folder "
        "(--ephemeral-dir)",
        base.native(), beside.native(), reason, cache.native(), fd.error().message());
  }
  log::info("what is written to {} goes to {}, and not to {}: {}", base.native(), cache.native(),
            beside.native(), reason);
  return made(*std::move(fd), cache);
}

Result<UniqueFd> OverlayFile::open_again() const {
  UniqueFd fd(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
  if (!fd) {
    return fail("{} cannot be opened: {}", name_, errno_text(errno));
  }
  return fd;
}

uint64_t OverlayFile::allocated_bytes() const {
  struct stat info{};
  return ::fstat(fd_.get(), &info) == 0 ? static_cast<uint64_t>(info.st_blocks) * kStatBlockBytes : 0;
}

uint64_t OverlayFile::free_bytes() const {
  struct statvfs info{};
  if (folder_.empty() || ::fstatvfs(fd_.get(), &info) != 0) {
    return UINT64_MAX;
  }
  const uint64_t free = info.f_bavail * info.f_frsize;
  const uint64_t left = std::min(info.f_blocks * info.f_frsize / kPartLeftFree, kMostLeftFree);
  return free - std::min(free, left);
}

Status OverlayFile::keep(const fs::path& path) const {
  if (::fsync(fd_.get()) != 0) {
    return fail("{} cannot be flushed: {}", name_, errno_text(errno));
  }
  const std::string source = fmt::format("/proc/self/fd/{}", fd_.get());
  if (::linkat(AT_FDCWD, source.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0) {
    return fail("{} cannot be kept as {}: {}", name_, path.native(), errno_text(errno));
  }
  // The name, too, is on stable storage.
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const UniqueFd folder_fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder_fd && ::fsync(folder_fd.get()) != 0) {
    log::warning("{} cannot be flushed: {}", folder.native(), errno_text(errno));
  }
  return {};
}

}  // namespace vmm::block
