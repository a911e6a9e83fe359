// Vm: one virtual machine of KVM: its memory slots, in-kernel PIC, IOAPIC, LAPICs and PIT, and its wires.
//
// Threads: made and destroyed by the main thread; the rest as stated. Not movable: lines and vectors point to
// it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/mapping.h"
#include "vmm/base/thread_annotations.h"
#include "vmm/base/unique_fd.h"
#include "vmm/core/doorbell.h"
#include "vmm/core/guest_memory.h"
#include "vmm/core/interrupt.h"
#include "vmm/kvm/kvm.h"

struct kvm_irq_routing_entry;

namespace vmm {

class Vm final : public DoorbellRegistry, public MsiSink {
 public:
  // A machine with irqchip and, if wanted, PIT, and `memory` as its RAM (which must outlive it).
  static Result<std::unique_ptr<Vm>> create(const Kvm& kvm, const GuestMemory& memory, bool has_pit);
  ~Vm() override;
  Vm(const Vm&) = delete;
  Vm& operator=(const Vm&) = delete;

  int fd() const { return fd_.get(); }
  const Kvm& kvm() const { return kvm_; }

  // Memory that the guest can read and run and not write to: a write ends at the MMIO bus. `content` outlives
  // the last run of a vCPU. REQUIRES: no vCPU runs; not where RAM is.
  Status add_rom(GuestAddress start, const Mapping& content);

  // The level-triggered interrupt input `gsi` (0-23). Lines may outlive neither the Vm nor be made twice for
  // one input: sources that share an input are OR-ed before it.
  std::unique_ptr<InterruptLine> make_level_line(uint32_t gsi);
  // An edge-triggered input through an irqfd: set(true) is one edge.
  Result<std::unique_ptr<InterruptLine>> make_edge_line(uint32_t gsi);
  // As MsiSink: any thread.
  Result<std::unique_ptr<MsiVector>> make_vector() override;

  // As DoorbellRegistry: any thread.
  Status attach(const Doorbell& doorbell, const EventFd& event) override;
  void detach(const Doorbell& doorbell, const EventFd& event) override;

  // Nanoseconds of kvmclock. To be stopped with the vCPUs, and set again before they go on: else the guest
  // finds that all the time of a pause has passed in no time.
  Result<uint64_t> clock_ns() const;
  Status set_clock_ns(uint64_t value) const;

  // Puts PIC, IOAPIC and PIT back to the state after create(). REQUIRES: no vCPU runs.
  Status reset_irqchip();

 private:
  class LevelLine;
  class EdgeLine;
  class Vector;
  struct ChipStates;

  Vm(const Kvm& kvm, UniqueFd fd, bool has_pit);
  Status set_up_addresses();
  Status set_up_irqchip();
  Status set_up_memory(const GuestMemory& memory);
  Status add_slot(GuestAddress start, const Mapping& content, uint32_t flags);
  Status save_irqchip();
  Status apply_doorbell(const Doorbell& doorbell, const EventFd& event, uint32_t flags);
  Status bind_irqfd(const EventFd& event, uint32_t gsi, uint32_t flags);

  Result<uint32_t> allocate_gsi() VMM_EXCLUDES(routes_mutex_);
  void free_gsi(uint32_t gsi) VMM_EXCLUDES(routes_mutex_);
  Status set_msi_route(uint32_t gsi, const MsiMessage& message) VMM_EXCLUDES(routes_mutex_);
  Status apply_routes() VMM_REQUIRES(routes_mutex_);

  // Constant after construction.
  const Kvm& kvm_;
  UniqueFd fd_;
  const bool has_pit_;
  uint32_t slots_ = 0;  // memory slots in use
  std::unique_ptr<ChipStates> power_on_state_;

  Mutex routes_mutex_;
  std::vector<kvm_irq_routing_entry> routes_ VMM_GUARDED_BY(routes_mutex_);
  std::vector<bool> gsi_in_use_ VMM_GUARDED_BY(routes_mutex_);
};

}  // namespace vmm
