// Session: replies, made and sent.
#include <algorithm>
#include <utility>

#include "block/nbd/session.h"

namespace vmm::block::nbd {

void Session::reply(Slot& slot) {
  const Request& request = slot.request;
  const auto command = static_cast<Command>(request.command);
  const bool is_structured =
      handshake_.has_structured_replies() && (command == Command::kRead || command == Command::kBlockStatus);
  if (!is_structured) {
    put_simple_reply(slot.head.data(), slot.error, request.cookie);
    slot.head_bytes = kSimpleReplyBytes;
    slot.payload_bytes = command == Command::kRead && slot.error == Error::kNone ? request.length : 0;
  } else if (slot.error != Error::kNone) {
    put_error(slot);
  } else if (command == Command::kBlockStatus) {
    slot.payload_bytes = slot.block_status.bytes();
    put_chunk_header(slot.head.data(), Chunk::kBlockStatus, request.cookie,
                     static_cast<uint32_t>(slot.payload_bytes));
    slot.head_bytes = kChunkHeaderBytes;
  } else if (request.length == 0) {
    put_chunk_header(slot.head.data(), Chunk::kNone, request.cookie, 0);
    slot.head_bytes = kChunkHeaderBytes;
  } else {
    put_chunk_header(slot.head.data(), Chunk::kOffsetData, request.cookie,
                     static_cast<uint32_t>(sizeof request.offset) + request.length);
    store_be(slot.head.data() + kChunkHeaderBytes, request.offset);
    slot.head_bytes = kChunkHeaderBytes + sizeof request.offset;
    slot.payload_bytes = request.length;
  }
  queue(slot);
}

// Without a text: the number tells it all.
void Session::put_error(Slot& slot) {
  constexpr uint32_t kLength = sizeof(uint32_t) + sizeof(uint16_t);
  put_chunk_header(slot.head.data(), Chunk::kError, slot.request.cookie, kLength);
  store_be(slot.head.data() + kChunkHeaderBytes, static_cast<uint32_t>(slot.error));
  store_be(slot.head.data() + kChunkHeaderBytes + sizeof(uint32_t), uint16_t{0});
  slot.head_bytes = kChunkHeaderBytes + kLength;
}

void Session::queue(Slot& slot) {
  if (fault_ != nullptr) {
    release(slot);
    return;
  }
  slot.next = nullptr;
  (first_reply_ == nullptr ? first_reply_ : last_reply_->next) = &slot;
  last_reply_ = &slot;
}

std::span<const iovec> Session::output() {
  output_.clear();
  if (!text_.empty()) {
    output_.push_back({.iov_base = text_.data(), .iov_len = text_.size()});
  }
  size_t skip = sent_of_first_;
  for (Slot* slot = first_reply_; slot != nullptr; slot = slot->next) {
    append_output(*slot, std::exchange(skip, 0));
  }
  return output_;
}

void Session::append_output(Slot& slot, size_t skip) {
  if (skip < slot.head_bytes) {
    output_.push_back({.iov_base = slot.head.data() + skip, .iov_len = slot.head_bytes - skip});
  }
  const size_t skipped = std::max(skip, slot.head_bytes) - slot.head_bytes;
  if (skipped < slot.payload_bytes) {
    output_.push_back(
        {.iov_base = slot.buffer.memory.get() + skipped, .iov_len = slot.payload_bytes - skipped});
  }
}

void Session::sent(size_t bytes) {
  const size_t of_text = std::min(bytes, text_.size());
  text_.erase(text_.begin(), text_.begin() + static_cast<ptrdiff_t>(of_text));
  sent_of_first_ += bytes - of_text;
  while (first_reply_ != nullptr &&
         sent_of_first_ >= first_reply_->head_bytes + first_reply_->payload_bytes) {
    sent_of_first_ -= first_reply_->head_bytes + first_reply_->payload_bytes;
    release(*std::exchange(first_reply_, first_reply_->next));
  }
}

}  // namespace vmm::block::nbd
