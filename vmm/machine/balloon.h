// Balloon: the domain's <memballoon>: a virtio-balloon device on a thread of its own, which gives guest
// memory back to the host.
//
// Threads: the methods are the main thread's; the device belongs to its thread from start() on.
#pragma once

#include <cstdint>
#include <memory>

#include "devices/virtio/balloon.h"
#include "vmm/base/error.h"
#include "vmm/domain/domain.h"
#include "vmm/machine/io_thread.h"
#include "vmm/machine/virtio_places.h"

namespace vmm {

class Balloon {
 public:
  // Null where the domain has none. REQUIRES: what is passed outlives the Balloon.
  static Result<std::unique_ptr<Balloon>> create(const domain::Domain& domain, VirtioPlaces& places);
  ~Balloon();
  Balloon(const Balloon&) = delete;
  Balloon& operator=(const Balloon&) = delete;

  void start() { thread_->start(); }
  // What of the guest's memory it has given back. Any thread.
  uint64_t given_back_bytes() const {
    return uint64_t{device_->state().actual_pages} * virtio::VirtioBalloon::kPageBytes;
  }
  // Stops giving memory back, and waits until none is being given back. In turns with resume().
  void quiesce();
  void resume();
  // As VirtioTransport::reset.
  void reset() const { transport_.reset(); }

 private:
  explicit Balloon(std::unique_ptr<IoThread> thread) : thread_(std::move(thread)) {}

  const std::unique_ptr<IoThread> thread_;
  std::unique_ptr<virtio::VirtioBalloon> device_;
  VirtioTransport transport_;
  bool is_quiesced_ = false;
};

}  // namespace vmm
