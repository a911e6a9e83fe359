// Platform: the devices that every machine has, `pc` and `microvm` alike: serial ports and their consoles,
// clock, keyboard controller, reset and power ports; debug console, panic device and exit port where the
// domain has them.
//
// Threads: built, reset and destroyed by the main thread while no vCPU runs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "devices/acpi_power.h"
#include "devices/cmos_rtc.h"
#include "devices/debug_console.h"
#include "devices/exit_port.h"
#include "devices/i8042.h"
#include "devices/pv_panic.h"
#include "devices/serial.h"
#include "devices/system_control.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/log.h"
#include "vmm/console/shared_console.h"
#include "vmm/core/alarm.h"
#include "vmm/core/guest_memory.h"
#include "vmm/core/io_bus.h"
#include "vmm/domain/domain.h"
#include "vmm/machine/console_info.h"
#include "vmm/machine/isa_interrupts.h"

namespace vmm {

// What the guest can do to the machine as a whole. Called on vCPU threads.
struct MachineSwitches {
  std::function<void()> power_off;
  std::function<void()> reset;
  std::function<void(uint8_t status)> exit;  // the guest ends its run
  std::function<void()> panic;               // its kernel has panicked
  std::function<void()> quit;                // the person at the console wants to leave (main thread)
};

class Platform {
 public:
  // REQUIRES: everything passed outlives the Platform.
  static Result<std::unique_ptr<Platform>> create(const domain::Domain& domain, EventLoop& main_loop,
                                                  const GuestMemory& memory, IsaInterrupts& interrupts,
                                                  const MachineSwitches& switches);

  // Puts the devices on the port bus, but for the reset port where PCI has its place (0xcf9).
  Status attach(IoBus& ports, bool with_reset_port);
  // The debug console and the exit port. REQUIRES: everything else that has ports is on the bus. An error, of
  // the domain file, where one of them is among these.
  Status attach_chosen_ports(const domain::Domain& domain, IoBus& ports);
  ResetPort& reset_port() { return reset_port_; }
  AcpiPower& power() { return power_; }

  // Every device to its power-on state.
  void reset();
  // What cannot be undone on the host, as to empty the files of consoles: when nothing else can fail any
  // more.
  Status begin();
  // Of the serial ports and the debug console. On the main loop's thread.
  std::vector<ConsoleInfo> consoles() const;
  // Brings what the guest printed last to the consoles.
  void flush_consoles();
  // The console of COM1 + number; null: there is none.
  SharedConsole* console(uint32_t number) const;

 private:
  struct Port {
    uint32_t number = 0;
    std::unique_ptr<SharedConsole> console;
    std::unique_ptr<Serial16550> serial;
  };

  Platform(const domain::Domain& domain, std::unique_ptr<Alarm> alarm, std::chrono::seconds clock_offset,
           const GuestMemory& memory, IsaInterrupts& interrupts, const MachineSwitches& switches);
  Status add_serial_ports(const domain::Domain& domain, EventLoop& main_loop, IsaInterrupts& interrupts,
                          const MachineSwitches& switches);
  Status add_debug_console(const domain::Domain& domain, EventLoop& main_loop,
                           const MachineSwitches& switches);
  void tell_crash_kernel() const;

  std::unique_ptr<Alarm> rtc_alarm_;
  CmosRtc rtc_;
  I8042 keyboard_controller_;
  ResetPort reset_port_;
  SystemControlA system_control_;
  PostCode post_code_;
  DebugPort debug_port_;
  ExitPort exit_port_;
  std::optional<PvPanic> panic_device_;  // where the domain has one
  AcpiPower power_;
  std::vector<Port> ports_;
  std::unique_ptr<SharedConsole> debug_end_;
  std::unique_ptr<DebugConsole> debug_console_;  // null: the domain has none
  uint16_t debug_console_port_ = 0;
  mutable log::RateLimit log_limit_;
};

}  // namespace vmm
