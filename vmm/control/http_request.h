// HttpRequestReader: the head of one HTTP request (RFC 9112), read as it comes.
//
// Bounded: at most kMaxHeadBytes are looked at. Of header fields only their form and Host matter; a body is
// not read. Threads: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace vmm::control {

class HttpRequestReader {
 public:
  static constexpr size_t kMaxHeadBytes = size_t{8} << 10U;

  enum class State : uint8_t { kReading, kDone, kWrong };

  // What comes behind the end is not looked at.
  State take(std::string_view bytes);
  State state() const { return state_; }

  // With kDone. "/metrics", without what stands behind a question mark.
  const std::string& method() const { return method_; }
  const std::string& path() const { return path_; }
  // With kWrong: the status that says why: 400, 431 or 505.
  int status() const { return status_; }

 private:
  State take_byte(char byte);
  State take_line();
  State take_request_line();
  State take_field();
  State end_of_head();
  State refuse(int status);

  State state_ = State::kReading;
  int status_ = 0;
  size_t bytes_ = 0;
  std::string line_;
  std::string method_;
  std::string path_;
  bool must_have_host_ = false;  // HTTP/1.1
  unsigned hosts_ = 0;
};

}  // namespace vmm::control
