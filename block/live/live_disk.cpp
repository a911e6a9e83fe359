#include "block/live/live_disk.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "block/open.h"
#include "vmm/base/check.h"
#include "vmm/base/log.h"

namespace vmm::block {
namespace {

// More of them than anybody keeps.
constexpr size_t kMostEmptied = 32;

// Somebody may look at an image in the moment in which nobody has it locked.
constexpr int kOpenTries = 10;
constexpr auto kOpenPause = std::chrono::milliseconds(100);

// In place of an image that could not be opened again.
class FailedDisk final : public BlockDevice {
 public:
  explicit FailedDisk(uint64_t size_bytes) : size_bytes_(size_bytes) {}

  uint64_t size_bytes() const override { return size_bytes_; }
  bool is_read_only() const override { return false; }
  BlockLimits limits() const override { return {}; }
  void submit(BlockRequest request) override { request.completion.finish(IoStatus::kIoError); }
  bool can_accept() const override { return true; }
  uint32_t in_flight() const override { return 0; }

 private:
  const uint64_t size_bytes_;
};

bool is_change(BlockOp op) { return op != BlockOp::kRead && op != BlockOp::kFlush; }

}  // namespace

ByteRange changed_range(const BlockRequest& request) {
  const uint64_t begin = request.offset.bytes();
  const uint64_t length = std::min(request.length_bytes, UINT64_MAX - begin);
  return is_change(request.op) ? ByteRange{.begin = begin, .end = begin + length} : ByteRange();
}

LiveDisk::LiveDisk(EventLoop& loop, std::unique_ptr<BlockDevice> disk, DiskOptions options)
    : loop_(loop),
      disk_(std::move(disk)),
      options_(std::move(options)),
      is_read_only_(disk_->is_read_only()),
      limits_(disk_->limits()),
      size_bytes_(disk_->size_bytes()) {
  options_.opened = nullptr;
  loop_.add_poller(*this);
}

LiveDisk::~LiveDisk() {
  VMM_CHECK(waiting_.empty() && active_.empty(), "a disk was closed while requests wait for it");
  loop_.remove_poller(*this);
}

uint32_t LiveDisk::in_flight() const {
  return static_cast<uint32_t>(waiting_.size()) +
         std::max(static_cast<uint32_t>(active_.size()), disk_->in_flight());
}

// --- Requests ---

void LiveDisk::submit(BlockRequest request) {
  if (hold_ == Hold::kNone && watcher_ == nullptr && waiting_.empty()) {
    disk_->submit(std::move(request));
    return;
  }
  if (must_wait(request)) {
    waiting_.push_back(std::move(request));
  } else {
    pass_on(std::move(request));
  }
}

// The watcher may ask the loop for another turn.
bool LiveDisk::must_wait(const BlockRequest& request) {
  return hold_ != Hold::kNone || !disk_->can_accept() ||
         (watcher_ != nullptr && is_change(request.op) && !watcher_->may_begin(changed_range(request)));
}

void LiveDisk::pass_on(BlockRequest request) {
  if (watcher_ != nullptr && is_change(request.op)) {
    start_watched(std::move(request));
  } else {
    disk_->submit(std::move(request));
  }
}

void LiveDisk::start_watched(BlockRequest request) {
  if (free_slots_ == nullptr) {
    free_slots_ = slots_.emplace_back(std::make_unique<Slot>()).get();
    free_slots_->disk = this;
  }
  Slot& slot = *std::exchange(free_slots_, free_slots_->next_free);
  slot.completion = std::move(request.completion);
  slot.request = std::move(request);
  slot.status = IoStatus::kOk;
  if (slot.request.op == BlockOp::kDiscard && watcher_->wants_zeroes_for_discards() &&
      limits_.can_write_zeroes && limits_.discard_alignment_bytes != 0) {
    slot.request.op = BlockOp::kWriteZeroes;
    slot.request.may_unmap = true;
  }
  active_.push_back(&slot);
  BlockDevice* const mirror = watcher_->mirror_for(slot.request);
  slot.under_way = mirror == nullptr ? 1 : 2;
  const auto copy = [&slot](Completion::Function done) {
    return BlockRequest{.op = slot.request.op,
                        .offset = slot.request.offset,
                        .length_bytes = slot.request.length_bytes,
                        .buffers = slot.request.buffers,
                        .may_unmap = slot.request.may_unmap,
                        .force_unit_access = slot.request.force_unit_access,
                        .completion = Completion(done, &slot, 0)};
  };
  if (mirror != nullptr) {
    mirror->submit(copy(mirror_done));
  }
  disk_->submit(copy(image_done));
}

void LiveDisk::image_done(void* context, uint64_t /*cookie*/, IoStatus status) {
  auto& slot = *static_cast<Slot*>(context);
  slot.status = status;
  slot.disk->part_done(slot);
}

void LiveDisk::mirror_done(void* context, uint64_t /*cookie*/, IoStatus status) {
  auto& slot = *static_cast<Slot*>(context);
  if (status != IoStatus::kOk && slot.disk->watcher_ != nullptr) {
    slot.disk->watcher_->mirror_failed(status);
  }
  slot.disk->part_done(slot);
}

void LiveDisk::part_done(Slot& slot) {
  if (--slot.under_way > 0) {
    return;
  }
  std::erase(active_, &slot);
  if (watcher_ != nullptr) {
    watcher_->has_ended(slot.request, slot.status);
  }
  Completion completion = std::move(slot.completion);
  slot.next_free = std::exchange(free_slots_, &slot);
  completion.finish(slot.status);
}

bool LiveDisk::has_write_in(const ByteRange& range) const {
  return std::ranges::any_of(
      active_, [&range](const Slot* slot) { return changed_range(slot->request).overlaps(range); });
}

// In their order, but for those that the watcher keeps.
bool LiveDisk::let_waiting_go() {
  bool has_gone = false;
  for (size_t left = waiting_.size(); left > 0 && hold_ == Hold::kNone; --left) {
    BlockRequest request = std::move(waiting_.front());
    waiting_.pop_front();
    if (must_wait(request)) {
      waiting_.push_back(std::move(request));
    } else {
      pass_on(std::move(request));
      has_gone = true;
    }
  }
  return has_gone;
}

// --- Holding ---

void LiveDisk::when_quiet(std::function<void(IoStatus flushed)> task) {
  VMM_CHECK(task_ == nullptr, "a disk is held already");
  task_ = std::move(task);
  hold_ = Hold::kDraining;
  loop_.post([] {});  // it turns, and looks
}

bool LiveDisk::forget_task() {
  if (hold_ == Hold::kNone || hold_ == Hold::kRunning) {
    return false;
  }
  task_ = nullptr;
  hold_ = Hold::kNone;
  loop_.post([] {});
  return true;
}

bool LiveDisk::is_quiet() const {
  return active_.empty() && disk_->in_flight() == 0 && (watcher_ == nullptr || watcher_->is_quiet());
}

bool LiveDisk::poll() { return hold_ == Hold::kNone ? !waiting_.empty() && let_waiting_go() : hold_on(); }

bool LiveDisk::hold_on() {
  if ((hold_ != Hold::kDraining && hold_ != Hold::kFlushed) || !is_quiet()) {
    return false;
  }
  if (hold_ == Hold::kDraining) {
    flush();
  } else {
    run_task();
  }
  return true;
}

void LiveDisk::flush() {
  hold_ = Hold::kFlushing;
  flushed_ = IoStatus::kOk;
  BlockDevice* const target = watcher_ == nullptr ? nullptr : watcher_->target();
  flushes_ = target == nullptr || target == disk_.get() ? 1 : 2;
  if (flushes_ == 2) {
    target->submit({.op = BlockOp::kFlush, .completion = Completion(flush_done, this, 0)});
  }
  disk_->submit({.op = BlockOp::kFlush, .completion = Completion(flush_done, this, 0)});
}

void LiveDisk::flush_done(void* context, uint64_t /*cookie*/, IoStatus status) {
  auto& disk = *static_cast<LiveDisk*>(context);
  disk.flushed_ = status != IoStatus::kOk ? status : disk.flushed_;
  if (--disk.flushes_ == 0 && disk.hold_ == Hold::kFlushing) {
    disk.hold_ = Hold::kFlushed;
  }
}

void LiveDisk::run_task() {
  hold_ = Hold::kRunning;
  const auto task = std::move(task_);
  task_ = nullptr;
  task(flushed_);
  hold_ = Hold::kNone;
}

// --- Another image ---

Result<std::unique_ptr<BlockDevice>> LiveDisk::open_patiently(const Open& open) const {
  auto opened = open();
  for (int tries = 1; !opened && tries < kOpenTries; ++tries) {
    std::this_thread::sleep_for(kOpenPause);
    opened = open();
  }
  return opened;
}

Status LiveDisk::reopen(const DiskOptions& options, const std::function<Status()>& change, const Open& open) {
  VMM_CHECK(hold_ == Hold::kRunning, "a disk's image is changed while it is in use");
  disk_.reset();
  Status status = change ? change() : Status();
  if (status) {
    auto opened = open();
    if (opened) {
      disk_ = *std::move(opened);
      size_bytes_ = disk_->size_bytes();
      options_ = options;
      return {};
    }
    status = std::unexpected(opened.error());
  }
  auto back = open_patiently([this] { return open_disk(loop_, options_); });
  if (back) {
    disk_ = *std::move(back);
    size_bytes_ = disk_->size_bytes();
    return status;
  }
  log::error("{} cannot be opened again: {}; the guest gets errors from now on", options_.path,
             back.error().message());
  disk_ = std::make_unique<FailedDisk>(size_bytes_);
  return status;
}

void LiveDisk::note_emptied(const Emptied& image) {
  std::erase_if(emptied_, [&image](const Emptied& each) { return each.path == image.path; });
  if (emptied_.size() == kMostEmptied) {
    emptied_.erase(emptied_.begin());
  }
  emptied_.push_back(image);
}

Status LiveDisk::reopen(const DiskOptions& options, const std::function<Status()>& change) {
  return reopen(options, change, [&] { return open_disk(loop_, options); });
}

}  // namespace vmm::block
