// WriteOrder: which writes may be under way together.
//
// A write of part of a block reads the block and writes it back: meanwhile no other write may touch that
// block. Such a write is alone in its range; it waits for those that overlap it, and later ones wait for it.
// Writes that are not alone may overlap each other, as on any disk. Threads: its owner's.
#pragma once

#include <cstdint>

#include "block/file_request.h"

namespace vmm::block {

class WriteOrder {
 public:
  // The write wants to start: request.ordered_range and request.is_alone are set. False: it is kept here, and
  // comes out of next_admitted() later.
  bool admit(FileRequest& request);

  // The write is over. REQUIRES: admitted.
  void leave(FileRequest& request);

  // A write that may start now, in the order of their coming; nullptr if there is none.
  FileRequest* next_admitted();

 private:
  bool has_conflict(const FileRequest& request, const RequestList& list) const;

  RequestList admitted_;
  RequestList waiting_;
  uint32_t alone_count_ = 0;  // in both lists
};

}  // namespace vmm::block
