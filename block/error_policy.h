// ErrorPolicyDevice: what becomes of a request that the host could not do (error_policy=, rerror_policy=).
//
// Threads: as for every BlockDevice; resume() and give_up() too are called on the disk's loop.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "block/block_device.h"

namespace vmm::block {

enum class ErrorPolicy : uint8_t {
  kReport,    // the guest gets the error
  kStop,      // the guest is paused, and the request is tried again when it goes on
  kIgnore,    // the guest is told that all is well
  kEnospace,  // kStop when the host's disk is full, else kReport
};

struct ErrorPolicies {
  ErrorPolicy write = ErrorPolicy::kReport;  // for flush, discard and write-zeroes too
  ErrorPolicy read = ErrorPolicy::kReport;
};

// Only kIoError and kNoSpace are the host's: what the guest asked for wrongly is always reported to it.
class ErrorPolicyDevice final : public BlockDevice {
 public:
  // Called when the first request is held: the owner stops the guest, and later calls resume() or give_up().
  // Not called again until then. May call them itself.
  using OnHeld = std::function<void(IoStatus status)>;

  // Called for each request that the host could not do, before anything is done: kReport, kStop or kIgnore.
  using OnError = std::function<void(BlockOp op, ErrorPolicy action, IoStatus status)>;

  ErrorPolicyDevice(std::unique_ptr<BlockDevice> disk, const ErrorPolicies& policies, OnHeld on_held,
                    OnError on_error = {});
  // REQUIRES: nothing in flight, held requests included.
  ~ErrorPolicyDevice() override;
  ErrorPolicyDevice(const ErrorPolicyDevice&) = delete;
  ErrorPolicyDevice& operator=(const ErrorPolicyDevice&) = delete;

  // Submits the held requests again, in the order in which they failed.
  void resume();
  // Completes them with the errors that they had: before a reset of the guest, or the end of the run.
  void give_up();
  bool is_holding() const { return !held_.empty(); }
  void drop_waiting() override;

  uint64_t size_bytes() const override { return disk_->size_bytes(); }
  bool is_read_only() const override { return disk_->is_read_only(); }
  BlockLimits limits() const override { return disk_->limits(); }
  void submit(BlockRequest request) override;
  bool can_accept() const override { return free_slots_ != nullptr && disk_->can_accept(); }
  std::vector<DiskLayer> layers() const override { return disk_->layers(); }
  // With what the disk does of its own accord.
  uint32_t in_flight() const override { return std::max(in_flight_, disk_->in_flight()); }

 private:
  struct Slot {
    ErrorPolicyDevice* device = nullptr;
    Slot* next_free = nullptr;
    BlockRequest request;  // kept whole, to be submitted again
    IoStatus status = IoStatus::kOk;
  };

  static void slot_done(void* context, uint64_t cookie, IoStatus status);
  void pass_on(Slot& slot);
  void finish(Slot& slot, IoStatus status);
  void hold(Slot& slot, IoStatus status);
  ErrorPolicy action_for(BlockOp op, IoStatus status) const;

  // Constant after construction.
  std::unique_ptr<BlockDevice> disk_;
  ErrorPolicies policies_;
  OnHeld on_held_;
  OnError on_error_;

  std::vector<Slot> slots_;
  Slot* free_slots_ = nullptr;
  std::vector<Slot*> held_;
  uint32_t in_flight_ = 0;
};

// The disk itself where both policies are kReport.
std::unique_ptr<BlockDevice> with_error_policies(std::unique_ptr<BlockDevice> disk,
                                                 const ErrorPolicies& policies,
                                                 ErrorPolicyDevice::OnHeld on_held);

}  // namespace vmm::block
