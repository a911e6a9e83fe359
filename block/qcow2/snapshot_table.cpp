#include "block/qcow2/snapshot_table.h"

#include <algorithm>
#include <array>
#include <utility>

#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {
namespace {

constexpr size_t kFixedBytes = 40;
constexpr size_t kKnownExtraBytes = 16;
constexpr uint32_t kMaxExtraBytes = 1024;

std::string text(std::span<const std::byte> bytes) {
  std::string result;
  std::ranges::transform(bytes, std::back_inserter(result),
                         [](std::byte byte) { return static_cast<char>(byte); });
  return result;
}

struct Lengths {
  uint32_t id = 0;
  uint32_t name = 0;
  uint32_t extra = 0;
  uint64_t all() const { return uint64_t{id} + name + extra; }
};

void take_extra(std::span<const std::byte> extra, Snapshot& snapshot) {
  if (const auto bytes = read_be_at<uint64_t>(extra, 0)) {
    snapshot.vm_state_bytes = *bytes;
  }
  if (const auto bytes = read_be_at<uint64_t>(extra, 8)) {
    snapshot.disk_bytes = *bytes;
  }
  if (extra.size() > kKnownExtraBytes) {
    const auto more = extra.subspan(kKnownExtraBytes);
    snapshot.more_extra.assign(more.begin(), more.end());
  }
}

Result<Snapshot> read_one(SyncFile& file, const Header& header, uint64_t& offset) {
  std::array<std::byte, kFixedBytes> fixed{};
  VMM_TRY(file.read(FileOffset(offset), fixed));
  Snapshot snapshot;
  snapshot.l1_offset = load_be<uint64_t>(fixed.data());
  snapshot.l1_entries = load_be<uint32_t>(fixed.data() + 8);
  const Lengths lengths{.id = load_be<uint16_t>(fixed.data() + 12),
                        .name = load_be<uint16_t>(fixed.data() + 14),
                        .extra = load_be<uint32_t>(fixed.data() + 36)};
  snapshot.date_seconds = load_be<uint32_t>(fixed.data() + 16);
  snapshot.date_nanoseconds = load_be<uint32_t>(fixed.data() + 20);
  snapshot.guest_nanoseconds = load_be<uint64_t>(fixed.data() + 24);
  snapshot.vm_state_bytes = load_be<uint32_t>(fixed.data() + 32);
  snapshot.disk_bytes = header.size_bytes;
  if (lengths.extra > kMaxExtraBytes || snapshot.l1_entries > kMaxL1Bytes / 8 ||
      snapshot.l1_offset % header.cluster_bytes() != 0 || snapshot.l1_offset >= kMaxHostOffset) {
    return fail("{}: the snapshot table entry at offset {:#x} is not valid", file.path(), offset);
  }
  std::vector<std::byte> rest(static_cast<size_t>(lengths.all()));
  VMM_TRY(file.read(FileOffset(offset + kFixedBytes), rest));
  const std::span<const std::byte> bytes(rest);
  take_extra(bytes.first(lengths.extra), snapshot);
  snapshot.id = text(bytes.subspan(lengths.extra, lengths.id));
  snapshot.name = text(bytes.subspan(size_t{lengths.extra} + lengths.id, lengths.name));
  offset = align_up(offset + kFixedBytes + lengths.all(), 8);
  return snapshot;
}

template <typename T>
void put(std::vector<std::byte>& to, T value) {
  to.resize(to.size() + sizeof(T));
  store_be<T>(to.data() + to.size() - sizeof(T), value);
}

}  // namespace

Result<SnapshotTable> read_snapshot_table(SyncFile& file, const Header& header) {
  SnapshotTable table;
  VMM_ASSIGN_OR_RETURN(const uint64_t file_bytes, file.size());
  uint64_t offset = header.snapshots_offset;
  for (uint32_t i = 0; i < header.snapshot_count; ++i) {
    if (offset + kFixedBytes > file_bytes || offset - header.snapshots_offset > kMaxSnapshotTableBytes) {
      return fail(
          "{}: its snapshot table ({} entries at {:#x}) reaches past the end of the file, or is too large",
          file.path(), header.snapshot_count, header.snapshots_offset);
    }
    VMM_ASSIGN_OR_RETURN(Snapshot snapshot, read_one(file, header, offset));
    table.snapshots.push_back(std::move(snapshot));
  }
  table.bytes = offset - header.snapshots_offset;
  return table;
}

std::vector<std::byte> serialise_snapshot_table(const std::vector<Snapshot>& snapshots) {
  std::vector<std::byte> bytes;
  for (const Snapshot& snapshot : snapshots) {
    put<uint64_t>(bytes, snapshot.l1_offset);
    put<uint32_t>(bytes, snapshot.l1_entries);
    put<uint16_t>(bytes, static_cast<uint16_t>(snapshot.id.size()));
    put<uint16_t>(bytes, static_cast<uint16_t>(snapshot.name.size()));
    put<uint32_t>(bytes, snapshot.date_seconds);
    put<uint32_t>(bytes, snapshot.date_nanoseconds);
    put<uint64_t>(bytes, snapshot.guest_nanoseconds);
    put<uint32_t>(bytes,
                  snapshot.vm_state_bytes <= UINT32_MAX ? static_cast<uint32_t>(snapshot.vm_state_bytes) : 0);
    put<uint32_t>(bytes, static_cast<uint32_t>(kKnownExtraBytes + snapshot.more_extra.size()));
    put<uint64_t>(bytes, snapshot.vm_state_bytes);
    put<uint64_t>(bytes, snapshot.disk_bytes);
    bytes.insert(bytes.end(), snapshot.more_extra.begin(), snapshot.more_extra.end());
    const auto id = as_bytes(snapshot.id);
    const auto name = as_bytes(snapshot.name);
    bytes.insert(bytes.end(), id.begin(), id.end());
    bytes.insert(bytes.end(), name.begin(), name.end());
    bytes.resize(align_up(bytes.size(), 8));
  }
  return bytes;
}

}  // namespace vmm::block::qcow2
