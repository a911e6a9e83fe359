// qcow2 images: reading, checking, repairing, writing, snapshots and resizing end, in bounded memory; a
// repair that says that nothing is wrong any more is right; and what was without errors stays so.
//
// Input: the image file. Its backing file reads as zeroes.
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "block/chain_reader.h"
#include "block/image_chain.h"
#include "block/qcow2/check.h"
#include "block/qcow2/image.h"
#include "block/qcow2/open_image.h"
#include "block/qcow2/resize.h"
#include "block/qcow2/snapshot.h"
#include "block/qcow2/writer.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/memory_image.h"

namespace vmm::block::qcow2 {
namespace {

using fuzz::MemoryImage;
using fuzz::MemorySync;

constexpr size_t kTransferBytes = 70'000;

uint64_t errors_of(MemoryImage& file) {
  const auto header = read_header(file);
  const auto result = header ? check(file, *header) : std::unexpected(header.error());
  return result ? result->corruptions : UINT64_MAX;
}

class OpenDisk {
 public:
  static std::unique_ptr<OpenDisk> open(MemoryImage& file, bool is_read_only) {
    auto header = read_header(file);
    if (!header || header->has(kIncompatibleDataFile) || header->crypt != CryptMethod::kNone ||
        (!is_read_only && !prepare_for_writing(file, *header))) {
      return nullptr;
    }
    std::unique_ptr<OpenDisk> disk(new OpenDisk(file));
    return disk->start(std::move(*header), is_read_only) ? std::move(disk) : nullptr;
  }

  uint64_t size_bytes() const { return chain_->size_bytes(); }
  bool is_corrupt() const { return image_->state().is_corrupt; }

  void transfer(BlockOp op, uint64_t offset) {
    offset = std::min(offset, size_bytes());
    const uint64_t length =
        op == BlockOp::kFlush ? 0 : std::min<uint64_t>(kTransferBytes, size_bytes() - offset);
    std::vector<std::byte> bytes(length, std::byte{0x5a});
    const iovec buffer{.iov_base = bytes.data(), .iov_len = bytes.size()};
    std::optional<IoStatus> status;
    BlockRequest request;
    request.op = op;
    request.offset = DiskOffset(op == BlockOp::kFlush ? 0 : offset);
    request.length_bytes = length;
    if (op == BlockOp::kRead || op == BlockOp::kWrite) {
      request.buffers = std::span(&buffer, 1);
    }
    request.completion =
        Completion([](void* context, uint64_t,
                      IoStatus result) { *static_cast<std::optional<IoStatus>*>(context) = result; },
                   &status, 0);
    chain_->submit(std::move(request));
    file_.answer_all();
    VMM_CHECK(status, "a request did not end");
  }

 private:
  explicit OpenDisk(MemoryImage& file) : file_(file) {}

  bool start(Header header, bool is_read_only) {
    const bool has_backing = header.has_backing_file();
    Image::Files files;
    files.sync = std::make_unique<MemorySync>(file_);
    // The engine is the caller's.
    files.image =
        std::make_unique<HostFile>(std::shared_ptr<Engine>(std::shared_ptr<void>(), &file_),
                                   HostFile::Files{}, HostFile::Geometry{}, CacheMode::kWriteback, true);
    HostFile& file = *files.image;
    Image::Options options;
    options.read_only = is_read_only;
    auto image = Image::open(std::move(files), std::move(header), std::move(options));
    if (!image) {
      return false;
    }
    image_ = image->get();
    auto reader = std::make_unique<ChainReader>(std::vector<ImageFormat*>{image_}, file);
    std::unique_ptr<ImageWriter> writer;
    if (!is_read_only) {
      if (!note_metadata(image_->sync_file(), image_->state())) {
        return false;
      }
      writer = std::make_unique<Writer>(*image_, *reader,
                                        Writer::Options{.may_discard = true, .has_backing = has_backing});
    }
    std::vector<std::unique_ptr<ImageFormat>> layers;
    layers.push_back(std::move(*image));
    chain_ = std::make_unique<ImageChain>(ImageChain::Layers{.own = std::move(layers)}, std::move(reader),
                                          std::move(writer), file, ImageChain::Options());
    return true;
  }

  MemoryImage& file_;
  Image* image_ = nullptr;
  std::unique_ptr<ImageChain> chain_;
};

void read(MemoryImage file) {
  if (const auto disk = OpenDisk::open(file, true); disk != nullptr) {
    disk->transfer(BlockOp::kRead, 0);
    disk->transfer(BlockOp::kRead, disk->size_bytes() / 2);
    disk->transfer(BlockOp::kRead, disk->size_bytes() - std::min<uint64_t>(disk->size_bytes(), 1000));
  }
}

void repair_all(MemoryImage file) {
  auto header = read_header(file);
  VMM_CHECK(header, "a header can be read only once");
  const auto result = repair(file, *header, Repair::kAll);
  VMM_CHECK(!result || result->corruptions > 0 || errors_of(file) == 0, "the repair promised too much");
}

// REQUIRES: the image has no errors.
void write(MemoryImage file) {
  const auto disk = OpenDisk::open(file, false);
  if (disk == nullptr) {
    return;
  }
  const uint64_t size = disk->size_bytes();
  disk->transfer(BlockOp::kWrite, 0);
  disk->transfer(BlockOp::kDiscard, size / 2);
  disk->transfer(BlockOp::kWriteZeroes, size / 4);
  disk->transfer(BlockOp::kFlush, 0);
  disk->transfer(BlockOp::kWrite, size / 2);
  disk->transfer(BlockOp::kRead, 0);
  disk->transfer(BlockOp::kFlush, 0);
  VMM_CHECK(disk->is_corrupt() || errors_of(file) == 0, "writing has made errors");
}

// REQUIRES: as above.
void change(MemoryImage file) {
  auto header = read_header(file);
  if (!header || !prepare_for_maintenance(file, *header)) {
    return;
  }
  const auto expect_sound = [&file] { VMM_CHECK(errors_of(file) == 0, "a change has made errors"); };
  static_cast<void>(create_snapshot(file, *header, {.name = "new"}));
  expect_sound();
  static_cast<void>(apply_snapshot(file, *header, "1"));
  expect_sound();
  static_cast<void>(delete_snapshot(file, *header, "new"));
  expect_sound();
  const uint64_t less = header->size_bytes / 2 / 512 * 512;
  if (check_resize(file, *header, less)) {
    static_cast<void>(shrink(file, *header, less));
    expect_sound();
  }
  const uint64_t more = less + 512 * 1000;
  if (header->size_bytes == less && check_resize(file, *header, more)) {
    static_cast<void>(begin_growing(file, *header, more, Preallocation::kMetadata));
    expect_sound();
  }
}

void run(std::span<const std::byte> input) {
  fuzz::silence_log();
  MemoryImage file(input);
  const auto header = read_header(file);
  if (!header) {
    return;
  }
  read(file);
  repair_all(file);
  if (errors_of(file) == 0) {
    write(file);
    change(file);
  }
}

}  // namespace
}  // namespace vmm::block::qcow2

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::block::qcow2::run(std::as_bytes(std::span(data, size)));
  return 0;
}
