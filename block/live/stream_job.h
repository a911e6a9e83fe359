// StreamJob: a running disk's image gets what the images below it hold, and stands on them no longer.
//
// See live_job.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "block/live/live_job.h"

namespace vmm::block {

class StreamJob final : public LiveJob {
 public:
  struct Options {
    // The layer that the image stands on in the end; absent: on nothing.
    std::optional<uint32_t> base;
  };
  // Errors: the image is no qcow2, stands on nothing, or has internal snapshots, in which the change would
  // show; no such base.
  static Result<std::unique_ptr<StreamJob>> create(LiveDisk& disk, const Options& options, OnState on_state);

 private:
  StreamJob(LiveDisk& disk, const Options& options, OnState on_state);
  Status start() override;
  Status finish() override;
  void undo(bool /*is_whole*/) override {}

  const Options options_;
  const std::vector<DiskLayer> layers_;
};

}  // namespace vmm::block
