// Zeroes and discards. What is zeroed or discarded never lets the backing file's data show again.
#include <algorithm>

#include "block/qcow2/writer.h"
#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {

bool Writer::has_zero_entries() const {
  // A raw data file must read right without the tables.
  return state_.format.has_zero_flag && !is_raw_data_file_;
}

// Up to the end of the disk counts as up to the end of its last cluster.
uint64_t Writer::rounded_end(const WriteJob& job) const {
  const uint64_t end = job.offset.bytes() + job.length_bytes;
  return end == image_.size_bytes() ? align_up(end, state_.cluster_bytes()) : end;
}

// False: waits, or has failed.
bool Writer::map_place(WriteJob& job, uint64_t guest, Image::L2Place& place) {
  if (Change* change = conflict(guest >> state_.format.cluster_bits)) {
    return park(job, change->waiters);
  }
  place = image_.find_l2(guest, &job.waiter);
  if (place.outcome != Outcome::kReady) {
    return place.outcome == Outcome::kWait ? parked(job) : failed(job, IoStatus::kIoError);
  }
  return true;
}

bool Writer::map_zeroes(WriteJob& job) {
  const EntryFormat& format = state_.format;
  const uint64_t guest = job.offset.bytes() + job.position;
  Image::L2Place place;
  if (!map_place(job, guest, place)) {
    return false;
  }
  const uint64_t left = job.length_bytes - job.position;
  if (const uint64_t zero = already_zero(place, guest, left); zero > 0) {
    job.position += std::min(zero, left);
    return true;
  }
  const bool is_whole =
      (guest & (format.cluster_bytes() - 1)) == 0 && rounded_end(job) - guest >= format.cluster_bytes();
  const bool may_drop = !format.has_zero_flag && !options_.has_backing && !format.has_data_file;
  if (is_whole && (has_zero_entries() || may_drop)) {
    return change_entries(job, place);
  }
  const uint64_t unit_bytes = uint64_t{1} << format.unit_bits();
  const bool has_unit = (guest & (unit_bytes - 1)) == 0 && rounded_end(job) - guest >= unit_bytes;
  const bool is_compressed =
      place.table != nullptr &&
      kind_of(format, image_.entry_at(*place.table, place.index)) == ClusterKind::kCompressed;
  if (has_zero_entries() && format.has_subclusters && has_unit && !is_compressed) {
    return zero_units(job, place);
  }
  return write_zeroes(job, place);
}

// So many bytes from there on read as zeroes and are to stay as they are.
uint64_t Writer::already_zero(const Image::L2Place& place, uint64_t guest, uint64_t length) const {
  const EntryFormat& format = state_.format;
  const uint64_t offset_in_cluster = guest & (format.cluster_bytes() - 1);
  if (place.table == nullptr) {
    return options_.has_backing
               ? 0
               : std::min(length, (uint64_t{place.entries} << format.cluster_bits) - offset_in_cluster);
  }
  const L2Entry entry = image_.entry_at(*place.table, place.index);
  switch (kind_of(format, entry)) {
    case ClusterKind::kUnallocated:
      return options_.has_backing ? 0 : format.cluster_bytes() - offset_in_cluster;
    case ClusterKind::kZeroes:
      return format.cluster_bytes() - offset_in_cluster;
    case ClusterKind::kZeroesAllocated:
    case ClusterKind::kData:
    case ClusterKind::kCompressed:
    case ClusterKind::kInvalid:
      return 0;
  }
  return 0;
}

bool Writer::write_zeroes(WriteJob& job, const Image::L2Place& place) {
  const uint64_t guest = job.offset.bytes() + job.position;
  if (place.table != nullptr && image_.cipher() == nullptr) {
    const uint64_t cluster_end = align_down(guest, state_.cluster_bytes()) + state_.cluster_bytes();
    const uint64_t length =
        in_place_in_cluster(image_.entry_at(*place.table, place.index), guest,
                            std::min(cluster_end - guest, job.length_bytes - job.position));
    if (length > 0) {
      const uint64_t host =
          image_.entry_at(*place.table, place.index).host_offset() + (guest & (state_.cluster_bytes() - 1));
      return write_in_place(job, host, length);
    }
  }
  return start_change(job, place, true);
}

// Subclusters of one cluster.
bool Writer::zero_units(WriteJob& job, const Image::L2Place& place) {
  const EntryFormat& format = state_.format;
  const uint64_t guest = job.offset.bytes() + job.position;
  if (!own_table(job, guest)) {
    return false;
  }
  const L2Entry old = image_.entry_at(*place.table, place.index);
  if (kind_of(format, old) == ClusterKind::kInvalid) {
    state_.mark_corrupt(fmt::format("the L2 entry of disk offset {:#x} is not valid", guest));
    return failed(job, IoStatus::kIoError);
  }
  const uint64_t offset_in_cluster = guest & (format.cluster_bytes() - 1);
  const auto first = static_cast<uint32_t>(offset_in_cluster >> format.unit_bits());
  const uint64_t most = std::min(rounded_end(job) - guest, format.cluster_bytes() - offset_in_cluster);
  const auto count = static_cast<uint32_t>(most >> format.unit_bits());
  const auto mask = static_cast<uint32_t>(((uint64_t{1} << count) - 1) << first);
  L2Entry now = old;
  now.bitmap = subcluster_bitmap(old.allocated_subclusters() & ~mask, old.zero_subclusters() | mask);
  if (now != old) {
    std::byte* slice = image_.l2_cache().change(*place.table, job.waiter);
    if (slice == nullptr) {
      return parked(job);
    }
    image_.store_entry(slice, place.index, now);
    job.needs_commit = job.needs_commit || needs_stable_storage(job);
    after_change();
  }
  job.position += std::min(uint64_t{count} << format.unit_bits(), job.length_bytes - job.position);
  return true;
}

// --- Whole clusters: no data move, only entries change ---

bool Writer::change_entries(WriteJob& job, const Image::L2Place& place) {
  const EntryFormat& format = state_.format;
  const uint64_t guest = job.offset.bytes() + job.position;
  if (!own_table(job, guest)) {
    return false;
  }
  const uint64_t most = std::min<uint64_t>((rounded_end(job) - guest) >> format.cluster_bits, place.entries);
  uint32_t clusters = 0;
  bool is_changed = false;
  for (; clusters < most && conflict((guest >> format.cluster_bits) + clusters) == nullptr; ++clusters) {
    const L2Entry old = image_.entry_at(*place.table, place.index + clusters);
    if (kind_of(format, old) == ClusterKind::kInvalid) {
      state_.mark_corrupt(fmt::format("the L2 entry of disk offset {:#x} is not valid", guest));
      return failed(job, IoStatus::kIoError);
    }
    is_changed = is_changed || changed_entry(job, old) != old;
  }
  if (is_changed) {
    std::byte* slice = image_.l2_cache().change(*place.table, job.waiter);
    if (slice == nullptr) {
      return parked(job);
    }
    if (gives_up_data(job) && !discard_data(job, guest, uint64_t{clusters} << format.cluster_bits)) {
      return false;
    }
    for (uint32_t i = 0; i < clusters; ++i) {
      const L2Entry old = image_.entry_at(*place.table, place.index + i);
      const L2Entry now = changed_entry(job, old);
      image_.store_entry(slice, place.index + i, now);
      drop_place(old, now);
    }
    job.needs_commit = job.needs_commit || needs_stable_storage(job);
    after_change();
  }
  job.position += std::min(uint64_t{clusters} << format.cluster_bits, job.length_bytes - job.position);
  return true;
}

bool Writer::gives_up_data(const WriteJob& job) const {
  return state_.format.has_data_file && options_.may_discard && !is_raw_data_file_ &&
         (job.op == BlockOp::kDiscard || job.may_unmap);
}

// In a data file each cluster of the disk has one place for ever: nothing else can be there by now, and what
// an entry on the disk still shows after a crash is what was discarded, or zeroes. So it need not wait for a
// commit; and the job is complete after it, so that no later write can meet it.
bool Writer::discard_data(WriteJob& job, uint64_t guest, uint64_t length) {
  WritePart* part = parts_.take(job);
  if (part == nullptr) {
    return false;
  }
  part->job = &job;
  part->done = data_discarded;
  part->op = BlockOp::kDiscard;
  part->buffers = {};
  part->may_unmap = true;
  part->force_unit_access = false;
  part->offset = FileOffset(guest);
  part->length_bytes = length;
  part->period = state_.transfers.begin();
  ++job.under_way;
  image_.data_file().submit(*part);
  return true;
}

// A hint: what the host does not do is no failure.
void Writer::data_discarded(FileRequest& request, IoStatus /*status*/) { part_done(request, IoStatus::kOk); }

L2Entry Writer::changed_entry(const WriteJob& job, const L2Entry& old) const {
  const bool is_zeroed = job.op == BlockOp::kWriteZeroes && state_.format.has_zero_flag;
  return is_zeroed ? zeroed(old, job.may_unmap && options_.may_discard) : discarded(old);
}

L2Entry Writer::zeroed(const L2Entry& old, bool may_unmap) const {
  const EntryFormat& format = state_.format;
  const ClusterKind kind = kind_of(format, old);
  const bool has_place = kind == ClusterKind::kData || kind == ClusterKind::kZeroesAllocated;
  if (kind == ClusterKind::kUnallocated && !options_.has_backing) {
    return old;
  }
  L2Entry now;
  if (has_place && old.is_copied() && !may_unmap) {
    now.descriptor = old.host_offset() | kEntryCopied;
  }
  if (format.has_subclusters) {
    now.bitmap = subcluster_bitmap(0, UINT32_MAX);
  } else {
    now.descriptor |= kEntryZero;
  }
  return now;
}

L2Entry Writer::discarded(const L2Entry& old) const {
  // Never the backing file's data again.
  return options_.has_backing ? zeroed(old, true) : L2Entry();
}

bool Writer::map_discard(WriteJob& job) {
  const EntryFormat& format = state_.format;
  const uint64_t at = job.offset.bytes() + job.position;
  const uint64_t guest = align_up(at, format.cluster_bytes());
  const bool is_possible =
      options_.may_discard && !is_raw_data_file_ && (format.has_zero_flag || !options_.has_backing);
  // A hint: what is not a whole cluster stays as it is.
  if (!is_possible || rounded_end(job) < guest || rounded_end(job) - guest < format.cluster_bytes()) {
    job.position = job.length_bytes;
    return true;
  }
  job.position += guest - at;
  Image::L2Place place;
  if (!map_place(job, guest, place)) {
    return false;
  }
  if (place.table == nullptr && !options_.has_backing) {
    const uint64_t table_bytes = uint64_t{place.entries} << format.cluster_bits;
    job.position += std::min(table_bytes, job.length_bytes - job.position);
    return true;
  }
  return change_entries(job, place);
}

}  // namespace vmm::block::qcow2
