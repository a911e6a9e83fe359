#include "block/copy/sources.h"

#include <algorithm>
#include <utility>

#include "vmm/base/bytes.h"

namespace vmm::block {

void Sources::add(std::unique_ptr<Disk> disk, uint64_t first, uint64_t end) {
  const uint64_t begin = size_bytes();
  const uint64_t last = std::min(disk->size_bytes(), end);
  if (last > first) {
    disks_.push_back({.disk = std::move(disk),
                      .first = first,
                      .disk_bytes = last - first,
                      .begin = begin,
                      .end = begin + align_up(last - first, kSectorBytes)});
  }
}

bool Sources::can_accept() const {
  return std::ranges::all_of(disks_, [](const Entry& entry) { return entry.disk->device().can_accept(); });
}

Sources::Part Sources::first_part(uint64_t offset, uint64_t length) const {
  const auto entry = std::ranges::upper_bound(disks_, offset, {}, [](const Entry& each) { return each.end; });
  const uint64_t within = offset - entry->begin;
  if (within >= entry->disk_bytes) {
    return {.length = std::min(length, entry->end - offset)};
  }
  return {.disk = entry->disk.get(),
          .offset = entry->first + within,
          .length = std::min(length, entry->disk_bytes - within)};
}

Result<Sources::Run> Sources::run_at(uint64_t offset, uint64_t length, bool with_own_only) {
  const Part part = first_part(offset, length);
  if (part.disk == nullptr) {
    return Run{.kind = Kind::kZeroes, .length = part.length};
  }
  VMM_ASSIGN_OR_RETURN(const BlockRun run, part.disk->map(part.offset, part.length));
  if (with_own_only && run.depth > 0) {
    return Run{.kind = Kind::kNothing, .length = run.length};
  }
  return Run{.kind = run.is_zero ? Kind::kZeroes : Kind::kData,
             .length = run.length,
             .is_present = run.is_present || run.is_behind_end,
             .is_own = run.depth == 0 && run.is_present,
             .file = run.file,
             .offset = run.offset};
}

}  // namespace vmm::block
