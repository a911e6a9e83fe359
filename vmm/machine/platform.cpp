#include "vmm/machine/platform.h"

#include <algorithm>
#include <utility>

#include "vmm/base/log.h"
#include "vmm/core/clock.h"
#include "vmm/core/layout.h"
#include "vmm/domain/domain.h"
#include "vmm/machine/open_console.h"

namespace vmm {
namespace {

// What files say and what the machine has.
static_assert(domain::kDebugConsolePort == layout::kDebugPort);
static_assert(domain::kPanicDevicePort == layout::kPanicPort);
static_assert(domain::kExitPortEnd == layout::kPciIoStart);

WallClock clock_with_offset(std::chrono::seconds offset) {
  return [clock = host_wall_clock(), offset] { return clock() + offset; };
}

Result<std::chrono::seconds> zone_offset(const domain::Domain& domain, const std::string& zone) {
  auto offset = utc_offset_of_zone(zone);
  if (!offset) {
    return std::unexpected(offset.error().within(domain.where(domain.clock.line) + ": <clock>"));
  }
  return offset;
}

Result<std::chrono::seconds> clock_offset(const domain::Domain& domain) {
  const domain::Clock& clock = domain.clock;
  switch (clock.offset) {
    case domain::ClockOffset::kUtc:
      return std::chrono::seconds(0);
    case domain::ClockOffset::kLocaltime:
      return zone_offset(domain, "");
    case domain::ClockOffset::kTimezone:
      return zone_offset(domain, clock.timezone);
    case domain::ClockOffset::kVariable: {
      const std::chrono::seconds adjustment(clock.adjustment_seconds);
      if (!clock.basis_is_localtime) {
        return adjustment;
      }
      VMM_ASSIGN_OR_RETURN(const std::chrono::seconds local, zone_offset(domain, ""));
      return local + adjustment;
    }
  }
  return std::chrono::seconds(0);
}

// As QEMU tells SeaBIOS, which asks for it.
bool is_translated(const domain::DiskGeometry& geometry) {
  constexpr uint32_t kCylindersOfInt13h = 1024;
  constexpr uint32_t kSectorsOfInt13h = 63;
  return geometry.translation == domain::ChsTranslation::kLba ||
         (geometry.translation == domain::ChsTranslation::kAuto &&
          (geometry.cylinders > kCylindersOfInt13h || geometry.sectors_per_track > kSectorsOfInt13h));
}

uint8_t disk_translations(const domain::Domain& domain) {
  unsigned translations = 0;
  for (const domain::Disk& disk : domain.disks) {
    if (disk.bus == domain::DiskBus::kIde && disk.geometry && is_translated(*disk.geometry)) {
      translations |= 1U << (2 * (2 * disk.ide_place.channel + disk.ide_place.drive));
    }
  }
  return static_cast<uint8_t>(translations);
}

CmosContents cmos_contents(const domain::Domain& domain, const GuestMemory& memory) {
  CmosContents contents;
  contents.low_memory_bytes = memory.bytes_below(GuestAddress(layout::kFourGiB));
  contents.high_memory_bytes = memory.size_bytes() - contents.low_memory_bytes;
  contents.disk_translations = disk_translations(domain);
  contents.cpu_count = static_cast<uint8_t>(std::min<uint32_t>(domain.vcpus, 255));
  return contents;
}

bool add_where_free(IoBus& ports, uint16_t port, BusDevice& device) {
  const bool is_kvms = std::ranges::any_of(layout::kPortsOfKvm, [port](const layout::Ports& taken) {
    return port >= taken.first && port - taken.first < taken.count;
  });
  return !is_kvms && ports.add(port, 1, device).has_value();
}

}  // namespace

Platform::Platform(const domain::Domain& domain, std::unique_ptr<Alarm> alarm,
                   std::chrono::seconds clock_offset, const GuestMemory& memory, IsaInterrupts& interrupts,
                   const MachineSwitches& switches)
    : rtc_alarm_(std::move(alarm)),
      rtc_(interrupts.make_input(layout::kRtcIrq), clock_with_offset(clock_offset), *rtc_alarm_,
           cmos_contents(domain, memory)),
      keyboard_controller_(interrupts.make_input(layout::kKeyboardIrq), switches.reset),
      reset_port_(switches.reset),
      system_control_(switches.reset),
      debug_port_(host_monotonic_clock(), DebugPort::log_firmware_line),
      exit_port_(switches.exit),
      power_(interrupts.make_input(layout::kSciIrq), host_monotonic_clock(), {.is_enabled_at_reset = true},
             switches.power_off) {}

Result<std::unique_ptr<Platform>> Platform::create(const domain::Domain& domain, EventLoop& main_loop,
                                                   const GuestMemory& memory, IsaInterrupts& interrupts,
                                                   const MachineSwitches& switches) {
  VMM_ASSIGN_OR_RETURN(const std::chrono::seconds offset, clock_offset(domain));
  VMM_ASSIGN_OR_RETURN(std::unique_ptr<Alarm> alarm, make_loop_alarm(main_loop));
  std::unique_ptr<Platform> platform(
      new Platform(domain, std::move(alarm), offset, memory, interrupts, switches));
  if (domain.panic_device) {
    platform->panic_device_.emplace(PvPanic::Events{
        .panicked = switches.panic, .crash_loaded = [raw = platform.get()] { raw->tell_crash_kernel(); }});
  }
  VMM_TRY(platform->add_serial_ports(domain, main_loop, interrupts, switches));
  VMM_TRY(platform->add_debug_console(domain, main_loop, switches));
  return platform;
}

Status Platform::add_serial_ports(const domain::Domain& domain, EventLoop& main_loop,
                                  IsaInterrupts& interrupts, const MachineSwitches& switches) {
  for (const domain::Serial& serial : domain.serials) {
    auto console =
        open_console(domain, serial, main_loop, switches.quit, fmt::format("serial port {}", serial.port));
    if (!console) {
      return std::unexpected(console.error().within(
          fmt::format("{}: <serial> port {}", domain.where(serial.line), serial.port)));
    }
    Port port;
    port.number = serial.port;
    port.console = std::move(*console);
    port.serial =
        std::make_unique<Serial16550>(interrupts.make_input(layout::kSerialIrqs[serial.port]), *port.console);
    port.console->connect(*port.serial);
    ports_.push_back(std::move(port));
  }
  return {};
}

Status Platform::add_debug_console(const domain::Domain& domain, EventLoop& main_loop,
                                   const MachineSwitches& switches) {
  if (!domain.debug_console) {
    return {};
  }
  const domain::Serial& end = domain.debug_console->end;
  auto console = open_console(domain, end, main_loop, switches.quit, "the debug console");
  if (!console) {
    return std::unexpected(
        console.error().within(fmt::format("{}: <serial> of type isa-debug", domain.where(end.line))));
  }
  debug_end_ = std::move(*console);
  debug_console_ = std::make_unique<DebugConsole>(*debug_end_);
  debug_end_->connect(*debug_console_);
  debug_console_port_ = domain.debug_console->port;
  return {};
}

Status Platform::attach(IoBus& ports, bool with_reset_port) {
  for (const Port& port : ports_) {
    VMM_TRY(ports.add(layout::kSerialPorts[port.number], Serial16550::kPorts, *port.serial));
  }
  VMM_TRY(ports.add(layout::kCmosIndex, CmosRtc::kPorts, rtc_));
  VMM_TRY(ports.add(layout::kI8042Data, 1, keyboard_controller_.data_port()));
  VMM_TRY(ports.add(layout::kI8042Command, 1, keyboard_controller_.command_port()));
  VMM_TRY(ports.add(layout::kSystemControlA, 1, system_control_));
  VMM_TRY(ports.add(layout::kPostCode, 1, post_code_));
  if (debug_console_ == nullptr || debug_console_port_ != layout::kDebugPort) {
    VMM_TRY(ports.add(layout::kDebugPort, 1, debug_port_));
  }
  if (panic_device_) {
    VMM_TRY(ports.add(layout::kPanicPort, PvPanic::kPorts, *panic_device_));
  }
  VMM_TRY(ports.add(layout::kPmBase, AcpiPower::kPmBlockPorts, power_.pm_block()));
  VMM_TRY(ports.add(layout::kGpe0Base, AcpiPower::kGpe0Ports, power_.gpe0_block()));
  VMM_TRY(ports.add(AcpiPower::kSmiCommandPort, AcpiPower::kSmiPorts, power_.smi_ports()));
  if (with_reset_port) {
    VMM_TRY(ports.add(layout::kResetControl, 1, reset_port_));
  }
  return {};
}

Status Platform::attach_chosen_ports(const domain::Domain& domain, IoBus& ports) {
  if (debug_console_ != nullptr && !add_where_free(ports, debug_console_port_, *debug_console_)) {
    return fail_configuration(
        "{}: <serial>/<address iobase='{:#x}'>: the machine has something else there; give another, as {:#x}",
        domain.where(domain.debug_console->end.line), debug_console_port_, layout::kDebugPort);
  }
  if (!domain.exit_port) {
    return {};
  }
  const uint16_t port = domain.exit_port->port;
  if (!add_where_free(ports, port, exit_port_)) {
    return fail_configuration(
        "{}: <metadata>/<vmm:exit port='{:#x}'>: the machine has something else there; give another, as 0xf4",
        domain.where(domain.exit_port->line), port);
  }
  return {};
}

Status Platform::begin() {
  for (const Port& port : ports_) {
    VMM_TRY(port.console->begin());
  }
  return debug_end_ == nullptr ? Status() : debug_end_->begin();
}

void Platform::reset() {
  rtc_.reset();
  keyboard_controller_.reset();
  reset_port_.reset();
  system_control_.reset();
  post_code_.reset();
  debug_port_.reset();
  exit_port_.reset();
  power_.reset();
  for (const Port& port : ports_) {
    port.serial->reset();
  }
}

std::vector<ConsoleInfo> Platform::consoles() const {
  std::vector<ConsoleInfo> infos;
  infos.reserve(ports_.size() + 1);
  for (const Port& port : ports_) {
    infos.push_back({.label = fmt::format("serial{}", port.number), .host_end = port.console->host_end()});
  }
  if (debug_end_ != nullptr) {
    infos.push_back({.label = "debugcon", .host_end = debug_end_->host_end()});
  }
  return infos;
}

void Platform::flush_consoles() {
  for (const Port& port : ports_) {
    port.console->flush();
  }
  if (debug_end_ != nullptr) {
    debug_end_->flush();
  }
}

SharedConsole* Platform::console(uint32_t number) const {
  const auto found = std::ranges::find(ports_, number, &Port::number);
  return found == ports_.end() ? nullptr : found->console.get();
}

void Platform::tell_crash_kernel() const {
  if (log_limit_.allows()) {
    log::warning("the guest's kernel has panicked, and its crash kernel takes over");
  }
}

}  // namespace vmm
