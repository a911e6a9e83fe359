// DiskJobs: the images of disks are changed while the guest runs: snapshots, other sizes, and jobs that
// commit, stream or back up. One at a time for each disk.
//
// Threads: the main loop's.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/domain/domain.h"

namespace vmm {

struct DiskJob {
  enum class Kind : uint8_t { kCommit, kStream, kBackup };
  // As QEMU's JobStatus has them.
  enum class State : uint8_t {
    kCreated,
    kRunning,
    kPaused,
    kReady,
    kStandby,
    kWaiting,
    kPending,
    kAborting,
    kConcluded
  };

  std::string id;
  std::string disk;  // by its target name
  Kind kind = Kind::kCommit;
  State state = State::kCreated;
  bool is_paused = false;
  bool is_kept = false;  // when it has ended, until it is dismissed
  uint64_t done_bytes = 0;
  uint64_t all_bytes = 0;
  uint64_t bytes_per_second = 0;  // 0: as fast as possible
  std::string error;              // of one that failed or was cancelled
  bool is_read_fault = false;     // with DiskJobEvent::kError

  bool has_ended() const { return state == State::kConcluded; }
};

// As QEMU's JobType has them.
constexpr const char* name_of(DiskJob::Kind kind) {
  switch (kind) {
    case DiskJob::Kind::kCommit:
      return "commit";
    case DiskJob::Kind::kStream:
      return "stream";
    case DiskJob::Kind::kBackup:
      break;
  }
  return "backup";
}

struct DiskJobEvent {
  enum class Kind : uint8_t {
    kState,
    kReady,
    kCompleted,  // with an error or without
    kCancelled,
    kError,      // the host could not read or write what was to be copied
    kDismissed,  // nothing is known of it any more
  };
  Kind kind = Kind::kState;
  DiskJob job;
};

// Disks are known by their target names, jobs by their ids. Errors are sentences for who asked.
class DiskJobs {
 public:
  // Told of what happens to jobs, from the loop or within the call that makes it happen; empty: nobody.
  virtual void set_observer(std::function<void(const DiskJobEvent&)> observer) = 0;

  // The guest writes to `path` from now on, a new qcow2 image that stands on the present one, or where
  // is_existing one that is there and does.
  virtual Status snapshot(std::string_view disk, const std::string& path, bool is_existing) = 0;
  // The guest is told. Only longer.
  virtual Status resize(std::string_view disk, uint64_t size_bytes) = 0;

  struct Start {
    std::string id;  // empty: the disk's name
    uint64_t bytes_per_second = 0;
    bool is_kept = false;
  };
  // From `top` (empty: the disk's own image) into `base` (empty: the lowest one); files of the chain.
  virtual Status commit(std::string_view disk, const Start& start, const std::string& top,
                        const std::string& base) = 0;
  // Down to `base`, which stays below; empty: to the end.
  virtual Status stream(std::string_view disk, const Start& start, const std::string& base) = 0;
  struct Backup {
    std::string path;
    domain::ImageFormat format = domain::ImageFormat::kQcow2;
    bool is_of_top = false;    // what the disk's own image has, alone
    bool is_existing = false;  // into an image that is there
  };
  virtual Status backup(std::string_view disk, const Start& start, const Backup& backup) = 0;

  virtual std::vector<DiskJob> jobs() const = 0;
  virtual Status set_paused(std::string_view id, bool is_paused) = 0;
  virtual Status set_speed(std::string_view id, uint64_t bytes_per_second) = 0;
  // One that is ready and is not forced ends well, and the disk keeps its image.
  virtual Status cancel(std::string_view id, bool is_forced) = 0;
  // Of one that is ready.
  virtual Status complete(std::string_view id) = 0;
  // Of one that has ended, and is kept.
  virtual Status dismiss(std::string_view id) = 0;

 protected:
  ~DiskJobs() = default;
};

}  // namespace vmm
