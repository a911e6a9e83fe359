// The small devices of a PC at their ports and both watchdogs, with accesses of any width at any port, while
// time passes and the host types, presses the power button and reads the console slowly. Nothing is printed
// that was not written, no output and no input gets stuck, no watchdog runs out that nobody has started, and
// after a reset no line is high.
//
// Input: operations (see Machine::step).
#include <algorithm>
#include <array>
#include <chrono>

#include "devices/acpi_power.h"
#include "devices/cmos_rtc.h"
#include "devices/debug_console.h"
#include "devices/exit_port.h"
#include "devices/i8042.h"
#include "devices/ib700.h"
#include "devices/pci/i6300esb.h"
#include "devices/pv_panic.h"
#include "devices/serial.h"
#include "devices/system_control.h"
#include "tests/fuzz/input.h"
#include "tests/unit/fakes/fake_byte_stream.h"
#include "tests/unit/fakes/fake_clock.h"
#include "tests/unit/fakes/fake_interrupts.h"
#include "tests/unit/fakes/port_access.h"
#include "vmm/core/io_bus.h"
#include "vmm/core/layout.h"

namespace vmm {
namespace {

constexpr int kMaxSteps = 2000;
constexpr uint16_t kExitPort = 0xf4;
constexpr uint16_t kDebugConsole = 0xe9;
constexpr size_t kMaxKeyboardBytes = 33;  // docs/limits.md
constexpr auto kFastestPeriod = std::chrono::microseconds(122);
// 2026-01-01: the clock of the host.
constexpr auto kStart = std::chrono::seconds(1'767'225'600);

class Machine {
 public:
  explicit Machine(fuzz::Input& input) : input_(input) {
    add(layout::kSerialPorts[0], Serial16550::kPorts, serial_);
    add(layout::kCmosIndex, CmosRtc::kPorts, rtc_);
    add(layout::kI8042Data, 1, keyboard_.data_port());
    add(layout::kI8042Command, 1, keyboard_.command_port());
    add(layout::kSystemControlA, 1, system_control_);
    add(layout::kPostCode, 1, post_code_);
    add(layout::kDebugPort, 1, debug_port_);
    add(layout::kPmBase, AcpiPower::kPmBlockPorts, power_.pm_block());
    add(layout::kGpe0Base, AcpiPower::kGpe0Ports, power_.gpe0_block());
    add(AcpiPower::kSmiCommandPort, AcpiPower::kSmiPorts, power_.smi_ports());
    add(layout::kResetControl, 1, reset_port_);
    add(kExitPort, ExitPort::kPorts, exit_port_);
    add(layout::kPanicPort, PvPanic::kPorts, panic_device_);
    add(kDebugConsole, DebugConsole::kPorts, debug_console_);
    add(Ib700::kStopPort, 1, ib700_.stop_port());
    add(Ib700::kStartPort, 1, ib700_.start_port());
  }

  void run() {
    for (int i = 0; i < kMaxSteps && !input_.is_empty(); ++i) {
      step();
      VMM_CHECK(sink_.text.size() <= bytes_written_, "more was printed than the guest wrote");
      VMM_CHECK(debug_sink_.text.size() + panics_ <= bytes_written_, "more was told than the guest wrote");
      VMM_CHECK(exits_ <= 1, "a guest that ended once more");
      VMM_CHECK(barks_ <= bytes_written_, "a watchdog that nobody has started ran out");
      VMM_CHECK(resets_ + power_offs_ <= bytes_written_, "a reset without a write");
    }
    check_output();
    check_input();
    check_keyboard();
    reset();
    VMM_CHECK(std::ranges::none_of(lines_, [](const FakeLine& line) { return line.level.load(); }),
              "a device that was reset interrupts");
  }

 private:
  void add(uint64_t port, uint64_t count, BusDevice& device) {
    VMM_CHECK(ports_.add(port, count, device).has_value(), "taken");
    windows_[window_count_++] = static_cast<uint16_t>(port);
  }

  void step() {
    const uint8_t operation = input_.take<uint8_t>();
    switch (operation % 16) {
      case 0:
        return access(input_.take<uint16_t>());
      case 1:
        return pass_time(std::chrono::microseconds(input_.take<uint16_t>()));
      case 2:
        return pass_time(std::chrono::milliseconds(uint64_t{input_.take<uint16_t>()} * 16));
      case 3:
        return type(input_.take_bytes(input_.below(40)));
      case 4:
        return serial_.receive_break();
      case 5:
        debug_sink_.room = sink_.room = input_.below(20);
        return serial_.output_room();
      case 6:
        return press_keys();
      case 7:
        return static_cast<void>(power_.press_power_button());
      case 8:
        return power_.raise_gpe(input_.below(16));
      case 9:
        return reset();
      case 10:
        return access_i6300esb();
      case 11:
        return let_time_stand(input_.chance());
      default:
        return access(static_cast<uint16_t>(windows_[input_.below(static_cast<unsigned>(window_count_))] +
                                            (operation >> 4)));
    }
  }

  void access(uint16_t port) {
    const uint8_t kind = input_.take<uint8_t>();
    std::array<std::byte, 8> bytes{};
    const std::span data = std::span(bytes).first(size_t{1} << (kind & 3));
    if ((kind & 4) == 0) {
      ports_.read(port, data);
      return;
    }
    store_le_sized(data, input_.take<uint32_t>());
    bytes_written_ += data.size();
    ports_.write(port, data);
  }

  void access_i6300esb() {
    constexpr std::array<uint8_t, 6> kConfigRegisters = {0x04, 0x10, 0x60, 0x61, 0x66, 0x68};
    const uint8_t kind = input_.take<uint8_t>();
    std::array<std::byte, 8> bytes{};
    const std::span data = std::span(bytes).first(size_t{1} << (kind & 3));
    store_le_sized(data, input_.take<uint32_t>());
    bytes_written_ += data.size();
    if ((kind & 8) != 0) {
      const uint8_t offset = kConfigRegisters[input_.below(kConfigRegisters.size())];
      return i6300esb_.write_config(offset, data.first(std::min<size_t>(data.size(), 4U - (offset & 3U))));
    }
    BusDevice& bar = *i6300esb_.bars()[0].device;
    const uint64_t offset = input_.below(static_cast<unsigned>(pci::I6300Esb::kBarBytes + 1 - data.size()));
    (kind & 4) != 0 ? bar.read(offset, data) : bar.write(offset, data);
  }

  void let_time_stand(bool stands) {
    holds_ += 2;  // of either watchdog
    for (Countdown* countdown : {&ib700_.countdown(), &i6300esb_.countdown()}) {
      stands ? countdown->hold() : countdown->go_on();
    }
  }

  // The clock's alarm goes off meanwhile, but not more often than the fastest periodic interrupt; those of
  // the watchdogs once for each of their starts, and once for nothing.
  void pass_time(std::chrono::nanoseconds time) {
    const uint64_t ticks = alarm_.calls();
    run_for(clock_, {&alarm_, &ib700_alarm_, &i6300esb_alarm_}, time);
    const auto most = static_cast<uint64_t>(time / kFastestPeriod) + 2;
    VMM_CHECK(alarm_.calls() - ticks <= most, "the clock wakes the host more often than it ticks");
    VMM_CHECK(ib700_alarm_.calls() + i6300esb_alarm_.calls() <= 2 * bytes_written_ + holds_,
              "a watchdog wakes the host more often than its guest");
  }

  void type(std::span<const std::byte> bytes) {
    VMM_CHECK(serial_.receive(bytes) <= bytes.size(), "the port took more than it was offered");
  }

  void press_keys() {
    std::array<uint8_t, 20> keys{};
    const auto typed = input_.take_bytes(input_.below(keys.size()));
    std::ranges::transform(typed, keys.begin(), [](std::byte key) { return std::to_integer<uint8_t>(key); });
    static_cast<void>(keyboard_.press_keys(std::span(keys).first(typed.size())));
  }

  void reset() {
    rtc_.reset();
    keyboard_.reset();
    reset_port_.reset();
    system_control_.reset();
    post_code_.reset();
    debug_port_.reset();
    exit_port_.reset();
    exits_ = 0;
    power_.reset();
    serial_.reset();
    ib700_.reset();
    i6300esb_.reset();
  }

  // Once the console has room again, the transmitter runs empty.
  void check_output() {
    sink_.room = SIZE_MAX;
    serial_.output_room();
    VMM_CHECK((in(serial_, 5) & 0x60) == 0x60, "output got stuck");
  }

  // Who was told to wait is called back once the guest listens and reads.
  void check_input() {
    const std::byte key{'k'};
    const bool is_held = serial_.receive(std::span(&key, 1)) == 0;
    const int calls = sink_.input_room_calls;
    out8(serial_, 3, 0x03);  // no divisor latch
    out8(serial_, 4, 0);     // no loopback
    out8(serial_, 1, 0x01);  // receive interrupt
    for (int i = 0; i < 2 * Serial16550::kFifoBytes && (in(serial_, 5) & 0x01) != 0; ++i) {
      static_cast<void>(in(serial_, 0));
    }
    VMM_CHECK((in(serial_, 5) & 0x01) == 0, "the receiver has no end");
    VMM_CHECK(!is_held || sink_.input_room_calls > calls, "input got stuck");
  }

  void check_keyboard() {
    size_t count = 0;
    while ((in(keyboard_.command_port(), 0) & 0x01) != 0 && count <= kMaxKeyboardBytes) {
      static_cast<void>(in(keyboard_.data_port(), 0));
      ++count;
    }
    VMM_CHECK(count <= kMaxKeyboardBytes, "the keyboard has no end");
  }

  fuzz::Input& input_;
  FakeClock clock_{kStart};
  FakeAlarm alarm_{clock_};
  FakeByteSink sink_;
  std::array<FakeLine, 4> lines_;
  uint64_t resets_ = 0;
  uint64_t power_offs_ = 0;
  uint64_t bytes_written_ = 0;
  int exits_ = 0;

  Serial16550 serial_{lines_[0], sink_};
  CmosRtc rtc_{lines_[1], clock_.function(), alarm_, CmosContents{.low_memory_bytes = 64 << 20}};
  I8042 keyboard_{lines_[2], [this] { ++resets_; }};
  AcpiPower power_{lines_[3], clock_.function(), AcpiPower::Settings{}, [this] { ++power_offs_; }};
  ResetPort reset_port_{[this] { ++resets_; }};
  SystemControlA system_control_{[this] { ++resets_; }};
  PostCode post_code_;
  DebugPort debug_port_{clock_.function(), [](std::string_view line) {
                          VMM_CHECK(line.size() <= DebugPort::kMaxLineBytes + 40, "a line is too long");
                        }};
  ExitPort exit_port_{[this](uint8_t /*status*/) { ++exits_; }};
  uint64_t panics_ = 0;
  PvPanic panic_device_{{.panicked = [this] { ++panics_; }, .crash_loaded = [this] { ++panics_; }}};
  FakeByteSink debug_sink_;
  DebugConsole debug_console_{debug_sink_};
  uint64_t barks_ = 0;
  uint64_t holds_ = 0;
  FakeAlarm ib700_alarm_{clock_}, i6300esb_alarm_{clock_};
  Ib700 ib700_{clock_.function(), ib700_alarm_, [this] { ++barks_; }};
  pci::I6300Esb i6300esb_{clock_.function(), i6300esb_alarm_, [this] { ++barks_; }};
  IoBus ports_;
  std::array<uint16_t, 16> windows_{};
  size_t window_count_ = 0;
};

}  // namespace
}  // namespace vmm

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::fuzz::silence_log();
  vmm::fuzz::Input input(data, size);
  vmm::Machine(input).run();
  return 0;
}
