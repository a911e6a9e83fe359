// Watchdog: the domain's <watchdog>: the device, and its time, which stands still while the guest does.
//
// Threads: the main thread, while no vCPU runs, but for what the device itself says.
#pragma once

#include <functional>
#include <memory>

#include "devices/countdown.h"
#include "devices/ib700.h"
#include "devices/pci/i6300esb.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/core/alarm.h"
#include "vmm/core/io_bus.h"
#include "vmm/domain/domain.h"
#include "vmm/machine/virtio_places.h"

namespace vmm {

class Watchdog {
 public:
  // Null where the domain has none. on_expired comes on the main loop's thread. REQUIRES: what is passed
  // outlives it.
  static Result<std::unique_ptr<Watchdog>> create(const domain::Domain& domain, EventLoop& main_loop,
                                                  IoBus& ports, const VirtioPlaces& places,
                                                  std::function<void()> on_expired);

  // To the power-on state, but for what is on PCI, which is reset with its bus.
  void reset();
  void hold() { countdown().hold(); }
  void go_on() { countdown().go_on(); }

 private:
  Watchdog() = default;
  Countdown& countdown() { return ib700_ != nullptr ? ib700_->countdown() : i6300esb_->countdown(); }

  std::unique_ptr<Alarm> alarm_;
  std::unique_ptr<Ib700> ib700_;  // or the other
  std::unique_ptr<pci::I6300Esb> i6300esb_;
};

}  // namespace vmm
