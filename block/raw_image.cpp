#include "block/raw_image.h"

#include <utility>

#include "block/chain_map.h"
#include "block/io_vector.h"
#include "vmm/base/check.h"

namespace vmm::block {
namespace {

// Shorter writes of zeroes are written: asking the file system for a hole would cost more than it gives.
constexpr uint64_t kDetectZeroesFromBytes = 4096;

bool changes_the_disk(BlockOp op) { return op != BlockOp::kRead && op != BlockOp::kFlush; }

}  // namespace

RawImage::RawImage(std::unique_ptr<HostFile> file, const Options& options)
    : file_(std::move(file)), options_(options), slots_(kRequestsInFlight) {
  for (Slot& slot : slots_) {
    slot.image = this;
    slot.done = slot_done;
    slot.next_free = std::exchange(free_slots_, &slot);
  }
}

RawImage::~RawImage() { VMM_CHECK(in_flight_ == 0, "a disk was closed with requests in flight"); }

void RawImage::submit(BlockRequest request) {
  Slot& slot = take_slot();
  slot.completion = std::move(request.completion);
  slot.op = request.op;
  slot.offset = FileOffset(request.offset.bytes());
  slot.length_bytes = request.length_bytes;
  slot.buffers = request.buffers;
  slot.may_unmap = request.may_unmap;
  slot.force_unit_access = request.force_unit_access;
  if (const IoStatus status = judge(request); status != IoStatus::kOk) {
    file_->finish_later(slot, status);
    return;
  }
  if (options_.detect_zeroes != DetectZeroes::kOff && slot.op == BlockOp::kWrite &&
      slot.length_bytes >= kDetectZeroesFromBytes && buffers_are_zero(slot.buffers)) {
    slot.op = BlockOp::kWriteZeroes;
    slot.may_unmap = options_.detect_zeroes == DetectZeroes::kUnmap;
  }
  file_->submit(slot);
}

IoStatus RawImage::judge(const BlockRequest& request) const {
  if (request.op == BlockOp::kFlush) {
    return IoStatus::kOk;
  }
  const uint64_t offset = request.offset.bytes();
  if (offset > options_.size_bytes || request.length_bytes > options_.size_bytes - offset) {
    return IoStatus::kOutOfRange;
  }
  return options_.read_only && changes_the_disk(request.op) ? IoStatus::kReadOnly : IoStatus::kOk;
}

BlockRun RawImage::map(DiskOffset offset, uint64_t length, Waiter& /*waiter*/) {
  return map_file(*file_, FileOffset(offset.bytes()), length);
}

RawImage::Slot& RawImage::take_slot() {
  VMM_CHECK(free_slots_ != nullptr, "a disk was given a request that it cannot accept");
  ++in_flight_;
  return *std::exchange(free_slots_, free_slots_->next_free);
}

void RawImage::slot_done(FileRequest& request, IoStatus status) {
  auto& slot = static_cast<Slot&>(request);
  RawImage& image = *slot.image;
  Completion completion = std::move(slot.completion);
  slot.next_free = std::exchange(image.free_slots_, &slot);
  --image.in_flight_;
  completion.finish(status);
}

}  // namespace vmm::block
