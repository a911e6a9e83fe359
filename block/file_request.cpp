#include "block/file_request.h"

namespace vmm::block {

void RequestList::push_back(FileRequest& request) {
  request.next = nullptr;
  request.previous = tail_;
  (tail_ == nullptr ? head_ : tail_->next) = &request;
  tail_ = &request;
}

void RequestList::remove(FileRequest& request) {
  (request.previous == nullptr ? head_ : request.previous->next) = request.next;
  (request.next == nullptr ? tail_ : request.next->previous) = request.previous;
  request.next = nullptr;
  request.previous = nullptr;
}

}  // namespace vmm::block
