#include "block/sync_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "block/aligned_memory.h"
#include "vmm/base/bytes.h"

namespace vmm::block {
namespace {

constexpr size_t kBounceBytes = size_t{256} << 10U;
constexpr size_t kZeroesBytes = size_t{1} << 20U;

class DescriptorFile final : public SyncFile {
 public:
  DescriptorFile(const OpenFile& file, std::string path, bool is_volatile)
      : fd_(file.fd.get()),
        alignment_(file.direct_alignment_bytes),
        is_block_device_(file.is_block_device),
        is_volatile_(is_volatile),
        path_(std::move(path)) {}

  const std::string& path() const override { return path_; }

  Result<uint64_t> size() override {
    if (is_block_device_) {
      uint64_t bytes = 0;
      if (::ioctl(fd_, BLKGETSIZE64, &bytes) != 0) {
        return fail("{}: the block device does not tell its size: {}", path_, errno_text(errno));
      }
      return bytes;
    }
    struct stat info{};
    if (::fstat(fd_, &info) != 0) {
      return fail("{} cannot be examined: {}", path_, errno_text(errno));
    }
    return static_cast<uint64_t>(info.st_size);
  }

  Status read(FileOffset offset, std::span<std::byte> to) override {
    if (alignment_ == 1) {
      return read_all(offset.bytes(), to);
    }
    VMM_TRY(need_bounce());
    for (uint64_t done = 0; done < to.size();) {
      const uint64_t at = offset.bytes() + done;
      const uint64_t begin = align_down(at, alignment_);
      const uint64_t end = std::min(begin + kBounceBytes, align_up(offset.bytes() + to.size(), alignment_));
      VMM_TRY(read_all(begin, bounce(end - begin)));
      const uint64_t take = std::min(end - at, to.size() - done);
      std::memcpy(to.data() + done, bounce_.get() + (at - begin), take);
      done += take;
    }
    return {};
  }

  Status write(FileOffset offset, std::span<const std::byte> from) override {
    if (alignment_ == 1) {
      return write_all(offset.bytes(), from);
    }
    VMM_TRY(need_bounce());
    for (uint64_t done = 0; done < from.size();) {
      const uint64_t at = offset.bytes() + done;
      const uint64_t begin = align_down(at, alignment_);
      const uint64_t end = std::min(begin + kBounceBytes, align_up(offset.bytes() + from.size(), alignment_));
      const uint64_t take = std::min(end - at, from.size() - done);
      if (at != begin || take != end - begin) {
        VMM_TRY(read_all(begin, bounce(end - begin)));
      }
      std::memcpy(bounce_.get() + (at - begin), from.data() + done, take);
      VMM_TRY(write_all(begin, bounce(end - begin)));
      done += take;
    }
    return {};
  }

  Status sync() override {
    if (!is_volatile_ && ::fdatasync(fd_) != 0) {
      return fail("{} cannot be flushed: {}", path_, errno_text(errno));
    }
    return {};
  }

  Status resize(uint64_t bytes) override {
    if (!is_block_device_ && ::ftruncate(fd_, static_cast<off_t>(bytes)) != 0) {
      return fail("{} cannot be resized to {} bytes: {}", path_, bytes, errno_text(errno));
    }
    return {};
  }

  Status allocate(FileOffset offset, uint64_t bytes, bool with_zeroes) override {
    if (with_zeroes || is_block_device_) {
      return SyncFile::allocate(offset, bytes, with_zeroes);
    }
    if (bytes == 0 ||
        ::fallocate(fd_, 0, static_cast<off_t>(offset.bytes()), static_cast<off_t>(bytes)) == 0) {
      return {};
    }
    return errno == EOPNOTSUPP
               ? SyncFile::allocate(offset, bytes, with_zeroes)
               : fail("{}: {} bytes cannot be set aside for it: {}", path_, bytes, errno_text(errno));
  }

  void discard(FileOffset offset, uint64_t bytes) override {
    if (!is_block_device_) {
      static_cast<void>(::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                    static_cast<off_t>(offset.bytes()), static_cast<off_t>(bytes)));
      return;
    }
    std::array<uint64_t, 2> range = {offset.bytes(), bytes};
    static_cast<void>(::ioctl(fd_, BLKDISCARD, range.data()));
  }

 private:
  Status need_bounce() {
    if (bounce_ == nullptr) {
      bounce_ = make_aligned_memory(kBounceBytes);
    }
    return bounce_ != nullptr ? Status() : fail("{}: the host is out of memory", path_);
  }

  std::span<std::byte> bounce(uint64_t length) { return {bounce_.get(), static_cast<size_t>(length)}; }

  Status read_all(uint64_t offset, std::span<std::byte> to) {
    while (!to.empty()) {
      const ssize_t moved = ::pread(fd_, to.data(), to.size(), static_cast<off_t>(offset));
      if (moved < 0 && errno == EINTR) {
        continue;
      }
      if (moved < 0) {
        return fail("{} cannot be read at offset {}: {}", path_, offset, errno_text(errno));
      }
      // Direct reads stop inside a block at the end of the file only.
      if (moved == 0 || static_cast<uint64_t>(moved) % alignment_ != 0) {
        std::ranges::fill(to.subspan(static_cast<size_t>(moved)), std::byte{0});
        return {};
      }
      to = to.subspan(static_cast<size_t>(moved));
      offset += static_cast<uint64_t>(moved);
    }
    return {};
  }

  Status write_all(uint64_t offset, std::span<const std::byte> from) {
    while (!from.empty()) {
      const ssize_t moved = ::pwrite(fd_, from.data(), from.size(), static_cast<off_t>(offset));
      if (moved < 0 && errno == EINTR) {
        continue;
      }
      if (moved <= 0) {
        return fail("{} cannot be written at offset {}: {}", path_, offset,
                    moved < 0 ? errno_text(errno) : "nothing was taken");
      }
      from = from.subspan(static_cast<size_t>(moved));
      offset += static_cast<uint64_t>(moved);
    }
    return {};
  }

  int fd_;
  uint64_t alignment_;
  bool is_block_device_;
  bool is_volatile_;
  std::string path_;
  AlignedMemory bounce_;
};

}  // namespace

Status SyncFile::allocate(FileOffset offset, uint64_t bytes, bool /*with_zeroes*/) {
  const std::vector<std::byte> zeroes(static_cast<size_t>(std::min<uint64_t>(bytes, kZeroesBytes)));
  for (uint64_t done = 0; done < bytes; done += zeroes.size()) {
    const auto length = static_cast<size_t>(std::min<uint64_t>(bytes - done, zeroes.size()));
    VMM_TRY(write(FileOffset(offset.bytes() + done), std::span(zeroes).first(length)));
  }
  return {};
}

std::unique_ptr<SyncFile> make_sync_file(const OpenFile& file, const std::string& path) {
  return std::make_unique<DescriptorFile>(file, path, false);
}

std::unique_ptr<SyncFile> make_volatile_file(const OpenFile& file, const std::string& path) {
  return std::make_unique<DescriptorFile>(file, path, true);
}

}  // namespace vmm::block
