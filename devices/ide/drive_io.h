// DriveIo: the I/O thread's half of an IDE drive: runs its jobs on its disk, one at a time, and changes the
// disk between two of them.
//
// Threads: every public method from any; the disk is touched, and Client and callbacks are called, on the
// loop's thread only, with no lock held. Must outlive the loop's last turn.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>

#include "block/block_device.h"
#include "block/disk_counters.h"
#include "devices/ide/disk_job.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/thread_annotations.h"

namespace vmm::ide {

class DriveIo {
 public:
  class Client {
   public:
    // Gets the job back, with its buffer.
    virtual void job_done(DiskJob job, block::IoStatus status) = 0;

   protected:
    ~Client() = default;
  };

  // disk: null where there is none (an empty CD drive), else it outlives its use. All jobs then end in
  // kIoError.
  DriveIo(EventLoop& loop, block::BlockDevice* disk, Client& client)
      : loop_(loop), client_(client), disk_(disk) {}
  // REQUIRES: the loop does not run, and no job is in flight.
  ~DriveIo() = default;
  DriveIo(const DriveIo&) = delete;
  DriveIo& operator=(const DriveIo&) = delete;

  // Where the drive's jobs are counted from now on; null: nowhere. REQUIRES: the loop does not run; the
  // counters outlive it.
  void count_in(block::DiskCounters* counters) { counters_ = counters; }

  // Runs the job after the one that runs now. It takes the place of one that has not begun; where a later one
  // is known already, this one is void: it is dropped, and nobody hears of it. One that runs is outdated by
  // it: if it waits, for a limit of the disk or for the host, it waits no longer
  // (BlockDevice::drop_waiting()).
  void start(DiskJob job) VMM_EXCLUDES(mutex_);

  // Begins no more jobs, and calls back when none runs. In turns with resume().
  void quiesce(std::function<void()> on_quiet) VMM_EXCLUDES(mutex_);
  void resume() VMM_EXCLUDES(mutex_);

  // From on_changed on, the disk before is not used any more. Happens while quiesced too. Jobs up to number
  // void_jobs were meant for the disk before: one that has not begun is dropped, whenever it arrives here;
  // one that runs is outdated. on_changed may be called from within the disk before, which it must not
  // destroy.
  void change_disk(block::BlockDevice* disk, uint64_t void_jobs, std::function<void()> on_changed)
      VMM_EXCLUDES(mutex_);

 private:
  struct Change {
    block::BlockDevice* disk = nullptr;
    std::function<void()> on_changed;
  };
  // What the loop's thread has still to do.
  struct Orders {
    std::optional<DiskJob> job;
    uint64_t newest_number = 0;
    std::vector<Change> changes;
    bool is_quiesced = false;
    std::function<void()> on_quiet;
    bool is_watched = false;  // a posted turn(), or the end of a job, will look here
  };

  void wake_loop() VMM_EXCLUDES(mutex_);
  void turn();
  bool step() VMM_EXCLUDES(mutex_);
  bool follow_orders() VMM_EXCLUDES(mutex_);
  void submit();
  void finished(block::IoStatus status);
  void count_end(block::IoStatus status);
  void outdate_current();
  void drop_outdated() VMM_EXCLUDES(mutex_);

  EventLoop& loop_;
  Client& client_;

  Mutex mutex_;
  Orders orders_ VMM_GUARDED_BY(mutex_);
  std::atomic<bool> has_current_{false};  // written on the loop's thread
  std::atomic<bool> drops_soon_{false};   // drop_outdated() is posted

  // The loop's thread only.
  block::BlockDevice* disk_;
  block::DiskCounters* counters_ = nullptr;
  uint64_t begun_ns_ = 0;
  bool is_in_turn_ = false;
  std::optional<DiskJob> current_;
  bool is_submitted_ = false;  // current_ is with the disk
  std::optional<block::IoStatus> result_;
  iovec buffer_{};
};

}  // namespace vmm::ide
