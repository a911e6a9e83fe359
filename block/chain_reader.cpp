#include "block/chain_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "block/sector_cipher.h"
#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::block {
namespace {

constexpr size_t kParts = 128;
constexpr size_t kScratches = 4;
constexpr uint64_t kEncryptedChunkBytes = uint64_t{64} << 10U;

}  // namespace

std::span<const iovec> cut_buffers(std::span<const iovec> buffers, uint64_t skip, uint64_t& length,
                                   std::span<iovec> vectors) {
  if (skip == 0) {
    uint64_t total = 0;
    for (const iovec& buffer : buffers) {
      total += buffer.iov_len;
    }
    if (total == length) {
      return buffers;
    }
  }
  BufferPosition at = locate(buffers, skip);
  size_t count = 0;
  uint64_t cut = 0;
  while (cut < length && count < vectors.size()) {
    const iovec& buffer = buffers[at.index];
    const uint64_t run = std::min<uint64_t>(buffer.iov_len - at.offset_bytes, length - cut);
    if (run > 0) {
      vectors[count] = {.iov_base = static_cast<std::byte*>(buffer.iov_base) + at.offset_bytes,
                        .iov_len = static_cast<size_t>(run)};
      ++count;
      cut += run;
    }
    ++at.index;
    at.offset_bytes = 0;
  }
  length = cut;
  return vectors.first(count);
}

ChainReader::ChainReader(std::vector<ImageFormat*> layers, HostFile& file)
    : layers_(std::move(layers)), file_(file), parts_(kParts), scratches_(kScratches) {
  for (Scratch& scratch : scratches_) {
    scratch.reader = this;
    scratch.done = scratch_done;
  }
}

ChainReader::~ChainReader() { VMM_CHECK(jobs_ == 0, "a disk was closed with reads under way"); }

void ChainReader::start(ReadJob& job) {
  ++jobs_;
  job.reader = this;
  job.position = 0;
  job.under_way = 0;
  job.status = IoStatus::kOk;
  job.is_parked = false;
  job.is_own_part_used = false;
  job.waiter.wake = woken;
  job.waiter.context = &job;
  job.is_starting = true;
  advance(job);
  job.is_starting = false;
}

void ChainReader::woken(Waiter& waiter, IoStatus status) {
  auto& job = *static_cast<ReadJob*>(waiter.context);
  job.is_parked = false;
  if (status != IoStatus::kOk && job.status == IoStatus::kOk) {
    job.status = status;
  }
  job.reader->advance(job);
}

void ChainReader::advance(ReadJob& job) {
  job.is_mapping = true;
  while (job.status == IoStatus::kOk && job.position < job.length_bytes && map_next(job)) {
  }
  job.is_mapping = false;
  const bool is_over = job.status != IoStatus::kOk || job.position == job.length_bytes;
  if (is_over && job.under_way == 0 && !job.is_parked) {
    finish(job);
  }
}

// False: no further for now.
bool ChainReader::map_next(ReadJob& job) {
  ImageFormat* layer = nullptr;
  const Extent extent = lookup(job, job.waiter, layer);
  switch (extent.kind) {
    case Extent::Kind::kWait:
      job.is_parked = true;
      return false;
    case Extent::Kind::kError:
      job.status = extent.status;
      return false;
    case Extent::Kind::kZeroes:
    case Extent::Kind::kBacking: {
      uint64_t left = extent.length;
      while (left > 0) {
        std::array<iovec, 16> vectors{};
        uint64_t length = left;
        for (const iovec& run : cut_buffers(job.buffers, job.position, length, vectors)) {
          std::memset(run.iov_base, 0, run.iov_len);
        }
        job.position += length;
        left -= length;
      }
      return true;
    }
    case Extent::Kind::kData:
      return layer->cipher() == nullptr ? issue(job, extent, *layer)
                                        : read_through_scratch(job, extent, *layer);
    case Extent::Kind::kCompressed:
      return copy_from_scratch(job, extent, *layer) || read_through_scratch(job, extent, *layer);
  }
  return false;
}

Extent ChainReader::lookup(const ReadJob& job, Waiter& waiter, ImageFormat*& layer) const {
  const uint64_t offset = job.offset.bytes() + job.position;
  uint64_t length = job.length_bytes - job.position;
  for (ImageFormat* each : layers_) {
    const uint64_t size = each->size_bytes();
    if (offset >= size) {
      break;
    }
    length = std::min(length, size - offset);
    const Extent extent = each->map_read(DiskOffset(offset), length, waiter);
    if (extent.kind != Extent::Kind::kBacking) {
      layer = each;
      return extent;
    }
    length = extent.length;
  }
  return Extent::zeroes(length);
}

bool ChainReader::issue(ReadJob& job, const Extent& extent, ImageFormat& layer) {
  ReadPart* part = parts_.take(job);
  if (part == nullptr) {
    return false;
  }
  uint64_t length = extent.length;
  part->buffers = cut_buffers(job.buffers, job.position, length, part->vectors);
  part->job = &job;
  part->done = part_done;
  part->op = BlockOp::kRead;
  part->offset = extent.offset;
  part->length_bytes = length;
  part->periods = layer.transfers();
  if (part->periods != nullptr) {
    part->period = part->periods->begin();
  }
  job.position += length;
  ++job.under_way;
  extent.file->submit(*part);
  return true;
}

void ChainReader::part_done(FileRequest& request, IoStatus status) {
  auto& part = static_cast<ReadPart&>(request);
  ReadJob& job = *part.job;
  if (part.periods != nullptr) {
    part.periods->end(part.period);
  }
  job.reader->parts_.give_back(part);
  job.reader->finish_part(job, status);
}

void ChainReader::finish_part(ReadJob& job, IoStatus status) {
  --job.under_way;
  if (status != IoStatus::kOk && job.status == IoStatus::kOk) {
    job.status = status;
  }
  if (!job.is_parked && !job.is_mapping) {
    advance(job);
  }
}

void ChainReader::finish(ReadJob& job) {
  if (job.is_starting) {
    job.own_part.job = &job;
    job.own_part.done = deferred_done;
    file_.finish_later(job.own_part, job.status);
    return;
  }
  --jobs_;
  job.done(job, job.status);
}

void ChainReader::deferred_done(FileRequest& request, IoStatus status) {
  ReadJob& job = *static_cast<ReadPart&>(request).job;
  --job.reader->jobs_;
  job.done(job, status);
}

// --- Compressed and encrypted data ---

bool ChainReader::copy_from_scratch(ReadJob& job, const Extent& extent, const ImageFormat& layer) {
  for (const Scratch& scratch : scratches_) {
    if (!scratch.is_busy && scratch.holds_cluster && scratch.layer == &layer &&
        scratch.extent.offset == extent.offset && scratch.extent.stored_bytes == extent.stored_bytes) {
      copy_to_buffers(job.buffers, job.position,
                      {scratch.plain.get() + extent.offset_in_cluster, static_cast<size_t>(extent.length)});
      job.position += extent.length;
      return true;
    }
  }
  return false;
}

bool ChainReader::read_through_scratch(ReadJob& job, const Extent& extent, ImageFormat& layer) {
  Scratch* scratch = take_scratch();
  if (scratch == nullptr) {
    job.is_parked = true;
    scratch_waiters_.push(job.waiter);
    return false;
  }
  scratch->job = &job;
  scratch->layer = &layer;
  scratch->extent = extent;
  scratch->job_position = job.position;
  scratch->holds_cluster = false;
  scratch->is_stale = false;
  const bool is_ready =
      extent.kind == Extent::Kind::kCompressed ? prepare_compressed(*scratch) : prepare_encrypted(*scratch);
  if (!is_ready) {
    scratch->is_busy = false;
    job.status = IoStatus::kIoError;  // the host is out of memory
    return false;
  }
  scratch->op = BlockOp::kRead;
  scratch->vector = {.iov_base = scratch->stored.get(),
                     .iov_len = static_cast<size_t>(scratch->length_bytes)};
  scratch->buffers = std::span<const iovec>(&scratch->vector, 1);
  scratch->periods = layer.transfers();
  if (scratch->periods != nullptr) {
    scratch->period = scratch->periods->begin();
  }
  job.position += scratch->extent.length;
  ++job.under_way;
  extent.file->submit(*scratch);
  return true;
}

// In turn, so that what was decompressed last stays longest.
ChainReader::Scratch* ChainReader::take_scratch() {
  for (size_t i = 0; i < scratches_.size(); ++i) {
    Scratch& scratch = scratches_[(next_scratch_ + i) % scratches_.size()];
    if (!scratch.is_busy) {
      next_scratch_ = (next_scratch_ + i + 1) % scratches_.size();
      scratch.is_busy = true;
      return &scratch;
    }
  }
  return nullptr;
}

bool ChainReader::prepare_compressed(Scratch& scratch) {
  const auto grow = [](AlignedMemory& memory, size_t& capacity, uint64_t wanted) {
    if (capacity < wanted) {
      memory = make_aligned_memory(static_cast<size_t>(wanted));
      capacity = memory == nullptr ? 0 : static_cast<size_t>(wanted);
    }
    return memory != nullptr;
  };
  scratch.offset = scratch.extent.offset;
  scratch.length_bytes = scratch.extent.stored_bytes;
  scratch.lead_bytes = 0;
  return grow(scratch.stored, scratch.stored_capacity, scratch.extent.stored_bytes) &&
         grow(scratch.plain, scratch.plain_capacity, scratch.extent.cluster_bytes);
}

bool ChainReader::prepare_encrypted(Scratch& scratch) {
  if (scratch.stored_capacity < kEncryptedChunkBytes) {
    scratch.stored = make_aligned_memory(kEncryptedChunkBytes);
    scratch.stored_capacity = scratch.stored == nullptr ? 0 : kEncryptedChunkBytes;
  }
  constexpr uint64_t kSector = SectorCipher::kSectorBytes;
  const uint64_t begin = align_down(scratch.extent.offset.bytes(), kSector);
  scratch.lead_bytes = scratch.extent.offset.bytes() - begin;
  scratch.extent.length = std::min(scratch.extent.length, kEncryptedChunkBytes - scratch.lead_bytes);
  scratch.offset = FileOffset(begin);
  scratch.length_bytes = align_up(scratch.lead_bytes + scratch.extent.length, kSector);
  return scratch.stored != nullptr;
}

void ChainReader::scratch_done(FileRequest& request, IoStatus status) {
  auto& scratch = static_cast<Scratch&>(request);
  ChainReader& reader = *scratch.reader;
  ReadJob& job = *scratch.job;
  if (scratch.periods != nullptr) {
    scratch.periods->end(scratch.period);
  }
  if (status == IoStatus::kOk) {
    status = reader.take_stored(scratch);
  }
  scratch.is_busy = false;
  reader.scratch_waiters_.wake_all(IoStatus::kOk);
  reader.finish_part(job, status);
}

IoStatus ChainReader::take_stored(Scratch& scratch) {
  const std::span<std::byte> stored(scratch.stored.get(), static_cast<size_t>(scratch.length_bytes));
  ReadJob& job = *scratch.job;
  if (scratch.extent.kind == Extent::Kind::kCompressed) {
    const std::span<std::byte> plain(scratch.plain.get(), static_cast<size_t>(scratch.extent.cluster_bytes));
    if (!scratch.layer->decompress(stored, plain)) {
      return IoStatus::kIoError;
    }
    scratch.holds_cluster = !scratch.is_stale;
    copy_to_buffers(job.buffers, scratch.job_position,
                    plain.subspan(static_cast<size_t>(scratch.extent.offset_in_cluster),
                                  static_cast<size_t>(scratch.extent.length)));
    return IoStatus::kOk;
  }
  const SectorCipher& cipher = *scratch.layer->cipher();
  const uint64_t disk_offset = job.offset.bytes() + scratch.job_position - scratch.lead_bytes;
  const IoStatus status =
      cipher.decrypt(cipher.uses_file_offset() ? scratch.offset.bytes() : disk_offset, stored);
  if (status == IoStatus::kOk) {
    copy_to_buffers(
        job.buffers, scratch.job_position,
        stored.subspan(static_cast<size_t>(scratch.lead_bytes), static_cast<size_t>(scratch.extent.length)));
  }
  return status;
}

void ChainReader::forget_decompressed() {
  for (Scratch& scratch : scratches_) {
    scratch.holds_cluster = false;
    scratch.is_stale = true;
  }
}

}  // namespace vmm::block
