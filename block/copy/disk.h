// Disk: an image with all that it stands on, read as a guest would read it, one step after the other.
//
// Threads: one, that of its event loop, which runs while a step is waited for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "block/block_device.h"
#include "block/block_map.h"
#include "block/disk_options.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"

namespace vmm::block {

class Disk {
 public:
  // Errors: those of open_disk(). Without a loop it gets one of its own.
  static Result<std::unique_ptr<Disk>> open(const DiskOptions& options,
                                            std::shared_ptr<EventLoop> loop = nullptr);
  // Waits for what the image does of its own accord. REQUIRES: nothing else is in flight.
  ~Disk();
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  uint64_t size_bytes() const { return device_->size_bytes(); }
  const std::string& path() const { return path_; }
  std::vector<DiskLayer> layers() const { return device_->layers(); }
  BlockDevice& device() { return *device_; }

  // REQUIRES for all: the range is not empty (but of kFlush) and lies in the disk.
  IoStatus run(BlockOp op, uint64_t offset, uint64_t length, std::span<const iovec> buffers = {});
  Status read(uint64_t offset, std::span<std::byte> to);
  Result<BlockRun> map(uint64_t offset, uint64_t length);

 private:
  explicit Disk(std::shared_ptr<EventLoop> loop) : loop_(std::move(loop)) {}

  // The device goes first.
  std::shared_ptr<EventLoop> loop_;
  std::unique_ptr<BlockDevice> device_;
  std::string path_;
};

// "there is no space left", …
std::string_view status_text(IoStatus status);

}  // namespace vmm::block
