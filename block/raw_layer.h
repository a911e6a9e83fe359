// RawLayer: a raw image at the bottom of a chain: every byte lies where it is.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "block/host_file.h"
#include "block/image_format.h"

namespace vmm::block {

class RawLayer final : public ImageFormat {
 public:
  RawLayer(std::unique_ptr<HostFile> file, uint64_t size_bytes)
      : own_file_(std::move(file)), file_(*own_file_), size_bytes_(size_bytes) {}
  // The file is somebody else's, and outlives the layer.
  RawLayer(HostFile& file, uint64_t size_bytes) : file_(file), size_bytes_(size_bytes) {}

  uint64_t size_bytes() const override { return size_bytes_; }
  Extent map_read(DiskOffset offset, uint64_t length, Waiter& /*waiter*/) override {
    Extent extent{.kind = Extent::Kind::kData, .length = length};
    extent.file = &file_;
    extent.offset = FileOffset(offset.bytes());
    return extent;
  }
  Holes holes() override { return Holes::kNothing; }

 private:
  std::unique_ptr<HostFile> own_file_;
  HostFile& file_;
  uint64_t size_bytes_;
};

}  // namespace vmm::block
