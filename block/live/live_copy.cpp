#include "block/live/live_copy.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "block/copy/disk.h"
#include "block/io_vector.h"
#include "vmm/base/check.h"

namespace vmm::block {

Result<std::unique_ptr<LiveCopy>> LiveCopy::create(LiveDisk& disk, Plan plan,
                                                   std::function<void(Status)> on_end) {
  VMM_ASSIGN_OR_RETURN(EventLoop::Timer timer, disk.loop().make_timer([] {}));
  std::unique_ptr<LiveCopy> copy(new LiveCopy(disk, std::move(plan), std::move(on_end), std::move(timer)));
  VMM_TRY(copy->make_memory());
  return copy;
}

LiveCopy::LiveCopy(LiveDisk& disk, Plan plan, std::function<void(Status)> on_end, EventLoop::Timer timer)
    : disk_(disk),
      loop_(disk.loop()),
      plan_(std::move(plan)),
      on_end_(std::move(on_end)),
      timer_(std::move(timer)),
      map_(plan_.source->size_bytes()) {
  for (Worker& worker : workers_) {
    worker.copy = this;
    worker.waiter = {.wake = mapped, .context = &worker};
  }
  loop_.add_poller(*this);
}

// In huge pages, where the host has some: a transfer is then in few pieces.
Status LiveCopy::make_memory() {
  constexpr size_t kHugePageBytes = size_t{2} << 20U;
  constexpr size_t kBytes = kWorkers * kPieceBytes;
  static_assert(kBytes % kHugePageBytes == 0);
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kHugePageBytes, kBytes)));
  if (memory_ == nullptr) {
    return fail("{}: there is no memory to copy it", plan_.source_name);
  }
  static_cast<void>(::madvise(memory_.get(), kBytes, MADV_HUGEPAGE));
  for (size_t i = 0; i < kWorkers; ++i) {
    workers_[i].memory = memory_.get() + i * kPieceBytes;
  }
  return {};
}

LiveCopy::~LiveCopy() {
  VMM_CHECK(!is_at_work(), "a copy was given up while it is under way");
  loop_.remove_poller(*this);
}

void LiveCopy::tell_progress() const {
  *plan_.done_bytes = std::min((map_.chunks() - map_.left()) * map_.chunk_bytes(), all_bytes());
}

void LiveCopy::stop() {
  is_stopped_ = true;
  loop_.post([] {});
}

void LiveCopy::set_paused(bool is_paused) {
  is_paused_ = is_paused;
  loop_.post([] {});
}

void LiveCopy::set_speed(uint64_t bytes_per_second) {
  bytes_per_second_ = bytes_per_second;
  not_before_ = {};
  loop_.post([] {});
}

bool LiveCopy::may_go_on() const { return is_started_ && !is_stopped_ && status_; }

// --- What the guest writes ---

bool LiveCopy::is_locked(uint64_t chunk) const {
  return std::ranges::any_of(workers_, [chunk](const Worker& worker) {
    return worker.state != State::kIdle && worker.chunk == chunk;
  });
}

bool LiveCopy::has_locked(const ByteRange& range) const {
  return std::ranges::any_of(workers_, [&range](const Worker& worker) {
    return worker.state != State::kIdle && worker.range.overlaps(range);
  });
}

bool LiveCopy::may_begin(const ByteRange& range) {
  if (plan_.guest_writes == GuestWrites::kPass && plan_.target != plan_.source) {
    return true;
  }
  if (range.length() == 0) {
    return true;
  }
  if (has_locked(range)) {
    return false;
  }
  if (!may_go_on()) {
    return true;
  }
  if (plan_.guest_writes == GuestWrites::kMirrored) {
    return plan_.target->can_accept();
  }
  if (plan_.guest_writes == GuestWrites::kAfter && range.begin < all_bytes() &&
      map_.find(map_.first_of(range), map_.last_of(range))) {
    want_soon(range);
    return false;
  }
  return true;
}

// A few at a time: it is asked again.
void LiveCopy::want_soon(const ByteRange& range) {
  const uint64_t last = map_.last_of(range);
  auto chunk = map_.find(map_.first_of(range), last);
  while (chunk && urgent_.size() < kWorkers) {
    if (!is_locked(*chunk) && std::ranges::find(urgent_, *chunk) == urgent_.end()) {
      urgent_.push_back(*chunk);
    }
    chunk = map_.find(*chunk + 1, last);
  }
}

// Else a guest that discards all the time is never copied whole.
bool LiveCopy::wants_zeroes_for_discards() const {
  return plan_.guest_writes == GuestWrites::kMirrored && may_go_on();
}

BlockDevice* LiveCopy::mirror_for(const BlockRequest& request) {
  const ByteRange range = changed_range(request);
  if (plan_.guest_writes != GuestWrites::kMirrored || !may_go_on() || request.op == BlockOp::kDiscard ||
      range.length() == 0 || range.end > plan_.target->size_bytes()) {
    return nullptr;
  }
  for (uint64_t chunk = map_.first_of(range); chunk <= map_.last_of(range); ++chunk) {
    if (!map_.is_to_do(chunk)) {
      return plan_.target;
    }
  }
  return nullptr;
}

void LiveCopy::mirror_failed(IoStatus status) {
  fail_with(Fault::kWriting, fmt::format("{}: what the guest writes cannot be written there: {}",
                                         plan_.target_name, status_text(status)));
}

// What a discard that stayed one leaves is the image's to say, as is what a write that failed has left.
void LiveCopy::has_ended(const BlockRequest& request, IoStatus status) {
  const ByteRange range = changed_range(request);
  const bool is_like_target = request.op != BlockOp::kDiscard && status == IoStatus::kOk;
  if (plan_.guest_writes != GuestWrites::kMirrored || is_like_target || range.length() == 0 ||
      range.begin >= all_bytes()) {
    return;
  }
  for (uint64_t chunk = map_.first_of(range); chunk <= map_.last_of(range); ++chunk) {
    map_.set(chunk, true);
  }
  tell_progress();
}

bool LiveCopy::is_at_work() const {
  return std::ranges::any_of(workers_, [](const Worker& worker) { return worker.state != State::kIdle; });
}

bool LiveCopy::is_quiet() const {
  return !is_at_work() && plan_.target->in_flight() == 0 &&
         (plan_.guest_writes != GuestWrites::kMirrored || !may_go_on() || map_.left() == 0);
}

// --- Copying ---

bool LiveCopy::poll() {
  if (!is_started_) {
    return false;
  }
  bool did_something = false;
  for (Worker& worker : workers_) {
    did_something |= advance(worker);
  }
  did_something |= begin_chunks();
  tell_end();
  return did_something;
}

std::optional<uint64_t> LiveCopy::next_urgent() {
  while (!urgent_.empty()) {
    const uint64_t chunk = urgent_.front();
    urgent_.pop_front();
    if (map_.is_to_do(chunk) && !is_locked(chunk)) {
      return chunk;
    }
  }
  return std::nullopt;
}

// Round and round: what is done again lies anywhere.
std::optional<uint64_t> LiveCopy::next_chunk() {
  if (map_.left() == 0) {
    return std::nullopt;
  }
  for (int round = 0; round < 2; ++round) {
    auto chunk = map_.find(cursor_, map_.chunks() - 1);
    while (chunk && is_locked(*chunk)) {
      chunk = map_.find(*chunk + 1, map_.chunks() - 1);
    }
    if (chunk) {
      cursor_ = *chunk + 1;
      return chunk;
    }
    cursor_ = 0;
  }
  return std::nullopt;
}

bool LiveCopy::begin_chunks() {
  bool has_begun = false;
  for (Worker& worker : workers_) {
    if (worker.state != State::kIdle || !may_go_on()) {
      continue;
    }
    auto chunk = next_urgent();
    // One after the other: what is begun counts when it is over.
    if (!chunk && bytes_per_second_ != 0 && is_at_work()) {
      break;
    }
    const auto now = std::chrono::steady_clock::now();
    if (!chunk && is_paused_) {
      break;
    }
    if (!chunk && now < not_before_) {
      timer_.arm(not_before_ - now);
      break;
    }
    chunk = chunk ? chunk : next_chunk();
    if (!chunk) {
      break;
    }
    worker.chunk = *chunk;
    worker.range = map_.range_of(*chunk);
    worker.position = worker.range.begin;
    worker.state = State::kLocked;
    advance(worker);
    has_begun = true;
  }
  return has_begun;
}

// As far as it goes without waiting. True: a step was made.
bool LiveCopy::advance(Worker& worker) {
  bool has_moved = false;
  while (true) {
    if (worker.state == State::kLocked) {
      if (disk_.has_write_in(worker.range)) {
        return has_moved;
      }
      worker.state = State::kNext;
    } else if (worker.state == State::kNext) {
      if (worker.position == worker.range.end || !may_go_on()) {
        end_chunk(worker);
        return true;
      }
      if (!take_piece(worker)) {
        return has_moved;
      }
    } else if (worker.state == State::kRead) {
      if (!plan_.target->can_accept()) {
        return has_moved;
      }
      worker.state = State::kWriting;
      submit(worker, *plan_.target, BlockOp::kWrite);
    } else {
      return has_moved;
    }
    has_moved = true;
  }
}

// Takes the next run of one kind. False: what it needs is not there yet.
bool LiveCopy::take_piece(Worker& worker) {
  // Before the map is asked, which costs more.
  if (!plan_.source->can_accept() || !plan_.target->can_accept()) {
    return false;
  }
  BlockMap* const source_map = plan_.source->block_map();
  const uint64_t left = worker.range.end - worker.position;
  BlockRun run{.kind = BlockRun::Kind::kKnown, .length = left, .is_present = true, .is_data = true};
  if (source_map != nullptr) {
    run = source_map->map(DiskOffset(worker.position), left, worker.waiter);
  }
  if (run.kind == BlockRun::Kind::kWait) {
    worker.state = State::kMapping;
    return false;
  }
  if (run.kind == BlockRun::Kind::kError) {
    fail_at(worker, Fault::kReading, run.status);
    return true;
  }
  const Wanted wanted = plan_.judge(run);
  if (wanted == Wanted::kNothing) {
    worker.position += run.length;
    return true;
  }
  if (wanted == Wanted::kZeroes) {
    worker.length = run.length;
    worker.state = State::kWriting;
    submit(worker, *plan_.target, BlockOp::kWriteZeroes);
    return true;
  }
  worker.length = std::min(run.length, kPieceBytes);
  if (source_map != nullptr && !lengthen_piece(worker, *source_map)) {
    return false;
  }
  worker.state = State::kReading;
  submit(worker, *plan_.source, BlockOp::kRead);
  return true;
}

// Data that lie in many places of the image are one piece all the same. False: what says where is not there
// yet.
bool LiveCopy::lengthen_piece(Worker& worker, BlockMap& source_map) {
  const uint64_t most = std::min(worker.range.end - worker.position, kPieceBytes);
  while (worker.length < most) {
    const BlockRun run =
        source_map.map(DiskOffset(worker.position + worker.length), most - worker.length, worker.waiter);
    if (run.kind == BlockRun::Kind::kWait) {
      worker.state = State::kMapping;
      return false;
    }
    if (run.kind == BlockRun::Kind::kError || plan_.judge(run) != Wanted::kData) {
      return true;  // an error is found when its turn comes
    }
    worker.length += run.length;
  }
  return true;
}

void LiveCopy::submit(Worker& worker, BlockDevice& device, BlockOp op) {
  worker.vector = {.iov_base = worker.memory, .iov_len = worker.length};
  BlockRequest request{.op = op, .offset = DiskOffset(worker.position), .length_bytes = worker.length};
  if (op != BlockOp::kWriteZeroes) {
    request.buffers = std::span(&worker.vector, 1);
  }
  request.may_unmap = true;
  request.completion = Completion(io_done, &worker, static_cast<uint64_t>(op));
  device.submit(std::move(request));
}

void LiveCopy::mapped(Waiter& waiter, IoStatus status) {
  auto& worker = *static_cast<Worker*>(waiter.context);
  worker.state = State::kNext;
  if (status != IoStatus::kOk) {
    worker.copy->fail_at(worker, Fault::kReading, status);
  }
}

// What comes next is begun by poll(), not from within a completion.
void LiveCopy::io_done(void* context, uint64_t cookie, IoStatus status) {
  auto& worker = *static_cast<Worker*>(context);
  LiveCopy& copy = *worker.copy;
  const bool is_read = cookie == static_cast<uint64_t>(BlockOp::kRead);
  if (status != IoStatus::kOk) {
    worker.state = State::kNext;
    copy.fail_at(worker, is_read ? Fault::kReading : Fault::kWriting, status);
    return;
  }
  if (is_read) {
    worker.state = State::kRead;
    if (!copy.plan_.skips_zeroes || !buffers_are_zero(std::span(&worker.vector, 1))) {
      return;
    }
  } else if (copy.bytes_per_second_ != 0 && cookie == static_cast<uint64_t>(BlockOp::kWrite)) {
    const auto now = std::chrono::steady_clock::now();
    const auto pause = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(
        static_cast<double>(worker.length) / static_cast<double>(copy.bytes_per_second_)));
    copy.not_before_ = std::max(copy.not_before_, now) + pause;
  }
  worker.position += worker.length;
  worker.state = State::kNext;
}

void LiveCopy::end_chunk(Worker& worker) {
  if (worker.position == worker.range.end) {
    map_.set(worker.chunk, false);
    tell_progress();
  }
  worker.state = State::kIdle;
}

// --- The end ---

void LiveCopy::fail_with(Fault fault, std::string text) {
  if (status_) {
    status_ = std::unexpected(Error(std::move(text)));
    fault_ = fault;
  }
}

void LiveCopy::fail_at(const Worker& worker, Fault fault, IoStatus status) {
  const bool is_reading = fault == Fault::kReading;
  fail_with(fault, fmt::format("{}: what is at offset {} of the disk cannot be {}: {}",
                               is_reading ? plan_.source_name : plan_.target_name, worker.position,
                               is_reading ? "read" : "written", status_text(status)));
}

void LiveCopy::tell_end() {
  const bool is_told = status_ ? is_told_ : is_fault_told_;
  if (is_told || is_stopped_ || is_at_work() || (status_ && map_.left() > 0)) {
    return;
  }
  (status_ ? is_told_ : is_fault_told_) = true;
  loop_.post([told = on_end_, status = status_] { told(status); });
}

}  // namespace vmm::block
