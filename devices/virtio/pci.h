// VirtioPci: a virtio device as a PCI function (virtio 1.2, section 4.1): modern only, with MSI-X.
//
// BAR 0 holds the structures (common, ISR, device, notify), BAR 1 the MSI-X table. Each queue has its own
// notification address (notify_off_multiplier 4), which becomes a doorbell when the driver sets DRIVER_OK.
//
// Threads: built before the guest starts; registers from vCPU threads; interrupts from the I/O thread. The
// bus master bit is kept but not looked at.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "devices/pci/msix.h"
#include "devices/pci/pci_function.h"
#include "devices/pci/settler.h"
#include "devices/virtio/core.h"
#include "devices/virtio/device.h"
#include "vmm/core/doorbell.h"
#include "vmm/core/guest_memory.h"
#include "vmm/core/interrupt.h"

namespace vmm::virtio {

class VirtioPci final : public pci::PciFunction, private TransportEvents {
 public:
  // The world around it; all of it outlives the device.
  struct World {
    EventLoop& loop;  // the I/O thread that the device belongs to
    const GuestMemory& memory;
    DoorbellRegistry& doorbells;
    MsiSink& msi;
    InterruptLine& intx;  // for drivers without MSI-X: Piix3::intx(slot, InterruptPin::kIntA)
  };
  // Plain values, beside VirtioCore::State, MsixTable::State and ConfigSpace::State.
  struct State {
    uint16_t config_vector = 0;
    std::vector<uint16_t> queue_vectors;
  };

  static Result<std::unique_ptr<VirtioPci>> create(VirtioDevice& device, const World& world);

  // quiesce(), resume(), config_changed().
  VirtioCore& core() { return core_; }

  void read_config(uint8_t offset, std::span<std::byte> data) override;
  void write_config(uint8_t offset, std::span<const std::byte> data) override;
  // REQUIRES: as VirtioCore::power_on_reset().
  void reset() override;
  void bar_mapped(size_t bar, uint64_t address) override;
  void bar_unmapped(size_t bar, uint64_t address) override;

  State state() const;

 private:
  class Structures final : public BusDevice {
   public:
    explicit Structures(VirtioPci& pci) : pci_(pci) {}
    void read(uint64_t offset, std::span<std::byte> data) override;
    void write(uint64_t offset, std::span<const std::byte> data) override;

   private:
    VirtioPci& pci_;
  };
  // The PCI configuration access capability's window (section 4.1.4.9), as the driver has set it.
  struct Window {
    size_t bar = 0;
    uint64_t offset = 0;
    size_t length = 0;
  };

  VirtioPci(VirtioDevice& device, const World& world, std::vector<EventFd> doorbells);
  void define_capabilities();
  void define_structure(uint8_t type, uint32_t offset, uint32_t length);

  uint64_t read_common(uint64_t offset);
  uint64_t read_queue_field(uint64_t offset);
  void write_common(uint64_t offset, uint64_t value, size_t length);
  void write_queue_field(uint64_t offset, uint64_t value, size_t length);
  std::atomic<uint16_t>* selected_vector();
  uint16_t valid_vector(uint64_t value) const;

  bool touches_window(uint8_t offset, size_t length) const;
  std::optional<Window> window() const VMM_EXCLUDES(config_mutex_);

  void interrupt_queue(uint16_t queue) override;
  void interrupt_config() override;
  void device_activated() override;
  const EventFd* direct_interrupt(uint16_t queue) override;
  void notify_vector(uint16_t vector);
  void update_intx();
  void forget_vectors();
  void update_doorbells();
  void update_doorbell(uint16_t queue, uint64_t base);
  bool is_intx_high() VMM_EXCLUDES(config_mutex_);

  DoorbellRegistry& registry_;
  InterruptLine& intx_;
  VirtioCore core_;
  Structures structures_;
  pci::MsixTable msix_;
  uint8_t msix_offset_ = 0;  // of the capabilities, constant after construction
  uint8_t window_offset_ = 0;

  std::atomic<uint16_t> config_vector_;
  std::vector<std::atomic<uint16_t>> queue_vectors_;

  pci::Settler intx_settler_;
  pci::Settler doorbell_settler_;
  std::atomic<uint64_t> structures_address_{0};    // of BAR 0 on the bus; 0: not mapped
  std::vector<std::atomic<bool>> wants_doorbell_;  // by queue
  std::vector<std::optional<Doorbell>> attached_;  // the settling thread only
};

}  // namespace vmm::virtio
