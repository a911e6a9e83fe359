// LiveJob: a copy, and what comes before and behind it, on a disk that a guest uses: commit, stream, backup.
//
// Whatever ends it, kill -9 included, the disk's chain on the host opens, and shows what the guest has
// flushed; an end that is told is durable. A job that fails or is cancelled leaves the disk as it was, but
// for what lies hidden under what the disk shows. Threads: the disk's loop only, but for progress().
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "block/live/live_copy.h"
#include "block/live/live_disk.h"
#include "vmm/base/error.h"

namespace vmm::block {

class LiveJob {
 public:
  enum class State : uint8_t {
    kRunning,
    kReady,   // all is copied, and stays so; complete() ends it
    kEnding,  // the disk is held for its end
    kDone,
    kFailed,
    kCancelled,
  };
  // error: with kFailed. From the loop; never from within another call. The job may be destroyed behind it
  // where the state is one of an end.
  using OnState = std::function<void(State state, const std::string& error)>;

  // REQUIRES: is_quiet().
  virtual ~LiveJob();
  LiveJob(const LiveJob&) = delete;
  LiveJob& operator=(const LiveJob&) = delete;

  void set_paused(bool is_paused);
  void set_speed(uint64_t bytes_per_second);  // 0: as fast as possible
  // An error: it is not ready.
  Status complete();
  // Of one that has ended or is about to nothing becomes of it.
  void cancel();
  // The run is over: nothing more is copied, and the disk stays as the job has it. REQUIRES: nothing comes
  // from the guest any more.
  void abandon();
  // It may be destroyed.
  bool is_quiet() const;
  bool has_ended() const { return state_ >= State::kDone; }
  // Of one that failed: whether it was the copy that did.
  LiveCopy::Fault fault() const { return fault_; }

  struct Progress {
    uint64_t done_bytes = 0;
    uint64_t all_bytes = 0;
  };
  // Any thread.
  Progress progress() const { return {.done_bytes = done_bytes_, .all_bytes = all_bytes_}; }

 protected:
  LiveJob(LiveDisk& disk, OnState on_state) : disk_(disk), on_state_(std::move(on_state)) {}

  // Calls start() when the disk is quiet.
  void begin();
  // The disk is held, and flushed. start_copy() is called from it. After an error undo() is.
  virtual Status start() = 0;
  // Watches the disk from then on.
  Status start_copy(LiveCopy::Plan plan);
  LiveDisk& disk() { return disk_; }
  // All is copied: true where complete() has the last word.
  virtual bool waits_when_copied() const { return false; }
  // The disk is held, and flushed, as is what was copied to; nobody watches. Where it fails the disk must be
  // as it was before.
  virtual Status finish() = 0;
  // The same, but as it was before. is_whole: all was copied and flushed, up to now.
  virtual void undo(bool is_whole) = 0;

 private:
  void enter(State state, const std::string& error = "");
  void when_quiet(std::function<void(IoStatus flushed)> task);
  void end_copy();
  void begin_finish();
  void begin_undo(State state, const std::string& error);
  void copy_ended(const Status& status);

  LiveDisk& disk_;
  OnState on_state_;
  std::unique_ptr<LiveCopy> copy_;
  State state_ = State::kRunning;
  LiveCopy::Fault fault_ = LiveCopy::Fault::kNone;
  bool is_cancelled_ = false;  // before it began
  bool is_paused_ = false;
  uint64_t bytes_per_second_ = 0;
  std::atomic<uint64_t> done_bytes_{0};
  std::atomic<uint64_t> all_bytes_{0};
  std::shared_ptr<LiveJob*> self_ = std::make_shared<LiveJob*>(this);  // for callbacks: whether it is there
};

}  // namespace vmm::block
