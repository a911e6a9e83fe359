#include "block/qcow2/check.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "block/qcow2/open_image.h"
#include "block/qcow2/reference_counts.h"
#include "block/qcow2/reference_walk.h"
#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {
namespace {

constexpr uint64_t kWindowClusters = uint64_t{4} << 20U;
constexpr size_t kMaxMessages = 20;
// Windows that hold anything: more are an attack, or beyond what a check is for.
constexpr uint64_t kMaxPasses = 4096;
// So many are looked at however little is in them; later ones have to be in use to a sixty-fourth on the
// average.
constexpr uint64_t kFreePasses = 64;
constexpr uint64_t kLeastClusters = kWindowClusters / 64;

enum class Mode : uint8_t { kCheck, kRepairLeaks, kRepairAll, kRebuild };

class Checker final : public ReferenceVisitor {
 public:
  Checker(SyncFile& file, const Header& header, Mode mode)
      : file_(file),
        header_(header),
        mode_(mode),
        bits_(header.cluster_bits),
        order_(header.refcount_order) {}

  Result<CheckResult> run() {
    VMM_ASSIGN_OR_RETURN(const uint64_t file_bytes, file_.size());
    result_.total_clusters = (header_.size_bytes + header_.cluster_bytes() - 1) >> bits_;
    clusters_ = (file_bytes + header_.cluster_bytes() - 1) >> bits_;
    VMM_ASSIGN_OR_RETURN(ReferenceWalk walk, ReferenceWalk::prepare(file_, header_, *this));
    table_ = walk.refcount_table();
    note_bad_blocks();
    note_lone_clusters(walk);
    if (mode_ == Mode::kRebuild) {
      VMM_TRY(start_rebuild());
    }
    uint64_t passes = 0;
    for (std::optional<uint64_t> next = 0; next; next = next_window()) {
      ++passes;
      const bool is_thin = passes > kFreePasses && clusters_in_use_ / kLeastClusters < passes - kFreePasses;
      if (passes > kMaxPasses || is_thin) {
        return fail("{}: its clusters are scattered over too large a file to be checked", file_.path());
      }
      VMM_TRY(check_window(walk, *next));
    }
    if (mode_ == Mode::kRebuild) {
      VMM_TRY(finish_rebuild());
    }
    if (mode_ != Mode::kCheck) {
      VMM_TRY(file_.sync());
    }
    return std::move(result_);
  }

  bool needs_rebuild() const { return needs_rebuild_; }
  Header& new_header() { return new_header_; }

  // --- ReferenceVisitor ---

  void refer(uint64_t offset, uint64_t bytes, uint32_t times, const char* what) override {
    if (bytes == 0 || is_fixing_flags_) {
      return;
    }
    const uint64_t last = (offset + bytes - 1) >> bits_;
    for (uint64_t cluster = offset >> bits_; cluster <= last; ++cluster) {
      if (cluster >= clusters_) {
        if (window_begin_ == 0) {
          report(fmt::format("a {} lies past the end of the file, at offset {:#x}", what, offset));
        }
        return;
      }
      if (cluster >= window_end_) {
        next_reference_ = std::min(next_reference_, cluster);
      } else if (cluster >= window_begin_) {
        counted_.add(cluster - window_begin_, times);
      }
    }
  }

  bool change_flag(uint64_t host_offset, bool is_copied, const char* what) override {
    const uint64_t cluster = host_offset >> bits_;
    if (cluster < window_begin_ || cluster >= window_end_ || cluster >= clusters_) {
      return false;
    }
    const size_t index = cluster - window_begin_;
    const bool is_one = is_fixing_flags_ ? counted_[index] == 1 : is_stored_one_[index];
    const bool is_out_of_reach = is_left_[index] || (mode_ == Mode::kRepairLeaks && !is_repaired_[index]);
    if (is_copied == is_one || (is_fixing_flags_ && is_out_of_reach)) {
      return false;
    }
    if (mode_ == Mode::kCheck) {
      report(fmt::format("an {} has a wrong copied flag for offset {:#x}, whose refcount is {}", what,
                         host_offset, is_one ? "1" : "not 1"));
    }
    return is_fixing_flags_;
  }

  // What the entry referred to is perhaps in use: no leak is proven any more.
  void damage(const std::string& text) override {
    has_bad_entries_ = true;
    report(text);
  }

  void count_cluster(uint64_t host_offset, bool is_compressed) override {
    ++result_.allocated_clusters;
    if (is_compressed) {
      ++result_.compressed_clusters;
    }
    if (is_compressed || (expected_ != 0 && host_offset != expected_)) {
      ++result_.fragmented_clusters;
    }
    expected_ = host_offset + header_.cluster_bytes();
  }

  // As qemu-img, which takes a disk in one piece for a piece in each table.
  void start_table() override { expected_ = 0; }

 private:
  void report(const std::string& text) {
    ++result_.corruptions;
    say(text);
  }

  void say(const std::string& text) {
    if (result_.messages.size() < kMaxMessages) {
      result_.messages.push_back(text);
    }
  }

  void note_bad_blocks() {
    for (size_t i = 0; i < table_.size(); ++i) {
      const uint64_t entry = table_[i];
      if (entry != 0 &&
          (is_bad_refcount_table_entry(header_.entry_format(), entry) || entry >> bits_ >= clusters_)) {
        report(fmt::format("refcount table entry {} ({:#x}) is not valid", i, entry));
        table_[i] = 0;
        needs_rebuild_ = true;
      }
    }
  }

  // Where anything else lies in a cluster of these, the next write of the one is the end of the other,
  // whatever its refcount says: what lies over each other is found here, and data there by their count.
  void note_lone_clusters(const ReferenceWalk& walk) {
    auto ranges = walk.lone_ranges(mode_ != Mode::kRebuild);
    std::ranges::sort(ranges, {}, &ReferenceWalk::Range::offset);
    uint64_t end = 0;
    const char* before = "";
    for (const ReferenceWalk::Range& range : ranges) {
      if (range.bytes == 0) {
        continue;
      }
      if (range.offset >> bits_ < end) {
        report(
            fmt::format("{} and {} lie over each other, at offset {:#x}", before, range.what, range.offset));
        needs_rebuild_ = needs_rebuild_ || holds_refcounts(before) || holds_refcounts(range.what);
      }
      const uint64_t range_end = ((range.offset + range.bytes - 1) >> bits_) + 1;
      before = range_end > end ? range.what : before;
      end = std::max(end, range_end);
      if (holds_refcounts(range.what) || range.offset == 0 || range.offset == header_.l1_offset) {
        lone_.push_back(range);
      }
    }
  }

  static bool holds_refcounts(std::string_view what) { return what.starts_with("refcount"); }

  void judge_lone_clusters() {
    for (const ReferenceWalk::Range& range : lone_) {
      const uint64_t last =
          std::min({(range.offset + range.bytes - 1) >> bits_, window_end_ - 1, clusters_ - 1});
      for (uint64_t cluster = std::max(range.offset >> bits_, window_begin_); cluster <= last; ++cluster) {
        if (counted_[cluster - window_begin_] > 1) {
          report(fmt::format("cluster {} has a part of the {}, and something else", cluster, range.what));
          needs_rebuild_ = needs_rebuild_ || holds_refcounts(range.what);
        }
      }
    }
  }

  // The next window in which there is a reference or a refcount block.
  std::optional<uint64_t> next_window() const {
    uint64_t next = next_reference_;
    const uint64_t per_block = header_.refcounts_per_block();
    for (uint64_t block = window_end_ / per_block; block < table_.size(); ++block) {
      if (table_[block] != 0) {
        next = std::min(next, std::max(block * per_block, window_end_));
        break;
      }
    }
    return next >= clusters_ ? std::nullopt : std::optional(next);
  }

  Status check_window(ReferenceWalk& walk, uint64_t begin) {
    window_begin_ = begin;
    window_end_ = std::min(begin + kWindowClusters, std::max(clusters_, begin + 1));
    next_reference_ = UINT64_MAX;
    counted_.reset(static_cast<size_t>(window_end_ - begin));
    is_stored_one_.assign(counted_.size(), false);
    is_repaired_.assign(counted_.size(), false);
    is_left_.assign(counted_.size(), false);
    if (mode_ != Mode::kRebuild) {
      VMM_TRY(note_stored_ones());
    }
    is_fixing_flags_ = false;
    VMM_TRY(walk.run(*this, {.with_refcount_structures = mode_ != Mode::kRebuild,
                             .with_damage = begin == 0,
                             .may_write = false}));
    judge_lone_clusters();
    if (mode_ == Mode::kRebuild) {
      VMM_TRY(write_rebuilt());
    } else {
      VMM_TRY(compare());
    }
    if (mode_ != Mode::kCheck) {
      is_fixing_flags_ = true;
      VMM_TRY(walk.run(*this, {.with_refcount_structures = false, .with_damage = false, .may_write = true}));
      is_fixing_flags_ = false;
    }
    return {};
  }

  // Calls step(first cluster, clusters, block) for the parts of the window that have a block of their own.
  template <typename Step>
  Status for_each_block(Step step) {
    const uint64_t per_block = header_.refcounts_per_block();
    for (uint64_t first = window_begin_; first < window_end_;) {
      const uint64_t block = first / per_block;
      const uint64_t count = std::min(window_end_, (block + 1) * per_block) - first;
      VMM_TRY(step(first, count, block));
      first += count;
    }
    return {};
  }

  bool has_block(uint64_t block) const { return block < table_.size() && table_[block] != 0; }

  Status read_block(uint64_t block) {
    block_bytes_.resize(static_cast<size_t>(header_.cluster_bytes()));
    return file_.read(FileOffset(table_[block]), block_bytes_);
  }

  Status note_stored_ones() {
    return for_each_block([this](uint64_t first, uint64_t count, uint64_t block) -> Status {
      if (!has_block(block)) {
        return {};
      }
      VMM_TRY(read_block(block));
      const uint64_t skip = first % header_.refcounts_per_block();
      for (uint64_t i = 0; i < count; ++i) {
        is_stored_one_[first - window_begin_ + i] = load_refcount(block_bytes_.data(), skip + i, order_) == 1;
      }
      return {};
    });
  }

  Status compare() {
    return for_each_block([this](uint64_t first, uint64_t count, uint64_t block) -> Status {
      const bool is_there = has_block(block);
      if (is_there) {
        VMM_TRY(read_block(block));
      }
      const uint64_t skip = first % header_.refcounts_per_block();
      bool is_changed = false;
      for (uint64_t i = 0; i < count; ++i) {
        const uint64_t stored = is_there ? load_refcount(block_bytes_.data(), skip + i, order_) : 0;
        const uint32_t counted = counted_[first - window_begin_ + i];
        if (!judge(first + i, stored, counted)) {
          continue;
        }
        needs_rebuild_ = needs_rebuild_ || !is_there;
        const size_t index = first - window_begin_ + i;
        const bool is_leak = stored > counted;
        const bool may_change =
            is_leak ? !has_bad_entries_ && mode_ != Mode::kCheck : mode_ == Mode::kRepairAll;
        if (is_there && may_change && counted <= max_refcount(order_)) {
          store_refcount(block_bytes_.data(), skip + i, order_, counted);
          is_repaired_[index] = true;
          is_changed = true;
        } else {
          is_left_[index] = true;
        }
      }
      return is_changed ? file_.write(FileOffset(table_[block]), block_bytes_) : Status();
    });
  }

  // True: they differ.
  bool judge(uint64_t cluster, uint64_t stored, uint32_t counted) {
    if (counted > 0 || stored > 0) {
      ++clusters_in_use_;
      result_.image_end_offset = std::max(result_.image_end_offset, (cluster + 1) << bits_);
    }
    if (counted == stored) {
      return false;
    }
    const bool is_leak = stored > counted;
    ++(is_leak ? result_.leaks : result_.corruptions);
    say(fmt::format("{} cluster {}: refcount {}, references {}", is_leak ? "leaked" : "ERROR", cluster,
                    stored, counted));
    return true;
  }

  // --- A new refcount structure behind the end of the file ---

  Status start_rebuild() {
    const uint64_t per_block = header_.refcounts_per_block();
    uint64_t own = 0;
    while (true) {
      rebuilt_blocks_ = (clusters_ + own + per_block - 1) / per_block;
      rebuilt_table_ = ((rebuilt_blocks_ * 8 + header_.cluster_bytes() - 1) >> bits_);
      if (rebuilt_blocks_ + rebuilt_table_ <= own) {
        break;
      }
      own = rebuilt_blocks_ + rebuilt_table_;
    }
    if (rebuilt_table_ << bits_ > kMaxRefcountTableBytes) {
      return fail("{}: is too large for its refcounts to be written anew", file_.path());
    }
    old_table_ = table_;
    rebuild_begin_ = clusters_;
    clusters_ += own;
    table_.assign(static_cast<size_t>((rebuilt_table_ << bits_) / 8), 0);
    for (uint64_t i = 0; i < rebuilt_blocks_; ++i) {
      table_[i] = (rebuild_begin_ + rebuilt_table_ + i) << bits_;
    }
    return {};
  }

  Status write_rebuilt() {
    for (uint64_t cluster = std::max(rebuild_begin_, window_begin_);
         cluster < std::min(clusters_, window_end_); ++cluster) {
      counted_.set(cluster - window_begin_, 1);
    }
    return for_each_block([this](uint64_t first, uint64_t count, uint64_t block) -> Status {
      VMM_TRY(keep_what_may_be_used(first, count, block));
      VMM_TRY(read_block(block));
      const uint64_t skip = first % header_.refcounts_per_block();
      for (uint64_t i = 0; i < count; ++i) {
        store_refcount(block_bytes_.data(), skip + i, order_,
                       std::min<uint64_t>(counted_[first - window_begin_ + i], max_refcount(order_)));
      }
      return file_.write(FileOffset(table_[block]), block_bytes_);
    });
  }

  // Where entries are not valid, what had a refcount keeps one.
  Status keep_what_may_be_used(uint64_t first, uint64_t count, uint64_t block) {
    if (!has_bad_entries_ || block >= old_table_.size() || old_table_[block] == 0) {
      return {};
    }
    block_bytes_.resize(static_cast<size_t>(header_.cluster_bytes()));
    VMM_TRY(file_.read(FileOffset(old_table_[block]), block_bytes_));
    const uint64_t skip = first % header_.refcounts_per_block();
    for (uint64_t i = 0; i < count; ++i) {
      const size_t index = first - window_begin_ + i;
      if (counted_[index] == 0 && load_refcount(block_bytes_.data(), skip + i, order_) > 0) {
        counted_.set(index, 1);
      }
    }
    return {};
  }

  Status finish_rebuild() {
    std::vector<std::byte> bytes(table_.size() * 8);
    for (size_t i = 0; i < table_.size(); ++i) {
      store_be<uint64_t>(bytes.data() + i * 8, table_[i]);
    }
    VMM_TRY(file_.write(FileOffset(rebuild_begin_ << bits_), bytes));
    VMM_TRY(file_.sync());
    new_header_ = header_;
    new_header_.refcount_table_offset = rebuild_begin_ << bits_;
    new_header_.refcount_table_clusters = static_cast<uint32_t>(rebuilt_table_);
    std::vector<std::byte> place(12);
    store_be<uint64_t>(place.data(), new_header_.refcount_table_offset);
    store_be<uint32_t>(place.data() + 8, new_header_.refcount_table_clusters);
    VMM_TRY(file_.write(FileOffset(kRefcountTableFieldOffset), place));
    return file_.sync();
  }

  SyncFile& file_;
  const Header& header_;
  Mode mode_;
  uint32_t bits_;
  uint32_t order_;
  uint64_t clusters_ = 0;  // in the file
  std::vector<uint64_t> table_;
  std::vector<ReferenceWalk::Range> lone_;
  CheckResult result_;
  uint64_t expected_ = 0;
  bool needs_rebuild_ = false;
  bool has_bad_entries_ = false;
  bool is_fixing_flags_ = false;
  uint64_t clusters_in_use_ = 0;

  uint64_t window_begin_ = 0;
  uint64_t window_end_ = 0;
  uint64_t next_reference_ = UINT64_MAX;
  ReferenceCounts counted_;
  std::vector<bool> is_stored_one_;
  std::vector<bool> is_repaired_;  // its refcount is what was counted now
  std::vector<bool> is_left_;      // it is not, and stays so
  std::vector<std::byte> block_bytes_;

  std::vector<uint64_t> old_table_;
  uint64_t rebuild_begin_ = 0;
  uint64_t rebuilt_blocks_ = 0;
  uint64_t rebuilt_table_ = 0;
  Header new_header_;
};

Status clear_bits(SyncFile& file, Header& header, uint64_t bits) {
  if ((header.incompatible & bits) == 0) {
    return {};
  }
  header.incompatible &= ~bits;
  std::vector<std::byte> bytes(8);
  store_be<uint64_t>(bytes.data(), header.incompatible);
  VMM_TRY(file.write(FileOffset(kIncompatibleFieldOffset), bytes));
  return file.sync();
}

}  // namespace

Result<CheckResult> check(SyncFile& file, const Header& header) {
  return Checker(file, header, Mode::kCheck).run();
}

Result<CheckResult> repair(SyncFile& file, Header& header, Repair what) {
  // Refcounts that lie where something else does must not be written to.
  Checker looker(file, header, Mode::kCheck);
  VMM_TRY(looker.run());
  const bool is_anew = looker.needs_rebuild();
  if (is_anew && what == Repair::kLeaks) {
    return fail(
        "{}: its refcounts must be written anew before leaks can be told, which -r leaks does not do; use -r "
        "all",
        file.path());
  }
  VMM_TRY(clear_unknown_autoclear(file, header));
  const Mode mode = is_anew ? Mode::kRebuild : what == Repair::kAll ? Mode::kRepairAll : Mode::kRepairLeaks;
  Checker checker(file, header, mode);
  VMM_TRY(checker.run());
  if (is_anew) {
    header = checker.new_header();
  }
  VMM_ASSIGN_OR_RETURN(CheckResult result, check(file, header));
  if (what == Repair::kAll && result.corruptions == 0) {
    VMM_TRY(clear_bits(file, header, kIncompatibleDirty | kIncompatibleCorrupt));
  }
  return result;
}

}  // namespace vmm::block::qcow2
