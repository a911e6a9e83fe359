#include "vmm/control/http_request.h"

#include <algorithm>

namespace vmm::control {
namespace {

constexpr int kBadRequest = 400;
constexpr int kHeadTooLong = 431;
constexpr int kVersionNotSupported = 505;

// RFC 9110, section 5.6.2.
bool is_token(std::string_view text) {
  static constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [](char each) {
    return (each >= 'a' && each <= 'z') || (each >= 'A' && each <= 'Z') || (each >= '0' && each <= '9') ||
           kMarks.find(each) != std::string_view::npos;
  });
}

bool is_visible(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char each) { return each > ' ' && each < '\x7f'; });
}

bool is_host(std::string_view name) {
  constexpr std::string_view kHost = "host";
  return std::ranges::equal(name, kHost, [](char one, char other) {
    return (one >= 'A' && one <= 'Z' ? static_cast<char>(one - 'A' + 'a') : one) == other;
  });
}

}  // namespace

HttpRequestReader::State HttpRequestReader::take(std::string_view bytes) {
  for (const char byte : bytes) {
    if (state_ != State::kReading) {
      break;
    }
    state_ = take_byte(byte);
  }
  return state_;
}

HttpRequestReader::State HttpRequestReader::refuse(int status) {
  status_ = status;
  return State::kWrong;
}

HttpRequestReader::State HttpRequestReader::take_byte(char byte) {
  if (++bytes_ > kMaxHeadBytes) {
    return refuse(kHeadTooLong);
  }
  if (byte == '\0') {
    return refuse(kBadRequest);
  }
  if (byte != '\n') {
    line_.push_back(byte);
    return State::kReading;
  }
  if (line_.ends_with('\r')) {
    line_.pop_back();
  }
  const State state = take_line();
  line_.clear();
  return state;
}

HttpRequestReader::State HttpRequestReader::take_line() {
  if (method_.empty()) {
    // Section 2.2: empty lines before the request line are passed over.
    return line_.empty() ? State::kReading : take_request_line();
  }
  return line_.empty() ? end_of_head() : take_field();
}

HttpRequestReader::State HttpRequestReader::take_request_line() {
  const std::string_view line = line_;
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return refuse(kBadRequest);
  }
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!is_token(method) || !is_visible(target) || !version.starts_with("HTTP/")) {
    return refuse(kBadRequest);
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return refuse(kVersionNotSupported);
  }
  must_have_host_ = version == "HTTP/1.1";
  method_ = method;
  path_ = target.substr(0, target.find('?'));
  return State::kReading;
}

// Section 5: no space before the colon, and no line that goes on with the field before it.
HttpRequestReader::State HttpRequestReader::take_field() {
  const std::string_view line = line_;
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) {
    return refuse(kBadRequest);
  }
  hosts_ += is_host(line.substr(0, colon)) ? 1U : 0U;
  return State::kReading;
}

// Section 3.2.
HttpRequestReader::State HttpRequestReader::end_of_head() {
  if (hosts_ > 1 || (must_have_host_ && hosts_ == 0)) {
    return refuse(kBadRequest);
  }
  return State::kDone;
}

}  // namespace vmm::control
