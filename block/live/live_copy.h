// LiveCopy: what a disk holds is copied, chunk by chunk, while a guest uses the disk.
//
// A chunk that is being copied is nobody else's: writes to it wait, and it waits for those under way. What
// becomes of writes elsewhere is the plan's (GuestWrites). Memory: kWorkers pieces, and a bit for each chunk.
// Threads: the disk's loop only.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "block/aligned_memory.h"
#include "block/block_device.h"
#include "block/block_map.h"
#include "block/live/live_disk.h"
#include "block/live/work_map.h"
#include "block/wait_queue.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"

namespace vmm::block {

class LiveCopy final : public LiveDisk::Watcher, private EventLoop::Poller {
 public:
  static constexpr size_t kWorkers = 4;
  static constexpr uint64_t kPieceBytes = WorkMap::kMinChunkBytes;

  enum class Wanted : uint8_t { kNothing, kData, kZeroes };
  enum class GuestWrites : uint8_t {
    kPass,      // they change nothing that is copied
    kMirrored,  // what is copied already is written in both places
    kAfter,     // what is not copied yet is copied first
  };
  struct Plan {
    BlockDevice* source = nullptr;
    BlockDevice* target = nullptr;
    std::function<Wanted(const BlockRun&)> judge;
    GuestWrites guest_writes = GuestWrites::kPass;
    bool skips_zeroes = false;  // data that are zeroes are not written: the target has them
    std::string source_name;    // for messages
    std::string target_name;
    std::atomic<uint64_t>* done_bytes = nullptr;  // told of the progress
  };
  // `on_end`: once all is copied, and with what went wrong, then or later. From the loop; never from within
  // another call. It may destroy the copy.
  static Result<std::unique_ptr<LiveCopy>> create(LiveDisk& disk, Plan plan,
                                                  std::function<void(Status)> on_end);
  // REQUIRES: is_quiet(), or it was never started.
  ~LiveCopy();
  LiveCopy(const LiveCopy&) = delete;
  LiveCopy& operator=(const LiveCopy&) = delete;

  // REQUIRES: it watches the disk.
  void start() { is_started_ = true; }
  // Begins no more chunks, and ends nothing; writes pass. It is quiet soon.
  void stop();
  void set_paused(bool is_paused);
  void set_speed(uint64_t bytes_per_second);  // 0: as fast as possible

  uint64_t all_bytes() const { return plan_.source->size_bytes(); }

  // All is copied, and nothing has gone wrong.
  bool is_whole() const { return status_ && map_.left() == 0 && !is_at_work(); }
  // What went wrong so far, and with which of the two.
  const Status& status() const { return status_; }
  enum class Fault : uint8_t { kNone, kReading, kWriting };
  Fault fault() const { return fault_; }

  // LiveDisk::Watcher
  bool may_begin(const ByteRange& range) override;
  bool wants_zeroes_for_discards() const override;
  BlockDevice* mirror_for(const BlockRequest& request) override;
  void mirror_failed(IoStatus status) override;
  void has_ended(const BlockRequest& request, IoStatus status) override;
  bool is_quiet() const override;
  BlockDevice* target() override { return plan_.target; }

 private:
  enum class State : uint8_t { kIdle, kLocked, kMapping, kNext, kReading, kRead, kWriting };
  struct Worker {
    LiveCopy* copy = nullptr;
    State state = State::kIdle;
    uint64_t chunk = 0;
    uint64_t position = 0;
    uint64_t length = 0;
    ByteRange range;
    std::byte* memory = nullptr;
    iovec vector{};
    Waiter waiter;
  };

  LiveCopy(LiveDisk& disk, Plan plan, std::function<void(Status)> on_end, EventLoop::Timer timer);
  Status make_memory();
  bool poll() override;
  bool begin_chunks();
  std::optional<uint64_t> next_chunk();
  std::optional<uint64_t> next_urgent();
  bool may_go_on() const;
  bool is_at_work() const;
  bool advance(Worker& worker);
  bool take_piece(Worker& worker);
  bool lengthen_piece(Worker& worker, BlockMap& source_map);
  void submit(Worker& worker, BlockDevice& device, BlockOp op);
  static void mapped(Waiter& waiter, IoStatus status);
  static void io_done(void* context, uint64_t cookie, IoStatus status);
  void end_chunk(Worker& worker);
  void fail_with(Fault fault, std::string text);
  void fail_at(const Worker& worker, Fault fault, IoStatus status);
  void tell_end();
  void tell_progress() const;
  bool has_locked(const ByteRange& range) const;
  bool is_locked(uint64_t chunk) const;
  void want_soon(const ByteRange& range);

  LiveDisk& disk_;
  EventLoop& loop_;
  Plan plan_;
  std::function<void(Status)> on_end_;
  EventLoop::Timer timer_;
  WorkMap map_;
  AlignedMemory memory_;
  std::array<Worker, kWorkers> workers_;
  std::deque<uint64_t> urgent_;
  uint64_t cursor_ = 0;
  bool is_started_ = false;
  bool is_stopped_ = false;
  bool is_paused_ = false;
  bool is_told_ = false;
  bool is_fault_told_ = false;  // which may come after all was copied
  uint64_t bytes_per_second_ = 0;
  std::chrono::steady_clock::time_point not_before_;
  Status status_;
  Fault fault_ = Fault::kNone;
};

}  // namespace vmm::block
