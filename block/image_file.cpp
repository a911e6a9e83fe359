#include "block/image_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "block/image_lock.h"
#include "block/overlay_file.h"
#include "vmm/base/bytes.h"

namespace vmm::block {
namespace {

struct DirectAlignment {
  uint32_t memory_bytes = kPageBytes;
  uint32_t offset_bytes = kPageBytes;
};

std::unexpected<Error> cannot_open(const DiskOptions& options, int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return fail("{}: there is no such file; make it (vmm-img create), or correct {}", options.path,
                  options.for_guest ? "the <source> of the disk" : "its name");
    case EACCES:
    case EPERM:
    case EROFS:
      return fail("{} cannot be opened for {} ({}); change its permissions{}", options.path,
                  options.read_only ? "reading" : "writing", errno_text(error),
                  options.read_only || !options.for_guest ? "" : ", or make the disk <readonly/>");
    default:
      return fail("{} cannot be opened: {}", options.path, errno_text(error));
  }
}

// Before it is opened: opening a device node or a pipe can have effects of its own.
Result<struct stat> look_at(const DiskOptions& options) {
  struct stat info{};
  if (::stat(options.path.c_str(), &info) != 0) {
    return cannot_open(options, errno);
  }
  if (S_ISDIR(info.st_mode)) {
    return fail("{} is a folder; a disk needs an image file or a block device", options.path);
  }
  if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)) {
    return fail("{} is neither a file nor a block device; a disk needs one of them", options.path);
  }
  return info;
}

Result<UniqueFd> open_fd(const DiskOptions& options, bool direct) {
  const bool is_only_read = options.read_only || options.is_trial;
  const bool leaves_times = options.overlay != nullptr || options.is_trial;
  // O_NONBLOCK: a drive of the host does not draw its tray in.
  const int flags = (is_only_read ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | (direct ? O_DIRECT : 0) |
                    (options.is_trial ? O_NONBLOCK : 0);
  UniqueFd fd(::open(options.path.c_str(), flags | (leaves_times ? O_NOATIME : 0)));
  if (!fd && errno == EPERM && leaves_times) {
    fd = UniqueFd(::open(options.path.c_str(), flags));  // only a file's owner may ask for that
  }
  if (fd) {
    return fd;
  }
  if (direct && errno == EINVAL) {
    return fail(
        "{}: its file system has no O_DIRECT, which cache='none' and 'directsync' need; "
        "use cache='writeback'",
        options.path);
  }
  return cannot_open(options, errno);
}

bool is_power_of_two_at_most(uint64_t value, uint64_t limit) {
  return is_power_of_two(value) && value <= limit;
}

// statx(2), STATX_DIOALIGN: Linux 6.1 and later, and not every file system.
std::optional<DirectAlignment> alignment_from_statx(int fd) {
#ifdef STATX_DIOALIGN
  struct statx info{};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 && (info.stx_mask & STATX_DIOALIGN) != 0 &&
      info.stx_dio_offset_align != 0) {
    return DirectAlignment{.memory_bytes = info.stx_dio_mem_align, .offset_bytes = info.stx_dio_offset_align};
  }
#endif
  static_cast<void>(fd);
  return std::nullopt;
}

// By trying: a read that is not aligned enough is refused (open(2), O_DIRECT).
DirectAlignment alignment_by_probing(int fd) {
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  const std::unique_ptr<void, Free> memory(std::aligned_alloc(kPageBytes, size_t{2} * kPageBytes));
  if (memory == nullptr) {
    return {};
  }
  auto* bytes = static_cast<std::byte*>(memory.get());
  for (uint32_t alignment = kSectorBytes; alignment < kPageBytes; alignment *= 2) {
    if (::pread(fd, bytes + alignment, alignment, alignment) >= 0) {
      return {.memory_bytes = alignment, .offset_bytes = alignment};
    }
  }
  return {};
}

DirectAlignment direct_alignment(int fd, bool is_block_device) {
  const auto told = alignment_from_statx(fd);
  if (told && is_power_of_two_at_most(told->memory_bytes, kPageBytes) &&
      is_power_of_two_at_most(told->offset_bytes, BouncePool::kBufferBytes)) {
    return {.memory_bytes = told->memory_bytes, .offset_bytes = std::max(told->offset_bytes, kSectorBytes)};
  }
  int block_bytes = 0;
  if (is_block_device && ::ioctl(fd, BLKSSZGET, &block_bytes) == 0 && block_bytes > 0 &&
      is_power_of_two_at_most(static_cast<uint64_t>(block_bytes), BouncePool::kBufferBytes)) {
    const auto bytes = static_cast<uint32_t>(block_bytes);
    return {.memory_bytes = bytes, .offset_bytes = bytes};
  }
  return alignment_by_probing(fd);
}

Result<uint64_t> size_of(int fd, const struct stat& info, const std::string& path) {
  if (S_ISREG(info.st_mode)) {
    return static_cast<uint64_t>(info.st_size);
  }
  uint64_t bytes = 0;
  if (::ioctl(fd, BLKGETSIZE64, &bytes) != 0) {
    return fail("{}: the block device does not tell its size: {}", path, errno_text(errno));
  }
  return bytes;
}

// What a block device says of itself.
void measure_block_device(int fd, ImageFile& image) {
  int logical = 0;
  unsigned physical = 0;
  unsigned optimal = 0;
  if (::ioctl(fd, BLKSSZGET, &logical) == 0 &&
      is_power_of_two_at_most(static_cast<uint64_t>(logical), BouncePool::kBufferBytes)) {
    image.geometry.zero_alignment_bytes =
        std::max(image.geometry.zero_alignment_bytes, static_cast<uint32_t>(logical));
  }
  if (::ioctl(fd, BLKPBSZGET, &physical) == 0 && is_power_of_two_at_most(physical, 1U << 20)) {
    image.limits.physical_block_bytes = std::max(physical, kSectorBytes);
  }
  if (::ioctl(fd, BLKIOOPT, &optimal) == 0) {
    image.limits.optimal_io_bytes = optimal;
  }
  image.geometry.discard_alignment_bytes = image.geometry.zero_alignment_bytes;
}

void measure_file(const struct stat& info, ImageFile& image) {
  const auto block_bytes = static_cast<uint64_t>(info.st_blksize);
  image.geometry.discard_alignment_bytes =
      is_power_of_two_at_most(block_bytes, 1U << 20)
          ? std::max(static_cast<uint32_t>(block_bytes), image.geometry.zero_alignment_bytes)
          : kPageBytes;
}

// A file that ends inside a block of O_DIRECT: the last bytes are for the page cache.
Status open_tail(const DiskOptions& options, ImageFile& image) {
  const uint32_t alignment = image.files.main.direct_alignment_bytes;
  if (image.size_bytes % alignment == 0) {
    return {};
  }
  VMM_ASSIGN_OR_RETURN(image.files.tail.fd, open_fd(options, false));
  image.files.tail.is_block_device = image.files.main.is_block_device;
  image.geometry.partial_block_offset = align_down(image.size_bytes, alignment);
  return {};
}

ImageUse use_of(const DiskOptions& options) {
  if (options.shareable) {
    return options.read_only ? ImageUse::kReadShared : ImageUse::kWriteShared;
  }
  return options.read_only ? ImageUse::kRead : ImageUse::kWrite;
}

Status refuse_read_only_device(int fd, const DiskOptions& options) {
  int is_read_only = 0;
  if (!options.read_only && ::ioctl(fd, BLKROGET, &is_read_only) == 0 && is_read_only != 0) {
    return cannot_open(options, EROFS);
  }
  return {};
}

// A trial is opened for reading, whatever the options want of it.
Status refuse_unwritable(const DiskOptions& options) {
  const bool would_fail =
      !options.read_only && ::faccessat(AT_FDCWD, options.path.c_str(), W_OK, AT_EACCESS) != 0;
  return would_fail ? Status(cannot_open(options, errno)) : Status();
}

Status take_or_look_at_lock(const UniqueFd& image, const DiskOptions& options) {
  const LockedFor whom = options.for_guest ? LockedFor::kGuest : LockedFor::kTool;
  return options.is_trial ? look_at_locks(image, options.path, use_of(options), whom)
                          : lock_image(image, options.path, use_of(options), whom);
}

}  // namespace

Result<FileState> state_of_file(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) {
    return fail("{} cannot be examined: {}", path, errno_text(errno));
  }
  return FileState::of(info);
}

Result<ImageFile> open_overlay(const OverlayFile& overlay) {
  ImageFile image;
  image.files.path = overlay.name();
  VMM_ASSIGN_OR_RETURN(image.files.main.fd, overlay.open_again());
  struct stat info{};
  if (::fstat(image.files.main.fd.get(), &info) != 0) {
    return fail("{} cannot be examined: {}", overlay.name(), errno_text(errno));
  }
  measure_file(info, image);
  image.limits.can_write_zeroes = true;
  return image;
}

Result<ImageFile> open_image_file(const DiskOptions& options) {
  ImageFile image;
  image.files.path = options.path;
  VMM_ASSIGN_OR_RETURN(const struct stat looked_at, look_at(options));
  const bool direct = is_direct(options.cache);
  if (options.is_trial) {
    VMM_TRY(refuse_unwritable(options));
  }
  VMM_ASSIGN_OR_RETURN(image.files.main.fd, open_fd(options, direct));
  const int fd = image.files.main.fd.get();

  struct stat info{};
  if (::fstat(fd, &info) != 0 || info.st_dev != looked_at.st_dev || info.st_ino != looked_at.st_ino) {
    return fail("{} was replaced while it was opened; try again", options.path);
  }
  const bool is_block_device = S_ISBLK(info.st_mode);
  image.files.main.is_block_device = is_block_device;
  if (is_block_device) {
    VMM_TRY(refuse_read_only_device(fd, options));
  }
  VMM_TRY(take_or_look_at_lock(image.files.main.fd, options));
  // Under the lock: its last owner may just have changed it.
  if (::fstat(fd, &info) != 0) {
    return fail("{} cannot be examined: {}", options.path, errno_text(errno));
  }
  if (options.expected && FileState::of(info) != *options.expected) {
    return fail("{} has been changed by somebody else meanwhile", options.path);
  }
  if (options.opened != nullptr) {
    options.opened->push_back(FileState::of(info));
  }
  VMM_ASSIGN_OR_RETURN(image.size_bytes, size_of(fd, info, options.path));
  if (direct) {
    const DirectAlignment alignment = direct_alignment(fd, is_block_device);
    image.files.main.direct_alignment_bytes = alignment.offset_bytes;
    image.geometry.memory_alignment_bytes = alignment.memory_bytes;
    image.geometry.zero_alignment_bytes = alignment.offset_bytes;
    image.limits.physical_block_bytes = alignment.offset_bytes;
    VMM_TRY(open_tail(options, image));
  }
  if (is_block_device) {
    measure_block_device(fd, image);
  } else {
    measure_file(info, image);
  }
  image.limits.can_write_zeroes = true;
  image.limits.discard_alignment_bytes =
      options.discard == DiscardMode::kUnmap ? image.geometry.discard_alignment_bytes : 0;
  return image;
}

}  // namespace vmm::block
