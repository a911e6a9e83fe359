// WaitQueue: those who wait for one thing, and are told when it came. No allocation; threads: its owner's.
#pragma once

#include <utility>

#include "block/block_device.h"

namespace vmm::block {

// In one queue at most. Told once, then free to wait again, from within wake() too.
struct Waiter {
  using Wake = void (*)(Waiter& waiter, IoStatus status);
  Wake wake = nullptr;
  void* context = nullptr;
  Waiter* next = nullptr;
};

class WaitQueue {
 public:
  bool empty() const { return head_ == nullptr; }

  void push(Waiter& waiter) {
    waiter.next = nullptr;
    (head_ == nullptr ? head_ : tail_->next) = &waiter;
    tail_ = &waiter;
  }

  Waiter* pop() {
    Waiter* first = head_;
    if (first != nullptr) {
      head_ = std::exchange(first->next, nullptr);
    }
    return first;
  }

  // Takes over all who wait in `other`, behind those who wait here.
  void append(WaitQueue& other) {
    while (Waiter* waiter = other.pop()) {
      push(*waiter);
    }
  }

  // Tells all who wait now; those who come meanwhile wait for the next time.
  void wake_all(IoStatus status) {
    WaitQueue woken;
    woken.head_ = std::exchange(head_, nullptr);
    woken.tail_ = tail_;
    while (Waiter* waiter = woken.pop()) {
      waiter->wake(*waiter, status);
    }
  }

 private:
  Waiter* head_ = nullptr;
  Waiter* tail_ = nullptr;  // valid while head_ is not nullptr
};

}  // namespace vmm::block
