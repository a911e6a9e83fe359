#include "block/qcow2/make_empty.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "block/qcow2/check.h"
#include "block/qcow2/image.h"
#include "block/qcow2/metadata_change.h"
#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {
namespace {

std::vector<uint64_t> empty_l1(const Header& header) {
  return std::vector<uint64_t>(static_cast<size_t>(std::max<uint64_t>(header.l1_entries_of_disk(), 1)));
}

Status give_up_disk(SyncFile& file, Header& header) {
  VMM_ASSIGN_OR_RETURN(MetadataChange change, MetadataChange::begin(file, header));
  VMM_ASSIGN_OR_RETURN(const auto l1,
                       read_table(file, header.l1_offset, uint64_t{header.l1_entries} * sizeof(uint64_t)));
  VMM_TRY(change.refer_tree(l1, -1));
  Header now = header;
  VMM_TRY(change.replace_l1(now, empty_l1(header)));
  VMM_TRY(change.commit(now));
  header = std::move(now);
  return {};
}

// The tables lie behind what was given up: they go to the free clusters before it, and the file ends early.
Status shorten(SyncFile& file, Header& header) {
  VMM_ASSIGN_OR_RETURN(MetadataChange change, MetadataChange::begin(file, header));
  VMM_TRY(change.drop_unused_blocks());
  Header now = header;
  VMM_TRY(change.replace_l1(now, empty_l1(header)));
  VMM_TRY(change.commit(now));
  header = std::move(now);
  VMM_ASSIGN_OR_RETURN(const CheckResult result, check(file, header));
  VMM_ASSIGN_OR_RETURN(const uint64_t file_bytes, file.size());
  const uint64_t end = align_up(result.image_end_offset, header.cluster_bytes());
  return end < file_bytes ? file.resize(end) : Status();
}

}  // namespace

Status make_empty(SyncFile& file, Header& header) {
  VMM_TRY(give_up_disk(file, header));
  // It is done; that the file stays long is no failure.
  static_cast<void>(!shorten(file, header));
  return {};
}

Result<bool> is_empty(SyncFile& file, const Header& header) {
  VMM_ASSIGN_OR_RETURN(const auto l1,
                       read_table(file, header.l1_offset, uint64_t{header.l1_entries} * sizeof(uint64_t)));
  return std::ranges::all_of(l1, [](uint64_t entry) { return entry == 0; });
}

}  // namespace vmm::block::qcow2
