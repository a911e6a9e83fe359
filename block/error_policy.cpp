#include "block/error_policy.h"

#include <utility>

#include "vmm/base/check.h"

namespace vmm::block {
ErrorPolicyDevice::ErrorPolicyDevice(std::unique_ptr<BlockDevice> disk, const ErrorPolicies& policies,
                                     OnHeld on_held, OnError on_error)
    : disk_(std::move(disk)),
      policies_(policies),
      on_held_(std::move(on_held)),
      on_error_(std::move(on_error)),
      slots_(kRequestsInFlight) {
  held_.reserve(kRequestsInFlight);
  for (Slot& slot : slots_) {
    slot.device = this;
    slot.next_free = std::exchange(free_slots_, &slot);
  }
}

ErrorPolicyDevice::~ErrorPolicyDevice() {
  VMM_CHECK(in_flight_ == 0, "a disk was closed with requests in flight");
}

void ErrorPolicyDevice::submit(BlockRequest request) {
  VMM_CHECK(free_slots_ != nullptr, "a disk was given a request that it cannot accept");
  Slot& slot = *std::exchange(free_slots_, free_slots_->next_free);
  ++in_flight_;
  slot.request = std::move(request);
  pass_on(slot);
}

void ErrorPolicyDevice::pass_on(Slot& slot) {
  BlockRequest copy;
  copy.op = slot.request.op;
  copy.offset = slot.request.offset;
  copy.length_bytes = slot.request.length_bytes;
  copy.buffers = slot.request.buffers;
  copy.may_unmap = slot.request.may_unmap;
  copy.force_unit_access = slot.request.force_unit_access;
  copy.completion = Completion(slot_done, &slot, 0);
  disk_->submit(std::move(copy));
}

void ErrorPolicyDevice::slot_done(void* context, uint64_t /*cookie*/, IoStatus status) {
  auto& slot = *static_cast<Slot*>(context);
  ErrorPolicyDevice& device = *slot.device;
  if (status != IoStatus::kIoError && status != IoStatus::kNoSpace) {
    device.finish(slot, status);
    return;
  }
  const ErrorPolicy action = device.action_for(slot.request.op, status);
  if (device.on_error_) {
    device.on_error_(slot.request.op, action, status);
  }
  if (action == ErrorPolicy::kStop) {
    device.hold(slot, status);
  } else {
    device.finish(slot, action == ErrorPolicy::kIgnore ? IoStatus::kOk : status);
  }
}

void ErrorPolicyDevice::finish(Slot& slot, IoStatus status) {
  Completion completion = std::move(slot.request.completion);
  slot.next_free = std::exchange(free_slots_, &slot);
  --in_flight_;
  completion.finish(status);
}

void ErrorPolicyDevice::hold(Slot& slot, IoStatus status) {
  slot.status = status;
  held_.push_back(&slot);
  if (held_.size() == 1 && on_held_) {
    on_held_(status);
  }
}

// Those that fail again are held again, in a list of their own.
void ErrorPolicyDevice::resume() {
  const std::vector<Slot*> again = std::exchange(held_, {});
  for (Slot* slot : again) {
    pass_on(*slot);
  }
}

void ErrorPolicyDevice::give_up() {
  const std::vector<Slot*> given_up = std::exchange(held_, {});
  for (Slot* slot : given_up) {
    finish(*slot, slot->status);
  }
}

void ErrorPolicyDevice::drop_waiting() {
  disk_->drop_waiting();
  give_up();  // what ends there with an error, too
}

ErrorPolicy ErrorPolicyDevice::action_for(BlockOp op, IoStatus status) const {
  const ErrorPolicy policy = op == BlockOp::kRead ? policies_.read : policies_.write;
  if (policy != ErrorPolicy::kEnospace) {
    return policy;
  }
  return status == IoStatus::kNoSpace ? ErrorPolicy::kStop : ErrorPolicy::kReport;
}

std::unique_ptr<BlockDevice> with_error_policies(std::unique_ptr<BlockDevice> disk,
                                                 const ErrorPolicies& policies,
                                                 ErrorPolicyDevice::OnHeld on_held) {
  if (policies.write == ErrorPolicy::kReport && policies.read == ErrorPolicy::kReport) {
    return disk;
  }
  return std::make_unique<ErrorPolicyDevice>(std::move(disk), policies, std::move(on_held));
}

}  // namespace vmm::block
