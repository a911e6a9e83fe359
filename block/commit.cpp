#include "block/commit.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "block/copy/copy_job.h"
#include "block/copy/disk.h"
#include "block/copy/sources.h"
#include "block/copy/space.h"
#include "block/image_mark.h"
#include "vmm/base/size.h"

namespace vmm::block {
namespace {

// What the base's own image has of [offset, offset + length) in a place that a write goes to.
class Places {
 public:
  Places(Disk& base, const DiskOptions& options) : base_(base), is_raw_(options.format == Format::kRaw) {}

  Result<uint64_t> bytes(uint64_t offset, uint64_t length) {
    uint64_t sum = 0;
    for (const uint64_t end = offset + length; offset < end;) {
      VMM_ASSIGN_OR_RETURN(const BlockRun run, base_.map(offset, end - offset));
      // A hole of a raw file has an offset and no place.
      const bool has_place = run.is_present && run.depth == 0 && run.offset && (run.is_data || !is_raw_);
      sum += has_place ? run.length : 0;
      offset += run.length;
    }
    return sum;
  }

  // Of the file's blocks, those that no place is known of: free clusters, space that was set aside, what is
  // compressed. More may be written there.
  Result<uint64_t> spare_bytes() {
    struct stat info{};
    if (::stat(base_.path().c_str(), &info) != 0) {
      return fail("{} cannot be examined: {}", base_.path(), errno_text(errno));
    }
    const auto allocated = static_cast<uint64_t>(info.st_blocks) * 512;
    VMM_ASSIGN_OR_RETURN(const uint64_t known, bytes(0, base_.size_bytes()));
    return allocated - std::min(allocated, known);
  }

 private:
  Disk& base_;
  bool is_raw_;
};

// Only what cannot fit is refused: what a file system saves by itself is not known before.
Status check_room(Sources& sources, Disk& base, const DiskOptions& options) {
  std::error_code error;
  const auto free = free_bytes_beside(base.path());
  if (!free || sources.size_bytes() <= *free || !options.data_files.empty() ||
      std::filesystem::is_block_file(base.path(), error)) {
    return {};
  }
  Places places(base, options);
  VMM_ASSIGN_OR_RETURN(const uint64_t spare, places.spare_bytes());
  uint64_t needed = 0;
  for (uint64_t offset = 0; offset < sources.size_bytes() && needed <= *free + spare;) {
    VMM_ASSIGN_OR_RETURN(const Sources::Run run,
                         sources.run_at(offset, sources.size_bytes() - offset, false));
    if (run.kind == Sources::Kind::kData && run.is_present) {
      VMM_ASSIGN_OR_RETURN(const uint64_t there, places.bytes(offset, run.length));
      needed += run.length - there;
    }
    offset += run.length;
  }
  return needed > *free + spare
             ? fail("{}: needs {} more at least, and its file system has {} free; make room", base.path(),
                    size_text(needed - spare), size_text(*free))
             : Status();
}

}  // namespace

Status commit(const std::shared_ptr<EventLoop>& loop, const DiskOptions& overlay, const DiskOptions& base,
              const std::function<void(uint64_t done, uint64_t all)>& progress) {
  DiskOptions target = base;
  target.read_only = false;
  target.discard = DiscardMode::kUnmap;
  VMM_ASSIGN_OR_RETURN(const auto disk, Disk::open(target, loop));
  DiskOptions source = overlay;
  source.read_only = true;
  source.layers = std::max<uint32_t>(overlay.layers, 1);
  VMM_ASSIGN_OR_RETURN(auto top, Disk::open(source, loop));
  if (top->size_bytes() > disk->size_bytes()) {
    return fail("{}: its disk has {} bytes, fewer than the {} of {}", base.path, disk->size_bytes(),
                top->size_bytes(), overlay.path);
  }
  std::vector<DiskLayer> layers = top->layers();
  layers.resize(source.layers);
  layers.push_back({.path = base.path});
  Sources sources;
  sources.add(std::move(top));
  VMM_TRY(check_room(sources, *disk, base));
  VMM_TRY(check_merge(layers, source.layers));
  // Where there can be no marks nobody is told that this was cut short.
  static_cast<void>(!set_mark(base.path, ImageMark::kMerging, overlay.path));
  CopyJob job(
      *loop, sources, disk->device(), base.path,
      {.unit_bytes = kSectorBytes, .is_out_of_order = true, .finds_zeroes = false, .skips_absent = true},
      [&progress](uint64_t done, uint64_t all) {
        if (progress) {
          progress(done, all);
        }
      });
  VMM_TRY(job.run());
  VMM_TRY(remove_mark(base.path, ImageMark::kMerging));
  if (!mark_of(overlay.path, ImageMark::kNewer)) {
    VMM_TRY(remove_mark(base.path, ImageMark::kNewer));
  }
  return {};
}

}  // namespace vmm::block
