#include "block/commit.h"

#include <algorithm>

#include "block/copy/copy_job.h"
#include "block/copy/disk.h"
#include "block/copy/sources.h"

namespace vmm::block {

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
  Sources sources;
  sources.add(std::move(top));
  CopyJob job(
      *loop, sources, disk->device(), base.path,
      {.unit_bytes = kSectorBytes, .is_out_of_order = true, .finds_zeroes = false, .skips_absent = true},
      [&progress](uint64_t done, uint64_t all) {
        if (progress) {
          progress(done, all);
        }
      });
  return job.run();
}

}  // namespace vmm::block
