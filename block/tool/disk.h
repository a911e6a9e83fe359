// Disk: an image with all that it stands on, read as a guest would read it, one step after the other.
//
// Threads: one; it has an event loop of its own, which runs while a step is waited for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "block/block_device.h"
#include "block/disk_options.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"

namespace vmm::block::tool {

class Disk {
 public:
  // Errors: those of open_disk().
  static Result<std::unique_ptr<Disk>> open(const DiskOptions& options);

  uint64_t size_bytes() const { return device_->size_bytes(); }
  const std::string& path() const { return path_; }

  // REQUIRES: the range lies in the disk.
  Status read(uint64_t offset, std::span<std::byte> to);

 private:
  explicit Disk(std::unique_ptr<EventLoop> loop) : loop_(std::move(loop)) {}

  // The device goes first.
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<BlockDevice> device_;
  std::string path_;
};

}  // namespace vmm::block::tool
