#include "tests/guests/runtime/report.h"

#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/power.h"

namespace guest {
namespace {

constexpr uint16_t kConsole = 0x3f8;
constexpr uint32_t kFifoSize = 16;
constexpr uint8_t kTransmitEmpty = 0x20;
constexpr uint32_t kPatience = 1'000'000;

constinit uint32_t passed = 0;
constinit uint32_t failed = 0;
constinit uint32_t skipped = 0;
constinit uint32_t console_lock = 0;
constinit bool console_on = true;

void increase(uint32_t& counter) { __atomic_fetch_add(&counter, 1, __ATOMIC_RELAXED); }

void write_console(const char* text, uint32_t length) {
  while (length > 0) {
    for (uint32_t i = 0; i < kPatience && (in8(kConsole + 5) & kTransmitEmpty) == 0; i++) pause();
    const uint32_t step = length < kFifoSize ? length : kFifoSize;
    out_string(kConsole, text, step);
    text += step;
    length -= step;
  }
}

}  // namespace

void Line::add_character(char character) {
  if (length_ < sizeof text_ - 1) text_[length_++] = character;
}

void Line::add(const char* text) {
  while (*text != 0) add_character(*text++);
}

void Line::add(Hex number) {
  add("0x");
  int shift = 60;
  while (shift > 0 && (number.value >> shift) == 0) shift -= 4;
  for (; shift >= 0; shift -= 4) add_character("0123456789abcdef"[number.value >> shift & 15]);
}

void Line::add_number(uint64_t number) {
  char digits[20];
  int count = 0;
  do {
    digits[count++] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
  while (count > 0) add_character(digits[--count]);
}

void Line::send() {
  text_[length_++] = '\n';
  if (!console_on) return;
  // An interrupt handler which reports while the line below is being written must not wait for itself.
  const bool locked = [] {
    for (uint32_t i = 0; i < kPatience; i++) {
      if (__atomic_exchange_n(&console_lock, 1, __ATOMIC_ACQUIRE) == 0) return true;
      pause();
    }
    return false;
  }();
  write_console(text_, length_);
  if (locked) __atomic_store_n(&console_lock, 0, __ATOMIC_RELEASE);
  length_ = 0;
}

void count_pass() { increase(passed); }
void count_fail() { increase(failed); }
void count_skip() { increase(skipped); }
uint32_t failures() { return failed; }

bool check_equal(const char* name, uint64_t actual, uint64_t wanted) {
  return check(name, actual == wanted, "is ", Hex{actual}, ", not ", Hex{wanted});
}

void finish() {
  set_console(true);
  print("DONE ", passed, " passed ", failed, " failed ", skipped, " skipped");
  power_off();
}

void reset_console() {
  out8(kConsole + 3, 0x03);  // 8 bits, no parity, one stop bit; divisor latch off
  out8(kConsole + 1, 0x00);  // no interrupts
  out8(kConsole + 2, 0x07);  // FIFO on and empty
  out8(kConsole + 4, 0x03);  // DTR, RTS; no loopback, interrupt line off
}

void set_console(bool on) { console_on = on; }

}  // namespace guest
