// Disks: the domain's <disk> elements, each an image on an I/O thread and a virtio-blk device in front of it.
//
// Threads: the methods are the main thread's. Images, engines and queues belong to their I/O threads from
// start() to close().
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/core/guest_memory.h"
#include "vmm/core/io_bus.h"
#include "vmm/domain/domain.h"
#include "vmm/kvm/vm.h"
#include "vmm/machine/io_thread.h"
#include "vmm/machine/pc_chipset.h"

namespace vmm {

class Disks {
 public:
  // chipset: the PCI bus to sit on; null: virtio-mmio. REQUIRES: everything passed outlives the Disks.
  static Result<std::unique_ptr<Disks>> create(const domain::Domain& domain, const GuestMemory& memory,
                                               IoBus& mmio, Vm& vm, PcChipset* chipset, EventLoop& main_loop);
  ~Disks();
  Disks(const Disks&) = delete;
  Disks& operator=(const Disks&) = delete;

  // Bit n: virtio-mmio slot n is taken.
  uint32_t virtio_mmio_mask() const { return virtio_mmio_mask_; }

  void start();
  // REQUIRES, all three: no vCPU runs. I/O in flight is waited for.
  void reset();
  Status flush();
  void close();

 private:
  explicit Disks(EventLoop& main_loop) : main_loop_(main_loop) {}

  EventLoop& main_loop_;
  uint32_t virtio_mmio_mask_ = 0;
  std::vector<std::unique_ptr<IoThread>> io_threads_;
};

}  // namespace vmm
