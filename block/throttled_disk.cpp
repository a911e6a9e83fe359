#include "block/throttled_disk.h"

#include <algorithm>
#include <utility>

#include "vmm/base/check.h"

namespace vmm::block {
namespace {

// The disk below is full with kRequestsInFlight at most, and each of these that completes may bring one that
// waits: the next range of a discard, which comes without asking.
constexpr size_t kMostWaiting = 2 * kRequestsInFlight;

// What waits goes in bunches where it would go one by one more often than this; the buckets are much deeper.
constexpr std::chrono::nanoseconds kShortestSleep = std::chrono::microseconds(250);

std::chrono::nanoseconds steady_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::steady_clock::now().time_since_epoch());
}

// A burst of a second may come at once; of a longer one it matters how fast it is, too.
TokenBucket bucket_of(const IoLimit& limit) {
  const auto burst_per_second = static_cast<double>(limit.burst_per_second);
  return TokenBucket({.per_second = static_cast<double>(limit.per_second),
                      .burst = burst_per_second * static_cast<double>(limit.burst_seconds),
                      .burst_per_second = limit.burst_seconds > 1 ? burst_per_second : 0});
}

uint64_t bytes_moved(const BlockRequest& request) {
  return request.op == BlockOp::kDiscard ? 0 : request.length_bytes;
}

}  // namespace

ThrottledDisk::ThrottledDisk(EventLoop& loop, std::unique_ptr<BlockDevice> disk, Time time)
    : loop_(loop), disk_(std::move(disk)), time_(std::move(time)) {}

// Most disks are never limited.
Status ThrottledDisk::prepare() {
  if (!slots_.empty()) {
    return {};
  }
  if (!time_.now) {
    // That it is due makes the loop turn, and poll() looks at every turn.
    VMM_ASSIGN_OR_RETURN(timer_, loop_.make_timer([] {}));
    time_ = {.now = steady_now, .wake_after = [this](Duration delay) { timer_.arm(delay); }};
  }
  slots_.resize(kMostWaiting);
  for (Slot& slot : slots_) {
    slot.next = std::exchange(free_slots_, &slot);
  }
  loop_.add_poller(*this);
  return {};
}

Status ThrottledDisk::set_limits(const IoLimits& limits) {
  if (limits.is_any()) {
    VMM_TRY(prepare());
  }
  is_limited_ = limits.is_any();
  operation_bytes_ = limits.operation_bytes;
  total_bytes_ = bucket_of(limits.total_bytes);
  total_operations_ = bucket_of(limits.total_operations);
  bytes_ = {bucket_of(limits.read_bytes), bucket_of(limits.write_bytes)};
  operations_ = {bucket_of(limits.read_operations), bucket_of(limits.write_operations)};
  woken_at_ = Duration(0);
  let_go();
  return {};
}

ThrottledDisk::~ThrottledDisk() {
  VMM_CHECK(waiting_count_ == 0, "a disk was closed while requests wait for it");
  if (!slots_.empty()) {
    loop_.remove_poller(*this);
  }
}

void ThrottledDisk::let_through() {
  lets_through_ = true;
  let_go();
}

void ThrottledDisk::submit(BlockRequest request) {
  const bool is_free = !is_limited_ && waiting_count_ == 0;
  if (is_free || request.op == BlockOp::kFlush) {
    return disk_->submit(std::move(request));
  }
  const Direction direction = request.op == BlockOp::kRead ? kReads : kWrites;
  push(std::move(request), direction);
  let_go();
}

bool ThrottledDisk::poll() { return let_go(); }

// Those that may go now. What keeps the others is a time, at which the loop is woken, or the disk, which is
// full: then a completion turns the loop, of this disk or of another that shares what it lacks.
bool ThrottledDisk::let_go() {
  bool did_something = false;
  while (waiting_count_ > 0 && disk_->can_accept()) {
    const Duration now = time_.now();
    const auto direction = next_to_go(now);
    if (!direction) {
      break;
    }
    last_gone_ = *direction;
    BlockRequest request = pop(*direction);
    count(request, *direction, now);
    disk_->submit(std::move(request));
    did_something = true;
  }
  return did_something;
}

// Nothing: all that wait have to go on waiting, and the loop is woken for the first.
std::optional<ThrottledDisk::Direction> ThrottledDisk::next_to_go(Duration now) {
  std::optional<Duration> shortest;
  for (const Direction direction : {last_gone_ == kReads ? kWrites : kReads, last_gone_}) {
    if (lines_[direction].first == nullptr) {
      continue;
    }
    const Duration left = lets_through_ ? Duration(0) : wait(direction, now);
    if (left <= Duration(0)) {
      return direction;
    }
    shortest = std::min(shortest.value_or(left), left);
  }
  if (shortest) {
    wake_at(now + std::max(*shortest, kShortestSleep), now);
  }
  return std::nullopt;
}

void ThrottledDisk::wake_at(Duration due, Duration now) {
  const bool is_set = woken_at_ > now && woken_at_ <= due;
  if (!is_set) {
    woken_at_ = due;
    time_.wake_after(due - now);
  }
}

ThrottledDisk::Duration ThrottledDisk::wait(Direction direction, Duration now) const {
  return std::max({total_bytes_.wait(now), total_operations_.wait(now), bytes_[direction].wait(now),
                   operations_[direction].wait(now)});
}

void ThrottledDisk::count(const BlockRequest& request, Direction direction, Duration now) {
  const auto bytes = static_cast<double>(bytes_moved(request));
  const double operations =
      operation_bytes_ == 0 ? 1.0 : std::max(bytes / static_cast<double>(operation_bytes_), 1.0);
  total_bytes_.take(bytes, now);
  bytes_[direction].take(bytes, now);
  total_operations_.take(operations, now);
  operations_[direction].take(operations, now);
}

void ThrottledDisk::push(BlockRequest request, Direction direction) {
  VMM_CHECK(free_slots_ != nullptr, "a disk was given a request that it cannot accept");
  Slot* const slot = std::exchange(free_slots_, free_slots_->next);
  slot->request = std::move(request);
  slot->next = nullptr;
  Line& line = lines_[direction];
  (line.first == nullptr ? line.first : line.last->next) = slot;
  line.last = slot;
  ++waiting_count_;
}

BlockRequest ThrottledDisk::pop(Direction direction) {
  Slot* const slot = lines_[direction].first;
  lines_[direction].first = slot->next;
  slot->next = std::exchange(free_slots_, slot);
  --waiting_count_;
  return std::move(slot->request);
}

void ThrottledDisk::drop_waiting() {
  std::array<uint32_t, kDirections> counts{};  // those that come meanwhile are not meant
  for (const Direction direction : {kReads, kWrites}) {
    for (const Slot* slot = lines_[direction].first; slot != nullptr; slot = slot->next) {
      ++counts[direction];
    }
  }
  for (const Direction direction : {kReads, kWrites}) {
    for (; counts[direction] > 0 && lines_[direction].first != nullptr; --counts[direction]) {
      BlockRequest request = pop(direction);
      request.completion.finish(IoStatus::kIoError);
    }
  }
  disk_->drop_waiting();
}

}  // namespace vmm::block
