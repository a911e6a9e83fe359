// Session: one client's conversation, from the greeting to the last reply, without its socket.
//
// Bytes come in and go out in whatever pieces they like; requests are done side by side and answered as they
// are done. What a client can make it hold is bounded: requests, bytes of their data, replies that are not
// read. Past a bound the session wants no more input, and its owner reads none. What breaks the protocol ends
// it (fault()).
//
// Threads: the disk's loop. The session must outlive its requests (in_flight()).
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "block/block_device.h"
#include "block/nbd/block_status.h"
#include "block/nbd/buffer_pool.h"
#include "block/nbd/export.h"
#include "block/nbd/handshake.h"
#include "block/nbd/protocol.h"
#include "block/wait_queue.h"

namespace vmm::block::nbd {

// Of one client, from the request's arrival until its reply has been sent.
inline constexpr size_t kMaxRequests = 128;

class Session {
 public:
  // The export outlives it.
  explicit Session(const Export& exported);
  // REQUIRES: nothing in flight.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Where the next bytes from the client go, in this order; empty: none are wanted now.
  std::span<const iovec> input_space();
  // So many bytes have been put there. REQUIRES: nothing else was called since input_space().
  void received(size_t bytes);
  // The client sends no more.
  void end_of_input();
  // Goes on with what had to wait; to be called when requests, of whatever client, have ended.
  void go_on();

  // What is to be sent; valid until anything else is called.
  std::span<const iovec> output();
  void sent(size_t bytes);
  bool has_output() const { return !text_.empty() || first_reply_ != nullptr; }

  // No more requests are taken.
  void stop();
  // Nothing more will come of it.
  bool is_over() const { return state_ == State::kEnded && in_flight_ == 0 && !has_output(); }

  // Whether the disk has got requests since the last call.
  bool take_submitted() { return std::exchange(has_submitted_, false); }
  // Requests that the disk has.
  uint32_t in_flight() const { return in_flight_; }
  bool is_in_handshake() const { return state_ == State::kFlags || state_ == State::kOptions; }
  // Has got as far as an export.
  bool has_chosen() const { return has_chosen_; }
  // How the client broke the protocol, for the log; nullptr: it did not.
  const char* fault() const { return fault_; }

 private:
  enum class State : uint8_t { kFlags, kOptions, kTransmission, kEnded };
  static constexpr size_t kInputBytes = size_t{128} << 10U;
  static_assert(kInputBytes > kMaxOptionBytes + kOptionHeaderBytes);
  static constexpr size_t kMaxHeadBytes = kChunkHeaderBytes + sizeof(uint64_t);

  // A request, and then its reply.
  struct Slot {
    Session* session = nullptr;
    Slot* next = nullptr;
    Request request;
    Error error = Error::kNone;
    BufferPool::Buffer buffer;
    iovec data{};
    bool flushes_after = false;
    BlockStatus block_status;
    Waiter waiter;
    // The reply: these bytes, then so many of the buffer.
    std::array<std::byte, kMaxHeadBytes> head{};
    size_t head_bytes = 0;
    size_t payload_bytes = 0;
  };

  std::span<const std::byte> input() const;
  void consume(size_t bytes) { input_begin_ += bytes; }
  void fail(const char* fault);
  void end();

  bool step();
  bool take_flags();
  bool take_option();
  bool follow(Handshake::Next next, const char* fault);
  bool take_request();
  Error judge(const Request& request) const;
  bool begin(const Request& request);

  bool take_payload();
  void start(Slot& slot);
  void submit(Slot& slot, BlockOp op);
  static void request_done(void* context, uint64_t cookie, IoStatus status);
  void disk_done(Slot& slot, IoStatus status);
  static void woken(Waiter& waiter, IoStatus status);
  void ask_for_status(Slot& slot);

  void reply(Slot& slot);
  void queue(Slot& slot);
  static void put_error(Slot& slot);
  void append_output(Slot& slot, size_t skip);
  Slot* take_slot();
  void release(Slot& slot);

  // Constant after construction.
  const Export& export_;
  const uint64_t size_bytes_;
  const bool is_read_only_;
  const uint16_t offered_;  // transmission flags

  State state_ = State::kFlags;
  Handshake handshake_;
  bool has_chosen_ = false;
  bool has_to_wait_ = false;
  const char* fault_ = nullptr;

  std::unique_ptr<std::byte[]> input_memory_;
  size_t input_begin_ = 0;
  size_t input_end_ = 0;
  std::array<iovec, 2> input_space_{};

  // The write whose data come in: so many are there.
  Slot* writing_ = nullptr;
  size_t written_ = 0;

  BufferPool buffers_;
  std::vector<Slot> slots_;
  Slot* free_slots_ = nullptr;
  uint32_t in_flight_ = 0;
  bool has_submitted_ = false;

  // The handshake's answers, then replies in their order.
  std::vector<std::byte> text_;
  Slot* first_reply_ = nullptr;
  Slot* last_reply_ = nullptr;
  size_t sent_of_first_ = 0;
  std::vector<iovec> output_;
};

}  // namespace vmm::block::nbd
