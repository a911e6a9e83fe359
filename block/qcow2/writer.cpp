#include "block/qcow2/writer.h"

#include <algorithm>
#include <utility>

#include "vmm/base/check.h"

namespace vmm::block::qcow2 {
namespace {

constexpr size_t kParts = 128;
constexpr size_t kMaxChanges = 64;
constexpr size_t kMinChanges = 4;
constexpr uint64_t kChangeMemoryBytes = uint64_t{8} << 20U;

size_t change_count(uint64_t cluster_bytes) {
  return std::clamp<size_t>(kChangeMemoryBytes / cluster_bytes, kMinChanges, kMaxChanges);
}

}  // namespace

Writer::Writer(Image& image, ChainReader& reader, const Options& options)
    : image_(image),
      state_(image.state()),
      reader_(reader),
      options_(options),
      is_raw_data_file_((image.state().header.autoclear & kAutoclearRawDataFile) != 0),
      refcounts_(state_),
      maker_(state_, refcounts_, image.l2_cache()),
      reclaimer_(state_, refcounts_, image.l2_cache()),
      committer_(state_, image.l2_cache(), refcounts_, reclaimer_,
                 image.separate_data_file() == nullptr ? nullptr : &image.data_file()),
      parts_(kParts) {
  changes_.reserve(change_count(state_.cluster_bytes()));
  for (size_t i = 0; i < change_count(state_.cluster_bytes()); ++i) {
    Change& change = *changes_.emplace_back(std::make_unique<Change>());
    change.writer = this;
    change.done = written;
    change.read.done = read_done;
    change.read.context = &change;
    change.waiter.wake = link_woken;
    change.waiter.context = &change;
    change.next_free = std::exchange(free_changes_, &change);
  }
  active_.reserve(changes_.size());
  start_extending();
  state_.transfers.set_on_end([](void* context) { static_cast<Reclaimer*>(context)->try_start(); },
                              &reclaimer_);
}

Writer::~Writer() {
  VMM_CHECK(background_requests() == 0 && jobs_ == 0, "an image was closed while it was written to");
  state_.transfers.set_on_end(nullptr, nullptr);
  close();
}

uint32_t Writer::background_requests() const {
  return refcounts_.requests_under_way() + (committer_.is_running() ? 1 : 0) + (maker_.is_running() ? 1 : 0) +
         (reclaimer_.is_running() ? 1 : 0);
}

void Writer::start_extending() {
  if (options_.may_extend_ahead && image_.separate_data_file() == nullptr) {
    state_.file_end = state_.used_end;
    state_.extend_ahead = &image_.sync_file();
  }
}

std::optional<CompressedClusters> Writer::compressed_clusters() const {
  // "compressed clusters can't be encrypted", and with an external data file there are none.
  if (image_.cipher() != nullptr || state_.format.has_data_file) {
    return std::nullopt;
  }
  return CompressedClusters{.compression = state_.header.compression == CompressionType::kZstd
                                               ? Compression::kZstd
                                               : Compression::kDeflate,
                            .cluster_bytes = state_.cluster_bytes()};
}

// --- Jobs ---

void Writer::submit(WriteJob& job) {
  ++jobs_;
  job.writer = this;
  job.position = 0;
  job.under_way = 0;
  job.status = IoStatus::kOk;
  job.is_parked = false;
  job.is_own_part_used = false;
  job.needs_commit = job.op == BlockOp::kFlush;
  job.waiter.wake = woken;
  job.waiter.context = &job;
  job.is_starting = true;
  advance(job);
  job.is_starting = false;
}

void Writer::woken(Waiter& waiter, IoStatus status) {
  auto& job = *static_cast<WriteJob*>(waiter.context);
  job.is_parked = false;
  if (status != IoStatus::kOk && job.status == IoStatus::kOk) {
    job.status = status;
  }
  static_cast<Writer*>(job.writer)->advance(job);
}

void Writer::advance(WriteJob& job) {
  if (state_.is_corrupt && job.status == IoStatus::kOk) {
    job.status = IoStatus::kIoError;
  }
  job.is_mapping = true;
  while (job.status == IoStatus::kOk && job.position < job.length_bytes && map_next(job)) {
  }
  job.is_mapping = false;
  const bool is_over = job.status != IoStatus::kOk || job.position >= job.length_bytes;
  if (is_over && job.under_way == 0 && !job.is_parked) {
    end_of_work(job);
  }
}

// False: no further for now.
bool Writer::map_next(WriteJob& job) {
  switch (job.op) {
    case BlockOp::kWrite:
      return map_write(job);
    case BlockOp::kWriteZeroes:
      return map_zeroes(job);
    case BlockOp::kDiscard:
      return map_discard(job);
    case BlockOp::kRead:
    case BlockOp::kFlush:
      break;
  }
  job.position = job.length_bytes;
  return true;
}

bool Writer::park(WriteJob& job, WaitQueue& queue) {
  queue.push(job.waiter);
  return parked(job);
}

// The waiter is in some queue already.
bool Writer::parked(WriteJob& job) {
  job.is_parked = true;
  after_change();
  return false;
}

bool Writer::failed(WriteJob& job, IoStatus status) {
  job.status = status;
  return false;
}

void Writer::take_result(WriteJob& job, IoStatus status) {
  --job.under_way;
  if (status != IoStatus::kOk && job.status == IoStatus::kOk) {
    job.status = status;
  }
  if (!job.is_parked && !job.is_mapping) {
    advance(job);
  }
}

void Writer::end_of_work(WriteJob& job) {
  if (state_.wants_corrupt_bit) {
    committer_.commit_soon();
  }
  if (job.status == IoStatus::kOk && job.needs_commit) {
    job.needs_commit = false;
    job.is_parked = true;
    committer_.commit(job.waiter);
    return;
  }
  finish(job);
}

void Writer::finish(WriteJob& job) {
  if (job.is_starting) {
    job.own_part.job = &job;
    job.own_part.done = deferred_done;
    state_.file.finish_later(job.own_part, job.status);
    return;
  }
  --jobs_;
  job.done(job, job.status);
}

void Writer::deferred_done(FileRequest& request, IoStatus status) {
  WriteJob& job = *static_cast<WritePart&>(request).job;
  --static_cast<Writer*>(job.writer)->jobs_;
  job.done(job, status);
}

bool Writer::needs_stable_storage(const WriteJob& job) const {
  return block::needs_stable_storage(options_.cache, job.force_unit_access);
}

// --- Writes ---

Writer::Change* Writer::conflict(uint64_t cluster) const {
  for (Change* change : active_) {
    if (cluster >= change->cluster && cluster < change->cluster + change->clusters) {
      return change;
    }
  }
  return nullptr;
}

bool Writer::map_write(WriteJob& job) {
  const uint64_t guest = job.offset.bytes() + job.position;
  if (Change* change = conflict(guest >> state_.format.cluster_bits)) {
    return park(job, change->waiters);
  }
  const Image::L2Place place = image_.find_l2(guest, &job.waiter);
  if (place.outcome != Outcome::kReady) {
    return place.outcome == Outcome::kWait ? parked(job) : failed(job, IoStatus::kIoError);
  }
  if (place.table != nullptr && image_.cipher() == nullptr && !job.is_compressed) {
    uint64_t host = 0;
    const uint64_t length = in_place_bytes(place, guest, job.length_bytes - job.position, host);
    if (length > 0) {
      return write_in_place(job, host, length);
    }
  }
  return start_change(job, place, false);
}

// How far the guest's bytes can be written where they are.
uint64_t Writer::in_place_bytes(const Image::L2Place& place, uint64_t guest, uint64_t length,
                                uint64_t& host) const {
  const uint64_t cluster_bytes = state_.cluster_bytes();
  const uint64_t offset_in_cluster = guest & (cluster_bytes - 1);
  const L2Entry first = image_.entry_at(*place.table, place.index);
  uint64_t total = in_place_in_cluster(first, guest, length);
  host = first.host_offset() + offset_in_cluster;
  for (uint32_t i = 1; i < place.entries && total < length && total > 0; ++i) {
    if (((guest + total) & (cluster_bytes - 1)) != 0) {
      break;
    }
    const L2Entry next = image_.entry_at(*place.table, place.index + i);
    if (next.host_offset() != host + total) {
      break;
    }
    const uint64_t more = in_place_in_cluster(next, guest + total, length - total);
    if (more == 0) {
      break;
    }
    total += more;
  }
  return total;
}

uint64_t Writer::in_place_in_cluster(const L2Entry& entry, uint64_t guest, uint64_t length) const {
  const EntryFormat& format = state_.format;
  if (!entry.is_copied() || kind_of(format, entry) != ClusterKind::kData) {
    return 0;
  }
  const uint64_t cluster_bytes = format.cluster_bytes();
  const uint64_t offset_in_cluster = guest & (cluster_bytes - 1);
  if (format.has_data_file && entry.host_offset() != guest - offset_in_cluster) {
    return 0;
  }
  const uint64_t most = std::min(length, cluster_bytes - offset_in_cluster);
  if (!format.has_subclusters || entry.allocated_subclusters() == UINT32_MAX) {
    return most;
  }
  auto unit = static_cast<uint32_t>(offset_in_cluster >> format.unit_bits());
  while (unit < kSubclusters && (entry.allocated_subclusters() >> unit & 1U) != 0) {
    ++unit;
  }
  const uint64_t end = uint64_t{unit} << format.unit_bits();
  return end > offset_in_cluster ? std::min(most, end - offset_in_cluster) : 0;
}

bool Writer::write_in_place(WriteJob& job, uint64_t host, uint64_t length) {
  if (image_.separate_data_file() == nullptr && state_.map.overlaps(host, length)) {
    state_.mark_corrupt(fmt::format("disk offset {:#x} lies over metadata, at offset {:#x}",
                                    job.offset.bytes() + job.position, host));
    return failed(job, IoStatus::kIoError);
  }
  WritePart* part = parts_.take(job);
  if (part == nullptr) {
    return false;
  }
  part->buffers = {};
  if (job.op == BlockOp::kWrite) {
    part->buffers = cut_buffers(job.buffers, job.position, length, part->vectors);
  }
  part->job = &job;
  part->done = part_done;
  part->op = job.op;
  part->may_unmap = job.may_unmap;
  part->force_unit_access = false;
  if (needs_stable_storage(job)) {
    // Where the mapping of the place is not durable yet, a commit makes both so.
    if (committer_.has_changes()) {
      job.needs_commit = true;
    } else {
      part->force_unit_access = true;
    }
  }
  part->offset = FileOffset(host);
  part->length_bytes = length;
  part->period = state_.transfers.begin();
  job.position += length;
  ++job.under_way;
  image_.data_file().submit(*part);
  return true;
}

void Writer::part_done(FileRequest& request, IoStatus status) {
  auto& part = static_cast<WritePart&>(request);
  WriteJob& job = *part.job;
  auto& self = *static_cast<Writer*>(job.writer);
  self.state_.transfers.end(part.period);
  self.parts_.give_back(part);
  self.take_result(job, status);
}

// --- After changes of the metadata ---

// What the old entry held and the new one does not is given up.
void Writer::drop_place(const L2Entry& old, const L2Entry& now) {
  if (state_.format.has_data_file) {
    return;
  }
  if ((old.descriptor & kEntryCompressed) != 0) {
    const CompressedRange range = compressed_range(state_.format, old.descriptor);
    const uint64_t first = state_.cluster_of(range.offset);
    const uint64_t last = state_.cluster_of(range.offset + range.bytes - 1);
    const ClusterRun run{.first = first, .count = last - first + 1};
    state_.dropped.push_back(run);
    refcounts_.stop_packing(run);
    reader_.forget_decompressed();
    return;
  }
  const bool is_kept = (now.descriptor & kEntryCompressed) == 0 && old.host_offset() == now.host_offset();
  if (old.host_offset() != 0 && !is_kept) {
    state_.dropped.push_back({.first = state_.cluster_of(old.host_offset()), .count = 1});
  }
}

void Writer::after_change() {
  constexpr size_t kManyDropped = 4096;
  if (image_.l2_cache().wants_commit() || refcounts_.cache().wants_commit() ||
      state_.dropped.size() > kManyDropped) {
    committer_.commit_soon();
  }
}

}  // namespace vmm::block::qcow2
