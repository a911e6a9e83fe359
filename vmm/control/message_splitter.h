// MessageSplitter: cuts what a client sends into JSON objects (QMP: "JSON values in a stream, with or without
// white space between them").
//
// Bounded: nothing is kept but the object under way, of at most kMaxMessageBytes and kMaxDepth. Threads:
// none.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace vmm::control {

inline constexpr size_t kMaxMessageBytes = size_t{64} << 10U;
inline constexpr unsigned kMaxDepth = 32;

class MessageSplitter {
 public:
  // The text of one object, with double quotes where it had single ones, which QEMU takes too. Its braces
  // match; whether it is JSON is the reader's to find out.
  using OnMessage = std::function<void(std::string_view message)>;
  // What cannot be a message was dropped, to the end of the line.
  using OnGarbage = std::function<void(const char* reason)>;

  MessageSplitter(OnMessage on_message, OnGarbage on_garbage)
      : on_message_(std::move(on_message)), on_garbage_(std::move(on_garbage)) {}

  void take(std::string_view bytes);
  // As far as the first of them that is an object's end, or told as garbage. How many bytes that is; all
  // where there is none.
  size_t take_one(std::string_view bytes);

 private:
  // Has it told something?
  bool take(char byte);
  bool begin(char byte);
  bool take_of_structure(char byte);
  void take_of_string(char byte);
  void drop(const char* reason);

  const OnMessage on_message_;
  const OnGarbage on_garbage_;
  std::string message_;
  unsigned depth_ = 0;
  char quote_ = 0;  // of the string under way
  bool is_escaped_ = false;
  bool is_skipping_ = false;  // to the end of the line
};

}  // namespace vmm::control
