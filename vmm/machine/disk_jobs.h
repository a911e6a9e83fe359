// DiskJobs: the images of disks are changed while the guest runs: snapshots, other sizes, and jobs that
// commit, stream or back up. One at a time for each disk.
//
// Threads: the main loop's. What a method does to an image is done on the disk's I/O thread, and waited for,
// kPatience at most where it depends on what the guest has asked the host for.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "block/live/live_disk.h"
#include "block/live/live_job.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/domain/domain.h"
#include "vmm/machine/disk_job.h"
#include "vmm/machine/disks.h"

namespace vmm {

class DiskJobs {
 public:
  static constexpr std::chrono::seconds kPatience{10};

  // REQUIRES: the disks are started; all outlive this.
  DiskJobs(Disks& disks, EventLoop& main_loop) : disks_(disks), main_loop_(main_loop) {}
  // Jobs are given up. REQUIRES: the disks are quiesced, and their threads run.
  ~DiskJobs();
  DiskJobs(const DiskJobs&) = delete;
  DiskJobs& operator=(const DiskJobs&) = delete;

  // Told of what happens to jobs.
  void set_observer(std::function<void(const DiskJobEvent&)> observer) { observer_ = std::move(observer); }

  // The guest writes to `path` from now on, a new qcow2 image that stands on the present one, or where
  // is_existing one that is there and does.
  Status snapshot(std::string_view disk, const std::string& path, bool is_existing);
  // The guest is told. Only longer.
  Status resize(std::string_view disk, uint64_t size_bytes);

  struct Start {
    std::string id;  // empty: the disk's name
    uint64_t bytes_per_second = 0;
    bool is_kept = false;
    bool is_paused = false;
  };
  // From `top` (empty: the disk's own image) into `base` (empty: the lowest one); files of the chain.
  Status commit(std::string_view disk, const Start& start, const std::string& top, const std::string& base);
  // Down to `base`, which stays below; empty: to the end.
  Status stream(std::string_view disk, const Start& start, const std::string& base);
  struct Backup {
    std::string path;
    domain::ImageFormat format = domain::ImageFormat::kQcow2;
    bool is_of_top = false;
    bool is_existing = false;
  };
  Status backup(std::string_view disk, const Start& start, const Backup& backup);

  std::vector<DiskJob> jobs() const;
  bool has(std::string_view id) const { return find(id) != nullptr; }
  Status set_paused(std::string_view id, bool is_paused);
  Status set_speed(std::string_view id, uint64_t bytes_per_second);
  // One that is ready and is not forced ends well, and the disk keeps its image.
  Status cancel(std::string_view id, bool is_forced);
  Status complete(std::string_view id);
  Status dismiss(std::string_view id);

 private:
  struct Job {
    DiskJob told;
    Disks::Live disk;
    std::unique_ptr<block::LiveJob> live;  // on the disk's thread
    bool is_ready = false;
    bool is_left_so = false;  // it was ready, and is cancelled
  };
  using Make = std::function<Result<std::unique_ptr<block::LiveJob>>(block::LiveDisk& disk,
                                                                     block::LiveJob::OnState on_state)>;

  Result<Disks::Live> free_disk(std::string_view disk, Disks::LiveUse use) const;
  Status when_quiet(const Disks::Live& disk, const std::function<Status()>& change) const;
  static std::vector<block::DiskLayer> layers_of(const Disks::Live& disk);
  Status begin(std::string_view disk, DiskJob::Kind kind, const Start& start, const Disks::Live& live,
               const Make& make);
  block::LiveJob::OnState on_state(std::string id);
  void state_changed(const std::string& id, block::LiveJob::State state, const std::string& error);
  void enter(Job& job, DiskJob::State state);
  void conclude(Job& job, block::LiveJob::State state, const std::string& error);
  void tell(const Job& job, DiskJobEvent::Kind kind) const;
  void remove(const std::string& id);
  const Job* find(std::string_view id) const;
  Result<Job*> find_live(std::string_view id);
  static DiskJob told(const Job& job);

  Disks& disks_;
  EventLoop& main_loop_;
  std::function<void(const DiskJobEvent&)> observer_;
  std::list<Job> jobs_;
  std::shared_ptr<DiskJobs*> self_ =
      std::make_shared<DiskJobs*>(this);  // for what is posted: whether it is there
};

}  // namespace vmm
