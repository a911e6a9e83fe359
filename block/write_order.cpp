#include "block/write_order.h"

namespace vmm::block {

bool WriteOrder::has_conflict(const FileRequest& request, const RequestList& list) const {
  for (const FileRequest* other = list.front(); other != nullptr; other = other->next) {
    if ((request.is_alone || other->is_alone) && request.ordered_range.overlaps(other->ordered_range)) {
      return true;
    }
  }
  return false;
}

bool WriteOrder::admit(FileRequest& request) {
  request.is_ordered = true;
  alone_count_ += request.is_alone ? 1U : 0U;
  if (alone_count_ > 0 && (has_conflict(request, admitted_) || has_conflict(request, waiting_))) {
    waiting_.push_back(request);
    return false;
  }
  admitted_.push_back(request);
  return true;
}

void WriteOrder::leave(FileRequest& request) {
  admitted_.remove(request);
  request.is_ordered = false;
  alone_count_ -= request.is_alone ? 1U : 0U;
}

FileRequest* WriteOrder::next_admitted() {
  FileRequest* first = waiting_.front();
  if (first == nullptr || has_conflict(*first, admitted_)) {
    return nullptr;
  }
  waiting_.remove(*first);
  admitted_.push_back(*first);
  return first;
}

}  // namespace vmm::block
