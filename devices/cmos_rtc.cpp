#include "devices/cmos_rtc.h"
#include "vmm/base/bytes.h"

#include <algorithm>
#include <span>
#include <utility>

namespace vmm {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

// Time, calendar and alarm bytes (MC146818A, table 3), and the century where ACPI's FADT says it is.
constexpr uint8_t kSeconds = 0x00;
constexpr uint8_t kSecondsAlarm = 0x01;
constexpr uint8_t kMinutes = 0x02;
constexpr uint8_t kMinutesAlarm = 0x03;
constexpr uint8_t kHours = 0x04;
constexpr uint8_t kHoursAlarm = 0x05;
constexpr uint8_t kDayOfWeek = 0x06;
constexpr uint8_t kDayOfMonth = 0x07;
constexpr uint8_t kMonth = 0x08;
constexpr uint8_t kYear = 0x09;
constexpr uint8_t kRegisterA = 0x0a;
constexpr uint8_t kRegisterB = 0x0b;
constexpr uint8_t kRegisterC = 0x0c;
constexpr uint8_t kRegisterD = 0x0d;
constexpr uint8_t kCentury = 0x32;

// Register A.
constexpr uint8_t kUpdateInProgress = 0x80;
constexpr uint8_t kDividerReset = 0x60;  // both of these bits of DV
constexpr uint8_t kRateSelect = 0x0f;
constexpr uint8_t kRunningAt1024Hz = 0x26;

// Register B; the interrupt enables have their flags' places in register C.
constexpr uint8_t kSet = 0x80;
constexpr uint8_t kPeriodic = 0x40;
constexpr uint8_t kAlarm = 0x20;
constexpr uint8_t kUpdateEnded = 0x10;
constexpr uint8_t kBinary = 0x04;
constexpr uint8_t k24Hours = 0x02;
constexpr uint8_t kInterrupts = kPeriodic | kAlarm | kUpdateEnded;
constexpr uint8_t kInterruptRequest = 0x80;

constexpr uint8_t kValidRamAndTime = 0x80;  // register D
constexpr uint8_t kPm = 0x80;
constexpr uint8_t kAnyValue = 0xc0;  // an alarm byte with both of these bits matches always

constexpr seconds kSecond(1);
// UIP rises 244 us before an update, which takes 1984 us (MC146818A, table 5). Here the time changes at the
// end of both, and so can be read at any moment.
constexpr std::chrono::microseconds kUpdateTime(244 + 1984);
constexpr std::chrono::microseconds kAfterDividerReset(500'000);
// The host's clock may be set while the alarm waits.
constexpr std::chrono::microseconds kLongestSleep = minutes(1);

// To the end of the present minute, hour and day, and from there to the match.
constexpr int kMostAlarmSteps = 60 + 60 + 24 + 60 + 60;

// What SeaBIOS and other firmware look for in the memory.
constexpr uint8_t kShutdownStatus = 0x0f;
constexpr uint8_t kFirstChecksummed = 0x10;
constexpr uint8_t kEquipment = 0x14;
constexpr uint8_t kBaseMemory = 0x15;      // KiB below 1 MiB
constexpr uint8_t kExtendedMemory = 0x17;  // KiB above 1 MiB
constexpr uint8_t kLastChecksummed = 0x2d;
constexpr uint8_t kChecksum = 0x2e;  // big-endian
constexpr uint8_t kExtendedMemoryAgain = 0x30;
constexpr uint8_t kMemoryAbove16MiB = 0x34;  // in 64 KiB
constexpr uint8_t kThirdBootChoice = 0x38;   // in the upper half
constexpr uint8_t kDiskTranslations = 0x39;
constexpr uint8_t kBootChoices = 0x3d;
constexpr uint8_t kMemoryAbove4GiB = 0x5b;  // in 64 KiB, three bytes
constexpr uint8_t kCpusLessOne = 0x5f;
constexpr uint8_t kCoprocessor = 0x02;
constexpr uint64_t kBaseMemoryKiB = 640;
constexpr unsigned kShiftTo64KiB = 16;

bool is_time_byte(uint8_t index) {
  return index == kSeconds || index == kMinutes || index == kHours ||
         (index >= kDayOfWeek && index <= kYear) || index == kCentury;
}

template <typename Duration>
int64_t whole_seconds(Duration time) {
  return std::chrono::floor<seconds>(time).count();
}

template <typename Duration>
Duration within_second(Duration time) {
  return time - std::chrono::floor<seconds>(time);
}

// How often a periodic interrupt of rate_hz was due up to `time`.
int64_t periods_until(std::chrono::microseconds time, unsigned rate_hz) {
  return whole_seconds(time) * rate_hz + within_second(time).count() * rate_hz / 1'000'000;
}

bool is_any(uint8_t alarm_byte) { return (alarm_byte & kAnyValue) == kAnyValue; }

// Is `value`, which `digits` stands for, below its limit, and no digit above 9?
bool is_valid(uint8_t digits, unsigned value, unsigned limit, bool is_binary) {
  return value < limit && (is_binary || ((digits & 0x0f) <= 9 && (digits >> 4) <= 9));
}

// At most what fits.
void store16(std::span<uint8_t> memory, uint8_t index, uint64_t value) {
  const uint64_t bounded = std::min<uint64_t>(value, 0xffff);
  memory[index] = static_cast<uint8_t>(bounded);
  memory[index + 1U] = static_cast<uint8_t>(bounded >> 8);
}

}  // namespace

CmosRtc::CmosRtc(InterruptLine& line, WallClock clock, Alarm& alarm, const CmosContents& contents)
    : clock_(std::move(clock)), contents_(contents), alarm_(alarm), line_(line) {
  const Time now = host_time();
  {
    const MutexLock lock(mutex_);
    now_ = now;
    registers_.seen = now;
    registers_.memory[kRegisterA] = kRunningAt1024Hz;
    registers_.memory[kRegisterB] = k24Hours;
    describe_machine();
  }
  alarm_.set_handler([this] { on_alarm(); });
}

CmosRtc::Time CmosRtc::host_time() const { return std::chrono::floor<Time>(clock_()); }

void CmosRtc::reset() {
  const Time now = host_time();
  {
    const MutexLock lock(mutex_);
    now_ = now;
    account();
    if (is_stopped()) {
      set_guest_time(stored_time() + within_second(guest_time()));
    }
    registers_.memory[kRegisterA] = kRunningAt1024Hz;
    registers_.memory[kRegisterB] = k24Hours;
    registers_.memory[kRegisterC] = 0;
    registers_.index = 0;
    describe_machine();
    finish_access();
  }
  publish();
}

bool CmosRtc::is_nmi_masked() {
  const MutexLock lock(mutex_);
  return (registers_.index & 0x80) != 0;
}

uint8_t CmosRtc::read_byte(uint64_t offset) {
  if (offset == 0) {
    return 0xff;  // the index cannot be read
  }
  const Time now = host_time();
  uint8_t value = 0;
  {
    const MutexLock lock(mutex_);
    now_ = now;
    value = read_memory(registers_.index % kBytes);
    finish_access();
  }
  publish();
  return value;
}

void CmosRtc::write_byte(uint64_t offset, uint8_t value) {
  const Time now = host_time();
  {
    const MutexLock lock(mutex_);
    now_ = now;
    if (offset == 0) {
      registers_.index = value;
      return;
    }
    account();
    write_memory(registers_.index % kBytes, value);
    finish_access();
  }
  publish();
}

uint8_t CmosRtc::read_memory(uint8_t index) {
  switch (index) {
    case kRegisterA:
      return read_register_a();
    case kRegisterC:
      return read_register_c();
    case kRegisterD:
      return kValidRamAndTime;
    default:
      if (is_time_byte(index) && !is_stopped()) {
        store_time();
      }
      return registers_.memory[index];
  }
}

void CmosRtc::write_memory(uint8_t index, uint8_t value) {
  switch (index) {
    case kRegisterA:
      write_register_a(value);
      return;
    case kRegisterB:
      write_register_b(value);
      return;
    case kRegisterC:
    case kRegisterD:  // read-only
      return;
    default:
      if (is_time_byte(index)) {
        write_time(index, value);
      } else {
        registers_.memory[index] = value;
      }
      return;
  }
}

void CmosRtc::write_time(uint8_t index, uint8_t value) {
  if (is_stopped()) {
    registers_.memory[index] = value;
    return;
  }
  store_time();
  registers_.memory[index] = value;
  set_guest_time(stored_time() + within_second(guest_time()));
}

uint8_t CmosRtc::read_register_a() const {
  const uint8_t value = registers_.memory[kRegisterA];
  const bool is_updating = !is_stopped() && within_second(guest_time()) >= kSecond - kUpdateTime;
  return is_updating ? value | kUpdateInProgress : value;
}

// Reading the flags clears them.
uint8_t CmosRtc::read_register_c() {
  account();
  const uint8_t flags = registers_.memory[kRegisterC];
  const uint8_t request = pending_flags() != 0 ? kInterruptRequest : uint8_t{0};
  registers_.memory[kRegisterC] = 0;
  return flags | request;
}

void CmosRtc::write_register_a(uint8_t value) {
  const bool was_stopped = is_stopped();
  const bool was_divider_reset = is_divider_reset();
  registers_.memory[kRegisterA] = value & static_cast<uint8_t>(~kUpdateInProgress);
  if (was_divider_reset && !is_divider_reset()) {
    // The first update comes half a second later (MC146818A, section "DV0, DV1, DV2").
    set_guest_time(std::chrono::floor<seconds>(guest_time()) + kAfterDividerReset);
  }
  start_or_stop(was_stopped);
}

void CmosRtc::write_register_b(uint8_t value) {
  const bool was_stopped = is_stopped();
  // SET clears UIE (MC146818A, section "UIE").
  const bool is_set = (value & kSet) != 0;
  if (is_set && !was_stopped) {
    store_time();  // in the mode that was
  }
  registers_.memory[kRegisterB] = is_set ? value & static_cast<uint8_t>(~kUpdateEnded) : value;
  start_or_stop(was_stopped);
}

bool CmosRtc::is_divider_reset() const {
  return (registers_.memory[kRegisterA] & kDividerReset) == kDividerReset;
}

bool CmosRtc::is_stopped() const { return is_divider_reset() || (registers_.memory[kRegisterB] & kSet) != 0; }

// While the clock stands its divider goes on (SET) or is put right when it starts (divider reset), so this
// keeps the position within the second.
CmosRtc::Time CmosRtc::guest_time() const { return now_ + registers_.offset; }

void CmosRtc::set_guest_time(Time time) {
  registers_.offset = time - now_;
  registers_.seen = time;
}

void CmosRtc::start_or_stop(bool was_stopped) {
  if (!was_stopped && is_divider_reset()) {
    store_time();
  }
  if (was_stopped && !is_stopped()) {
    set_guest_time(stored_time() + within_second(guest_time()));
  }
}

uint8_t CmosRtc::encoded(unsigned value) const {
  const bool is_binary = (registers_.memory[kRegisterB] & kBinary) != 0;
  return static_cast<uint8_t>(is_binary ? value : value / 10 % 10 * 16 + value % 10);
}

unsigned CmosRtc::decoded(uint8_t value) const {
  const bool is_binary = (registers_.memory[kRegisterB] & kBinary) != 0;
  return is_binary ? value : (value >> 4) * 10U + (value & 0x0fU);
}

uint8_t CmosRtc::encoded_hour(unsigned hour) const {
  if ((registers_.memory[kRegisterB] & k24Hours) != 0) {
    return encoded(hour);
  }
  const uint8_t on_dial = encoded(hour % 12 == 0 ? 12 : hour % 12);
  return hour >= 12 ? on_dial | kPm : on_dial;
}

unsigned CmosRtc::decoded_hour(uint8_t value) const {
  if ((registers_.memory[kRegisterB] & k24Hours) != 0) {
    return decoded(value);
  }
  const unsigned on_dial = decoded(value & static_cast<uint8_t>(~kPm)) % 12;
  return (value & kPm) != 0 ? on_dial + 12 : on_dial;
}

void CmosRtc::store_time() {
  const Time time = guest_time();
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::sys_days sys_day(day);
  const std::chrono::year_month_day date(sys_day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<seconds>(time - day));
  const auto year = static_cast<unsigned>(std::max(static_cast<int>(date.year()), 0));
  auto& memory = registers_.memory;
  memory[kSeconds] = encoded(static_cast<unsigned>(clock.seconds().count()));
  memory[kMinutes] = encoded(static_cast<unsigned>(clock.minutes().count()));
  memory[kHours] = encoded_hour(static_cast<unsigned>(clock.hours().count()));
  memory[kDayOfWeek] = encoded(std::chrono::weekday(sys_day).c_encoding() + 1);  // 1 is Sunday
  memory[kDayOfMonth] = encoded(static_cast<unsigned>(date.day()));
  memory[kMonth] = encoded(static_cast<unsigned>(date.month()));
  memory[kYear] = encoded(year % 100);
  memory[kCentury] = encoded(year / 100);
}

// Whatever the bytes are gives some time: values that run over carry into the next unit.
CmosRtc::Time CmosRtc::stored_time() const {
  const auto& memory = registers_.memory;
  const std::chrono::year year(static_cast<int>(decoded(memory[kCentury]) * 100 + decoded(memory[kYear])));
  const std::chrono::month month(std::clamp(decoded(memory[kMonth]), 1U, 12U));
  const std::chrono::sys_days first_of_month(year / month / 1);
  const std::chrono::days day(static_cast<int>(decoded(memory[kDayOfMonth])) - 1);
  return (first_of_month + day).time_since_epoch() + hours(decoded_hour(memory[kHours])) +
         minutes(decoded(memory[kMinutes])) + seconds(decoded(memory[kSeconds]));
}

uint8_t CmosRtc::pending_flags() const {
  return registers_.memory[kRegisterC] & registers_.memory[kRegisterB] & kInterrupts;
}

// Sets the flags of everything that happened since the last time.
void CmosRtc::account() {
  const Time before = std::exchange(registers_.seen, guest_time());
  const Time time = registers_.seen;
  if (time <= before || is_divider_reset()) {
    return;
  }
  uint8_t& flags = registers_.memory[kRegisterC];
  const unsigned rate_hz = periodic_rate_hz();
  if (periods_until(before, rate_hz) != periods_until(time, rate_hz)) {
    flags |= kPeriodic;
  }
  if (is_stopped()) {
    return;
  }
  if (whole_seconds(before) != whole_seconds(time)) {
    flags |= kUpdateEnded;
  }
  if (const auto due = next_alarm_after(before); due && *due <= time) {
    flags |= kAlarm;
  }
}

// MC146818A, table 4, for the time base of 32.768 kHz; 0: none.
unsigned CmosRtc::periodic_rate_hz() const {
  const unsigned select = registers_.memory[kRegisterA] & kRateSelect;
  if (select == 0) {
    return 0;
  }
  return select <= 2 ? 512U >> select : 65536U >> select;
}

std::optional<CmosRtc::Time> CmosRtc::next_periodic_after(Time time) const {
  const int64_t rate_hz = periodic_rate_hz();
  if (rate_hz == 0 || is_divider_reset()) {
    return std::nullopt;
  }
  const int64_t next = within_second(time).count() * rate_hz / 1'000'000 + 1;
  // Rounded up, so that the period is over when the alarm comes.
  return std::chrono::floor<seconds>(time) + Time((next * 1'000'000 + rate_hz - 1) / rate_hz);
}

// The first second after `time` that the alarm bytes match, each of which is a value or "any"; nothing where
// one is no time at all. Leaps over hours and minutes that do not match.
std::optional<CmosRtc::Time> CmosRtc::next_alarm_after(Time time) const {
  const uint8_t hour_byte = registers_.memory[kHoursAlarm];
  const uint8_t minute_byte = registers_.memory[kMinutesAlarm];
  const uint8_t second_byte = registers_.memory[kSecondsAlarm];
  const bool is_binary = (registers_.memory[kRegisterB] & kBinary) != 0;
  const unsigned hour = decoded_hour(hour_byte);
  const unsigned minute = decoded(minute_byte);
  const unsigned second = decoded(second_byte);
  const auto hour_digits = static_cast<uint8_t>(hour_byte & ~kPm);
  const bool is_possible = (is_any(hour_byte) || is_valid(hour_digits, hour, 24, is_binary)) &&
                           (is_any(minute_byte) || is_valid(minute_byte, minute, 60, is_binary)) &&
                           (is_any(second_byte) || is_valid(second_byte, second, 60, is_binary));
  if (!is_possible) {
    return std::nullopt;
  }
  int64_t candidate = whole_seconds(time) + 1;
  for (int step = 0; step < kMostAlarmSteps; ++step) {
    const int64_t in_day = ((candidate % 86400) + 86400) % 86400;
    if (!is_any(hour_byte) && in_day / 3600 != hour) {
      candidate += 3600 - in_day % 3600;
    } else if (!is_any(minute_byte) && in_day / 60 % 60 != minute) {
      candidate += 60 - in_day % 60;
    } else if (!is_any(second_byte) && in_day % 60 != second) {
      ++candidate;
    } else {
      return seconds(candidate);
    }
  }
  return std::nullopt;
}

// By the guest's time. Nothing while the line is high: it stays so until register C is read.
std::optional<CmosRtc::Time> CmosRtc::next_interrupt() const {
  if (pending_flags() != 0) {
    return std::nullopt;
  }
  const uint8_t enabled = registers_.memory[kRegisterB] & kInterrupts;
  const Time time = guest_time();
  std::optional<Time> earliest;
  const auto consider = [&earliest](std::optional<Time> candidate) {
    if (candidate && (!earliest || *candidate < *earliest)) {
      earliest = candidate;
    }
  };
  if ((enabled & kPeriodic) != 0) {
    consider(next_periodic_after(time));
  }
  if ((enabled & kUpdateEnded) != 0 && !is_stopped()) {
    consider(std::chrono::floor<seconds>(time) + kSecond);
  }
  if ((enabled & kAlarm) != 0 && !is_stopped()) {
    consider(next_alarm_after(time));
  }
  return earliest;
}

void CmosRtc::finish_access() {
  line_.request(pending_flags() != 0);
  std::optional<Time> plan = next_interrupt();
  if (plan) {
    *plan -= registers_.offset;
  }
  if (plan != planned_) {
    planned_ = plan;
    ++plan_number_;
  }
}

void CmosRtc::publish() {
  line_.publish();
  mutex_.lock();
  if (is_arming_) {
    mutex_.unlock();
    return;
  }
  is_arming_ = true;
  while (armed_number_ != plan_number_) {
    armed_number_ = plan_number_;
    const std::optional<Time> plan = planned_;
    const Time now = now_;
    mutex_.unlock();
    if (plan) {
      alarm_.arm(std::min(*plan - now, kLongestSleep));
    } else {
      alarm_.disarm();
    }
    mutex_.lock();
  }
  is_arming_ = false;
  mutex_.unlock();
}

void CmosRtc::on_alarm() {
  const Time now = host_time();
  {
    const MutexLock lock(mutex_);
    now_ = now;
    account();
    planned_.reset();  // it has gone off: whatever is next must be set again
    finish_access();
  }
  publish();
}

void CmosRtc::describe_machine() {
  auto& memory = registers_.memory;
  const auto above = [this](uint64_t limit) {
    return contents_.low_memory_bytes - std::min(contents_.low_memory_bytes, limit);
  };
  memory[kShutdownStatus] = 0;
  memory[kEquipment] = kCoprocessor;
  store16(memory, kBaseMemory, kBaseMemoryKiB);
  store16(memory, kExtendedMemory, above(kMiB) / 1024);
  store16(memory, kExtendedMemoryAgain, above(kMiB) / 1024);
  store16(memory, kMemoryAbove16MiB, above(16 * kMiB) >> kShiftTo64KiB);
  const uint64_t high = std::min<uint64_t>(contents_.high_memory_bytes >> kShiftTo64KiB, 0xff'ffff);
  store16(memory, kMemoryAbove4GiB, high & 0xffff);
  memory[kMemoryAbove4GiB + 2U] = static_cast<uint8_t>(high >> 16);
  memory[kCpusLessOne] = static_cast<uint8_t>(contents_.cpu_count - 1);
  memory[kBootChoices] = static_cast<uint8_t>(contents_.boot_order[0] | (contents_.boot_order[1] << 4));
  memory[kThirdBootChoice] = static_cast<uint8_t>(contents_.boot_order[2] << 4);
  memory[kDiskTranslations] = contents_.disk_translations;
  unsigned sum = 0;
  for (unsigned i = kFirstChecksummed; i <= kLastChecksummed; ++i) {
    sum += memory[i];
  }
  memory[kChecksum] = static_cast<uint8_t>(sum >> 8);
  memory[kChecksum + 1U] = static_cast<uint8_t>(sum);
}

}  // namespace vmm
