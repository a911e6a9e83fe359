#include "devices/i8042.h"

#include <utility>

namespace vmm {
namespace {

// Status register.
constexpr uint8_t kOutputFull = 0x01;
constexpr uint8_t kSystemFlag = 0x04;
constexpr uint8_t kLastWasCommand = 0x08;
constexpr uint8_t kNotLocked = 0x10;

// Command byte.
constexpr uint8_t kKeyboardInterrupt = 0x01;
constexpr uint8_t kSystemFlagInCommandByte = 0x04;
constexpr uint8_t kKeyboardDisabled = 0x10;
constexpr uint8_t kAuxiliaryDisabled = 0x20;
constexpr uint8_t kTranslate = 0x40;
constexpr uint8_t kCommandByteAfterFirmware =
    kKeyboardInterrupt | kSystemFlagInCommandByte | kAuxiliaryDisabled | kTranslate;

// Controller commands.
constexpr uint8_t kReadRam = 0x20;   // to 0x3f
constexpr uint8_t kWriteRam = 0x60;  // to 0x7f
constexpr uint8_t kDisableAuxiliary = 0xa7;
constexpr uint8_t kEnableAuxiliary = 0xa8;
constexpr uint8_t kTestAuxiliary = 0xa9;
constexpr uint8_t kSelfTest = 0xaa;
constexpr uint8_t kTestKeyboard = 0xab;
constexpr uint8_t kDisableKeyboard = 0xad;
constexpr uint8_t kEnableKeyboard = 0xae;
constexpr uint8_t kReadInputPort = 0xc0;
constexpr uint8_t kReadOutputPort = 0xd0;
constexpr uint8_t kWriteOutputPort = 0xd1;
constexpr uint8_t kWriteKeyboardBuffer = 0xd2;
constexpr uint8_t kWriteAuxiliaryBuffer = 0xd3;
constexpr uint8_t kWriteAuxiliary = 0xd4;
constexpr uint8_t kPulse = 0xf0;  // to 0xff: pulls the output port's low bits that are 0 here
constexpr uint8_t kRamMask = 0x1f;

constexpr uint8_t kSelfTestPassed = 0x55;
constexpr uint8_t kKeyboardLinesFine = 0x00;
constexpr uint8_t kAuxiliaryClockStuck = 0x01;  // what a port without a device looks like

// Output port.
constexpr uint8_t kNoReset = 0x01;
constexpr uint8_t kA20 = 0x02;
constexpr uint8_t kOutputFullPin = 0x10;
constexpr uint8_t kOutputPortAfterReset = 0xc0 | kNoReset | kA20;
constexpr uint8_t kInputPort = 0x80;  // keyboard not locked

// Keyboard commands and replies.
constexpr uint8_t kSetLeds = 0xed;
constexpr uint8_t kEcho = 0xee;
constexpr uint8_t kScanCodeSet = 0xf0;
constexpr uint8_t kIdentify = 0xf2;
constexpr uint8_t kSetRepeatRate = 0xf3;
constexpr uint8_t kEnableScanning = 0xf4;
constexpr uint8_t kDisableScanning = 0xf5;
constexpr uint8_t kSetDefaults = 0xf6;
constexpr uint8_t kSetAllKeysFirst = 0xf7;  // to 0xfa: key types of scan code set 3
constexpr uint8_t kSetAllKeysLast = 0xfa;
constexpr uint8_t kResend = 0xfe;
constexpr uint8_t kResetKeyboard = 0xff;
constexpr uint8_t kAcknowledge = 0xfa;
constexpr uint8_t kSelfTestDone = 0xaa;
constexpr uint8_t kIdFirst = 0xab;
constexpr uint8_t kIdSecond = 0x83;
constexpr uint8_t kIdSecondTranslated = 0x41;
// Scan code sets 1 to 3 as the controller translates the keyboard's answer.
constexpr std::array<uint8_t, 4> kTranslatedSets = {0, 0x43, 0x41, 0x3f};

}  // namespace

void I8042::Queue::push(uint8_t value) {
  if (count < kQueueBytes) {
    slots[(first + count) % kQueueBytes] = value;
    ++count;
  }
}

uint8_t I8042::Queue::pop() {
  const uint8_t value = slots[first];
  first = static_cast<uint8_t>((first + 1) % kQueueBytes);
  --count;
  return value;
}

I8042::I8042(InterruptLine& keyboard_line, std::function<void()> on_reset)
    : on_reset_(std::move(on_reset)), line_(keyboard_line) {
  const MutexLock lock(mutex_);
  power_on();
}

void I8042::reset() {
  {
    const MutexLock lock(mutex_);
    power_on();
    request_line();
  }
  line_.publish();
}

void I8042::power_on() {
  registers_ = Registers{};
  registers_.command_byte = kCommandByteAfterFirmware;
  registers_.status_flags = kSystemFlag;
  registers_.output_port = kOutputPortAfterReset;
}

bool I8042::press_keys(std::span<const uint8_t> scan_codes) {
  bool is_taken = false;
  {
    const MutexLock lock(mutex_);
    is_taken = registers_.is_scanning && scan_codes.size() <= size_t{kQueueBytes} - registers_.keyboard.count;
    for (size_t i = 0; is_taken && i < scan_codes.size(); ++i) {
      registers_.keyboard.push(scan_codes[i]);
    }
    fill_output_buffer();
    request_line();
  }
  line_.publish();
  return is_taken;
}

uint8_t I8042::read_data(uint64_t /*offset*/) {
  uint8_t value = 0;
  {
    const MutexLock lock(mutex_);
    value = registers_.output_buffer;
    registers_.is_output_full = false;
    // The line falls between two bytes: the interrupt is edge-triggered.
    request_line();
    fill_output_buffer();
    request_line();
  }
  line_.publish();
  return value;
}

uint8_t I8042::read_status(uint64_t /*offset*/) {
  const MutexLock lock(mutex_);
  const unsigned status =
      registers_.status_flags | kNotLocked | (registers_.is_output_full ? kOutputFull : 0U);
  return static_cast<uint8_t>(status);
}

void I8042::write_command(uint64_t /*offset*/, uint8_t value) {
  bool is_reset = false;
  {
    const MutexLock lock(mutex_);
    registers_.status_flags |= kLastWasCommand;
    registers_.pending_command = 0;
    is_reset = execute_command(value);
    fill_output_buffer();
    request_line();
  }
  line_.publish();
  if (is_reset) {
    on_reset_();
  }
}

void I8042::write_data(uint64_t /*offset*/, uint8_t value) {
  bool is_reset = false;
  {
    const MutexLock lock(mutex_);
    registers_.status_flags &= static_cast<uint8_t>(~kLastWasCommand);
    if (const uint8_t command = std::exchange(registers_.pending_command, 0); command != 0) {
      is_reset = finish_command(command, value);
    } else {
      send_to_keyboard(value);
    }
    fill_output_buffer();
    request_line();
  }
  line_.publish();
  if (is_reset) {
    on_reset_();
  }
}

bool I8042::execute_command(uint8_t command) {
  if (command >= kPulse) {
    return (command & kNoReset) == 0;
  }
  if (command >= kReadRam && command <= (kReadRam | kRamMask)) {
    const uint8_t address = command & kRamMask;
    registers_.controller.push(address == 0 ? registers_.command_byte : registers_.ram[address]);
    return false;
  }
  if (command >= kWriteRam && command <= (kWriteRam | kRamMask)) {
    registers_.pending_command = command;
    return false;
  }
  switch (command) {
    case kDisableAuxiliary:
      registers_.command_byte |= kAuxiliaryDisabled;
      return false;
    case kEnableAuxiliary:
      registers_.command_byte &= static_cast<uint8_t>(~kAuxiliaryDisabled);
      return false;
    case kTestAuxiliary:
      registers_.controller.push(kAuxiliaryClockStuck);
      return false;
    case kSelfTest:
      registers_.status_flags |= kSystemFlag;
      registers_.controller.push(kSelfTestPassed);
      return false;
    case kTestKeyboard:
      registers_.controller.push(kKeyboardLinesFine);
      return false;
    case kDisableKeyboard:
      registers_.command_byte |= kKeyboardDisabled;
      return false;
    case kEnableKeyboard:
      registers_.command_byte &= static_cast<uint8_t>(~kKeyboardDisabled);
      return false;
    case kReadInputPort:
      registers_.controller.push(kInputPort);
      return false;
    case kReadOutputPort: {
      const unsigned full_pin = registers_.is_output_full ? kOutputFullPin : 0U;
      registers_.controller.push(static_cast<uint8_t>(registers_.output_port | full_pin));
      return false;
    }
    case kWriteOutputPort:
    case kWriteKeyboardBuffer:
    case kWriteAuxiliaryBuffer:
    case kWriteAuxiliary:
      registers_.pending_command = command;
      return false;
    default:  // unknown commands have no effect and no answer
      return false;
  }
}

bool I8042::finish_command(uint8_t command, uint8_t value) {
  switch (command) {
    case kWriteOutputPort:
      return write_output_port(value);
    case kWriteKeyboardBuffer:
    case kWriteAuxiliaryBuffer:
      // The auxiliary byte comes back, but not as one: drivers conclude that there is no such device.
      registers_.controller.push(value);
      return false;
    case kWriteAuxiliary:  // nobody answers
      return false;
    default:
      break;
  }
  const uint8_t address = command & kRamMask;
  registers_.ram[address] = value;
  if (address == 0) {
    registers_.command_byte = value;
    const unsigned system_flag = (value & kSystemFlagInCommandByte) != 0 ? kSystemFlag : 0U;
    registers_.status_flags =
        static_cast<uint8_t>((registers_.status_flags & ~unsigned{kSystemFlag}) | system_flag);
  }
  return false;
}

bool I8042::write_output_port(uint8_t value) {
  registers_.output_port = value & static_cast<uint8_t>(~kOutputFullPin);
  return (value & kNoReset) == 0;
}

void I8042::send_to_keyboard(uint8_t value) {
  // Writing to the keyboard turns its clock on again.
  registers_.command_byte &= static_cast<uint8_t>(~kKeyboardDisabled);
  if (const uint8_t command = std::exchange(registers_.pending_keyboard_command, 0); command != 0) {
    finish_keyboard_command(command, value);
    return;
  }
  switch (value) {
    case kSetLeds:
    case kScanCodeSet:
    case kSetRepeatRate:
      registers_.pending_keyboard_command = value;
      reply(kAcknowledge);
      return;
    case kEcho:
      reply(kEcho);
      return;
    case kIdentify:
      reply(kAcknowledge);
      reply(kIdFirst);
      reply(translated(kIdSecond, kIdSecondTranslated));
      return;
    case kEnableScanning:
      registers_.is_scanning = true;
      registers_.keyboard = Queue{};
      reply(kAcknowledge);
      return;
    case kDisableScanning:
      reset_keyboard();
      registers_.is_scanning = false;
      reply(kAcknowledge);
      return;
    case kSetDefaults:
      reset_keyboard();
      reply(kAcknowledge);
      return;
    case kResend:
      registers_.keyboard.push(registers_.last_reply);
      return;
    case kResetKeyboard:
      reset_keyboard();
      reply(kAcknowledge);
      reply(kSelfTestDone);
      return;
    default:
      reply(value >= kSetAllKeysFirst && value <= kSetAllKeysLast ? kAcknowledge : kResend);
      return;
  }
}

void I8042::finish_keyboard_command(uint8_t command, uint8_t value) {
  if (command != kScanCodeSet) {
    reply(kAcknowledge);
    return;
  }
  if (value >= kTranslatedSets.size()) {
    reply(kResend);
    return;
  }
  reply(kAcknowledge);
  if (value == 0) {
    const uint8_t set = registers_.scan_code_set;
    reply(translated(set, kTranslatedSets[set]));
  } else {
    registers_.scan_code_set = value;
  }
}

void I8042::reply(uint8_t value) {
  registers_.last_reply = value;
  registers_.keyboard.push(value);
}

uint8_t I8042::translated(uint8_t plain, uint8_t translated_value) const {
  return (registers_.command_byte & kTranslate) != 0 ? translated_value : plain;
}

void I8042::reset_keyboard() {
  registers_.keyboard = Queue{};
  registers_.pending_keyboard_command = 0;
  registers_.scan_code_set = 2;
  registers_.is_scanning = true;
}

void I8042::fill_output_buffer() {
  if (registers_.is_output_full) {
    return;
  }
  if (registers_.controller.count > 0) {
    registers_.output_buffer = registers_.controller.pop();
    registers_.is_output_full = true;
  } else if (registers_.keyboard.count > 0 && (registers_.command_byte & kKeyboardDisabled) == 0) {
    registers_.output_buffer = registers_.keyboard.pop();
    registers_.is_output_full = true;
  }
}

void I8042::request_line() {
  line_.request(registers_.is_output_full && (registers_.command_byte & kKeyboardInterrupt) != 0);
}

}  // namespace vmm
