// VirtioExtras: the domain's <rng>s and its <console>s of virtio, on one thread of their own: none of them
// has much to do. A source of random numbers that makes its reader wait (some chips behind /dev/hwrng) makes
// all of these wait, and nothing else.
//
// Threads: the methods are the main thread's; the devices belong to their thread from start() on, the host's
// ends of consoles to the main loop.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "devices/virtio/console.h"
#include "devices/virtio/rng.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/unique_fd.h"
#include "vmm/console/shared_console.h"
#include "vmm/core/alarm.h"
#include "vmm/domain/domain.h"
#include "vmm/machine/console_info.h"
#include "vmm/machine/io_thread.h"
#include "vmm/machine/virtio_places.h"

namespace vmm {

class VirtioExtras {
 public:
  // Null where the domain has none of these. on_quit: as MachineSwitches::quit. REQUIRES: what is passed
  // outlives it.
  static Result<std::unique_ptr<VirtioExtras>> create(const domain::Domain& domain, VirtioPlaces& places,
                                                      EventLoop& main_loop,
                                                      const std::function<void()>& on_quit);
  ~VirtioExtras();
  VirtioExtras(const VirtioExtras&) = delete;
  VirtioExtras& operator=(const VirtioExtras&) = delete;

  // As Platform's.
  Status begin();
  void flush_consoles();
  std::vector<ConsoleInfo> consoles() const;
  // Of the domain's virtio_consoles, in their order. REQUIRES: there is one of this number.
  SharedConsole& console(size_t number) const { return *consoles_[number].end; }

  void start() { thread_->start(); }
  // They leave the guest's memory alone from then on. In turns with resume().
  void quiesce();
  void resume();
  // As VirtioTransport::reset.
  void reset() const;

 private:
  struct Rng {
    std::unique_ptr<Alarm> period, retry;
    std::unique_ptr<virtio::VirtioRng> device;
    VirtioTransport transport;
  };
  struct GuestConsole {
    std::unique_ptr<SharedConsole> end;
    std::unique_ptr<virtio::VirtioConsole> device;
    VirtioTransport transport;
  };

  explicit VirtioExtras(std::unique_ptr<IoThread> thread) : thread_(std::move(thread)) {}
  Status add_rng(const domain::Rng& rng, VirtioPlaces& places);
  Status add_console(const domain::Domain& domain, const domain::Serial& end, VirtioPlaces& places,
                     EventLoop& main_loop, const std::function<void()>& on_quit);
  template <typename Action>
  void for_each_core(const Action& action) const;

  const std::unique_ptr<IoThread> thread_;
  std::vector<Rng> rngs_;
  std::vector<GuestConsole> consoles_;
  bool is_quiesced_ = false;
};

}  // namespace vmm
