#include "devices/acpi_power.h"

#include <utility>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"
#include "vmm/core/layout.h"

namespace vmm {
namespace {

// PM1 status and enable (ACPI 6.4, tables 4.11 and 4.12).
constexpr uint16_t kTimerStatus = 1U << 0;
constexpr uint16_t kPowerButton = 1U << 8;
// TMR, GBL, PWRBTN, SLPBTN, RTC.
constexpr uint16_t kPm1EnableMask = 0x0721;

// PM1 control (table 4.13).
constexpr uint16_t kSciEnable = 1U << 0;
constexpr unsigned kSleepTypeShift = 10;
constexpr uint16_t kSleepTypeMask = 7U << kSleepTypeShift;
constexpr uint16_t kSleepEnable = 1U << 13;  // write-only
constexpr uint16_t kBusMasterReload = 1U << 1;
constexpr uint16_t kPm1ControlKept = kSciEnable | kBusMasterReload | kSleepTypeMask;

constexpr uint64_t kTimerHz = 3'579'545;
constexpr unsigned kTimerTopBit = 31;
constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;

constexpr uint64_t kStatusByte = layout::kPmEventOffset;
constexpr uint64_t kEnableByte = layout::kPmEventOffset + 2;
constexpr uint64_t kControlByte = layout::kPmControlOffset;
constexpr size_t kPmBytes = layout::kPmTimerOffset + 4;

uint16_t with_byte(uint16_t value, unsigned byte, uint8_t replacement) {
  const unsigned shift = 8 * byte;
  return static_cast<uint16_t>((value & ~(0xffU << shift)) | (unsigned{replacement} << shift));
}

}  // namespace

AcpiPower::AcpiPower(InterruptLine& sci, MonotonicClock clock, Settings settings,
                     std::function<void()> on_power_off)
    : clock_(std::move(clock)), settings_(settings), on_power_off_(std::move(on_power_off)), sci_(sci) {
  reset();
}

void AcpiPower::reset() {
  const uint64_t ticks = timer_ticks();
  {
    const MutexLock lock(mutex_);
    registers_ = Registers{};
    registers_.pm1_control = settings_.is_enabled_at_reset ? kSciEnable : uint16_t{0};
    registers_.timer_carries = ticks >> kTimerTopBit;
    request_sci();
  }
  sci_.publish();
}

bool AcpiPower::press_power_button() {
  bool is_heard = false;
  {
    const MutexLock lock(mutex_);
    registers_.pm1_status |= kPowerButton;
    is_heard = (registers_.pm1_control & kSciEnable) != 0 && (registers_.pm1_enable & kPowerButton) != 0;
    request_sci();
  }
  sci_.publish();
  return is_heard;
}

void AcpiPower::raise_gpe(unsigned n) {
  VMM_CHECK(n < 16, "GPE0 has 16 events");
  {
    const MutexLock lock(mutex_);
    registers_.gpe0_status |= static_cast<uint16_t>(1U << n);
    request_sci();
  }
  sci_.publish();
}

void AcpiPower::request_sci() {
  const bool is_pending = (registers_.pm1_status & registers_.pm1_enable & kPm1EnableMask) != 0 ||
                          (registers_.gpe0_status & registers_.gpe0_enable) != 0;
  // Without SCI_EN the events are SMIs, for firmware that is not there.
  sci_.request(is_pending && (registers_.pm1_control & kSciEnable) != 0);
}

uint64_t AcpiPower::timer_ticks() const {
  const auto now = static_cast<uint64_t>(clock_().count());
  return now / kNanosecondsPerSecond * kTimerHz +
         now % kNanosecondsPerSecond * kTimerHz / kNanosecondsPerSecond;
}

void AcpiPower::update_timer_status(uint64_t ticks) {
  const uint64_t carries = ticks >> kTimerTopBit;
  // Another vCPU may have come first with a later time.
  if (carries > registers_.timer_carries) {
    registers_.timer_carries = carries;
    registers_.pm1_status |= kTimerStatus;
  }
}

// One snapshot for the whole access: the timer's bytes must be of one moment.
void AcpiPower::read_pm(uint64_t offset, std::span<std::byte> data) {
  std::array<std::byte, kPmBytes> block{};
  const uint64_t ticks = timer_ticks();
  {
    const MutexLock lock(mutex_);
    update_timer_status(ticks);
    store_le(&block[kStatusByte], registers_.pm1_status);
    store_le(&block[kEnableByte], registers_.pm1_enable);
    store_le(&block[kControlByte], registers_.pm1_control);
    request_sci();
  }
  store_le(&block[layout::kPmTimerOffset], static_cast<uint32_t>(ticks));
  for (size_t i = 0; i < data.size(); ++i) {
    data[i] = offset + i < block.size() ? block[offset + i] : std::byte{0};
  }
  sci_.publish();
}

void AcpiPower::write_pm(uint64_t offset, std::span<const std::byte> data) {
  const uint64_t ticks = timer_ticks();
  bool is_sleep = false;
  uint8_t sleep_type = 0;
  {
    const MutexLock lock(mutex_);
    update_timer_status(ticks);
    for (size_t i = 0; i < data.size(); ++i) {
      is_sleep |= write_pm_byte(offset + i, std::to_integer<uint8_t>(data[i]));
    }
    sleep_type = static_cast<uint8_t>((registers_.pm1_control & kSleepTypeMask) >> kSleepTypeShift);
    request_sci();
  }
  sci_.publish();
  if (is_sleep) {
    sleep(sleep_type);
  }
}

// True where SLP_EN was written.
bool AcpiPower::write_pm_byte(uint64_t offset, uint8_t value) {
  switch (offset) {
    case kStatusByte:
    case kStatusByte + 1:  // writing a one clears
      registers_.pm1_status &= static_cast<uint16_t>(~(unsigned{value} << (8 * (offset - kStatusByte))));
      return false;
    case kEnableByte:
    case kEnableByte + 1:
      registers_.pm1_enable =
          with_byte(registers_.pm1_enable, static_cast<unsigned>(offset - kEnableByte), value) &
          kPm1EnableMask;
      return false;
    case kControlByte:
    case kControlByte + 1: {
      const uint16_t written =
          with_byte(registers_.pm1_control, static_cast<unsigned>(offset - kControlByte), value);
      registers_.pm1_control = written & kPm1ControlKept;
      return (written & kSleepEnable) != 0;
    }
    default:  // the timer cannot be written, the rest of the block is empty
      return false;
  }
}

void AcpiPower::sleep(uint8_t sleep_type) {
  if (sleep_type == layout::kSleepTypeS5) {
    on_power_off_();
  } else if (sleep_log_limit_.allows()) {
    log::warning("the guest asked for a sleep state that there is not (SLP_TYP {}); it stays awake",
                 sleep_type);
  }
}

uint8_t AcpiPower::read_gpe(uint64_t offset) {
  const MutexLock lock(mutex_);
  const uint32_t block = registers_.gpe0_status | (uint32_t{registers_.gpe0_enable} << 16);
  return offset < kGpe0Length ? static_cast<uint8_t>(block >> (8 * offset)) : uint8_t{0};
}

void AcpiPower::write_gpe(uint64_t offset, uint8_t value) {
  {
    const MutexLock lock(mutex_);
    if (offset < 2) {
      registers_.gpe0_status &= static_cast<uint16_t>(~(unsigned{value} << (8 * offset)));
    } else if (offset < kGpe0Length) {
      registers_.gpe0_enable = with_byte(registers_.gpe0_enable, static_cast<unsigned>(offset - 2), value);
    }
    request_sci();
  }
  sci_.publish();
}

uint8_t AcpiPower::read_smi(uint64_t offset) {
  const MutexLock lock(mutex_);
  return offset == 0 ? registers_.smi_command : registers_.smi_status;
}

void AcpiPower::write_smi(uint64_t offset, uint8_t value) {
  {
    const MutexLock lock(mutex_);
    if (offset != 0) {
      registers_.smi_status = value;
      return;
    }
    registers_.smi_command = value;
    if (value == kAcpiEnable) {
      registers_.pm1_control |= kSciEnable;
    } else if (value == kAcpiDisable) {
      registers_.pm1_control &= static_cast<uint16_t>(~kSciEnable);
    }
    request_sci();
  }
  sci_.publish();
}

}  // namespace vmm
