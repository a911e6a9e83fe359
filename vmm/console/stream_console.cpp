#include "vmm/console/stream_console.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

namespace vmm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kFlushDelay(2);
constexpr milliseconds kFlushAtEnd(500);
// A guest that writes all the time must not keep the loop from its other business.
constexpr int kWritesPerTurn = 4;

bool is_about_space(int error_number) { return error_number == ENOSPC || error_number == EDQUOT; }

}  // namespace

Status StreamConsole::start() {
  VMM_ASSIGN_OR_RETURN(wake_, EventFd::create());
  // Edge-triggered: each signal is an event, and the counter need not be read.
  VMM_ASSIGN_OR_RETURN(wake_watch_,
                       loop_.watch(wake_->fd(), EPOLLIN | EPOLLET, [this](uint32_t) { on_wake(); }));
  VMM_ASSIGN_OR_RETURN(flush_timer_, loop_.make_timer([this] {
    output_buffer_.begin_flush();
    flush_output();
  }));
  VMM_ASSIGN_OR_RETURN(stall_timer_, loop_.make_timer([this] { on_stall(); }));
  VMM_ASSIGN_OR_RETURN(space_timer_, loop_.make_timer([this] { try_for_space(); }));
  output_buffer_.set_policy(OutputBuffer::Policy::kDropAll);
  return {};
}

void StreamConsole::attach(std::optional<StreamEnd> input, std::optional<StreamEnd> output) {
  input_ = std::move(input);
  output_ = std::move(output);
  is_input_pollable_ = true;
  if (output_) {
    set_policy(policy_of_reader());
  }
  input_room();  // begins to read at the loop's next turn
}

void StreamConsole::detach() {
  input_watch_.reset();
  output_watch_.reset();
  input_.reset();
  output_.reset();
  stall_timer_.disarm();
  is_stall_timed_ = false;
  space_timer_.disarm();
  is_space_timed_ = is_without_space_ = false;
  set_policy(OutputBuffer::Policy::kDropAll);
}

void StreamConsole::connect(ByteReceiver& receiver) {
  receiver_ = &receiver;
  input_room();
}

// Output.

size_t StreamConsole::write(std::span<const std::byte> bytes) {
  const OutputBuffer::Appended appended = output_buffer_.append(bytes);
  switch (appended.wake) {
    case OutputBuffer::Wake::kNot:
      break;
    case OutputBuffer::Wake::kSoon:
      flush_timer_.arm(kFlushDelay);
      break;
    case OutputBuffer::Wake::kNow:
      wake_->signal();
      break;
  }
  return appended.taken_bytes;
}

size_t StreamConsole::room_for(size_t bytes) {
  const size_t room = output_buffer_.room_for(bytes);
  if (room < bytes) {
    wake_->signal();
  }
  return room;
}

void StreamConsole::on_wake() {
  if (output_buffer_.begin_flush()) {
    flush_timer_.disarm();
  }
  flush_output();
  if (has_input_room_.exchange(false)) {
    continue_input();
  }
}

void StreamConsole::flush_output() {
  if (is_space_timed_) {
    return;
  }
  if (output_watch_) {
    // Its reader is waited for; a producer that has begun to wait starts the clock.
    output_blocked();
    return;
  }
  for (int i = 0; i < kWritesPerTurn && !output_buffer_.is_empty(); ++i) {
    if (!output_ || !write_out()) {
      return;
    }
  }
  if (!output_buffer_.is_empty()) {
    wake_->signal();
  }
}

// False where no more can be written now.
bool StreamConsole::write_out() {
  const ssize_t written = output_->write(output_buffer_.pending());
  if (written < 0 && errno == EAGAIN) {
    output_blocked();
    return false;
  }
  if (written < 0 && is_about_space(errno)) {
    output_has_no_space(errno);
    return false;
  }
  if (written < 0) {
    output_failed(errno);
    return false;
  }
  note_progress();
  note_written(static_cast<size_t>(written));
  return true;
}

void StreamConsole::note_written(size_t bytes) {
  if (output_buffer_.consume(bytes) && receiver_ != nullptr) {
    receiver_->output_room();
  }
}

void StreamConsole::output_blocked() {
  if (!output_watch_) {
    auto watch = loop_.watch(output_->fd(), EPOLLOUT, [this](uint32_t) {
      output_watch_.reset();
      flush_output();
    });
    if (!watch) {
      output_failed(EIO);
      return;
    }
    output_watch_ = std::move(*watch);
  }
  if (!is_stall_timed_ && output_buffer_.is_producer_waiting()) {
    is_stall_timed_ = true;
    stall_timer_.arm(stall_time_);
  }
}

// The latest output is lost, and not the guest's time.
void StreamConsole::output_has_no_space(int error_number) {
  if (!is_without_space_ && log_limit_.allows()) {
    log::warning("{}: {}; the guest's output is lost until there is space", name_, errno_text(error_number));
  }
  is_space_timed_ = is_without_space_ = true;
  set_policy(OutputBuffer::Policy::kDropWhenFull);
  space_timer_.arm(space_retry_time_);
}

void StreamConsole::try_for_space() {
  is_space_timed_ = false;
  if (output_buffer_.is_empty()) {
    note_progress();  // flush() has found some
  } else {
    flush_output();
  }
}

void StreamConsole::output_failed(int error_number) {
  // A reader that went away is no fault.
  if (error_number != EPIPE && error_number != ECONNRESET && error_number != EIO && log_limit_.allows()) {
    log::warning("{}: output is lost: {}", name_, errno_text(error_number));
  }
  output_watch_.reset();
  output_.reset();
  set_policy(OutputBuffer::Policy::kDropAll);
  handle_end_of_output();
}

void StreamConsole::note_progress() {
  if (is_stall_timed_) {
    is_stall_timed_ = false;
    stall_timer_.disarm();
  }
  if (output_buffer_.policy() != OutputBuffer::Policy::kDropWhenFull) {
    return;
  }
  set_policy(policy_of_reader());
  const bool was_without_space = std::exchange(is_without_space_, false);
  const uint64_t dropped = output_buffer_.take_dropped_bytes();
  if (was_without_space && log_limit_.allows()) {
    log::warning("{}: there is space again; {} bytes of output were lost meanwhile", name_, dropped);
  } else if (!was_without_space && dropped > 0 && log_limit_.allows()) {
    log::warning("{}: {} bytes of output were dropped while nobody read them", name_, dropped);
  }
}

void StreamConsole::on_stall() {
  is_stall_timed_ = false;
  if (!output_ || !output_watch_) {
    return;
  }
  if (log_limit_.allows()) {
    log::warning("{}: nobody reads the guest's output, it is dropped until somebody does", name_);
  }
  set_policy(OutputBuffer::Policy::kDropWhenFull);
}

void StreamConsole::set_policy(OutputBuffer::Policy policy) {
  if (output_buffer_.set_policy(policy) && receiver_ != nullptr) {
    receiver_->output_room();
  }
}

void StreamConsole::flush() {
  const auto end = steady_clock::now() + kFlushAtEnd;
  output_watch_.reset();
  while (output_ && !output_buffer_.is_empty()) {
    const auto left = std::chrono::ceil<milliseconds>(end - steady_clock::now()).count();
    pollfd ready{.fd = output_->fd(), .events = POLLOUT, .revents = 0};
    if (left <= 0 || ::poll(&ready, 1, static_cast<int>(left)) == 0) {
      return output_blocked();
    }
    const ssize_t written = output_->write(output_buffer_.pending());
    if (written >= 0) {
      note_written(static_cast<size_t>(written));
    } else if (is_about_space(errno)) {
      return output_has_no_space(errno);
    } else if (errno != EAGAIN) {
      return;
    }
  }
}

// Input.

void StreamConsole::input_room() {
  has_input_room_ = true;
  wake_->signal();
}

void StreamConsole::watch_input() {
  if (input_watch_ || !is_input_pollable_) {
    return;
  }
  auto watch = loop_.watch(input_->fd(), EPOLLIN, [this](uint32_t) { read_input(); });
  is_input_pollable_ = watch.has_value();
  if (watch) {
    input_watch_ = std::move(*watch);
  }
}

void StreamConsole::read_input() {
  std::array<std::byte, kInputBytes> bytes{};
  const size_t limit = reads_on() ? bytes.size() : kInputBytes - input_count_;
  const ssize_t count = input_->read(std::span(bytes).first(limit));
  if (count < 0 && errno == EAGAIN) {
    return;
  }
  if (count <= 0) {
    input_watch_.reset();
    input_.reset();
    handle_end_of_input();
    return;
  }
  handle_input(std::span(bytes).first(static_cast<size_t>(count)));
  deliver_input();
}

void StreamConsole::pass_input(std::span<const std::byte> bytes) {
  if (input_first_ > 0) {
    std::copy_n(input_buffer_.begin() + static_cast<ptrdiff_t>(input_first_), input_count_,
                input_buffer_.begin());
    input_first_ = 0;
  }
  const size_t count = std::min(bytes.size(), kInputBytes - input_count_);
  std::copy_n(bytes.begin(), count, input_buffer_.begin() + static_cast<ptrdiff_t>(input_count_));
  input_count_ += count;
}

// At the loop's turn after the guest has made room, and after a source that is always ready was attached.
void StreamConsole::continue_input() {
  deliver_input();
  if (input_ && !is_input_pollable_ && input_count_ == 0 && receiver_ != nullptr) {
    read_input();
  }
}

// Gives the guest what it takes. While it takes none, the source waits (unless reads_on()).
void StreamConsole::deliver_input() {
  if (receiver_ != nullptr && input_count_ > 0) {
    const size_t taken = receiver_->receive(std::span(input_buffer_).subspan(input_first_, input_count_));
    input_first_ += taken;
    input_count_ -= taken;
  }
  if (!input_) {
    return;
  }
  if (input_count_ > 0 && !reads_on()) {
    // Not only its events: an end that has hung up would be told all the time.
    input_watch_.reset();
    return;
  }
  watch_input();
  if (!is_input_pollable_ && input_count_ == 0 && receiver_ != nullptr) {
    input_room();  // one piece in each turn of the loop
  }
}

}  // namespace vmm
