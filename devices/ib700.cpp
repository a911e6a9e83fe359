#include "devices/ib700.h"

#include <utility>

namespace vmm {

Ib700::Ib700(MonotonicClock clock, Alarm& alarm, std::function<void()> on_expired)
    : countdown_(std::move(clock), alarm, std::move(on_expired)) {}

void Ib700::write_stop(uint64_t /*offset*/, uint8_t /*value*/) { countdown_.stop(); }

void Ib700::write_start(uint64_t offset, uint8_t value) {
  constexpr std::chrono::seconds kLongest(30);
  constexpr std::chrono::seconds kUnit(2);
  if (offset == 0) {  // of a wider access, the byte for this port
    countdown_.start(kLongest - kUnit * (value & 0x0f));
  }
}

}  // namespace vmm
