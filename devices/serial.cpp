#include "devices/serial.h"

#include <algorithm>
#include <utility>

#include "vmm/base/check.h"

namespace vmm {
namespace {

// Register offsets (PC16550D, table II).
constexpr uint64_t kBuffer = 0;                 // RBR, THR; DLL with DLAB
constexpr uint64_t kInterruptEnable = 1;        // IER; DLM with DLAB
constexpr uint64_t kIdentificationAndFifo = 2;  // IIR, FCR
constexpr uint64_t kLineControl = 3;
constexpr uint64_t kModemControl = 4;
constexpr uint64_t kLineStatus = 5;
constexpr uint64_t kModemStatus = 6;
constexpr uint64_t kScratch = 7;

// IER.
constexpr uint8_t kReceivedData = 0x01;
constexpr uint8_t kTransmitterEmpty = 0x02;
constexpr uint8_t kLineStatusChange = 0x04;
constexpr uint8_t kModemStatusChange = 0x08;
constexpr uint8_t kInterruptEnableMask = 0x0f;

// IIR, in falling order of priority.
constexpr uint8_t kIdLineStatus = 0x06;
constexpr uint8_t kIdReceivedData = 0x04;
constexpr uint8_t kIdCharacterTimeout = 0x0c;
constexpr uint8_t kIdTransmitterEmpty = 0x02;
constexpr uint8_t kIdModemStatus = 0x00;
constexpr uint8_t kIdNone = 0x01;
constexpr uint8_t kIdFifosEnabled = 0xc0;

// FCR.
constexpr uint8_t kFifoEnable = 0x01;
constexpr uint8_t kClearReceiver = 0x02;
constexpr uint8_t kClearTransmitter = 0x04;
constexpr uint8_t kFifoKept = 0xc9;  // the clear bits clear themselves
constexpr std::array<uint8_t, 4> kTriggerLevels = {1, 4, 8, 14};

// LCR.
constexpr uint8_t kSetBreak = 0x40;
constexpr uint8_t kDivisorLatch = 0x80;

// MCR.
constexpr uint8_t kDtr = 0x01;
constexpr uint8_t kRts = 0x02;
constexpr uint8_t kOut1 = 0x04;
constexpr uint8_t kOut2 = 0x08;
constexpr uint8_t kLoop = 0x10;
constexpr uint8_t kModemControlMask = 0x1f;

// LSR.
constexpr uint8_t kDataReady = 0x01;
constexpr uint8_t kOverrun = 0x02;
constexpr uint8_t kBreak = 0x10;
constexpr uint8_t kCharacterErrors = 0x1c;
constexpr uint8_t kThrEmpty = 0x20;
constexpr uint8_t kTransmitterIdle = 0x40;
constexpr uint8_t kFifoError = 0x80;

// MSR: the lines in bits 4 to 7, their changes in bits 0 to 3.
constexpr uint8_t kCts = 0x10;
constexpr uint8_t kDsr = 0x20;
constexpr uint8_t kRing = 0x40;
constexpr uint8_t kCarrier = 0x80;
constexpr uint8_t kRingDelta = 0x04;

constexpr uint8_t kReadsThatPoll = 3;

}  // namespace

void Serial16550::Fifo::push(Character character) {
  slots[(first + count) % kFifoBytes] = character;
  ++count;
}

Serial16550::Fifo::Character Serial16550::Fifo::pop() {
  const Character character = slots[first];
  first = static_cast<uint8_t>((first + 1) % kFifoBytes);
  --count;
  return character;
}

Serial16550::Serial16550(InterruptLine& line, ByteSink& sink) : sink_(sink), line_(line) {}

void Serial16550::reset() {
  Aftermath aftermath;
  {
    const MutexLock lock(mutex_);
    registers_ = Registers{};
    request_line();
    aftermath = take_aftermath();
  }
  finish(aftermath);
}

uint8_t Serial16550::read_byte(uint64_t offset) {
  Aftermath aftermath;
  uint8_t value = 0;
  {
    const MutexLock lock(mutex_);
    value = read_register(offset);
    request_line();
    aftermath = take_aftermath();
  }
  finish(aftermath);
  return value;
}

void Serial16550::write_byte(uint64_t offset, uint8_t value) {
  Aftermath aftermath;
  {
    const MutexLock lock(mutex_);
    write_register(offset, value);
    request_line();
    aftermath = take_aftermath();
  }
  finish(aftermath);
}

uint8_t Serial16550::read_register(uint64_t offset) {
  if (offset != kLineStatus) {
    registers_.status_reads_in_a_row = 0;
  }
  const bool is_divisor = (registers_.line_control & kDivisorLatch) != 0;
  switch (offset) {
    case kBuffer:
      return is_divisor ? static_cast<uint8_t>(registers_.divisor & 0xff) : read_receiver_buffer();
    case kInterruptEnable:
      return is_divisor ? static_cast<uint8_t>(registers_.divisor >> 8) : registers_.interrupt_enable;
    case kIdentificationAndFifo:
      return read_interrupt_identification();
    case kLineControl:
      return registers_.line_control;
    case kModemControl:
      return registers_.modem_control;
    case kLineStatus:
      return read_line_status();
    case kModemStatus:
      return read_modem_status();
    case kScratch:
      return registers_.scratch;
    default:
      return 0xff;
  }
}

void Serial16550::write_register(uint64_t offset, uint8_t value) {
  registers_.status_reads_in_a_row = 0;
  const bool is_divisor = (registers_.line_control & kDivisorLatch) != 0;
  switch (offset) {
    case kBuffer:
      if (is_divisor) {
        registers_.divisor = static_cast<uint16_t>((registers_.divisor & 0xff00) | value);
      } else {
        write_transmitter(value);
      }
      return;
    case kInterruptEnable:
      if (is_divisor) {
        registers_.divisor = static_cast<uint16_t>((registers_.divisor & 0x00ff) | (value << 8));
      } else {
        write_interrupt_enable(value);
      }
      return;
    case kIdentificationAndFifo:
      write_fifo_control(value);
      return;
    case kLineControl:
      write_line_control(value);
      return;
    case kModemControl:
      write_modem_control(value);
      return;
    case kScratch:
      registers_.scratch = value;
      return;
    default:  // the status registers: writing them is for factory tests
      return;
  }
}

bool Serial16550::has_fifo() const { return (registers_.fifo_control & kFifoEnable) != 0; }

bool Serial16550::is_loopback() const { return (registers_.modem_control & kLoop) != 0; }

uint8_t Serial16550::fifo_depth() const { return has_fifo() ? kFifoBytes : 1; }

// In loopback mode the modem control outputs are the modem status inputs (PC16550D, section 8.6).
uint8_t Serial16550::modem_lines() const {
  if (!is_loopback()) {
    return kCts | kDsr | kCarrier;
  }
  const uint8_t control = registers_.modem_control;
  const unsigned lines = ((control & kRts) != 0 ? kCts : 0U) | ((control & kDtr) != 0 ? kDsr : 0U) |
                         ((control & kOut1) != 0 ? kRing : 0U) | ((control & kOut2) != 0 ? kCarrier : 0U);
  return static_cast<uint8_t>(lines);
}

uint8_t Serial16550::read_receiver_buffer() {
  return registers_.receiver.count > 0 ? registers_.receiver.pop().value : 0;
}

// Reading the identification is what acknowledges an empty transmitter, and nothing else.
uint8_t Serial16550::read_interrupt_identification() {
  const uint8_t id = pending_interrupt();
  if (id == kIdTransmitterEmpty) {
    registers_.is_transmitter_interrupt_pending = false;
  }
  return has_fifo() ? id | kIdFifosEnabled : id;
}

uint8_t Serial16550::pending_interrupt() const {
  const uint8_t enabled = registers_.interrupt_enable;
  const Fifo& receiver = registers_.receiver;
  if ((enabled & kLineStatusChange) != 0 && (line_status() & (kOverrun | kCharacterErrors)) != 0) {
    return kIdLineStatus;
  }
  if ((enabled & kReceivedData) != 0 && receiver.count > 0) {
    const uint8_t trigger = has_fifo() ? kTriggerLevels[registers_.fifo_control >> 6] : uint8_t{1};
    return receiver.count >= trigger ? kIdReceivedData : kIdCharacterTimeout;
  }
  if ((enabled & kTransmitterEmpty) != 0 && registers_.is_transmitter_interrupt_pending) {
    return kIdTransmitterEmpty;
  }
  if ((enabled & kModemStatusChange) != 0 && registers_.modem_delta != 0) {
    return kIdModemStatus;
  }
  return kIdNone;
}

uint8_t Serial16550::line_status() const {
  const Fifo& receiver = registers_.receiver;
  unsigned status = registers_.line_errors;
  if (receiver.count > 0) {
    status |= kDataReady | receiver.front().errors;
  }
  if (registers_.transmitter.count == 0) {
    status |= kThrEmpty | kTransmitterIdle;
  }
  bool has_error = false;
  for (uint8_t i = 0; i < receiver.count; ++i) {
    has_error |= receiver.slots[(receiver.first + i) % kFifoBytes].errors != 0;
  }
  return static_cast<uint8_t>(has_error && has_fifo() ? status | kFifoError : status);
}

uint8_t Serial16550::read_line_status() {
  const uint8_t status = line_status();
  registers_.line_errors = 0;
  if (registers_.receiver.count > 0) {
    registers_.receiver.slots[registers_.receiver.first].errors = 0;
  }
  if (registers_.status_reads_in_a_row < kReadsThatPoll) {
    ++registers_.status_reads_in_a_row;
  }
  // Looking at a transmitter that is busy is not polling for input.
  if (registers_.status_reads_in_a_row == kReadsThatPoll && (status & kThrEmpty) != 0) {
    registers_.is_polled = true;
  }
  return status;
}

uint8_t Serial16550::read_modem_status() {
  const auto status = static_cast<uint8_t>(modem_lines() | registers_.modem_delta);
  registers_.modem_delta = 0;
  return status;
}

void Serial16550::write_transmitter(uint8_t value) {
  registers_.is_transmitter_interrupt_pending = false;
  if (is_loopback()) {
    loop_back({.value = value, .errors = 0});
    note_transmitter_empty();
    return;
  }
  if (registers_.transmitter.count < kFifoBytes) {
    registers_.transmitter.push({.value = value, .errors = 0});
  }
}

void Serial16550::note_transmitter_empty() { registers_.is_transmitter_interrupt_pending = true; }

// Enabling the interrupt with an empty transmitter raises it, although nothing was sent.
void Serial16550::write_interrupt_enable(uint8_t value) {
  const bool was_enabled = (registers_.interrupt_enable & kTransmitterEmpty) != 0;
  registers_.interrupt_enable = value & kInterruptEnableMask;
  const bool is_enabled = (value & kTransmitterEmpty) != 0;
  if (is_enabled && !was_enabled && registers_.transmitter.count == 0) {
    registers_.is_transmitter_interrupt_pending = true;
  }
}

void Serial16550::write_fifo_control(uint8_t value) {
  const bool was_enabled = has_fifo();
  const bool is_enabled = (value & kFifoEnable) != 0;
  // Bit 0 must be set for the others to be written; changing it clears both FIFOs.
  const uint8_t effective = is_enabled ? value : uint8_t{0};
  if (was_enabled != is_enabled || (effective & kClearReceiver) != 0) {
    registers_.receiver.clear();
  }
  if ((was_enabled != is_enabled || (effective & kClearTransmitter) != 0) &&
      registers_.transmitter.count > 0) {
    registers_.transmitter.clear();
    note_transmitter_empty();
  }
  registers_.fifo_control = effective & kFifoKept;
  // A driver that sets the port up: what it polled before was its predecessor's business.
  registers_.is_polled = false;
}

void Serial16550::write_line_control(uint8_t value) {
  const bool starts_break = (value & kSetBreak) != 0 && (registers_.line_control & kSetBreak) == 0;
  registers_.line_control = value;
  if (starts_break && is_loopback()) {
    loop_back({.value = 0, .errors = kBreak});
  }
}

void Serial16550::write_modem_control(uint8_t value) {
  const uint8_t before = modem_lines();
  registers_.modem_control = value & kModemControlMask;
  const uint8_t after = modem_lines();
  const unsigned changed = static_cast<unsigned>(before ^ after) >> 4;
  registers_.modem_delta |= static_cast<uint8_t>(changed & ~unsigned{kRingDelta});
  // Of the ring indicator only its end counts (TERI).
  if ((before & kRing) != 0 && (after & kRing) == 0) {
    registers_.modem_delta |= kRingDelta;
  }
}

// An overrun loses the new character in FIFO mode, the old one without (PC16550D, section 8.3).
void Serial16550::loop_back(Fifo::Character character) {
  Fifo& receiver = registers_.receiver;
  if (receiver.count >= fifo_depth()) {
    registers_.line_errors |= kOverrun;
    if (has_fifo()) {
      return;
    }
    receiver.clear();
  }
  receiver.push(character);
}

bool Serial16550::takes_input() const {
  const bool is_listening = (registers_.interrupt_enable & kReceivedData) != 0 || registers_.is_polled;
  return is_listening && !is_loopback() && registers_.receiver.count < fifo_depth();
}

size_t Serial16550::receive(std::span<const std::byte> bytes) {
  size_t taken = 0;
  {
    const MutexLock lock(mutex_);
    while (taken < bytes.size() && takes_input()) {
      registers_.receiver.push({.value = std::to_integer<uint8_t>(bytes[taken]), .errors = 0});
      ++taken;
    }
    is_input_held_ = taken < bytes.size();
    request_line();
  }
  line_.publish();
  return taken;
}

void Serial16550::receive_break() {
  {
    const MutexLock lock(mutex_);
    if (!is_loopback()) {
      loop_back({.value = 0, .errors = kBreak});
    }
    request_line();
  }
  line_.publish();
}

void Serial16550::output_room() {
  Aftermath aftermath;
  {
    const MutexLock lock(mutex_);
    is_output_blocked_ = false;
    is_room_reported_ = is_sending_;
    aftermath = take_aftermath();
  }
  finish(aftermath);
}

void Serial16550::request_line() { line_.request(pending_interrupt() != kIdNone); }

Serial16550::Aftermath Serial16550::take_aftermath() {
  Aftermath aftermath;
  aftermath.has_output = registers_.transmitter.count > 0 && !is_sending_ && !is_output_blocked_;
  is_sending_ |= aftermath.has_output;
  // Asked for when the FIFO is empty, not at each byte: a paste comes in pieces of 16.
  aftermath.has_input_room = is_input_held_ && registers_.receiver.count == 0 && takes_input();
  is_input_held_ &= !aftermath.has_input_room;
  return aftermath;
}

void Serial16550::finish(Aftermath aftermath) {
  if (aftermath.has_output) {
    send_output();
  }
  line_.publish();
  if (aftermath.has_input_room) {
    sink_.input_room();
  }
}

// REQUIRES: this thread has set is_sending_. Others may push into the FIFO meanwhile, so the sink gets a
// copy.
void Serial16550::send_output() {
  std::array<std::byte, kFifoBytes> bytes{};
  mutex_.lock();
  while (registers_.transmitter.count > 0) {
    const uint8_t count = registers_.transmitter.count;
    Fifo copy = registers_.transmitter;
    for (uint8_t i = 0; i < count; ++i) {
      bytes[i] = std::byte{copy.pop().value};
    }
    is_room_reported_ = false;
    mutex_.unlock();
    const size_t written = sink_.write(std::span(bytes).first(count));
    mutex_.lock();
    // A reset or a cleared FIFO may have thrown away what was just sent.
    for (size_t i = 0; i < written && registers_.transmitter.count > 0; ++i) {
      registers_.transmitter.pop();
    }
    if (registers_.transmitter.count == 0) {
      note_transmitter_empty();
    } else if (written < count && !is_room_reported_) {
      is_output_blocked_ = true;
      break;
    }
  }
  is_sending_ = false;
  request_line();
  mutex_.unlock();
}

}  // namespace vmm
