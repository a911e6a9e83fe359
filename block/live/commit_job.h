// CommitJob: images that a running disk stands on are merged into the one below them.
//
// Until all is in the base a mark on it (image_mark.h) names what is merged.
// - From below the disk's own image: the images that were merged are skipped in the end, and the one above
//   them names the base. Ends by itself.
// - From the disk's own image: when all is in the base the job is ready, and what the guest writes goes to
//   both; complete() makes the base the disk's image. Those that were merged are emptied first, and stand on
//   the base, so that they show what it holds, whoever opens them later.
// Nobody else may use the base, nor stand on what is merged: that is the caller's to know. See live_job.h.
#pragma once

#include <cstdint>
#include <memory>

#include "block/image_chain.h"
#include "block/live/live_job.h"

namespace vmm::block {

class CommitJob final : public LiveJob {
 public:
  struct Options {
    uint32_t top = 0;   // the first layer that is merged; 0: the disk's own image
    uint32_t base = 0;  // what it is merged into; above top
  };
  // Errors: no such layers; internal snapshots stand in the way; the base's disk is longer than what the
  // guest has.
  static Result<std::unique_ptr<CommitJob>> create(LiveDisk& disk, const Options& options, OnState on_state);
  ~CommitJob() override;

 private:
  CommitJob(LiveDisk& disk, const Options& options, OnState on_state);
  Status start() override;
  bool waits_when_copied() const override { return options_.top == 0; }
  Status finish() override;
  void undo(bool is_whole) override;
  Status make_base_long_enough();
  void empty_merged() const;
  Status try_to_empty_merged() const;
  void base_is_whole() const;
  const std::string& top_path() const { return layers_[options_.top].path; }
  const std::string& base_path() const { return layers_[options_.base].path; }

  const Options options_;
  const std::vector<DiskLayer> layers_;
  const DiskOptions before_;
  std::unique_ptr<ImageChain> view_;  // of the layers from the top on
  bool has_part_of_another_ = false;  // the base, of an image above the top
};

}  // namespace vmm::block
