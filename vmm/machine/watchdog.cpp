#include "vmm/machine/watchdog.h"

#include <utility>

#include "vmm/core/clock.h"

namespace vmm {

Result<std::unique_ptr<Watchdog>> Watchdog::create(const domain::Domain& domain, EventLoop& main_loop,
                                                   IoBus& ports, const VirtioPlaces& places,
                                                   std::function<void()> on_expired) {
  if (!domain.watchdog) {
    return nullptr;
  }
  std::unique_ptr<Watchdog> watchdog(new Watchdog());
  VMM_ASSIGN_OR_RETURN(watchdog->alarm_, make_loop_alarm(main_loop));
  if (domain.watchdog->model == domain::WatchdogModel::kIb700) {
    watchdog->ib700_ =
        std::make_unique<Ib700>(host_monotonic_clock(), *watchdog->alarm_, std::move(on_expired));
    VMM_TRY(ports.add(Ib700::kStopPort, 1, watchdog->ib700_->stop_port()));
    VMM_TRY(ports.add(Ib700::kStartPort, 1, watchdog->ib700_->start_port()));
    return watchdog;
  }
  watchdog->i6300esb_ =
      std::make_unique<pci::I6300Esb>(host_monotonic_clock(), *watchdog->alarm_, std::move(on_expired));
  VMM_ASSIGN_OR_RETURN(const uint8_t slot, places.pci_slot(domain.watchdog->address));
  VMM_TRY(places.world().chipset->bus().attach({.slot = slot, .function = 0}, *watchdog->i6300esb_));
  return watchdog;
}

void Watchdog::reset() {
  if (ib700_ != nullptr) {
    ib700_->reset();
  }
}

}  // namespace vmm
