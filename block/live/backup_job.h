// BackupJob: what a running disk held when the job began is copied to another image.
//
// What the guest changes is copied first. A new image has its name only when it is complete, and durable. See
// live_job.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "block/live/live_job.h"
#include "block/new_file.h"

namespace vmm::block {

class BackupJob final : public LiveJob {
 public:
  struct Options {
    std::string path;
    Format format = Format::kQcow2;  // or kRaw
    // What the disk's own image has, alone: the new one stands on what the disk stands on. REQUIRES: kQcow2.
    bool is_of_top = false;
    // Into an image that is there, and as long as the disk; it shows what it held before wherever the backup
    // has nothing yet. With is_of_top it must hold nothing.
    bool is_existing = false;
  };
  // Blocks; makes the image. Errors: there is a file of that name; an encrypted disk would lie there in
  // clear.
  static Result<std::unique_ptr<BackupJob>> create(LiveDisk& disk, const Options& options, OnState on_state);
  ~BackupJob() override;

 private:
  BackupJob(LiveDisk& disk, const Options& options, OnState on_state);
  Status open_target();
  Status start() override;
  Status finish() override;
  void undo(bool is_whole) override;

  const Options options_;
  std::optional<NewFile> file_;
  std::unique_ptr<BlockDevice> target_;
};

}  // namespace vmm::block
