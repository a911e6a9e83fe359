// A qcow2 image on a CrashDisk, over a raw base or none, and a model of what its sectors may hold.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "block/image_chain.h"
#include "block/qcow2/check.h"
#include "block/qcow2/create.h"
#include "block/qcow2/image.h"
#include "block/qcow2/open_image.h"
#include "block/qcow2/writer.h"
#include "block/raw_layer.h"
#include "block/sector_cipher.h"
#include "tests/unit/fakes/crash_disk.h"
#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {

constexpr uint64_t kSectorBytes = 512;

struct WorldOptions {
  CreateOptions create;
  uint64_t base_sectors = 0;  // 0: no backing file
  bool may_discard = true;
  uint64_t cache_bytes = 0;
  CacheMode cache = CacheMode::kWriteback;
  bool may_extend_ahead = false;
  uint64_t disk_bytes = 0;  // as in DiskOptions
  std::shared_ptr<const SectorCipher> cipher;
  std::shared_ptr<CrashDisk> data;  // of an image that create.data_file is set for
};

// Each open image has one of its own; here they share it.
class SharedCipher final : public SectorCipher {
 public:
  explicit SharedCipher(std::shared_ptr<const SectorCipher> cipher) : cipher_(std::move(cipher)) {}
  bool uses_file_offset() const override { return cipher_->uses_file_offset(); }
  IoStatus encrypt(uint64_t offset_bytes, std::span<std::byte> data) const override {
    return cipher_->encrypt(offset_bytes, data);
  }
  IoStatus decrypt(uint64_t offset_bytes, std::span<std::byte> data) const override {
    return cipher_->decrypt(offset_bytes, data);
  }

 private:
  std::shared_ptr<const SectorCipher> cipher_;
};

// Sector `index` of the base holds this in each of its words.
inline uint64_t base_value(uint64_t index) { return 0xba5e'0000'0000'0000 + index; }

inline std::vector<std::byte> base_content(uint64_t sectors) {
  std::vector<std::byte> bytes(sectors * kSectorBytes);
  for (size_t at = 0; at < bytes.size(); at += 8) {
    store_le<uint64_t>(bytes.data() + at, base_value(at / kSectorBytes));
  }
  return bytes;
}

// An open image.
class OpenImage {
 public:
  OpenImage(std::shared_ptr<CrashDisk> disk, const WorldOptions& options, bool read_only)
      : disk_(std::move(disk)), data_(options.data) {
    Image::Files files;
    files.sync = std::make_unique<SharedSyncFile>(disk_);
    auto header = read_header(*files.sync);
    EXPECT_TRUE(header) << header.error().message();
    if (!read_only) {
      const Status prepared = prepare_for_writing(*files.sync, *header);
      EXPECT_TRUE(prepared) << prepared.error().message();
    }
    header->size_bytes = options.disk_bytes == 0 ? header->size_bytes : options.disk_bytes;
    files.image = std::make_unique<HostFile>(disk_, HostFile::Files{}, HostFile::Geometry{}, options.cache,
                                             options.may_discard);
    HostFile& file = *files.image;
    if (data_) {
      files.data_file = std::make_unique<HostFile>(data_, HostFile::Files{}, HostFile::Geometry{},
                                                   options.cache, options.may_discard);
      files.data_sync = std::make_unique<SharedSyncFile>(data_);
    }
    Image::Options image_options;
    image_options.read_only = read_only;
    image_options.cache_bytes = options.cache_bytes;
    if (options.cipher) {
      image_options.cipher = std::make_unique<SharedCipher>(options.cipher);
    }
    auto image = Image::open(std::move(files), std::move(*header), std::move(image_options));
    EXPECT_TRUE(image) << image.error().message();
    image_ = image->get();
    std::vector<std::unique_ptr<ImageFormat>> layers;
    layers.push_back(std::move(*image));
    if (options.base_sectors > 0) {
      base_ = std::make_shared<CrashDisk>(base_content(options.base_sectors));
      layers.push_back(std::make_unique<RawLayer>(
          std::make_unique<HostFile>(base_, HostFile::Files{}, HostFile::Geometry{}, CacheMode::kWriteback,
                                     false),
          options.base_sectors * kSectorBytes));
    }
    std::vector<ImageFormat*> pointers;
    pointers.reserve(layers.size());
    for (const auto& layer : layers) {
      pointers.push_back(layer.get());
    }
    auto reader = std::make_unique<ChainReader>(pointers, file);
    std::unique_ptr<ImageWriter> writer;
    if (!read_only) {
      EXPECT_TRUE(note_metadata(image_->sync_file(), image_->state()));
      writer = std::make_unique<Writer>(*image_, *reader,
                                        Writer::Options{.cache = options.cache,
                                                        .may_discard = options.may_discard,
                                                        .has_backing = options.base_sectors > 0,
                                                        .may_extend_ahead = options.may_extend_ahead});
    }
    chain_ = std::make_unique<ImageChain>(ImageChain::Layers{.own = std::move(layers)}, std::move(reader),
                                          std::move(writer), file, ImageChain::Options{});
  }
  OpenImage(const OpenImage&) = delete;
  OpenImage& operator=(const OpenImage&) = delete;
  ~OpenImage() { settle(); }

  ImageChain& operator*() { return *chain_; }
  ImageChain* operator->() { return chain_.get(); }

  size_t waiting() const {
    return disk_->waiting() + (base_ ? base_->waiting() : 0) + (data_ ? data_->waiting() : 0);
  }
  void answer(size_t index) {
    for (CrashDisk* each : {disk_.get(), base_.get(), data_.get()}) {
      const size_t waiting = each == nullptr ? 0 : each->waiting();
      if (index < waiting) {
        each->answer(index);
        return;
      }
      index -= waiting;
    }
  }
  CrashDisk& base() { return *base_; }
  void settle() {
    while (waiting() > held_) {
      answer(held_);
    }
  }
  // The first call that waits goes on waiting.
  void hold_first(bool is_held) { held_ = is_held ? 1 : 0; }

  // Whole disk, now.
  std::vector<std::byte> read_all() {
    std::vector<std::byte> bytes(chain_->size_bytes());
    EXPECT_EQ(transfer(BlockOp::kRead, 0, bytes), IoStatus::kOk);
    return bytes;
  }

  IoStatus transfer(BlockOp op, uint64_t offset, std::span<std::byte> bytes) {
    const iovec buffer{.iov_base = bytes.data(), .iov_len = bytes.size()};
    BlockRequest request;
    request.op = op;
    request.buffers = std::span(&buffer, 1);
    return run(std::move(request), offset, bytes.size());
  }

  IoStatus run(BlockRequest request, uint64_t offset, uint64_t length) {
    std::optional<IoStatus> result;
    request.offset = DiskOffset(offset);
    request.length_bytes = length;
    request.completion =
        Completion([](void* context, uint64_t /*cookie*/,
                      IoStatus status) { *static_cast<std::optional<IoStatus>*>(context) = status; },
                   &result, 0);
    chain_->submit(std::move(request));
    settle();
    EXPECT_TRUE(result.has_value()) << "a request was never completed";
    return result.value_or(IoStatus::kIoError);
  }

  IoStatus change(BlockOp op, uint64_t offset, uint64_t length, bool may_unmap = false) {
    BlockRequest request;
    request.op = op;
    request.may_unmap = may_unmap;
    return run(std::move(request), offset, length);
  }

  IoStatus write_value(uint64_t offset, uint64_t length, uint64_t value) {
    std::vector<std::byte> bytes(length);
    for (size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      store_le<uint64_t>(bytes.data() + at, value);
    }
    return transfer(BlockOp::kWrite, offset, bytes);
  }

  Image& image() { return *image_; }

 private:
  std::shared_ptr<CrashDisk> disk_;
  std::shared_ptr<CrashDisk> data_;
  std::shared_ptr<CrashDisk> base_;
  Image* image_ = nullptr;
  size_t held_ = 0;
  std::unique_ptr<ImageChain> chain_;
};

inline std::shared_ptr<CrashDisk> make_disk(const WorldOptions& options) {
  auto disk = std::make_shared<CrashDisk>(std::vector<std::byte>());
  CreateOptions create_options = options.create;
  if (options.base_sectors > 0) {
    create_options.backing_file = "base.raw";
    create_options.backing_format = "raw";
  }
  const Status created = create(*disk, create_options);
  EXPECT_TRUE(created) << created.error().message();
  return disk;
}

inline CheckResult check_of(CrashDisk& disk) {
  const auto header = read_header(disk);
  EXPECT_TRUE(header) << header.error().message();
  if (!header) {
    return {.corruptions = 1};
  }
  const auto result = check(disk, *header);
  EXPECT_TRUE(result) << result.error().message();
  return result.value_or(CheckResult{.corruptions = 1});
}

inline std::string text_of(const CheckResult& result) {
  std::string text;
  for (const std::string& message : result.messages) {
    text += message + "\n";
  }
  return text;
}

}  // namespace vmm::block::qcow2
