// DiskJob: what somebody outside may know of a block job, and what happens to it.
//
// Threads: values.
#pragma once

#include <cstdint>
#include <string>

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
  std::string error;              // of one that failed

  bool has_ended() const { return state == State::kConcluded; }
};

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

}  // namespace vmm
