// Changes: writes that need another place, and the rest of the cluster read first.
#include <algorithm>
#include <cstring>
#include <utility>

#include "block/io_vector.h"
#include "block/qcow2/writer.h"
#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::block::qcow2 {
namespace {

constexpr uint64_t kMaxRunBytes = uint64_t{4} << 20U;
// A hole between head and tail as small as this is read with them.
constexpr uint64_t kReadThroughBytes = uint64_t{64} << 10U;
// In vectors, besides head and tail.
constexpr size_t kPayloadVectors = 16;

}  // namespace

bool Writer::start_change(WriteJob& job, const Image::L2Place& place, bool is_zeroes) {
  const uint64_t guest = job.offset.bytes() + job.position;
  if (!own_table(job, guest)) {
    return false;
  }
  if (place.table == nullptr) {
    state_.mark_corrupt(fmt::format("the L1 entry of disk offset {:#x} is not valid", guest));
    return failed(job, IoStatus::kIoError);
  }
  const L2Entry entry = image_.entry_at(*place.table, place.index);
  if (kind_of(state_.format, entry) == ClusterKind::kInvalid ||
      (state_.format.has_data_file && entry.host_offset() != 0 &&
       entry.host_offset() != align_down(guest, state_.cluster_bytes()))) {
    state_.mark_corrupt(fmt::format("the L2 entry of disk offset {:#x} is not valid", guest));
    return failed(job, IoStatus::kIoError);
  }
  Change* change = take_change();
  if (change == nullptr) {
    // None under way and no memory for one: nobody would wake the job.
    return active_.empty() ? failed(job, IoStatus::kIoError) : park(job, change_waiters_);
  }
  change->is_zeroes = is_zeroes;
  plan(*change, job, place);
  if (!find_place(*change, job, entry)) {
    change->next_free = std::exchange(free_changes_, change);
    return false;
  }
  change->table = place.table;
  change->index = place.index;
  begin(*change, job);
  return true;
}

// False: waits, or has failed.
bool Writer::own_table(WriteJob& job, uint64_t guest) {
  const auto l1_index =
      static_cast<uint32_t>(guest >> (state_.format.cluster_bits + state_.format.l2_bits()));
  if (maker_.is_own(l1_index)) {
    return true;
  }
  maker_.make(l1_index, job.waiter);
  parked(job);
  return false;
}

Writer::Change* Writer::take_change() {
  Change* change = free_changes_;
  if (change == nullptr) {
    return nullptr;
  }
  if (change->memory == nullptr) {
    change->memory = make_aligned_memory(static_cast<size_t>(state_.cluster_bytes()));
    if (change->memory == nullptr) {
      return nullptr;
    }
  }
  free_changes_ = change->next_free;
  return change;
}

// --- What is to be done ---

void Writer::plan(Change& change, const WriteJob& job, const Image::L2Place& place) const {
  const EntryFormat& format = state_.format;
  const uint64_t guest = job.offset.bytes() + job.position;
  const uint64_t cluster_begin = align_down(guest, format.cluster_bytes());
  const uint64_t left = job.length_bytes - job.position;
  change.cluster = guest >> format.cluster_bits;
  change.payload_begin = guest;
  change.is_rewrite = false;
  change.stored_bytes = 0;
  if (job.is_compressed) {
    change.clusters = 1;
    change.begin = guest;
    change.payload_end = guest + left;
    change.end = change.payload_end;
    for (const iovec& buffer : job.buffers) {
      change.stored_bytes += buffer.iov_len;
    }
    return;
  }
  if (guest == cluster_begin && left >= format.cluster_bytes() && !change.is_zeroes &&
      image_.cipher() == nullptr) {
    // No more than the vectors can tell of, where the job's own do not do.
    uint64_t most = std::min(left, kMaxRunBytes);
    std::array<iovec, kPayloadVectors> vectors{};
    cut_buffers(job.buffers, job.position, most, vectors);
    change.clusters = whole_clusters(job, place, std::max<uint64_t>(most >> format.cluster_bits, 1));
    change.payload_end = guest + (change.clusters << format.cluster_bits);
    change.begin = change.payload_begin;
    change.end = change.payload_end;
    return;
  }
  change.clusters = 1;
  change.payload_end = std::min(guest + left, cluster_begin + format.cluster_bytes());
  plan_one(change, image_.entry_at(*place.table, place.index));
}

void Writer::plan_one(Change& change, const L2Entry& entry) const {
  const EntryFormat& format = state_.format;
  const uint64_t cluster_begin = change.cluster << format.cluster_bits;
  const ClusterKind kind = kind_of(format, entry);
  if (const uint64_t in_place =
          in_place_in_cluster(entry, change.payload_begin, change.payload_end - change.payload_begin);
      in_place > 0) {
    // Encrypted, and where it is already: whole sectors are all that is needed.
    change.payload_end = change.payload_begin + in_place;
    change.is_rewrite = true;
    change.begin = align_down(change.payload_begin, SectorCipher::kSectorBytes);
    change.end = align_up(change.payload_end, SectorCipher::kSectorBytes);
    return;
  }
  // A place of its own keeps what it has, and one that never held anything needs no more than what is
  // written.
  const bool may_be_partial = format.has_subclusters && kind != ClusterKind::kCompressed &&
                              (entry.is_copied() || entry.allocated_subclusters() == 0);
  const uint64_t unit_bytes = may_be_partial ? uint64_t{1} << format.unit_bits() : format.cluster_bytes();
  change.begin = align_down(change.payload_begin, unit_bytes);
  change.end = std::min(align_up(change.payload_end, unit_bytes), cluster_begin + format.cluster_bytes());
  if (may_be_partial && entry.is_copied()) {
    // What is allocated already is not this change's to write: it may be written in place meanwhile.
    const auto unit = static_cast<uint32_t>((change.payload_begin - cluster_begin) >> format.unit_bits());
    uint32_t end = unit + 1;
    while (end < kSubclusters && (entry.allocated_subclusters() >> end & 1U) == 0) {
      ++end;
    }
    const uint64_t limit = cluster_begin + (uint64_t{end} << format.unit_bits());
    change.end = std::min(change.end, limit);
    change.payload_end = std::min(change.payload_end, limit);
  }
}

// So many whole clusters from the job's position on need another place, and no one else is at them.
uint64_t Writer::whole_clusters(const WriteJob& job, const Image::L2Place& place, uint64_t most) const {
  const uint64_t cluster_bytes = state_.cluster_bytes();
  const uint64_t guest = job.offset.bytes() + job.position;
  most = std::min<uint64_t>(most, place.entries);
  uint64_t count = 1;
  while (count < most) {
    const L2Entry entry = image_.entry_at(*place.table, static_cast<uint32_t>(place.index + count));
    const uint64_t at = guest + count * cluster_bytes;
    const ClusterKind kind = kind_of(state_.format, entry);
    if (kind == ClusterKind::kInvalid || in_place_in_cluster(entry, at, cluster_bytes) > 0 ||
        (entry.is_copied() && entry.host_offset() != 0) ||
        conflict(at >> state_.format.cluster_bits) != nullptr) {
      break;
    }
    ++count;
  }
  return count;
}

// False: waits, or has failed.
bool Writer::find_place(Change& change, WriteJob& job, const L2Entry& entry) {
  const uint32_t bits = state_.format.cluster_bits;
  if (change.stored_bytes > 0) {
    return find_compressed_place(change, job);
  }
  if (state_.format.has_data_file) {
    change.host_offset = change.cluster << bits;
    change.is_new_place = false;
    return true;
  }
  const ClusterKind kind = kind_of(state_.format, entry);
  if (entry.is_copied() && kind != ClusterKind::kCompressed && entry.host_offset() != 0) {
    change.host_offset = entry.host_offset();
    change.is_new_place = false;
    if (change.clusters > 1) {
      change.clusters = 1;
      change.payload_end = change.payload_begin + state_.cluster_bytes();
      change.end = change.payload_end;
    }
    if (state_.map.overlaps(change.host_offset, state_.cluster_bytes())) {
      state_.mark_corrupt(fmt::format("disk offset {:#x} lies over metadata, at offset {:#x}",
                                      change.payload_begin, change.host_offset));
      return failed(job, IoStatus::kIoError);
    }
    return true;
  }
  const Refcounts::Allocation allocation = refcounts_.allocate(change.clusters, job.waiter);
  if (allocation.outcome != Outcome::kReady) {
    return allocation.outcome == Outcome::kWait ? parked(job) : failed(job, allocation.status);
  }
  change.host_offset = allocation.run.first << bits;
  change.is_new_place = true;
  if (allocation.run.count < change.clusters) {
    change.clusters = allocation.run.count;
    change.payload_end = change.payload_begin + (change.clusters << bits);
    change.end = change.payload_end;
  }
  return true;
}

bool Writer::find_compressed_place(Change& change, WriteJob& job) {
  const Refcounts::Bytes place = refcounts_.allocate_bytes(change.stored_bytes, job.waiter);
  if (place.outcome != Outcome::kReady) {
    return place.outcome == Outcome::kWait ? parked(job) : failed(job, place.status);
  }
  change.host_offset = place.offset;
  change.is_new_place = true;
  return true;
}

// That were reserved for a change with a new place.
ClusterRun Writer::host_clusters(const Change& change) const {
  const uint64_t first = state_.cluster_of(change.host_offset);
  return {.first = first,
          .count = change.stored_bytes == 0
                       ? change.clusters
                       : state_.cluster_of(change.host_offset + change.stored_bytes - 1) - first + 1};
}

// --- Reading ---

void Writer::begin(Change& change, WriteJob& job) {
  change.job = &job;
  TableCache::pin(*change.table);
  active_.push_back(&change);
  job.position += change.payload_end - change.payload_begin;
  ++job.under_way;
  if (needs_stable_storage(job)) {
    job.needs_commit = true;
  }
  read_around(change);
}

void Writer::read_around(Change& change) {
  const bool has_head = change.begin != change.payload_begin;
  const bool has_tail = change.end != change.payload_end;
  change.is_read_in_two = false;
  if (!has_head && !has_tail) {
    write(change);
    return;
  }
  if (reads_as_zeroes(change)) {
    std::memset(change.memory.get(), 0, static_cast<size_t>(change.payload_begin - change.begin));
    std::memset(change.memory.get() + (change.payload_end - change.begin), 0,
                static_cast<size_t>(change.end - change.payload_end));
    write(change);
    return;
  }
  if (has_head && has_tail && change.payload_end - change.payload_begin > kReadThroughBytes) {
    change.is_read_in_two = true;
    start_read(change, change.begin, change.payload_begin);
    return;
  }
  start_read(change, has_head ? change.begin : change.payload_end,
             has_tail ? change.end : change.payload_begin);
}

bool Writer::reads_as_zeroes(const Change& change) const {
  const L2Entry entry = image_.entry_at(*change.table, change.index);
  switch (kind_of(state_.format, entry)) {
    case ClusterKind::kZeroes:
    case ClusterKind::kZeroesAllocated:
      return true;
    case ClusterKind::kUnallocated:
      return !options_.has_backing;
    case ClusterKind::kData:
    case ClusterKind::kCompressed:
    case ClusterKind::kInvalid:
      return false;
  }
  return false;
}

void Writer::start_read(Change& change, uint64_t from, uint64_t to) {
  change.read_vector = {.iov_base = change.memory.get() + (from - change.begin),
                        .iov_len = static_cast<size_t>(to - from)};
  change.read.offset = DiskOffset(from);
  change.read.length_bytes = to - from;
  change.read.buffers = std::span<const iovec>(&change.read_vector, 1);
  reader_.start(change.read);
}

void Writer::read_done(ReadJob& read, IoStatus status) {
  auto& change = *static_cast<Change*>(read.context);
  if (status != IoStatus::kOk) {
    change.writer->end(change, status);
  } else if (std::exchange(change.is_read_in_two, false)) {
    change.writer->start_read(change, change.payload_end, change.end);
  } else {
    change.writer->write(change);
  }
}

// --- Writing ---

void Writer::write(Change& change) {
  change.op = BlockOp::kWrite;
  if (change.stored_bytes > 0) {
    change.buffers = change.job->buffers;
    change.offset = FileOffset(change.host_offset);
    change.length_bytes = change.stored_bytes;
  } else {
    gather(change);
    if (image_.cipher() != nullptr && !encrypt(change)) {
      end(change, IoStatus::kIoError);
      return;
    }
    change.offset =
        FileOffset(change.host_offset + (change.begin - (change.cluster << state_.format.cluster_bits)));
    change.length_bytes = change.end - change.begin;
  }
  if (!reserve(change)) {
    end(change, IoStatus::kNoSpace);
    return;
  }
  change.period = state_.transfers.begin();
  image_.data_file().submit(change);
}

// What the change is the first to use of the file.
bool Writer::reserve(Change& change) const {
  change.reserved_bytes = change.is_rewrite ? 0 : change.length_bytes;
  return options_.budget == nullptr || options_.budget->reserve(change.reserved_bytes);
}

// Head, payload, tail: from where they are if they fit the vectors, else all from the change's memory.
void Writer::gather(Change& change) {
  const WriteJob& job = *change.job;
  const uint64_t skip = change.payload_begin - job.offset.bytes();
  const uint64_t payload = change.payload_end - change.payload_begin;
  const uint64_t head = change.payload_begin - change.begin;
  const uint64_t tail = change.end - change.payload_end;
  std::byte* memory = change.memory.get();
  if (!change.is_zeroes && image_.cipher() == nullptr) {
    uint64_t cut = payload;
    auto vectors = cut_buffers(job.buffers, skip, cut, std::span(change.vectors).subspan(1, kPayloadVectors));
    if (cut < payload && change.clusters > 1) {
      // plan() took the job's own vectors for enough, and then fewer clusters were found for it.
      cut = payload;
      change.more_vectors.resize(job.buffers.size());
      vectors = cut_buffers(job.buffers, skip, cut, change.more_vectors);
    }
    if (cut == payload && head == 0 && tail == 0) {
      change.buffers = vectors;
      return;
    }
    if (cut == payload && vectors.size() <= kPayloadVectors) {
      size_t count = 0;
      if (head > 0) {
        change.vectors[count++] = {.iov_base = memory, .iov_len = static_cast<size_t>(head)};
      }
      for (const iovec& vector : vectors) {
        change.vectors[count++] = vector;
      }
      if (tail > 0) {
        change.vectors[count++] = {.iov_base = memory + head + payload, .iov_len = static_cast<size_t>(tail)};
      }
      change.buffers = std::span<const iovec>(change.vectors).first(count);
      return;
    }
  }
  VMM_CHECK(change.clusters == 1, "more is gathered than a cluster");
  if (change.is_zeroes) {
    std::memset(memory + head, 0, static_cast<size_t>(payload));
  } else {
    copy_from_buffers(job.buffers, skip, {memory + head, static_cast<size_t>(payload)});
  }
  change.vectors[0] = {.iov_base = memory, .iov_len = static_cast<size_t>(head + payload + tail)};
  change.buffers = std::span<const iovec>(change.vectors).first(1);
}

bool Writer::encrypt(Change& change) const {
  const SectorCipher& cipher = *image_.cipher();
  const uint64_t host = change.host_offset + (change.begin - (change.cluster << state_.format.cluster_bits));
  return cipher.encrypt(cipher.uses_file_offset() ? host : change.begin,
                        {change.memory.get(), static_cast<size_t>(change.end - change.begin)}) ==
         IoStatus::kOk;
}

void Writer::written(FileRequest& request, IoStatus status) {
  auto& change = static_cast<Change&>(request);
  Writer& writer = *change.writer;
  writer.state_.transfers.end(change.period);
  if (writer.options_.budget != nullptr) {
    writer.options_.budget->release(change.reserved_bytes);
  }
  if (status == IoStatus::kOk) {
    writer.link(change);
  } else {
    writer.end(change, status);
  }
}

// --- The mapping ---

void Writer::link_woken(Waiter& waiter, IoStatus /*a commit is over, well or not*/) {
  auto& change = *static_cast<Change*>(waiter.context);
  change.writer->link(change);
}

void Writer::link(Change& change) {
  const L2Entry first = image_.entry_at(*change.table, change.index);
  if (change.clusters == 1 && linked_entry(change, first, 0) == first) {
    end(change, IoStatus::kOk);
    return;
  }
  std::byte* slice = image_.l2_cache().change(*change.table, change.waiter);
  if (slice == nullptr) {
    return;
  }
  for (uint64_t i = 0; i < change.clusters; ++i) {
    const auto index = static_cast<uint32_t>(change.index + i);
    const L2Entry old = image_.entry_at(*change.table, index);
    const L2Entry now = linked_entry(change, old, i);
    image_.store_entry(slice, index, now);
    drop_place(old, now);
  }
  end(change, IoStatus::kOk);
}

L2Entry Writer::linked_entry(const Change& change, const L2Entry& old, uint64_t i) const {
  const EntryFormat& format = state_.format;
  if (change.stored_bytes > 0) {
    return {.descriptor =
                compressed_descriptor(format, {.offset = change.host_offset, .bytes = change.stored_bytes})};
  }
  L2Entry now{.descriptor = (change.host_offset + (i << format.cluster_bits)) | kEntryCopied};
  if (change.is_rewrite) {
    return old;
  }
  if (!format.has_subclusters) {
    return now;
  }
  const uint64_t cluster_begin = (change.cluster + i) << format.cluster_bits;
  const uint64_t begin = std::max(change.begin, cluster_begin);
  const uint64_t end = std::min(change.end, cluster_begin + format.cluster_bytes());
  const auto first = static_cast<uint32_t>((begin - cluster_begin) >> format.unit_bits());
  const auto count = static_cast<uint32_t>((end - begin) >> format.unit_bits());
  const auto mask = static_cast<uint32_t>(((uint64_t{1} << count) - 1) << first);
  const bool is_kept = (old.descriptor & kEntryCompressed) == 0 && mask != UINT32_MAX;
  const uint32_t allocated = is_kept ? old.allocated_subclusters() | mask : mask;
  const uint32_t zeroes = is_kept ? old.zero_subclusters() & ~mask : 0;
  now.bitmap = subcluster_bitmap(allocated, zeroes);
  return now;
}

void Writer::end(Change& change, IoStatus status) {
  if (status != IoStatus::kOk && change.is_new_place) {
    const ClusterRun run = host_clusters(change);
    state_.dropped.push_back(run);
    refcounts_.stop_packing(run);
  }
  image_.l2_cache().unpin(*change.table);
  std::erase(active_, &change);
  WriteJob& job = *change.job;
  WaitQueue waiters;
  waiters.append(change.waiters);
  change.next_free = std::exchange(free_changes_, &change);
  take_result(job, status);
  waiters.wake_all(IoStatus::kOk);
  change_waiters_.wake_all(IoStatus::kOk);
  after_change();
}

}  // namespace vmm::block::qcow2
