// Reclaimer: makes clusters free again whose references are gone from the disk for good.
//
// In this order: the reference is durably gone, transfers that may know it are over, the host gets the space
// back, the refcount goes down, the cluster may be handed out again. Threads: the image's loop only.
#pragma once

#include <cstdint>
#include <vector>

#include "block/qcow2/refcounts.h"
#include "block/qcow2/state.h"
#include "block/wait_queue.h"

namespace vmm::block::qcow2 {

class Reclaimer {
 public:
  Reclaimer(ImageState& state, Refcounts& refcounts, TableCache& l2_cache);
  Reclaimer(const Reclaimer&) = delete;
  Reclaimer& operator=(const Reclaimer&) = delete;

  bool is_idle() const { return runs_.empty(); }
  // A request or a wait of its own is under way.
  bool is_running() const { return is_running_; }
  // Takes the runs over. REQUIRES: is_idle().
  void take(std::vector<ClusterRun>& runs);
  // The transfers of the time before may be over now.
  void try_start();
  // What is left, for the end of the image.
  const std::vector<ClusterRun>& runs() const { return runs_; }

 private:
  struct Request : FileRequest {
    Reclaimer* owner = nullptr;
  };
  static void woken(Waiter& waiter, IoStatus status);
  static void discarded(FileRequest& request, IoStatus status);
  void advance();
  bool step();
  bool release();
  void abandon();

  ImageState& state_;
  Refcounts& refcounts_;
  TableCache& l2_cache_;
  std::vector<ClusterRun> runs_;
  size_t next_ = 0;
  bool is_running_ = false;
  ClusterRun released_;  // goes down now; count 0: nothing
  Request request_;
  Waiter waiter_;
};

}  // namespace vmm::block::qcow2
