// StreamConsole: what all consoles with descriptors share: the output buffer, the loop's part of writing it
// out, and input with back-pressure. See console.h for the promises.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "vmm/base/log.h"
#include "vmm/console/console.h"
#include "vmm/console/output_buffer.h"
#include "vmm/console/stream_end.h"

namespace vmm {

class StreamConsole : public Console {
 public:
  // How long a reader may read nothing while the guest waits for it.
  static constexpr std::chrono::seconds kStallTime{5};
  // Where the output's file system is full, it is tried again after this time.
  static constexpr std::chrono::seconds kSpaceRetryTime{1};

  size_t write(std::span<const std::byte> bytes) final;
  size_t room_for(size_t bytes) final;
  void input_room() final;
  void connect(ByteReceiver& receiver) final;
  void flush() final;

 protected:
  // name: for the log, as "the console on guest.sock".
  StreamConsole(EventLoop& loop, std::string name) : loop_(loop), name_(std::move(name)) {}

  // Once, before all else. Begins without either end: output is dropped.
  Status start();

  // From now on input comes from and output goes to these ends, either of which may be absent.
  void attach(std::optional<StreamEnd> input, std::optional<StreamEnd> output);
  void detach();
  bool is_attached() const { return input_.has_value() || output_.has_value(); }

  // For tests, which cannot wait for kStallTime and kSpaceRetryTime.
  void set_stall_time(EventLoop::Duration time) { stall_time_ = time; }
  void set_space_retry_time(EventLoop::Duration time) { space_retry_time_ = time; }

  EventLoop& loop() const { return loop_; }
  ByteReceiver* receiver() const { return receiver_; }
  const std::string& name() const { return name_; }

  // What was read. May call pass_input().
  virtual void handle_input(std::span<const std::byte> bytes) { pass_input(bytes); }
  // Input for the guest. What has no room (see reads_on()) is lost.
  void pass_input(std::span<const std::byte> bytes);
  // Is input read on although the guest takes none? Else it waits where it comes from.
  virtual bool reads_on() const { return false; }

  // Is the guest's output held back by a reader that is slow? Else what finds no room is dropped at once.
  virtual bool holds_back() const { return true; }

  // The other side is gone, as reading or writing showed; that end is dropped already, and what was read
  // still goes to the guest. detach() may be called.
  virtual void handle_end_of_input() {}
  virtual void handle_end_of_output() {}

 private:
  static constexpr size_t kInputBytes = 4096;

  void on_wake();
  void flush_output();
  bool write_out();
  void note_written(size_t bytes);
  void output_blocked();
  void output_has_no_space(int error_number);
  void try_for_space();
  void output_failed(int error_number);
  OutputBuffer::Policy policy_of_reader() const {
    return holds_back() ? OutputBuffer::Policy::kHold : OutputBuffer::Policy::kDropWhenFull;
  }
  void note_progress();
  void on_stall();
  void set_policy(OutputBuffer::Policy policy);

  void read_input();
  void continue_input();
  void deliver_input();
  void watch_input();

  // Constant after start().
  EventLoop& loop_;
  const std::string name_;
  std::optional<EventFd> wake_;
  ByteReceiver* receiver_ = nullptr;

  // Any thread.
  OutputBuffer output_buffer_;
  std::atomic<bool> has_input_room_{false};
  EventLoop::Timer flush_timer_;

  // The loop's thread.
  EventLoop::Watch wake_watch_;
  EventLoop::Timer stall_timer_;
  bool is_stall_timed_ = false;
  EventLoop::Duration stall_time_ = kStallTime;
  EventLoop::Timer space_timer_;
  bool is_space_timed_ = false;
  bool is_without_space_ = false;
  EventLoop::Duration space_retry_time_ = kSpaceRetryTime;
  std::optional<StreamEnd> input_;
  std::optional<StreamEnd> output_;
  EventLoop::Watch input_watch_;   // while input is read
  EventLoop::Watch output_watch_;  // while output waits for its reader
  bool is_input_pollable_ = true;  // regular files and some devices are always ready
  std::array<std::byte, kInputBytes> input_buffer_{};
  size_t input_first_ = 0;
  size_t input_count_ = 0;
  log::RateLimit log_limit_;
};

}  // namespace vmm
