#include "block/image_chain.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "block/chain_map.h"
#include "block/io_vector.h"
#include "vmm/base/check.h"

namespace vmm::block {
namespace {

// Shorter writes of zeroes are written: a change of metadata would cost more than it gives.
constexpr uint64_t kDetectZeroesFromBytes = 4096;

}  // namespace

std::vector<ImageFormat*> ImageChain::Layers::all() const {
  std::vector<ImageFormat*> layers;
  layers.reserve(own.size() + of_base.size());
  for (const auto& layer : own) {
    layers.push_back(layer.get());
  }
  layers.insert(layers.end(), of_base.begin(), of_base.end());
  return layers;
}

ImageChain::ImageChain(Layers layers, std::unique_ptr<ChainReader> reader,
                       std::unique_ptr<ImageWriter> writer, HostFile& file, const Options& options)
    : options_(options),
      file_(file),
      layers_(std::move(layers)),
      all_layers_(layers_.all()),
      size_bytes_(all_layers_.front()->size_bytes()),
      reader_(std::move(reader)),
      writer_(std::move(writer)),
      compressed_(writer_ == nullptr ? std::nullopt : writer_->compressed_clusters()) {
  slots_.reserve(kRequestsInFlight);
  for (size_t i = 0; i < kRequestsInFlight; ++i) {
    Slot& slot = *slots_.emplace_back(std::make_unique<Slot>());
    slot.chain = this;
    slot.read.context = &slot;
    slot.write.context = &slot;
    slot.next_free = std::exchange(free_slots_, &slot);
  }
}

ImageChain::~ImageChain() { VMM_CHECK(in_flight() == 0, "a disk was closed with requests in flight"); }

uint32_t ImageChain::in_flight() const {
  uint32_t background = writer_ == nullptr ? 0 : writer_->background_requests();
  for (const auto& layer : layers_.own) {
    background += layer->background_requests();
  }
  background += layers_.base == nullptr ? 0 : layers_.base->in_flight();
  return in_flight_ + background;
}

std::unique_ptr<ImageChain> ImageChain::view_from(uint32_t depth) const {
  VMM_CHECK(depth < all_layers_.size(), "a chain has fewer layers");
  const std::vector<ImageFormat*> seen(all_layers_.begin() + depth, all_layers_.end());
  Options options = options_;
  options.layers.erase(options.layers.begin(), options.layers.begin() + depth);
  return std::make_unique<ImageChain>(Layers{.own = {}, .base = nullptr, .of_base = seen},
                                      std::make_unique<ChainReader>(seen, file_), nullptr, file_, options);
}

ImageChain::Slot& ImageChain::take_slot(BlockRequest& request) {
  VMM_CHECK(free_slots_ != nullptr, "a disk was given a request that it cannot accept");
  ++in_flight_;
  Slot& slot = *std::exchange(free_slots_, free_slots_->next_free);
  slot.completion = std::move(request.completion);
  return slot;
}

void ImageChain::submit(BlockRequest request) {
  Slot& slot = take_slot(request);
  const IoStatus status = judge(request);
  const bool is_nothing = request.op == BlockOp::kFlush ? writer_ == nullptr : request.length_bytes == 0;
  if (status != IoStatus::kOk || is_nothing) {
    refuse(slot, status);
    return;
  }
  if (request.op != BlockOp::kRead) {
    start_write(slot, request);
    return;
  }
  slot.read.done = read_done;
  slot.read.offset = request.offset;
  slot.read.length_bytes = request.length_bytes;
  slot.read.buffers = request.buffers;
  reader_->start(slot.read);
}

void ImageChain::submit_compressed(BlockRequest request) {
  Slot& slot = take_slot(request);
  const uint64_t cluster = compressed_->cluster_bytes;
  const uint64_t offset = request.offset.bytes();
  uint64_t stored = 0;
  for (const iovec& buffer : request.buffers) {
    stored += buffer.iov_len;
  }
  const bool is_cluster = offset < size_bytes_ && offset % cluster == 0 &&
                          request.length_bytes == std::min(cluster, size_bytes_ - offset);
  if (request.op != BlockOp::kWrite || !is_cluster || stored == 0 || stored >= cluster) {
    refuse(slot, IoStatus::kUnsupported);
    return;
  }
  WriteJob& job = slot.write;
  job.done = write_done;
  job.op = BlockOp::kWrite;
  job.offset = request.offset;
  job.length_bytes = request.length_bytes;
  job.buffers = request.buffers;
  job.may_unmap = false;
  job.force_unit_access = request.force_unit_access;
  job.is_compressed = true;
  writer_->submit(job);
}

void ImageChain::refuse(Slot& slot, IoStatus status) {
  slot.write.own_part.job = &slot.write;
  slot.write.own_part.done = refused_done;
  file_.finish_later(slot.write.own_part, status);
}

void ImageChain::start_write(Slot& slot, const BlockRequest& request) {
  WriteJob& job = slot.write;
  job.done = write_done;
  job.op = request.op;
  job.offset = request.offset;
  job.length_bytes = request.length_bytes;
  job.buffers = request.buffers;
  job.may_unmap = request.may_unmap;
  job.force_unit_access = request.force_unit_access;
  job.is_compressed = false;
  if (options_.detect_zeroes != DetectZeroes::kOff && job.op == BlockOp::kWrite &&
      job.length_bytes >= kDetectZeroesFromBytes && buffers_are_zero(job.buffers)) {
    job.op = BlockOp::kWriteZeroes;
    job.buffers = {};
    job.may_unmap = options_.detect_zeroes == DetectZeroes::kUnmap;
  }
  writer_->submit(job);
}

IoStatus ImageChain::judge(const BlockRequest& request) const {
  if (request.op == BlockOp::kFlush) {
    return IoStatus::kOk;
  }
  const uint64_t offset = request.offset.bytes();
  if (offset > size_bytes_ || request.length_bytes > size_bytes_ - offset) {
    return IoStatus::kOutOfRange;
  }
  return writer_ == nullptr && request.op != BlockOp::kRead ? IoStatus::kReadOnly : IoStatus::kOk;
}

BlockRun ImageChain::map(DiskOffset offset, uint64_t length, Waiter& waiter) {
  return map_chain(all_layers_, offset, length, waiter);
}

void ImageChain::read_done(ReadJob& job, IoStatus status) {
  auto& slot = *static_cast<Slot*>(job.context);
  slot.chain->finish(slot, status);
}

void ImageChain::write_done(WriteJob& job, IoStatus status) {
  auto& slot = *static_cast<Slot*>(job.context);
  slot.chain->finish(slot, status);
}

void ImageChain::refused_done(FileRequest& request, IoStatus status) {
  auto& slot = *static_cast<Slot*>(static_cast<WritePart&>(request).job->context);
  slot.chain->finish(slot, status);
}

void ImageChain::finish(Slot& slot, IoStatus status) {
  Completion completion = std::move(slot.completion);
  slot.next_free = std::exchange(free_slots_, &slot);
  --in_flight_;
  completion.finish(status);
}

}  // namespace vmm::block
