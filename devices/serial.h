// Serial16550: one serial port (National Semiconductor PC16550D, 1995), eight ports wide.
//
// Output: a byte leaves as soon as the sink has room for it; there is no bit rate. While the sink has none,
// bytes wait in the transmitter FIFO and LSR.THRE stays 0, so a guest that looks at it loses nothing; one
// that does not loses what it writes past 16 bytes. How long a sink may hold a guest back is the sink's
// promise (see vmm/console/console.h), never for ever.
//
// Input: receive() takes what fits into the receiver FIFO, so nothing overruns. It takes nothing while the
// guest does not listen: until it enables the receive interrupt or polls LSR three times in a row. What is
// typed ahead or piped in is thus not eaten by the drivers' probing, which clears the FIFO. Nor in loopback
// mode, which disconnects the line.
//
// Simplifications: the character time-out is due at once, not after four character times, whenever the FIFO
// holds less than its trigger level. MCR.OUT2 does not gate the interrupt. The modem is always ready (CTS,
// DSR and DCD on).
//
// Threads: all methods from any thread.
#pragma once

#include <array>
#include <cstdint>

#include "devices/byte_device.h"
#include "vmm/base/thread_annotations.h"
#include "vmm/core/byte_sink.h"
#include "vmm/core/line_driver.h"

namespace vmm {

class Serial16550 final : public ByteDevice, public ByteReceiver {
 public:
  static constexpr uint64_t kPorts = 8;
  static constexpr uint8_t kFifoBytes = 16;

  Serial16550(InterruptLine& line, ByteSink& sink);

  // To the state after power-on; what was not sent yet is lost.
  void reset() VMM_EXCLUDES(mutex_);

  size_t receive(std::span<const std::byte> bytes) override VMM_EXCLUDES(mutex_);
  void receive_break() override VMM_EXCLUDES(mutex_);
  void output_room() override VMM_EXCLUDES(mutex_);

 private:
  // A first-in-first-out store of 16 characters; without FIFO mode it is used to a depth of one.
  struct Fifo {
    struct Character {
      uint8_t value = 0;
      uint8_t errors = 0;  // LSR.BI, FE, PE, which come with the character
    };
    std::array<Character, kFifoBytes> slots{};
    uint8_t first = 0;
    uint8_t count = 0;

    void push(Character character);  // REQUIRES: count < kFifoBytes
    Character pop();                 // REQUIRES: count > 0
    const Character& front() const { return slots[first]; }
    void clear() { first = count = 0; }
  };

  struct Registers {
    uint8_t interrupt_enable = 0;
    uint8_t fifo_control = 0;
    uint8_t line_control = 0;
    uint8_t modem_control = 0;
    uint8_t modem_delta = 0;  // MSR bits 0-3
    uint8_t line_errors = 0;  // LSR.OE, which does not belong to a character
    uint8_t scratch = 0;
    uint16_t divisor = 1;
    bool is_transmitter_interrupt_pending = false;
    bool is_polled = false;  // the guest polls LSR for input
    uint8_t status_reads_in_a_row = 0;
    Fifo receiver;
    Fifo transmitter;
  };

  uint8_t read_byte(uint64_t offset) override VMM_EXCLUDES(mutex_);
  void write_byte(uint64_t offset, uint8_t value) override VMM_EXCLUDES(mutex_);

  uint8_t read_register(uint64_t offset) VMM_REQUIRES(mutex_);
  void write_register(uint64_t offset, uint8_t value) VMM_REQUIRES(mutex_);
  uint8_t read_receiver_buffer() VMM_REQUIRES(mutex_);
  uint8_t read_interrupt_identification() VMM_REQUIRES(mutex_);
  uint8_t read_line_status() VMM_REQUIRES(mutex_);
  uint8_t read_modem_status() VMM_REQUIRES(mutex_);
  void write_transmitter(uint8_t value) VMM_REQUIRES(mutex_);
  void write_interrupt_enable(uint8_t value) VMM_REQUIRES(mutex_);
  void write_fifo_control(uint8_t value) VMM_REQUIRES(mutex_);
  void write_line_control(uint8_t value) VMM_REQUIRES(mutex_);
  void write_modem_control(uint8_t value) VMM_REQUIRES(mutex_);

  bool has_fifo() const VMM_REQUIRES(mutex_);
  bool is_loopback() const VMM_REQUIRES(mutex_);
  uint8_t fifo_depth() const VMM_REQUIRES(mutex_);
  uint8_t modem_lines() const VMM_REQUIRES(mutex_);
  uint8_t line_status() const VMM_REQUIRES(mutex_);
  uint8_t pending_interrupt() const VMM_REQUIRES(mutex_);
  bool takes_input() const VMM_REQUIRES(mutex_);
  void loop_back(Fifo::Character character) VMM_REQUIRES(mutex_);
  void note_transmitter_empty() VMM_REQUIRES(mutex_);
  void request_line() VMM_REQUIRES(mutex_);

  // What an access leaves to do after the mutex is released.
  struct Aftermath {
    bool has_output = false;
    bool has_input_room = false;
  };
  Aftermath take_aftermath() VMM_REQUIRES(mutex_);
  void finish(Aftermath aftermath) VMM_EXCLUDES(mutex_);
  void send_output() VMM_EXCLUDES(mutex_);

  // Constant after construction.
  ByteSink& sink_;

  LineDriver line_;
  Mutex mutex_;
  Registers registers_ VMM_GUARDED_BY(mutex_);
  bool is_input_held_ VMM_GUARDED_BY(mutex_) = false;      // the console waits for input_room()
  bool is_sending_ VMM_GUARDED_BY(mutex_) = false;         // a thread is in send_output()
  bool is_room_reported_ VMM_GUARDED_BY(mutex_) = false;   // output_room() came meanwhile
  bool is_output_blocked_ VMM_GUARDED_BY(mutex_) = false;  // the sink was full; output_room() will come
};

}  // namespace vmm
