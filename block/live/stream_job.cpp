#include "block/live/stream_job.h"

#include <utility>

#include "block/live/chain_options.h"

namespace vmm::block {

Result<std::unique_ptr<StreamJob>> StreamJob::create(LiveDisk& disk, const Options& options,
                                                     OnState on_state) {
  const std::vector<DiskLayer> layers = disk.layers();
  const std::string& path = disk.options().path;
  if (layers.size() < 2) {
    return fail("{}: stands on no other image; there is nothing to stream", path);
  }
  if (layers.front().has_snapshots) {
    return fail("{}: has internal snapshots, which need what it stands on", path);
  }
  if (options.base && (*options.base < 2 || *options.base >= layers.size())) {
    return fail("{}: there is nothing to stream between it and that image", path);
  }
  std::unique_ptr<StreamJob> job(new StreamJob(disk, options, std::move(on_state)));
  job->begin();
  return job;
}

StreamJob::StreamJob(LiveDisk& disk, const Options& options, OnState on_state)
    : LiveJob(disk, std::move(on_state)), options_(options), layers_(disk.layers()) {}

// Zeroes need no place where nothing is left that could show instead.
Status StreamJob::start() {
  const uint32_t end = options_.base.value_or(static_cast<uint32_t>(layers_.size()));
  return start_copy({.source = &disk().disk(),
                     .target = &disk().disk(),
                     .judge =
                         [end, has_base = options_.base.has_value()](const BlockRun& run) {
                           const bool is_wanted = run.depth > 0 && run.depth < end && run.is_present;
                           const bool is_hidden = run.is_behind_end && run.depth + 1 < end;
                           if (is_hidden || (is_wanted && run.is_zero)) {
                             return has_base ? LiveCopy::Wanted::kZeroes : LiveCopy::Wanted::kNothing;
                           }
                           return is_wanted ? LiveCopy::Wanted::kData : LiveCopy::Wanted::kNothing;
                         },
                     .source_name = layers_.front().path,
                     .target_name = layers_.front().path});
}

Status StreamJob::finish() {
  const DiskOptions& now = disk().options();
  const DiskOptions then = options_.base ? options_without(now, 1, *options_.base) : options_down_to(now, 0);
  return disk().reopen(then, [this] {
    mark_skipped(layers_, 1, options_.base.value_or(static_cast<uint32_t>(layers_.size())),
                 layers_.front().path);
    return name_backing(layers_.front().path, options_.base ? &layers_[*options_.base] : nullptr);
  });
}

}  // namespace vmm::block
