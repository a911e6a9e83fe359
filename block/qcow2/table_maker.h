// TableMaker: gives a part of the disk an L2 table of its own: a new one, or a copy of one shared with a
// snapshot.
//
// Threads: the image's loop only.
#pragma once

#include <cstdint>

#include "block/qcow2/refcounts.h"
#include "block/qcow2/state.h"
#include "block/qcow2/table_cache.h"
#include "block/wait_queue.h"

namespace vmm::block::qcow2 {

class TableMaker {
 public:
  // For l2_cache, whose file is that of the image.
  TableMaker(ImageState& state, Refcounts& refcounts, TableCache& l2_cache);
  TableMaker(const TableMaker&) = delete;
  TableMaker& operator=(const TableMaker&) = delete;

  bool is_own(uint32_t l1_index) const { return (state_.l1[l1_index] & kEntryCopied) != 0; }
  // Makes it, one after the other; the waiter is told when there is something new. REQUIRES:
  // !is_own(l1_index), and the L1 entry is valid.
  void make(uint32_t l1_index, Waiter& waiter);

  bool is_running() const { return is_running_; }

 private:
  struct Request : FileRequest {
    TableMaker* owner = nullptr;
  };
  static void woken(Waiter& waiter, IoStatus status);
  static void request_done(FileRequest& request, IoStatus status);
  void allocate();
  void submit(BlockOp op, uint64_t offset);
  void install();
  void finish(IoStatus status);

  ImageState& state_;
  Refcounts& refcounts_;
  TableCache& l2_cache_;
  bool is_running_ = false;
  uint32_t l1_index_ = 0;
  ClusterRun place_;  // count 0: none yet
  AlignedMemory memory_;
  iovec vector_{};
  Request request_;
  Waiter waiter_;
  WaitQueue waiters_;
};

}  // namespace vmm::block::qcow2
