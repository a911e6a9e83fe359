#include "vmm/control/message_splitter.h"

namespace vmm::control {

void MessageSplitter::take(std::string_view bytes) {
  for (const char byte : bytes) {
    take(byte);
  }
}

void MessageSplitter::take(char byte) {
  if (is_skipping_) {
    is_skipping_ = byte != '\n';
    return;
  }
  if (depth_ == 0) {
    return begin(byte);
  }
  message_.push_back(byte);
  if (is_in_string_) {
    is_in_string_ = is_escaped_ || byte != '"';
    is_escaped_ = !is_escaped_ && byte == '\\';
  } else if (byte == '"') {
    is_in_string_ = true;
  } else if (byte == '{' || byte == '[') {
    if (++depth_ > kMaxDepth) {
      return drop("the message is nested too deeply");
    }
  } else if (byte == '}' || byte == ']') {
    if (--depth_ == 0) {
      const std::string whole = std::move(message_);
      message_.clear();
      return on_message_(whole);
    }
  }
  if (message_.size() >= kMaxMessageBytes) {
    drop("the message is too long");
  }
}

void MessageSplitter::begin(char byte) {
  if (byte == '{') {
    message_.assign(1, byte);
    depth_ = 1;
  } else if (byte != ' ' && byte != '\t' && byte != '\r' && byte != '\n') {
    drop("a message is a JSON object");
  }
}

void MessageSplitter::drop(const char* reason) {
  message_.clear();
  depth_ = 0;
  is_in_string_ = is_escaped_ = false;
  is_skipping_ = true;
  on_garbage_(reason);
}

}  // namespace vmm::control
