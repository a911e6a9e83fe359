#include "block/qcow2/refcount_width.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "block/qcow2/check.h"
#include "block/qcow2/header_switch.h"
#include "block/qcow2/image.h"
#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {
namespace {

class OldRefcounts {
 public:
  static Result<OldRefcounts> open(SyncFile& file, const Header& header) {
    OldRefcounts old(file, header);
    VMM_ASSIGN_OR_RETURN(old.table_, read_table(file, header.refcount_table_offset, old.table_bytes()));
    return old;
  }

  // Where they lie themselves, in order, cluster by cluster.
  std::vector<uint64_t> own_clusters() const {
    std::vector<uint64_t> own;
    for (uint64_t at = 0; at < table_bytes(); at += header_->cluster_bytes()) {
      own.push_back((header_->refcount_table_offset + at) >> header_->cluster_bits);
    }
    for (const uint64_t block : table_) {
      if (block != 0) {
        own.push_back(block >> header_->cluster_bits);
      }
    }
    std::ranges::sort(own);
    return own;
  }

  Result<uint64_t> at(uint64_t cluster) {
    const uint64_t index = cluster / header_->refcounts_per_block();
    if (index >= table_.size() || table_[static_cast<size_t>(index)] == 0) {
      return 0;
    }
    if (read_index_ != index) {
      VMM_TRY(file_->read(FileOffset(table_[static_cast<size_t>(index)]), block_));
      read_index_ = index;
    }
    return load_refcount(block_.data(), cluster % header_->refcounts_per_block(), header_->refcount_order);
  }

  // The first cluster behind all that are counted.
  Result<uint64_t> used_end() {
    for (uint64_t index = table_.size(); index > 0; --index) {
      if (table_[static_cast<size_t>(index - 1)] == 0) {
        continue;
      }
      const uint64_t first = (index - 1) * header_->refcounts_per_block();
      for (uint64_t i = header_->refcounts_per_block(); i > 0; --i) {
        VMM_ASSIGN_OR_RETURN(const uint64_t count, at(first + i - 1));
        if (count != 0) {
          return first + i;
        }
      }
    }
    return 0;
  }

 private:
  OldRefcounts(SyncFile& file, const Header& header)
      : file_(&file), header_(&header), block_(static_cast<size_t>(header.cluster_bytes())) {}
  uint64_t table_bytes() const { return header_->refcount_table_clusters * header_->cluster_bytes(); }

  SyncFile* file_;
  const Header* header_;
  std::vector<uint64_t> table_;
  std::vector<std::byte> block_;
  uint64_t read_index_ = UINT64_MAX;
};

// Clusters: the table, and the blocks behind it.
struct NewPlace {
  uint64_t table = 0;
  uint64_t table_clusters = 1;
  uint64_t blocks = 0;
  uint64_t block_clusters = 0;
  uint64_t end() const { return blocks + block_clusters; }
};

NewPlace place_at(uint64_t first, const Header& now) {
  NewPlace place{.table = first};
  while (true) {
    place.blocks = place.table + place.table_clusters;
    const uint64_t blocks = divide_up(place.end(), now.refcounts_per_block());
    const uint64_t table_clusters = divide_up(blocks * sizeof(uint64_t), now.cluster_bytes());
    if (blocks <= place.block_clusters && table_clusters <= place.table_clusters) {
      return place;
    }
    place.block_clusters = std::max(blocks, place.block_clusters);
    place.table_clusters = std::max(table_clusters, place.table_clusters);
  }
}

class WidthChange {
 public:
  WidthChange(SyncFile& file, OldRefcounts old, const Header& now, const NewPlace& place)
      : file_(file), old_(std::move(old)), own_(old_.own_clusters()), now_(now), place_(place) {}

  Status write() {
    std::vector<std::byte> block(static_cast<size_t>(now_.cluster_bytes()));
    std::vector<std::byte> table(static_cast<size_t>(place_.table_clusters * now_.cluster_bytes()));
    for (uint64_t i = 0; i < place_.block_clusters; ++i) {
      std::ranges::fill(block, std::byte{0});
      VMM_TRY(fill(i * now_.refcounts_per_block(), block));
      const uint64_t offset = (place_.blocks + i) << now_.cluster_bits;
      VMM_TRY(file_.write(FileOffset(offset), block));
      store_be<uint64_t>(table.data() + i * sizeof(uint64_t), offset);
    }
    return file_.write(FileOffset(place_.table << now_.cluster_bits), table);
  }

  void discard_old() {
    for (const uint64_t cluster : own_) {
      file_.discard(FileOffset(cluster << now_.cluster_bits), now_.cluster_bytes());
    }
  }

 private:
  Status fill(uint64_t first, std::span<std::byte> block) {
    for (uint64_t i = 0; i < now_.refcounts_per_block() && first + i < place_.end(); ++i) {
      VMM_ASSIGN_OR_RETURN(const uint64_t count, new_count(first + i));
      if (count > max_refcount(now_.refcount_order)) {
        return fail(
            "{}: the cluster at offset {:#x} is used {} times, more than refcounts of {} bits can count",
            file_.path(), (first + i) << now_.cluster_bits, count, 1U << now_.refcount_order);
      }
      store_refcount(block.data(), i, now_.refcount_order, count);
    }
    return {};
  }

  Result<uint64_t> new_count(uint64_t cluster) {
    if (cluster >= place_.table) {
      return 1;
    }
    VMM_ASSIGN_OR_RETURN(const uint64_t count, old_.at(cluster));
    return count - (std::ranges::binary_search(own_, cluster) ? 1 : 0);
  }

  SyncFile& file_;
  OldRefcounts old_;
  std::vector<uint64_t> own_;
  const Header& now_;
  const NewPlace& place_;
};

}  // namespace

Status change_refcount_width(SyncFile& file, Header& header, Header now) {
  VMM_ASSIGN_OR_RETURN(const CheckResult found, check(file, header));
  if (found.corruptions > 0) {
    return fail("{}: has {} errors ({}); repair it first (vmm-img check -f qcow2 -r all)", file.path(),
                found.corruptions, found.messages.front());
  }
  VMM_ASSIGN_OR_RETURN(OldRefcounts old, OldRefcounts::open(file, header));
  VMM_ASSIGN_OR_RETURN(const uint64_t used_end, old.used_end());
  VMM_ASSIGN_OR_RETURN(const uint64_t file_bytes, file.size());
  const NewPlace place = place_at(std::max(used_end, divide_up(file_bytes, header.cluster_bytes())), now);
  if (place.table_clusters * now.cluster_bytes() > kMaxRefcountTableBytes ||
      place.end() >= kMaxHostOffset >> now.cluster_bits) {
    return fail("{}: would need a refcount table of more than {} MiB; use larger clusters", file.path(),
                kMaxRefcountTableBytes >> 20U);
  }
  now.refcount_table_offset = place.table << now.cluster_bits;
  now.refcount_table_clusters = static_cast<uint32_t>(place.table_clusters);
  WidthChange change(file, std::move(old), now, place);
  VMM_TRY(change.write());
  VMM_ASSIGN_OR_RETURN(HeaderSwitch whole, HeaderSwitch::prepare(file, now));
  VMM_TRY(file.sync());
  VMM_TRY(whole.run(now));
  whole.finish(now);
  change.discard_old();
  VMM_ASSIGN_OR_RETURN(header, read_header(file));
  return {};
}

}  // namespace vmm::block::qcow2
