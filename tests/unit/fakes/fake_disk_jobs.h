// Jobs that begin, and do nothing by themselves; what was asked for is noted.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vmm/machine/disk_jobs.h"

namespace vmm {

class FakeDiskJobs final : public DiskJobs {
 public:
  void set_observer(std::function<void(const DiskJobEvent&)> observer) override {
    observer_ = std::move(observer);
  }
  void tell(const DiskJobEvent& event) const {
    if (observer_) {
      observer_(event);
    }
  }

  Status snapshot(std::string_view disk, const std::string& path, bool is_existing) override {
    return note(fmt::format("snapshot {} {}{}", disk, path, is_existing ? " existing" : ""));
  }
  Status resize(std::string_view disk, uint64_t size_bytes) override {
    return note(fmt::format("resize {} {}", disk, size_bytes));
  }
  Status commit(std::string_view disk, const Start& start, const std::string& top,
                const std::string& base) override {
    return begin(DiskJob::Kind::kCommit, disk, start, fmt::format("commit {} '{}' '{}'", disk, top, base));
  }
  Status stream(std::string_view disk, const Start& start, const std::string& base) override {
    return begin(DiskJob::Kind::kStream, disk, start, fmt::format("stream {} '{}'", disk, base));
  }
  Status backup(std::string_view disk, const Start& start, const Backup& backup) override {
    return begin(DiskJob::Kind::kBackup, disk, start,
                 fmt::format("backup {} {} {}{}{}", disk, backup.path,
                             backup.format == domain::ImageFormat::kRaw ? "raw" : "qcow2",
                             backup.is_of_top ? " top" : "", backup.is_existing ? " existing" : ""));
  }
  std::vector<DiskJob> jobs() const override { return jobs_; }
  Status set_paused(std::string_view id, bool is_paused) override {
    find(id).is_paused = is_paused;
    return note(fmt::format("{} {}", is_paused ? "pause" : "resume", id));
  }
  Status set_speed(std::string_view id, uint64_t bytes_per_second) override {
    return note(fmt::format("speed {} {}", id, bytes_per_second));
  }
  Status cancel(std::string_view id, bool is_forced) override {
    return note(fmt::format("cancel {}{}", id, is_forced ? " forced" : ""));
  }
  Status complete(std::string_view id) override { return note(fmt::format("complete {}", id)); }
  Status dismiss(std::string_view id) override {
    std::erase_if(jobs_, [id](const DiskJob& job) { return job.id == id; });
    return note(fmt::format("dismiss {}", id));
  }

  std::vector<std::string> asked;
  Status answer;  // of everything

 private:
  DiskJob& find(std::string_view id) { return *std::ranges::find(jobs_, id, &DiskJob::id); }
  Status note(std::string text) {
    asked.push_back(std::move(text));
    return answer;
  }
  Status begin(DiskJob::Kind kind, std::string_view disk, const Start& start, std::string text) {
    if (answer) {
      jobs_.push_back({.id = start.id.empty() ? std::string(disk) : start.id,
                       .disk = std::string(disk),
                       .kind = kind,
                       .state = DiskJob::State::kRunning,
                       .is_kept = start.is_kept,
                       .all_bytes = 100,
                       .bytes_per_second = start.bytes_per_second});
      tell({.kind = DiskJobEvent::Kind::kState, .job = jobs_.back()});
    }
    return note(std::move(text));
  }

  std::function<void(const DiskJobEvent&)> observer_;
  std::vector<DiskJob> jobs_;
};

}  // namespace vmm
