#include "block/qcow2/bitmaps.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "block/qcow2/image.h"
#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {
namespace {

constexpr size_t kFixedBytes = kBitmapEntryBytes;
constexpr size_t kFlagsOffset = 12;

// Nobody writes any yet.
constexpr size_t kMaxExtraBytes = 1024;

std::string text(std::span<const std::byte> bytes) {
  std::string result;
  std::ranges::transform(bytes, std::back_inserter(result),
                         [](std::byte byte) { return static_cast<char>(byte); });
  return result;
}

class DirectoryReader {
 public:
  DirectoryReader(SyncFile& file, const BitmapsExtension& bitmaps) : file_(file), bitmaps_(bitmaps) {}

  Status check_place() {
    VMM_ASSIGN_OR_RETURN(const uint64_t file_bytes, file_.size());
    if (bitmaps_.directory_offset > file_bytes ||
        bitmaps_.directory_bytes > file_bytes - bitmaps_.directory_offset) {
      return fail("{}: its bitmap directory reaches past the end of the file", file_.path());
    }
    return {};
  }

  Result<Bitmap> next() {
    std::array<std::byte, kFixedBytes> fixed{};
    VMM_TRY(take(fixed));
    Bitmap bitmap{.place = bitmaps_.directory_offset + at_ - kFixedBytes,
                  .table_offset = load_be<uint64_t>(fixed.data()),
                  .table_entries = load_be<uint32_t>(fixed.data() + 8),
                  .flags = load_be<uint32_t>(fixed.data() + kFlagsOffset),
                  .type = std::to_integer<uint8_t>(fixed[16]),
                  .granularity_bits = std::to_integer<uint8_t>(fixed[17]),
                  .extra = {},
                  .name = {}};
    const auto name_bytes = load_be<uint16_t>(fixed.data() + 18);
    const auto extra_bytes = load_be<uint32_t>(fixed.data() + 20);
    if (name_bytes > kMaxBitmapNameBytes || extra_bytes > kMaxExtraBytes ||
        bitmap.granularity_bits > kMaxBitmapGranularityBits) {
      return fail("{}: the entry at offset {:#x} of its bitmap directory is not valid", file_.path(),
                  bitmap.place);
    }
    bitmap.extra.resize(extra_bytes);
    VMM_TRY(take(bitmap.extra));
    std::vector<std::byte> name(name_bytes);
    VMM_TRY(take(name));
    bitmap.name = text(name);
    at_ = align_up(at_, 8);
    return bitmap;
  }

 private:
  Status take(std::span<std::byte> bytes) {
    if (at_ > bitmaps_.directory_bytes || bytes.size() > bitmaps_.directory_bytes - at_) {
      return fail("{}: its bitmap directory is shorter than its {} entries", file_.path(), bitmaps_.count);
    }
    VMM_TRY(file_.read(FileOffset(bitmaps_.directory_offset + at_), bytes));
    at_ += bytes.size();
    return {};
  }

  SyncFile& file_;
  const BitmapsExtension& bitmaps_;
  uint64_t at_ = 0;
};

template <typename T>
void put(std::vector<std::byte>& to, T value) {
  to.resize(to.size() + sizeof(T));
  store_be<T>(to.data() + to.size() - sizeof(T), value);
}

Status check_one(const Header& header, const Bitmap& bitmap, uint64_t size_bytes, uint64_t file_bytes,
                 const std::string& path) {
  const uint64_t table_bytes = uint64_t{bitmap.table_entries} * sizeof(uint64_t);
  if (bitmap.type != kDirtyTracking || bitmap.granularity_bits < kMinBitmapGranularityBits ||
      bitmap.table_offset % header.cluster_bytes() != 0 || bitmap.table_offset > file_bytes ||
      table_bytes > std::min(kMaxBitmapTableBytes, file_bytes - bitmap.table_offset)) {
    return fail(
        "{}: its dirty bitmap '{}' is of a kind that cannot be resized here; remove it first (vmm-img "
        "bitmap --remove)",
        path, bitmap.name);
  }
  if (divide_up(bits_for(bitmap, size_bytes), 8) > kMaxBitmapBytes ||
      table_entries_for(header, bitmap, size_bytes) * sizeof(uint64_t) > kMaxBitmapTableBytes) {
    return fail(
        "{}: its dirty bitmap '{}' would become too large with a bit for {} bytes each; remove it first "
        "(vmm-img bitmap --remove)",
        path, bitmap.name, uint64_t{1} << bitmap.granularity_bits);
  }
  return {};
}

class Resizer {
 public:
  Resizer(SyncFile& file, const Header& header, uint64_t size_bytes, MetadataChange& change)
      : file_(file), header_(header), size_bytes_(size_bytes), change_(change) {}

  Result<BitmapsExtension> run() {
    VMM_TRY(visit_bitmaps(file_, header_, [this](const Bitmap& bitmap) { return resize(bitmap); }));
    VMM_TRY(change_.refer(header_.bitmaps->directory_offset, header_.bitmaps->directory_bytes, -1));
    BitmapsExtension now = *header_.bitmaps;
    now.directory_bytes = directory_.size();
    VMM_ASSIGN_OR_RETURN(now.directory_offset, change_.write_new(directory_));
    return now;
  }

 private:
  Status resize(const Bitmap& old) {
    Bitmap now = old;
    const uint64_t old_bytes = uint64_t{old.table_entries} * sizeof(uint64_t);
    VMM_ASSIGN_OR_RETURN(auto table, read_table(file_, old.table_offset, old_bytes));
    const uint64_t entries = table_entries_for(header_, old, size_bytes_);
    for (size_t i = entries; i < table.size(); ++i) {
      VMM_TRY(give_up(table[i]));
    }
    const bool is_shorter = size_bytes_ < header_.size_bytes;
    table.resize(entries);
    if (is_shorter) {
      VMM_TRY(cut_last(old, table));
    }
    VMM_TRY(change_.refer(old.table_offset, old_bytes, -1));
    VMM_ASSIGN_OR_RETURN(now.table_offset, change_.write_new_l1(table));
    now.table_entries = static_cast<uint32_t>(entries);
    put_entry(directory_, now);
    return {};
  }

  Status give_up(uint64_t entry) {
    const uint64_t offset = entry & kEntryOffsetMask;
    return offset == 0 ? Status() : change_.refer(offset, header_.cluster_bytes(), -1);
  }

  // "unused tail bits": zero. A disk that grows again finds none of the old ones.
  Status cut_last(const Bitmap& bitmap, std::vector<uint64_t>& table) {
    const uint64_t cluster_bytes = header_.cluster_bytes();
    const uint64_t bits = bits_for(bitmap, size_bytes_) - (table.size() - 1) * cluster_bytes * 8;
    uint64_t& entry = table.back();
    const uint64_t offset = entry & kEntryOffsetMask;
    if (bits == cluster_bytes * 8 || (offset == 0 && (entry & kBitmapAllOnes) == 0)) {
      return {};
    }
    std::vector<std::byte> data(static_cast<size_t>(cluster_bytes), std::byte{0xff});
    if (offset != 0) {
      VMM_TRY(file_.read(FileOffset(offset), data));
      VMM_TRY(give_up(entry));
    }
    // The first bit is the least significant of the first byte.
    auto rest = std::span(data).subspan(static_cast<size_t>(bits / 8));
    rest[0] &= static_cast<std::byte>((1U << (bits % 8)) - 1);
    std::ranges::fill(rest.subspan(1), std::byte{0});
    VMM_ASSIGN_OR_RETURN(entry, change_.write_new(data));
    return {};
  }

  SyncFile& file_;
  const Header& header_;
  uint64_t size_bytes_;
  MetadataChange& change_;
  std::vector<std::byte> directory_;
};

}  // namespace

uint64_t bits_for(const Bitmap& bitmap, uint64_t size_bytes) {
  return divide_up(size_bytes, uint64_t{1} << bitmap.granularity_bits);
}

// "bitmap_table_size": at least one entry, as QEMU wants it.
uint64_t table_entries_for(const Header& header, const Bitmap& bitmap, uint64_t size_bytes) {
  return std::max<uint64_t>(divide_up(bits_for(bitmap, size_bytes), header.cluster_bytes() * 8), 1);
}

void put_entry(std::vector<std::byte>& to, const Bitmap& bitmap) {
  put<uint64_t>(to, bitmap.table_offset);
  put<uint32_t>(to, bitmap.table_entries);
  put<uint32_t>(to, bitmap.flags);
  put<uint8_t>(to, bitmap.type);
  put<uint8_t>(to, bitmap.granularity_bits);
  put<uint16_t>(to, static_cast<uint16_t>(bitmap.name.size()));
  put<uint32_t>(to, static_cast<uint32_t>(bitmap.extra.size()));
  to.insert(to.end(), bitmap.extra.begin(), bitmap.extra.end());
  const auto name = as_bytes(bitmap.name);
  to.insert(to.end(), name.begin(), name.end());
  to.resize(align_up(to.size(), 8));
}

Status visit_bitmaps(SyncFile& file, const Header& header, const BitmapVisitor& visit) {
  if (!header.bitmaps) {
    return {};
  }
  DirectoryReader reader(file, *header.bitmaps);
  VMM_TRY(reader.check_place());
  for (uint32_t i = 0; i < header.bitmaps->count; ++i) {
    VMM_ASSIGN_OR_RETURN(const Bitmap bitmap, reader.next());
    VMM_TRY(visit(bitmap));
  }
  return {};
}

// "If this flag is set, the software must consider the bitmap as 'enabled' and start tracking": we do not.
Status give_up_tracking_bitmaps(SyncFile& file, const Header& header) {
  bool is_changed = false;
  VMM_TRY(visit_bitmaps(file, header, [&](const Bitmap& bitmap) -> Status {
    if ((bitmap.flags & kBitmapAuto) == 0 || (bitmap.flags & kBitmapInUse) != 0) {
      return {};
    }
    is_changed = true;
    std::array<std::byte, sizeof(uint32_t)> bytes{};
    store_be<uint32_t>(bytes.data(), bitmap.flags | kBitmapInUse);
    return file.write(FileOffset(bitmap.place + kFlagsOffset), bytes);
  }));
  return is_changed ? file.sync() : Status();
}

Status check_bitmap_resize(SyncFile& file, const Header& header, uint64_t size_bytes) {
  VMM_ASSIGN_OR_RETURN(const uint64_t file_bytes, file.size());
  if (header.bitmaps && header.bitmaps->directory_bytes > kMaxBitmapDirectoryInMemory) {
    return fail("{}: has too many dirty bitmaps to resize them; remove some (vmm-img bitmap --remove)",
                file.path());
  }
  return visit_bitmaps(file, header, [&](const Bitmap& bitmap) {
    return check_one(header, bitmap, size_bytes, file_bytes, file.path());
  });
}

Result<BitmapsExtension> resized_bitmaps(SyncFile& file, const Header& header, uint64_t size_bytes,
                                         MetadataChange& change) {
  return Resizer(file, header, size_bytes, change).run();
}

}  // namespace vmm::block::qcow2
