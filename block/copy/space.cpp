#include "block/copy/space.h"

#include <linux/magic.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <span>
#include <vector>

#include "block/io_vector.h"

namespace vmm::block {
namespace {

constexpr uint64_t kCountStepBytes = uint64_t{1} << 20U;
// The least that a file system or an image can leave out.
constexpr uint64_t kCountedBytes = kSectorBytes;

constexpr uint64_t kZfsMagic = 0x2fc12fc1;
constexpr uint64_t kBcachefsMagic = 0xca451a4e;

// Those may compress, or find that they have the same bytes already.
bool may_store_less(uint64_t magic) {
  return magic == BTRFS_SUPER_MAGIC || magic == F2FS_SUPER_MAGIC || magic == OVERLAYFS_SUPER_MAGIC ||
         magic == kZfsMagic || magic == kBcachefsMagic;
}

uint64_t count_stored(std::span<std::byte> bytes) {
  uint64_t count = 0;
  for (size_t at = 0; at < bytes.size(); at += kCountedBytes) {
    const auto part = bytes.subspan(at, std::min<uint64_t>(kCountedBytes, bytes.size() - at));
    count += bytes_are_zero(part) ? 0 : part.size();
  }
  return count;
}

class Counter {
 public:
  Counter(Sources& sources, uint64_t most, const SpaceQuestion& question)
      : sources_(sources), most_(most), question_(question) {}

  // Ends when it is more than `most`.
  Result<uint64_t> count(bool reads) {
    uint64_t total = 0;
    for (uint64_t offset = 0; offset < sources_.size_bytes() && total <= most_;) {
      VMM_ASSIGN_OR_RETURN(const Sources::Run run,
                           sources_.run_at(offset, sources_.size_bytes() - offset, question_.with_own_only));
      if (run.kind == Sources::Kind::kData && reads) {
        VMM_ASSIGN_OR_RETURN(const uint64_t stored, read_run(offset, run.length, most_ - total));
        total += stored;
      } else if (run.kind == Sources::Kind::kData ||
                 (run.kind == Sources::Kind::kZeroes && !question_.drops_zeroes)) {
        total += run.length;
      }
      offset += run.length;
    }
    return total;
  }

 private:
  Result<uint64_t> read_run(uint64_t offset, uint64_t length, uint64_t most) {
    buffer_.resize(kCountStepBytes);
    uint64_t stored = 0;
    for (uint64_t end = offset + length; offset < end && stored <= most;) {
      const Sources::Part part = sources_.first_part(offset, std::min(end - offset, kCountStepBytes));
      if (part.disk != nullptr) {
        const auto bytes = std::span(buffer_).first(static_cast<size_t>(part.length));
        VMM_TRY(part.disk->read(part.offset, bytes));
        stored += count_stored(bytes);
      }
      offset += part.length;
    }
    return stored;
  }

  Sources& sources_;
  uint64_t most_;
  SpaceQuestion question_;
  std::vector<std::byte> buffer_;
};

}  // namespace

std::optional<uint64_t> free_bytes_beside(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path();
  struct statfs info{};
  if (::statfs(folder.empty() ? "." : folder.c_str(), &info) != 0 || info.f_blocks == 0 ||
      may_store_less(static_cast<uint64_t>(info.f_type))) {
    return std::nullopt;
  }
  // What is set aside for root, root may use.
  const uint64_t blocks = ::geteuid() == 0 ? info.f_bfree : info.f_bavail;
  return blocks * static_cast<uint64_t>(info.f_bsize);
}

Result<std::optional<uint64_t>> bytes_too_many(Sources& sources, uint64_t free_bytes,
                                               const SpaceQuestion& question) {
  if (sources.size_bytes() <= free_bytes) {
    return std::nullopt;
  }
  Counter counter(sources, free_bytes, question);
  VMM_ASSIGN_OR_RETURN(uint64_t bytes, counter.count(false));
  if (bytes > free_bytes && question.drops_zeroes) {
    VMM_ASSIGN_OR_RETURN(bytes, counter.count(true));
  }
  return bytes > free_bytes ? std::optional(bytes) : std::nullopt;
}

}  // namespace vmm::block
