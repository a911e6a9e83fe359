#include "block/qcow2/change_backing.h"

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <vector>

#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {
namespace {

constexpr size_t kSwitchedBytes = 512;
constexpr size_t kNameFieldsOffset = 8;  // backing_file_offset, backing_file_size
constexpr size_t kExtensionStartBytes = 8;

struct ByteSpan {
  size_t begin = 0;
  size_t end = 0;
};

// The first cluster, and what counts of it.
struct FirstCluster {
  std::vector<std::byte> bytes;
  ByteSpan header;  // with its extensions
  ByteSpan name;
};

Result<FirstCluster> read_first_cluster(SyncFile& file, const Header& header) {
  FirstCluster cluster;
  cluster.bytes.resize(static_cast<size_t>(header.cluster_bytes()));
  VMM_TRY(file.read(FileOffset(0), cluster.bytes));
  if (header.has_backing_file()) {
    cluster.name.begin = static_cast<size_t>(load_be<uint64_t>(cluster.bytes.data() + kNameFieldsOffset));
    cluster.name.end = cluster.name.begin + header.backing_file.size();
  }
  const size_t limit = header.has_backing_file() ? cluster.name.begin : cluster.bytes.size();
  size_t at = header.header_bytes;
  while (at + kExtensionStartBytes <= limit) {
    const auto type = load_be<uint32_t>(cluster.bytes.data() + at);
    at += kExtensionStartBytes;
    if (type == kExtensionEnd) {
      break;
    }
    at += align_up(load_be<uint32_t>(cluster.bytes.data() + at - sizeof(uint32_t)), 8);
  }
  cluster.header.end = std::min(at, cluster.bytes.size());
  return cluster;
}

bool is_same_where_both_count(const FirstCluster& old, const ByteSpan& first, const FirstCluster& now,
                              const ByteSpan& second) {
  const size_t begin = std::max({first.begin, second.begin, kSwitchedBytes});
  const size_t end = std::min(first.end, second.end);
  return begin >= end || std::ranges::equal(std::span(old.bytes).subspan(begin, end - begin),
                                            std::span(now.bytes).subspan(begin, end - begin));
}

// Behind the first sector nothing that the old header needs is written over.
bool can_take_over(const FirstCluster& old, const FirstCluster& now) {
  return is_same_where_both_count(old, old.header, now, now.header) &&
         is_same_where_both_count(old, old.header, now, now.name) &&
         is_same_where_both_count(old, old.name, now, now.header) &&
         is_same_where_both_count(old, old.name, now, now.name);
}

// `serialised`: the header with its extensions, without the name.
FirstCluster lay_out(std::span<const std::byte> serialised, const std::string& name, size_t place,
                     size_t cluster_bytes) {
  FirstCluster now;
  now.bytes.resize(cluster_bytes);
  std::ranges::copy(serialised, now.bytes.begin());
  now.header.end = serialised.size();
  if (!name.empty()) {
    std::ranges::copy(as_bytes(name), now.bytes.begin() + static_cast<ptrdiff_t>(place));
    now.name = {.begin = place, .end = place + name.size()};
    store_be<uint64_t>(now.bytes.data() + kNameFieldsOffset, place);
    store_be<uint32_t>(now.bytes.data() + kNameFieldsOffset + sizeof(uint64_t),
                       static_cast<uint32_t>(name.size()));
  }
  return now;
}

std::optional<FirstCluster> find_room(const FirstCluster& old, std::span<const std::byte> serialised,
                                      const std::string& name) {
  for (const size_t behind : {serialised.size(), old.header.end, old.name.end}) {
    const size_t place = align_up(std::max(behind, serialised.size()), 8);
    if (place + name.size() <= old.bytes.size()) {
      FirstCluster now = lay_out(serialised, name, place, old.bytes.size());
      if (can_take_over(old, now)) {
        return now;
      }
    }
  }
  return std::nullopt;
}

Result<FirstCluster> plan_first_cluster(const FirstCluster& old, const Header& header, const Backing& backing,
                                        const std::string& path) {
  if (!backing.file.empty() && (header.autoclear & kAutoclearRawDataFile) != 0) {
    return fail("{}: its data file is a raw image of the whole disk (data_file_raw), which stands on nothing",
                path);
  }
  if (backing.file.size() > kMaxBackingNameBytes) {
    return fail("{}: the name of its backing file would be {} bytes long; at most {} are possible", path,
                backing.file.size(), kMaxBackingNameBytes);
  }
  Header wanted = header;
  wanted.backing_file.clear();
  wanted.backing_format = backing.format;
  for (const bool has_feature_names : {true, false}) {
    if (!has_feature_names) {
      wanted.feature_names.clear();  // a courtesy, which takes most of the first sector
    }
    VMM_ASSIGN_OR_RETURN(const auto serialised, serialise_header(wanted, path));
    if (auto now = find_room(old, serialised, backing.file)) {
      return *std::move(now);
    }
  }
  return fail(
      "{}: its header cluster of {} bytes has no room for the name '{}' beside the present one, or its "
      "other extensions would have to move; use a shorter name",
      path, header.cluster_bytes(), backing.file);
}

Status write_behind_first_sector(SyncFile& file, const FirstCluster& now, const ByteSpan& part) {
  const size_t begin = std::max(part.begin, kSwitchedBytes);
  return begin >= part.end
             ? Status()
             : file.write(FileOffset(begin), std::span(now.bytes).subspan(begin, part.end - begin));
}

}  // namespace

Status check_backing(SyncFile& file, const Header& header, const Backing& backing) {
  VMM_ASSIGN_OR_RETURN(const FirstCluster old, read_first_cluster(file, header));
  VMM_TRY(plan_first_cluster(old, header, backing, file.path()));
  return {};
}

Status change_backing(SyncFile& file, const Header& header, const Backing& backing) {
  VMM_ASSIGN_OR_RETURN(const FirstCluster old, read_first_cluster(file, header));
  VMM_ASSIGN_OR_RETURN(const FirstCluster now, plan_first_cluster(old, header, backing, file.path()));
  VMM_TRY(write_behind_first_sector(file, now, now.header));
  VMM_TRY(write_behind_first_sector(file, now, now.name));
  VMM_TRY(file.sync());
  VMM_TRY(file.write(FileOffset(0), std::span(now.bytes).first(kSwitchedBytes)));
  return file.sync();
}

}  // namespace vmm::block::qcow2
