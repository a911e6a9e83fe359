// AcpiPower: the fixed hardware of ACPI 6.4, chapter 4.8 (PM1a event and control block, PM timer, GPE0), and
// PIIX4's pair of SMI ports (Intel 290562, section 7.2) through which firmware hands ACPI over.
//
// TMR_STS is brought up to date when a register is read, not when the timer's top bit changes: no host timer
// runs for it. Sleep states other than S5 are ignored, with a line in the log.
//
// Threads: all methods from any thread. on_power_off is called on the vCPU's thread that wrote SLP_EN.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "devices/byte_device.h"
#include "vmm/base/log.h"
#include "vmm/base/thread_annotations.h"
#include "vmm/core/clock.h"
#include "vmm/core/interrupt.h"
#include "vmm/core/io_bus.h"
#include "vmm/core/line_driver.h"

namespace vmm {

class AcpiPower {
 public:
  // What the FADT says (ACPI 6.4, table 5.9).
  static constexpr uint8_t kAcpiEnable = 0xf1;
  static constexpr uint8_t kAcpiDisable = 0xf0;
  static constexpr uint16_t kSmiCommandPort = 0xb2;
  static constexpr uint8_t kPm1EventLength = 4;
  static constexpr uint8_t kPm1ControlLength = 2;
  static constexpr uint8_t kPmTimerLength = 4;  // 32 bits: set TMR_VAL_EXT in the FADT
  static constexpr uint8_t kGpe0Length = 4;

  // How many ports to give to each window.
  static constexpr uint64_t kPmBlockPorts = 64;
  static constexpr uint64_t kGpe0Ports = kGpe0Length;
  static constexpr uint64_t kSmiPorts = 2;

  struct Settings {
    bool is_enabled_at_reset = true;  // SCI_EN without firmware's help: direct boot
  };

  AcpiPower(InterruptLine& sci, MonotonicClock clock, Settings settings, std::function<void()> on_power_off);

  BusDevice& pm_block() { return pm_block_; }      // at layout::kPmBase
  BusDevice& gpe0_block() { return gpe0_block_; }  // at layout::kGpe0Base
  BusDevice& smi_ports() { return smi_ports_; }    // at kSmiCommandPort

  void reset() VMM_EXCLUDES(mutex_);

  // The power button. False where the guest has not asked to be told: it will not react.
  bool press_power_button() VMM_EXCLUDES(mutex_);

  // General-purpose event n, n < 16.
  void raise_gpe(unsigned n) VMM_EXCLUDES(mutex_);

 private:
  struct Registers {
    uint16_t pm1_status = 0;
    uint16_t pm1_enable = 0;
    uint16_t pm1_control = 0;
    uint16_t gpe0_status = 0;
    uint16_t gpe0_enable = 0;
    uint8_t smi_command = 0;
    uint8_t smi_status = 0;
    uint64_t timer_carries = 0;  // changes of the timer's top bit that TMR_STS has accounted for
  };

  class PmBlock final : public BusDevice {
   public:
    explicit PmBlock(AcpiPower& owner) : owner_(owner) {}
    void read(uint64_t offset, std::span<std::byte> data) override { owner_.read_pm(offset, data); }
    void write(uint64_t offset, std::span<const std::byte> data) override { owner_.write_pm(offset, data); }

   private:
    AcpiPower& owner_;
  };

  void read_pm(uint64_t offset, std::span<std::byte> data) VMM_EXCLUDES(mutex_);
  void write_pm(uint64_t offset, std::span<const std::byte> data) VMM_EXCLUDES(mutex_);
  uint8_t read_gpe(uint64_t offset) VMM_EXCLUDES(mutex_);
  void write_gpe(uint64_t offset, uint8_t value) VMM_EXCLUDES(mutex_);
  uint8_t read_smi(uint64_t offset) VMM_EXCLUDES(mutex_);
  void write_smi(uint64_t offset, uint8_t value) VMM_EXCLUDES(mutex_);

  bool write_pm_byte(uint64_t offset, uint8_t value) VMM_REQUIRES(mutex_);
  void update_timer_status(uint64_t ticks) VMM_REQUIRES(mutex_);
  void request_sci() VMM_REQUIRES(mutex_);
  uint64_t timer_ticks() const;
  void sleep(uint8_t sleep_type);

  // Constant after construction.
  const MonotonicClock clock_;
  const Settings settings_;
  const std::function<void()> on_power_off_;
  PmBlock pm_block_{*this};
  ByteWindow<AcpiPower, &AcpiPower::read_gpe, &AcpiPower::write_gpe> gpe0_block_{*this};
  ByteWindow<AcpiPower, &AcpiPower::read_smi, &AcpiPower::write_smi> smi_ports_{*this};

  log::RateLimit sleep_log_limit_;
  LineDriver sci_;
  Mutex mutex_;
  Registers registers_ VMM_GUARDED_BY(mutex_);
};

}  // namespace vmm
