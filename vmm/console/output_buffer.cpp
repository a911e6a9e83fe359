#include "vmm/console/output_buffer.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace vmm {

OutputBuffer::Appended OutputBuffer::append(std::span<const std::byte> bytes) {
  const MutexLock lock(mutex_);
  if (policy_ == Policy::kDropAll) {
    return {.taken_bytes = bytes.size(), .wake = Wake::kNot};
  }
  const size_t count = std::min(bytes.size(), kCapacityBytes - count_);
  const size_t start = (first_ + count_) % kCapacityBytes;
  const size_t before_end = std::min(count, kCapacityBytes - start);
  std::copy_n(bytes.begin(), before_end, ring_.get() + start);
  std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(before_end), count - before_end, ring_.get());
  count_ += count;

  const bool is_short = count < bytes.size();
  if (is_short && policy_ == Policy::kDropWhenFull) {
    dropped_bytes_ += bytes.size() - count;
    return {.taken_bytes = bytes.size(), .wake = Wake::kNot};
  }
  is_producer_waiting_ |= is_short;
  const bool has_line = std::ranges::find(bytes, std::byte{'\n'}) != bytes.end();
  const Wake wanted = has_line || is_short || count_ >= kEnoughToWakeBytes ? Wake::kNow : Wake::kSoon;
  if (wanted <= wake_) {
    return {.taken_bytes = count, .wake = Wake::kNot};
  }
  wake_ = wanted;
  was_soon_asked_ |= wanted == Wake::kSoon;
  return {.taken_bytes = count, .wake = wanted};
}

size_t OutputBuffer::room_for(size_t bytes) {
  const MutexLock lock(mutex_);
  if (policy_ != Policy::kHold || bytes <= kCapacityBytes - count_) {
    return bytes;
  }
  is_producer_waiting_ = true;
  return kCapacityBytes - count_;
}

bool OutputBuffer::begin_flush() {
  const MutexLock lock(mutex_);
  wake_ = Wake::kNot;
  return std::exchange(was_soon_asked_, false);
}

std::array<std::span<const std::byte>, 2> OutputBuffer::pending() const {
  const MutexLock lock(mutex_);
  const size_t before_end = std::min(count_, kCapacityBytes - first_);
  return {std::span<const std::byte>(ring_.get() + first_, before_end),
          std::span<const std::byte>(ring_.get(), count_ - before_end)};
}

bool OutputBuffer::is_empty() const {
  const MutexLock lock(mutex_);
  return count_ == 0;
}

bool OutputBuffer::consume(size_t count) {
  const MutexLock lock(mutex_);
  first_ = (first_ + count) % kCapacityBytes;
  count_ -= count;
  if (count_ == 0) {
    first_ = 0;  // small output stays in the first page
  }
  return count_ <= kCapacityBytes / 2 && take_producer_waiting();
}

bool OutputBuffer::set_policy(Policy policy) {
  const MutexLock lock(mutex_);
  policy_ = policy;
  if (policy == Policy::kDropAll) {
    first_ = count_ = 0;
  }
  return policy != Policy::kHold && take_producer_waiting();
}

OutputBuffer::Policy OutputBuffer::policy() const {
  const MutexLock lock(mutex_);
  return policy_;
}

bool OutputBuffer::is_producer_waiting() const {
  const MutexLock lock(mutex_);
  return is_producer_waiting_;
}

uint64_t OutputBuffer::take_dropped_bytes() {
  const MutexLock lock(mutex_);
  return std::exchange(dropped_bytes_, 0);
}

bool OutputBuffer::take_producer_waiting() { return std::exchange(is_producer_waiting_, false); }

}  // namespace vmm
