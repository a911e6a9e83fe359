#include "vmm/control/message_splitter.h"

namespace vmm::control {

void MessageSplitter::take(std::string_view bytes) {
  for (const char byte : bytes) {
    take(byte);
  }
}

size_t MessageSplitter::take_one(std::string_view bytes) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (take(bytes[i])) {
      return i + 1;
    }
  }
  return bytes.size();
}

bool MessageSplitter::take(char byte) {
  if (is_skipping_) {
    is_skipping_ = byte != '\n';
    return false;
  }
  if (depth_ == 0) {
    return begin(byte);
  }
  if (quote_ != 0) {
    take_of_string(byte);
  } else if (take_of_structure(byte)) {
    return true;
  }
  if (message_.size() < kMaxMessageBytes) {
    return false;
  }
  drop("the message is too long");
  return true;
}

bool MessageSplitter::take_of_structure(char byte) {
  if (byte == '"' || byte == '\'') {
    quote_ = byte;
    byte = '"';
  }
  message_.push_back(byte);
  if (byte == '{' || byte == '[') {
    if (++depth_ > kMaxDepth) {
      drop("the message is nested too deeply");
      return true;
    }
  } else if (byte == '}' || byte == ']') {
    if (--depth_ == 0) {
      const std::string whole = std::move(message_);
      message_.clear();
      on_message_(whole);
      return true;
    }
  }
  return false;
}

// In double quotes a single one needs no backslash, and may have none.
void MessageSplitter::take_of_string(char byte) {
  if (is_escaped_) {
    is_escaped_ = false;
    if (byte == '\'') {
      message_.back() = byte;
    } else {
      message_.push_back(byte);
    }
  } else if (byte == quote_) {
    quote_ = 0;
    message_.push_back('"');
  } else {
    if (byte == '"') {
      message_.push_back('\\');
    }
    is_escaped_ = byte == '\\';
    message_.push_back(byte);
  }
}

bool MessageSplitter::begin(char byte) {
  if (byte == '{') {
    message_.assign(1, byte);
    depth_ = 1;
    return false;
  }
  if (byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n') {
    return false;
  }
  drop("a message is a JSON object");
  return true;
}

void MessageSplitter::drop(const char* reason) {
  message_.clear();
  depth_ = 0;
  quote_ = 0;
  is_escaped_ = false;
  is_skipping_ = true;
  on_garbage_(reason);
}

}  // namespace vmm::control
