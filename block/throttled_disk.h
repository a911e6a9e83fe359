// ThrottledDisk: a disk that does no more in a second than it may (<iotune>): bytes and operations, of reads,
// of writes and of both.
//
// - Reads wait behind reads and writes behind writes, in their order; where both wait for what they share
//   they take turns. A discard is a write of no bytes, a write of zeroes one of its length.
// - A flush never waits, and counts as nothing: it covers what is done, and what waits is not.
// - At most kRequestsInFlight requests wait before the disk is full, and what is in front of it stops taking
//   more.
// - A guest's reset, of its device or of all, ends what waits (drop_waiting()): what it has used up of its
//   limit stays used up. Before the disk is closed what waits is let through at once (let_through()).
// - Limits may change while it works; without any, requests pass, and it costs a branch and little memory.
//
// Threads: as for every BlockDevice; so are the other methods.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "block/block_device.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/token_bucket.h"

namespace vmm::block {

// libvirt's <total_bytes_sec> and its like, of bytes or of operations.
struct IoLimit {
  uint64_t per_second = 0;        // 0: no limit
  uint64_t burst_per_second = 0;  // 0: no burst, else at least per_second
  uint64_t burst_seconds = 1;     // for so long; from 1
};

struct IoLimits {
  bool is_any() const {
    const auto is_set = [](const IoLimit& limit) { return limit.per_second != 0; };
    return is_set(total_bytes) || is_set(read_bytes) || is_set(write_bytes) || is_set(total_operations) ||
           is_set(read_operations) || is_set(write_operations);
  }

  IoLimit total_bytes, read_bytes, write_bytes;
  IoLimit total_operations, read_operations, write_operations;
  // An operation of more bytes counts as so many as fill it (libvirt's size_iops_sec); 0: as one, whatever it
  // moves.
  uint64_t operation_bytes = 0;
};

class ThrottledDisk final : public BlockDevice, private EventLoop::Poller {
 public:
  using Duration = TokenBucket::Duration;

  // Where it has the time from.
  struct Time {
    std::function<Duration()> now;
    std::function<void(Duration)> wake_after;  // the loop turns once more then; an earlier wish is forgotten
  };

  // The disk belongs to the loop. Nothing is limited yet.
  ThrottledDisk(EventLoop& loop, std::unique_ptr<BlockDevice> disk)
      : ThrottledDisk(loop, std::move(disk), Time()) {}
  ThrottledDisk(EventLoop& loop, std::unique_ptr<BlockDevice> disk, Time time);
  // REQUIRES: nothing waits or is in flight.
  ~ThrottledDisk() override;
  ThrottledDisk(const ThrottledDisk&) = delete;
  ThrottledDisk& operator=(const ThrottledDisk&) = delete;

  // From now on these count, from nothing used up on. An error: the host has no timer left; then nothing has
  // changed.
  Status set_limits(const IoLimits& limits);
  // From now on nothing waits, as long as the disk takes it.
  void let_through();

  uint64_t size_bytes() const override { return disk_->size_bytes(); }
  bool is_read_only() const override { return disk_->is_read_only(); }
  BlockLimits limits() const override { return disk_->limits(); }
  void submit(BlockRequest request) override;
  bool can_accept() const override { return waiting_count_ < kRequestsInFlight && disk_->can_accept(); }
  std::vector<DiskLayer> layers() const override { return disk_->layers(); }
  uint32_t in_flight() const override { return waiting_count_ + disk_->in_flight(); }
  void drop_waiting() override;

 private:
  enum Direction : uint8_t { kReads, kWrites, kDirections };
  struct Slot {
    BlockRequest request;
    Slot* next = nullptr;
  };
  // First in, first out.
  struct Line {
    Slot* first = nullptr;
    Slot* last = nullptr;
  };

  bool poll() override;
  Status prepare();
  bool let_go();
  std::optional<Direction> next_to_go(Duration now);
  Duration wait(Direction direction, Duration now) const;
  void count(const BlockRequest& request, Direction direction, Duration now);
  void push(BlockRequest request, Direction direction);
  BlockRequest pop(Direction direction);
  void wake_at(Duration due, Duration now);

  EventLoop& loop_;
  const std::unique_ptr<BlockDevice> disk_;
  EventLoop::Timer timer_;
  Time time_;
  bool is_limited_ = false;
  uint64_t operation_bytes_ = 0;
  TokenBucket total_bytes_, total_operations_;
  std::array<TokenBucket, kDirections> bytes_, operations_;  // of reads, of writes

  bool lets_through_ = false;
  std::vector<Slot> slots_;  // from the first limit on; then it polls, too
  Slot* free_slots_ = nullptr;
  std::array<Line, kDirections> lines_;
  uint32_t waiting_count_ = 0;
  Direction last_gone_ = kWrites;
  Duration woken_at_{0};  // where it lies ahead, the loop is woken then
};

}  // namespace vmm::block
