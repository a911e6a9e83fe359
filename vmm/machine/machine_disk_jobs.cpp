#include "vmm/machine/machine_disk_jobs.h"

#include <algorithm>
#include <filesystem>
#include <future>
#include <system_error>
#include <thread>
#include <utility>

#include "block/live/backup_job.h"
#include "block/live/commit_job.h"
#include "block/live/snapshot.h"
#include "block/live/stream_job.h"
#include "vmm/base/log.h"

namespace vmm {
namespace {

using block::LiveJob;

Result<uint32_t> depth_of(const std::vector<block::DiskLayer>& layers, const std::string& file) {
  std::error_code error;
  for (uint32_t depth = 0; depth < layers.size(); ++depth) {
    if (layers[depth].path == file || std::filesystem::equivalent(layers[depth].path, file, error)) {
      return depth;
    }
  }
  return fail("{}: {} is none of the images that it stands on", layers.empty() ? "" : layers.front().path,
              file);
}

}  // namespace

// What comes from the disks' threads meanwhile finds nobody.
MachineDiskJobs::~MachineDiskJobs() {
  self_.reset();
  for (Job& job : jobs_) {
    if (job.live == nullptr) {
      continue;
    }
    log::warning("disk {}: its {} is not finished; the disk is as it was before", job.told.disk,
                 name_of(job.told.kind));
    job.disk.thread->run_and_wait([&job] { job.live->abandon(); });
    bool is_quiet = false;
    const auto deadline = std::chrono::steady_clock::now() + kPatience * 6;
    while (!is_quiet && std::chrono::steady_clock::now() < deadline) {
      job.disk.thread->run_and_wait([&] { is_quiet = job.live->is_quiet(); });
      std::this_thread::sleep_for(std::chrono::milliseconds(is_quiet ? 0 : 1));
    }
    job.disk.thread->run_and_wait([&job] { job.live.reset(); });
  }
}

// --- The images of a disk ---

Result<Disks::Live> MachineDiskJobs::free_disk(std::string_view disk, Disks::LiveUse use) const {
  VMM_ASSIGN_OR_RETURN(const Disks::Live live, disks_.live_disk(disk, use));
  const auto job = std::ranges::find_if(
      jobs_, [&](const Job& each) { return each.told.disk == disk && each.live != nullptr; });
  if (job != jobs_.end()) {
    return fail("disk {} is busy: {} ('{}') is under way", disk, name_of(job->told.kind), job->told.id);
  }
  return live;
}

std::vector<block::DiskLayer> MachineDiskJobs::layers_of(const Disks::Live& disk) {
  std::vector<block::DiskLayer> layers;
  disk.thread->run_and_wait([&] { layers = disk.disk->layers(); });
  return layers;
}

Status MachineDiskJobs::when_quiet(const Disks::Live& disk, const std::function<Status()>& change) const {
  std::promise<Status> done;
  std::future<Status> result = done.get_future();
  disk.thread->run_and_wait([&] {
    disk.disk->when_quiet([&done, &change](block::IoStatus flushed) {
      done.set_value(flushed == block::IoStatus::kOk ? change()
                                                     : fail("what the guest has written cannot be flushed"));
    });
  });
  if (result.wait_for(kPatience) == std::future_status::timeout) {
    bool is_forgotten = false;
    disk.thread->run_and_wait([&] { is_forgotten = disk.disk->forget_task(); });
    if (is_forgotten) {
      return fail("the host has not done what the guest asked the disk for in {} s; try again",
                  kPatience.count());
    }
  }
  return result.get();
}

Status MachineDiskJobs::snapshot(std::string_view disk, const std::string& path, bool is_existing) {
  VMM_ASSIGN_OR_RETURN(const Disks::Live live, free_disk(disk, Disks::LiveUse::kImage));
  if (!is_existing) {
    block::DiskOptions options;
    live.thread->run_and_wait([&] { options = live.disk->options(); });
    VMM_TRY(block::make_snapshot_file(path, options, live.disk->size_bytes()));
  }
  const Status put = when_quiet(live, [&] { return block::put_on_snapshot(*live.disk, path); });
  if (!put) {
    // It is ours, and holds nothing.
    std::error_code error;
    if (!is_existing) {
      std::filesystem::remove(path, error);
    }
    return put;
  }
  disks_.note_image(disk, layers_of(live));
  log::info("disk {}: the guest writes to {} from now on", disk, path);
  return {};
}

Status MachineDiskJobs::resize(std::string_view disk, uint64_t size_bytes) {
  VMM_ASSIGN_OR_RETURN(const Disks::Live live, free_disk(disk, Disks::LiveUse::kImage));
  VMM_TRY(disks_.check_size(disk, size_bytes));
  VMM_TRY(when_quiet(live, [&] { return block::resize_live(*live.disk, size_bytes); }));
  disks_.note_image(disk, layers_of(live));
  disks_.tell_size(disk);
  log::info("disk {}: {} bytes from now on", disk, size_bytes);
  return {};
}

// --- Jobs ---

Status MachineDiskJobs::begin(std::string_view disk, DiskJob::Kind kind, const Start& start,
                              const Disks::Live& live, const Make& make) {
  const std::string id = start.id.empty() ? std::string(disk) : start.id;
  if (find(id) != nullptr) {
    return fail("there is a job '{}' already", id);
  }
  if (jobs_.size() >= kMostJobs) {
    return fail("there are {} jobs already; dismiss those that have ended", jobs_.size());
  }
  Job job{.told = {.id = id,
                   .disk = std::string(disk),
                   .kind = kind,
                   .is_kept = start.is_kept,
                   .bytes_per_second = start.bytes_per_second},
          .disk = live};
  Status made;
  live.thread->run_and_wait([&] {
    auto begun = make(*live.disk, on_state(id));
    if (!begun) {
      made = std::unexpected(begun.error());
      return;
    }
    job.live = *std::move(begun);
    job.live->set_speed(start.bytes_per_second);
  });
  VMM_TRY(made);
  Job& added = jobs_.emplace_back(std::move(job));
  enter(added, DiskJob::State::kCreated);
  enter(added, DiskJob::State::kRunning);
  return {};
}

Status MachineDiskJobs::commit(std::string_view disk, const Start& start, const std::string& top,
                               const std::string& base) {
  VMM_ASSIGN_OR_RETURN(const Disks::Live live, free_disk(disk, Disks::LiveUse::kImage));
  const std::vector<block::DiskLayer> layers = layers_of(live);
  block::CommitJob::Options options{.top = 0, .base = static_cast<uint32_t>(layers.size()) - 1};
  if (!top.empty()) {
    VMM_ASSIGN_OR_RETURN(options.top, depth_of(layers, top));
  }
  if (!base.empty()) {
    VMM_ASSIGN_OR_RETURN(options.base, depth_of(layers, base));
  }
  VMM_TRY(disks_.check_unused(disk, layers, options.top, options.base));
  return begin(disk, DiskJob::Kind::kCommit, start, live,
               [&](block::LiveDisk& on, LiveJob::OnState state) -> Result<std::unique_ptr<LiveJob>> {
                 return block::CommitJob::create(on, options, std::move(state));
               });
}

Status MachineDiskJobs::stream(std::string_view disk, const Start& start, const std::string& base) {
  VMM_ASSIGN_OR_RETURN(const Disks::Live live, free_disk(disk, Disks::LiveUse::kImage));
  block::StreamJob::Options options;
  if (!base.empty()) {
    VMM_ASSIGN_OR_RETURN(options.base, depth_of(layers_of(live), base));
  }
  return begin(disk, DiskJob::Kind::kStream, start, live,
               [&](block::LiveDisk& on, LiveJob::OnState state) -> Result<std::unique_ptr<LiveJob>> {
                 return block::StreamJob::create(on, options, std::move(state));
               });
}

Status MachineDiskJobs::backup(std::string_view disk, const Start& start, const Backup& backup) {
  VMM_ASSIGN_OR_RETURN(const Disks::Live live, free_disk(disk, Disks::LiveUse::kRead));
  const block::BackupJob::Options options{
      .path = backup.path,
      .format = backup.format == domain::ImageFormat::kRaw ? block::Format::kRaw : block::Format::kQcow2,
      .is_of_top = backup.is_of_top,
      .is_existing = backup.is_existing};
  return begin(disk, DiskJob::Kind::kBackup, start, live,
               [&](block::LiveDisk& on, LiveJob::OnState state) -> Result<std::unique_ptr<LiveJob>> {
                 return block::BackupJob::create(on, options, std::move(state));
               });
}

DiskJob MachineDiskJobs::told(const Job& job) {
  DiskJob told = job.told;
  if (job.live != nullptr) {
    const LiveJob::Progress progress = job.live->progress();
    told.done_bytes = progress.done_bytes;
    told.all_bytes = progress.all_bytes;
  }
  return told;
}

std::vector<DiskJob> MachineDiskJobs::jobs() const {
  std::vector<DiskJob> list;
  list.reserve(jobs_.size());
  for (const Job& job : jobs_) {
    list.push_back(told(job));
  }
  return list;
}

const MachineDiskJobs::Job* MachineDiskJobs::find(std::string_view id) const {
  const auto found = std::ranges::find_if(jobs_, [id](const Job& job) { return job.told.id == id; });
  return found == jobs_.end() ? nullptr : &*found;
}

Result<MachineDiskJobs::Job*> MachineDiskJobs::find_live(std::string_view id) {
  const auto found = std::ranges::find_if(jobs_, [id](const Job& job) { return job.told.id == id; });
  if (found == jobs_.end()) {
    return fail("there is no job '{}'", id);
  }
  if (found->live == nullptr) {
    return fail("the job '{}' has ended", id);
  }
  return &*found;
}

Status MachineDiskJobs::set_paused(std::string_view id, bool is_paused) {
  VMM_ASSIGN_OR_RETURN(Job* const job, find_live(id));
  if (job->told.is_paused == is_paused) {
    return fail("the job '{}' is {}paused", id, is_paused ? "" : "not ");
  }
  job->disk.thread->run_and_wait([&] { job->live->set_paused(is_paused); });
  job->told.is_paused = is_paused;
  enter(*job, job->is_ready ? (is_paused ? DiskJob::State::kStandby : DiskJob::State::kReady)
                            : (is_paused ? DiskJob::State::kPaused : DiskJob::State::kRunning));
  return {};
}

Status MachineDiskJobs::set_speed(std::string_view id, uint64_t bytes_per_second) {
  VMM_ASSIGN_OR_RETURN(Job* const job, find_live(id));
  job->disk.thread->run_and_wait([&] { job->live->set_speed(bytes_per_second); });
  job->told.bytes_per_second = bytes_per_second;
  return {};
}

Status MachineDiskJobs::cancel(std::string_view id, bool is_forced) {
  VMM_ASSIGN_OR_RETURN(Job* const job, find_live(id));
  job->is_left_so = job->is_ready && !is_forced;
  job->disk.thread->run_and_wait([&] { job->live->cancel(); });
  return {};
}

Status MachineDiskJobs::complete(std::string_view id) {
  VMM_ASSIGN_OR_RETURN(Job* const job, find_live(id));
  Status done;
  job->disk.thread->run_and_wait([&] { done = job->live->complete(); });
  return done;
}

Status MachineDiskJobs::dismiss(std::string_view id) {
  const Job* const job = find(id);
  if (job == nullptr) {
    return fail("there is no job '{}'", id);
  }
  if (job->live != nullptr) {
    return fail("the job '{}' has not ended", id);
  }
  remove(std::string(id));
  return {};
}

// --- What happens to them ---

LiveJob::OnState MachineDiskJobs::on_state(std::string id) {
  return [this, id = std::move(id), self = std::weak_ptr(self_), &loop = main_loop_](
             LiveJob::State state, const std::string& error) {
    loop.post([this, id, self, state, error] {
      if (self.lock() != nullptr) {
        state_changed(id, state, error);
      }
    });
  };
}

void MachineDiskJobs::state_changed(const std::string& id, LiveJob::State state, const std::string& error) {
  const auto found = std::ranges::find_if(jobs_, [&id](const Job& job) { return job.told.id == id; });
  if (found == jobs_.end() || found->live == nullptr) {
    return;
  }
  Job& job = *found;
  switch (state) {
    case LiveJob::State::kRunning:
    case LiveJob::State::kEnding:
      return;
    case LiveJob::State::kReady:
      job.is_ready = true;
      enter(job, DiskJob::State::kReady);
      tell(job, DiskJobEvent::Kind::kReady);
      return;
    case LiveJob::State::kDone:
    case LiveJob::State::kFailed:
    case LiveJob::State::kCancelled:
      conclude(job, state, error);
      return;
  }
}

void MachineDiskJobs::conclude(Job& job, LiveJob::State state, const std::string& error) {
  const DiskJob last = told(job);
  job.told.done_bytes = last.done_bytes;
  job.told.all_bytes = last.all_bytes;
  const bool is_done =
      state == LiveJob::State::kDone || (state == LiveJob::State::kCancelled && job.is_left_so);
  job.told.error = !is_done && state == LiveJob::State::kCancelled ? "Operation canceled" : error;
  disks_.note_image(job.told.disk, layers_of(job.disk));
  auto fault = block::LiveCopy::Fault::kNone;
  job.disk.thread->run_and_wait([&] {
    fault = job.live->fault();
    job.live.reset();
  });
  if (is_done) {
    enter(job, DiskJob::State::kWaiting);
    enter(job, DiskJob::State::kPending);
    log::info("disk {}: its {} is done", job.told.disk, name_of(job.told.kind));
  } else {
    if (state == LiveJob::State::kFailed) {
      log::warning("disk {}: its {} has failed: {}", job.told.disk, name_of(job.told.kind), error);
      job.told.is_read_fault = fault == block::LiveCopy::Fault::kReading;
      if (fault != block::LiveCopy::Fault::kNone) {
        tell(job, DiskJobEvent::Kind::kError);
      }
    }
    enter(job, DiskJob::State::kAborting);
  }
  tell(job, state == LiveJob::State::kCancelled && !is_done ? DiskJobEvent::Kind::kCancelled
                                                            : DiskJobEvent::Kind::kCompleted);
  enter(job, DiskJob::State::kConcluded);
  if (!job.told.is_kept) {
    remove(job.told.id);
  }
}

void MachineDiskJobs::enter(Job& job, DiskJob::State state) {
  job.told.state = state;
  tell(job, DiskJobEvent::Kind::kState);
}

void MachineDiskJobs::tell(const Job& job, DiskJobEvent::Kind kind) const {
  if (observer_) {
    observer_({.kind = kind, .job = told(job)});
  }
}

void MachineDiskJobs::remove(const std::string& id) {
  const auto found = std::ranges::find_if(jobs_, [&id](const Job& job) { return job.told.id == id; });
  const Job gone = std::move(*found);
  jobs_.erase(found);
  tell(gone, DiskJobEvent::Kind::kDismissed);
}

}  // namespace vmm
