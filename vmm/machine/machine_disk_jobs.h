// MachineDiskJobs: DiskJobs on the disks of a machine.
//
// Threads: the main loop's. What a method does to an image is done on the disk's I/O thread, and waited for,
// kPatience at most where it depends on what the guest has asked the host for.
#pragma once

#include <chrono>
#include <cstddef>
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
#include "vmm/machine/disk_jobs.h"
#include "vmm/machine/disks.h"

namespace vmm {

class MachineDiskJobs final : public DiskJobs {
 public:
  static constexpr std::chrono::seconds kPatience{5};
  // Those that have ended and are kept count.
  static constexpr size_t kMostJobs = 64;

  // REQUIRES: all outlive this; the disks are started before anything is asked.
  MachineDiskJobs(Disks& disks, EventLoop& main_loop) : disks_(disks), main_loop_(main_loop) {}
  // Jobs are given up. REQUIRES: the disks are quiesced, and their threads run; or there are no jobs.
  ~MachineDiskJobs();
  MachineDiskJobs(const MachineDiskJobs&) = delete;
  MachineDiskJobs& operator=(const MachineDiskJobs&) = delete;

  void set_observer(std::function<void(const DiskJobEvent&)> observer) override {
    observer_ = std::move(observer);
  }
  Status snapshot(std::string_view disk, const std::string& path, bool is_existing) override;
  Status resize(std::string_view disk, uint64_t size_bytes) override;
  Status commit(std::string_view disk, const Start& start, const std::string& top,
                const std::string& base) override;
  Status stream(std::string_view disk, const Start& start, const std::string& base) override;
  Status backup(std::string_view disk, const Start& start, const Backup& backup) override;
  std::vector<DiskJob> jobs() const override;
  Status set_paused(std::string_view id, bool is_paused) override;
  Status set_speed(std::string_view id, uint64_t bytes_per_second) override;
  Status cancel(std::string_view id, bool is_forced) override;
  Status complete(std::string_view id) override;
  Status dismiss(std::string_view id) override;

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
