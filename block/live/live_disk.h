// LiveDisk: a disk whose image is changed under a guest: another one is put in its place while what the guest
// asks for waits, and a job is told of every write.
//
// It stands directly above the image, below what limits or repeats requests. Without a job it passes requests
// on, and costs a branch. Threads: as for every BlockDevice; so are the other methods.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "block/block_device.h"
#include "block/disk_options.h"
#include "block/file_request.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"

namespace vmm::block {

class LiveDisk final : public BlockDevice, private EventLoop::Poller {
 public:
  // Who is told of writes; flushes and reads are nobody's business.
  class Watcher {
   public:
    // A write, a write of zeroes or a discard of this range wants to begin. No: it waits, and is asked for
    // again at the loop's next turn.
    virtual bool may_begin(const ByteRange& range) = 0;
    // What a discard leaves behind is the image's to say; as a write of zeroes that may unmap it leaves the
    // same everywhere.
    virtual bool wants_zeroes_for_discards() const = 0;
    // Where the request is written to as well; nullptr: nowhere. It then fails nowhere but there.
    virtual BlockDevice* mirror_for(const BlockRequest& request) = 0;
    virtual void mirror_failed(IoStatus status) = 0;
    // One that began is over.
    virtual void has_ended(const BlockRequest& request, IoStatus status) = 0;
    // Nothing of the watcher's own is under way: the disk can be held.
    virtual bool is_quiet() const = 0;
    // What is flushed with the disk; it may be the disk, or nullptr.
    virtual BlockDevice* target() = 0;

   protected:
    ~Watcher() = default;
  };

  // The options are those that the disk was opened with. It belongs to the loop.
  LiveDisk(EventLoop& loop, std::unique_ptr<BlockDevice> disk, DiskOptions options);
  // REQUIRES: nothing waits or is in flight; nobody watches.
  ~LiveDisk() override;
  LiveDisk(const LiveDisk&) = delete;
  LiveDisk& operator=(const LiveDisk&) = delete;

  EventLoop& loop() { return loop_; }
  // The image. Only to be read and mapped by others.
  BlockDevice& disk() { return *disk_; }
  const DiskOptions& options() const { return options_; }

  // From now on the guest's requests wait. When nothing is in flight any more, and what was written is on
  // stable storage, the task is called once, from the loop; its status is that of the flush. It may exchange
  // the disk. After it what waited goes on. REQUIRES: is_held() is false.
  void when_quiet(std::function<void(IoStatus flushed)> task);
  bool is_held() const { return task_ != nullptr; }
  // The task is forgotten, uncalled, and the requests go on. No: there is none, or it has begun.
  bool forget_task();

  // The image is closed, `change` changes it, and `open` opens what the guest sees from now on, as `options`
  // say. Where one of them fails the disk is opened as it was; where even that fails it answers with errors,
  // and the log says so. REQUIRES: within a task. Blocks.
  using Open = std::function<Result<std::unique_ptr<BlockDevice>>()>;
  Status reopen(const DiskOptions& options, const std::function<Status()>& change, const Open& open);
  Status reopen(const DiskOptions& options, const std::function<Status()>& change);

  // An image that was merged into the one below it, and emptied: it shows what that holds, whoever opens it,
  // and has to stay as long as that is.
  struct Emptied {
    std::string path;
    std::string base;
  };
  void note_emptied(const Emptied& image);
  const std::vector<Emptied>& emptied() const { return emptied_; }

  // nullptr: nobody, which may be set at any time. REQUIRES: within a task.
  void set_watcher(Watcher* watcher) { watcher_ = watcher; }
  // A write that may touch the range is under way. REQUIRES: somebody watches.
  bool has_write_in(const ByteRange& range) const;

  std::vector<DiskLayer> layers() const override { return disk_->layers(); }
  // Any thread, as ever: while the image is exchanged it is what it was.
  uint64_t size_bytes() const override { return size_bytes_; }
  bool is_read_only() const override { return is_read_only_; }
  BlockLimits limits() const override { return limits_; }
  void submit(BlockRequest request) override;
  bool can_accept() const override { return waiting_.size() < kRequestsInFlight && disk_->can_accept(); }
  uint32_t in_flight() const override;
  void drop_waiting() override { disk_->drop_waiting(); }

 private:
  // A write that is watched.
  struct Slot {
    LiveDisk* disk = nullptr;
    Slot* next_free = nullptr;
    BlockRequest request;  // but for its completion, which comes in the end
    Completion completion;
    uint32_t under_way = 0;
    IoStatus status = IoStatus::kOk;
  };

  bool poll() override;
  bool must_wait(const BlockRequest& request);
  void pass_on(BlockRequest request);
  void start_watched(BlockRequest request);
  static void image_done(void* context, uint64_t cookie, IoStatus status);
  static void mirror_done(void* context, uint64_t cookie, IoStatus status);
  void part_done(Slot& slot);
  bool let_waiting_go();
  bool is_quiet() const;
  bool hold_on();
  void flush();
  static void flush_done(void* context, uint64_t cookie, IoStatus status);
  void run_task();
  Result<std::unique_ptr<BlockDevice>> open_patiently(const Open& open) const;

  EventLoop& loop_;
  std::unique_ptr<BlockDevice> disk_;
  DiskOptions options_;
  const bool is_read_only_;
  const BlockLimits limits_;
  std::atomic<uint64_t> size_bytes_;

  std::vector<Emptied> emptied_;  // the last kMostEmptied
  Watcher* watcher_ = nullptr;
  std::deque<BlockRequest> waiting_;
  std::vector<std::unique_ptr<Slot>> slots_;
  Slot* free_slots_ = nullptr;
  std::vector<Slot*> active_;

  enum class Hold : uint8_t { kNone, kDraining, kFlushing, kFlushed, kRunning };
  Hold hold_ = Hold::kNone;
  IoStatus flushed_ = IoStatus::kOk;
  uint32_t flushes_ = 0;
  std::function<void(IoStatus)> task_;
};

// What a request changes; empty for one that changes nothing.
ByteRange changed_range(const BlockRequest& request);

}  // namespace vmm::block
