// Ib700: the watchdog of iBASE's IB700 single-board computers, at two ports: a write to the one starts the
// countdown anew, with 30 seconds less two for each unit of the value's low half; a write to the other stops
// it. Both read as nothing.
//
// Interface: Linux, drivers/watchdog/ib700wdt.c. Threads: all methods from any thread; on_expired comes on
// the alarm's thread.
#pragma once

#include <cstdint>
#include <functional>

#include "devices/byte_device.h"
#include "devices/countdown.h"

namespace vmm {

class Ib700 final {
 public:
  // Each port stands alone: what is between them belongs to others.
  static constexpr uint16_t kStopPort = 0x441;
  static constexpr uint16_t kStartPort = 0x443;

  Ib700(MonotonicClock clock, Alarm& alarm, std::function<void()> on_expired);

  BusDevice& stop_port() { return stop_port_; }
  BusDevice& start_port() { return start_port_; }

  void reset() { countdown_.stop(); }
  Countdown& countdown() { return countdown_; }

 private:
  uint8_t read_nothing(uint64_t /*offset*/) { return 0xff; }
  void write_stop(uint64_t offset, uint8_t value);
  void write_start(uint64_t offset, uint8_t value);

  Countdown countdown_;
  ByteWindow<Ib700, &Ib700::read_nothing, &Ib700::write_stop> stop_port_{*this};
  ByteWindow<Ib700, &Ib700::read_nothing, &Ib700::write_start> start_port_{*this};
};

}  // namespace vmm
