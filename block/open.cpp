#include "block/open.h"

#include <chrono>
#include <utility>

#include "block/image_file.h"
#include "block/open_chain.h"
#include "block/raw_image.h"

namespace vmm::block {
namespace {

// Limits of off_t, which io_uring and fallocate take.
constexpr uint64_t kMaxSizeBytes = INT64_MAX;

Status check_size(const DiskOptions& options, uint64_t size_bytes) {
  if (size_bytes > kMaxSizeBytes) {
    return fail("{} is {} bytes long, more than a disk can be", options.path, size_bytes);
  }
  if (!options.for_guest) {
    return {};
  }
  if (size_bytes == 0) {
    return fail(
        "{} is empty; a disk needs at least one sector of 512 bytes (truncate --size=…, or qemu-img create)",
        options.path);
  }
  if (size_bytes % kSectorBytes != 0) {
    return fail(
        "{} is {} bytes long, not a multiple of 512; extend it (truncate --size={}), or name its format",
        options.path, size_bytes, (size_bytes / kSectorBytes + 1) * kSectorBytes);
  }
  return {};
}

Result<std::unique_ptr<BlockDevice>> open_raw(EventLoop& loop, const DiskOptions& options) {
  VMM_ASSIGN_OR_RETURN(ImageFile image, open_image_file(options));
  VMM_TRY(check_size(options, image.size_bytes));
  VMM_ASSIGN_OR_RETURN(auto engine, Engine::for_loop(loop, options.io));
  auto file = std::make_unique<HostFile>(std::move(engine), std::move(image.files), image.geometry,
                                         options.cache, options.discard == DiscardMode::kUnmap);
  return std::make_unique<RawImage>(std::move(file),
                                    RawImage::Options{.path = options.path,
                                                      .size_bytes = image.size_bytes,
                                                      .read_only = options.read_only || options.is_trial,
                                                      .detect_zeroes = options.detect_zeroes,
                                                      .limits = image.limits});
}

}  // namespace

Result<std::unique_ptr<BlockDevice>> open_disk(EventLoop& loop, const DiskOptions& options) {
  if (options.snapshot && options.format != Format::kQcow2) {
    return fail_configuration("{}: only qcow2 images have internal snapshots; leave the snapshot out",
                              options.path);
  }
  return options.format == Format::kRaw && options.overlay == nullptr ? open_raw(loop, options)
                                                                      : open_chain(loop, options);
}

bool drain(EventLoop& loop, const BlockDevice& disk, EventLoop::Duration limit) {
  constexpr EventLoop::Duration kTurn = std::chrono::milliseconds(10);
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (disk.in_flight() > 0) {
    if (std::chrono::steady_clock::now() >= deadline) {
      return false;
    }
    loop.run_once(kTurn);
  }
  return true;
}

}  // namespace vmm::block
