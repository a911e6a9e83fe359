// What disk_ops --live does to the images of its disk, while it writes to it.
#pragma once

#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>

#include "block/live/backup_job.h"
#include "block/live/commit_job.h"
#include "block/live/live_disk.h"
#include "block/live/live_job.h"
#include "block/live/snapshot.h"
#include "block/live/stream_job.h"
#include "vmm/base/event_loop.h"

namespace vmm::block {

// One change at a time; its end is printed: "live done", or "live failed: …".
class LiveDriver {
 public:
  LiveDriver(EventLoop& loop, LiveDisk& disk) : loop_(loop), disk_(disk) {}

  // snapshot FILE | resize BYTES | commit TOP BASE | stream BASE (0: all) | backup FILE raw|qcow2 full|top |
  // wait
  void run(std::istringstream words) {
    wait();
    std::string name;
    words >> name;
    if (name == "snapshot") {
      std::string path;
      words >> path;
      if (const Status made = make_snapshot_file(path, disk_.options(), disk_.size_bytes()); !made) {
        return tell(made);
      }
      change([this, path] { return put_on_snapshot(disk_, path); });
    } else if (name == "resize") {
      uint64_t bytes = 0;
      words >> bytes;
      change([this, bytes] { return resize_live(disk_, bytes); });
    } else if (name == "commit") {
      CommitJob::Options options;
      words >> options.top >> options.base;
      take(CommitJob::create(disk_, options, on_state()));
    } else if (name == "stream") {
      uint32_t base = 0;
      words >> base;
      take(StreamJob::create(disk_, {.base = base == 0 ? std::nullopt : std::optional(base)}, on_state()));
    } else if (name == "backup") {
      std::string path;
      std::string format;
      std::string sync;
      words >> path >> format >> sync;
      take(BackupJob::create(disk_,
                             {.path = path,
                              .format = format == "raw" ? Format::kRaw : Format::kQcow2,
                              .is_of_top = sync == "top"},
                             on_state()));
    }
  }

  void wait() {
    while (is_busy_) {
      loop_.run_once(std::chrono::milliseconds(100));
    }
    job_.reset();
  }

 private:
  void tell(const Status& status) {
    std::cout << (status ? "live done" : "live failed: " + status.error().message()) << std::endl;
    is_busy_ = false;
  }

  void change(std::function<Status()> what) {
    is_busy_ = true;
    disk_.when_quiet([this, what = std::move(what)](IoStatus flushed) {
      tell(flushed == IoStatus::kOk ? what() : fail("cannot be flushed"));
    });
  }

  template <typename Job>
  void take(Result<std::unique_ptr<Job>> job) {
    is_busy_ = true;
    if (!job) {
      return tell(std::unexpected(job.error()));
    }
    job_ = *std::move(job);
  }

  LiveJob::OnState on_state() {
    return [this](LiveJob::State state, const std::string& error) {
      if (state == LiveJob::State::kReady) {
        static_cast<void>(job_->complete());
      } else if (state == LiveJob::State::kDone) {
        tell({});
      } else if (state == LiveJob::State::kFailed) {
        tell(fail("{}", error));
      }
    };
  }

  EventLoop& loop_;
  LiveDisk& disk_;
  std::unique_ptr<LiveJob> job_;
  bool is_busy_ = false;
};

}  // namespace vmm::block
