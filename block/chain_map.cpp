#include "block/chain_map.h"

#include <algorithm>

namespace vmm::block {
namespace {

void set_place(BlockRun& run, const Extent& extent, const ImageFormat& layer) {
  if (extent.file != nullptr && layer.cipher() == nullptr) {
    run.file = extent.file;
    run.offset = extent.offset;
  }
}

// A hole makes zeroes of data, and reaches as far as the run does.
void look_for_holes(BlockRun& run, Holes meaning) {
  if (meaning == Holes::kNotAsked || !run.offset) {
    return;
  }
  const HostFile::Run in_file = run.file->run_at(*run.offset, run.length);
  run.length = in_file.length;
  run.is_zero = in_file.is_hole;
  run.is_data = !in_file.is_hole || meaning == Holes::kPreallocated;
}

BlockRun run_of(const Extent& extent, ImageFormat& layer) {
  BlockRun run{.kind = BlockRun::Kind::kKnown, .status = IoStatus::kOk, .length = extent.length};
  switch (extent.kind) {
    case Extent::Kind::kWait:
      run.kind = BlockRun::Kind::kWait;
      break;
    case Extent::Kind::kError:
      run.kind = BlockRun::Kind::kError;
      run.status = extent.status;
      break;
    case Extent::Kind::kData:
      run.is_present = true;
      run.is_data = true;
      set_place(run, extent, layer);
      look_for_holes(run, layer.holes());
      break;
    case Extent::Kind::kCompressed:
      run.is_present = true;
      run.is_data = true;
      run.is_compressed = true;
      break;
    case Extent::Kind::kZeroes:
      run.is_present = true;
      run.is_zero = true;
      set_place(run, extent, layer);
      break;
    case Extent::Kind::kBacking:
      run.is_zero = true;
      set_place(run, extent, layer);
      break;
  }
  return run;
}

}  // namespace

BlockRun map_file(const HostFile& file, FileOffset offset, uint64_t length) {
  BlockRun run{.kind = BlockRun::Kind::kKnown, .status = IoStatus::kOk, .length = length, .is_present = true};
  run.file = &file;
  run.offset = offset;
  look_for_holes(run, Holes::kNothing);
  return run;
}

BlockRun map_chain(std::span<ImageFormat* const> layers, DiskOffset offset, uint64_t length, Waiter& waiter) {
  BlockRun run;
  for (uint32_t depth = 0; depth < layers.size(); ++depth) {
    ImageFormat& layer = *layers[depth];
    if (offset.bytes() >= layer.size_bytes()) {
      run.length = length;
      run.is_behind_end = true;
      break;
    }
    const Extent extent =
        layer.map_read(offset, std::min(length, layer.size_bytes() - offset.bytes()), waiter);
    run = run_of(extent, layer);
    run.depth = depth;
    if (extent.kind != Extent::Kind::kBacking) {
      break;
    }
    length = extent.length;
  }
  return run;
}

}  // namespace vmm::block
