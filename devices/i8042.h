// I8042: the PC's keyboard controller and the keyboard behind it (IBM PS/2 Hardware Interface Technical
// Reference, "Keyboard and Auxiliary Device Controller"); no auxiliary device.
//
// The controller starts as firmware leaves it: keyboard interrupt and translation on. A20 is stored, not
// acted upon.
//
// Threads: all methods from any thread; on_reset comes on the thread of the vCPU that wrote.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>

#include "devices/byte_device.h"
#include "vmm/base/thread_annotations.h"
#include "vmm/core/line_driver.h"

namespace vmm {

class I8042 {
 public:
  I8042(InterruptLine& keyboard_line, std::function<void()> on_reset);

  BusDevice& data_port() { return data_port_; }        // at layout::kI8042Data, one port
  BusDevice& command_port() { return command_port_; }  // at layout::kI8042Command, one port

  void reset() VMM_EXCLUDES(mutex_);

  // Scan codes of set 1, as the controller passes them to the guest after translation. Takes all or nothing:
  // false where the keyboard's buffer has no room or the guest has disabled scanning.
  bool press_keys(std::span<const uint8_t> scan_codes) VMM_EXCLUDES(mutex_);

 private:
  static constexpr uint8_t kQueueBytes = 16;

  // Bytes on their way to the output buffer.
  struct Queue {
    std::array<uint8_t, kQueueBytes> slots{};
    uint8_t first = 0;
    uint8_t count = 0;
    void push(uint8_t value);  // when full, value is lost
    uint8_t pop();             // REQUIRES: count > 0
  };

  struct Registers {
    uint8_t status_flags = 0;  // SYS and CMD; OBF and the rest are made from the below
    uint8_t command_byte = 0;  // the controller's configuration, RAM byte 0
    std::array<uint8_t, 32> ram{};
    uint8_t output_port = 0;
    uint8_t output_buffer = 0;
    bool is_output_full = false;
    uint8_t pending_command = 0;  // a controller command that waits for its data byte, or 0
    uint8_t pending_keyboard_command = 0;
    uint8_t scan_code_set = 2;
    uint8_t last_reply = 0;
    bool is_scanning = true;
    Queue controller;  // the controller's own replies go first
    Queue keyboard;
  };

  uint8_t read_data(uint64_t offset) VMM_EXCLUDES(mutex_);
  void write_data(uint64_t offset, uint8_t value) VMM_EXCLUDES(mutex_);
  uint8_t read_status(uint64_t offset) VMM_EXCLUDES(mutex_);
  void write_command(uint64_t offset, uint8_t value) VMM_EXCLUDES(mutex_);

  // These return true where the guest asked for a reset.
  bool execute_command(uint8_t command) VMM_REQUIRES(mutex_);
  bool finish_command(uint8_t command, uint8_t value) VMM_REQUIRES(mutex_);
  bool write_output_port(uint8_t value) VMM_REQUIRES(mutex_);

  void send_to_keyboard(uint8_t value) VMM_REQUIRES(mutex_);
  void finish_keyboard_command(uint8_t command, uint8_t value) VMM_REQUIRES(mutex_);
  void reply(uint8_t value) VMM_REQUIRES(mutex_);
  uint8_t translated(uint8_t plain, uint8_t translated_value) const VMM_REQUIRES(mutex_);
  void reset_keyboard() VMM_REQUIRES(mutex_);
  void fill_output_buffer() VMM_REQUIRES(mutex_);
  void request_line() VMM_REQUIRES(mutex_);
  void power_on() VMM_REQUIRES(mutex_);

  // Constant after construction.
  const std::function<void()> on_reset_;
  ByteWindow<I8042, &I8042::read_data, &I8042::write_data> data_port_{*this};
  ByteWindow<I8042, &I8042::read_status, &I8042::write_command> command_port_{*this};

  LineDriver line_;
  Mutex mutex_;
  Registers registers_ VMM_GUARDED_BY(mutex_);
};

}  // namespace vmm
