// A PCI bus with the chipset's functions, one with BARs of every kind and a ROM, and a virtio disk; the input
// makes port and memory accesses. Whatever it does, devices answer where their BARs say and nowhere else.
//
// Input: operations (see Machine::step).
#include <algorithm>
#include <array>
#include <chrono>
#include <memory>

#include "devices/acpi_power.h"
#include "devices/pci/assign_resources.h"
#include "devices/pci/host_bridge.h"
#include "devices/pci/piix3.h"
#include "devices/pci/piix4_pm.h"
#include "devices/system_control.h"
#include "devices/virtio/block.h"
#include "devices/virtio/pci.h"
#include "tests/fuzz/guarded_ram.h"
#include "tests/fuzz/input.h"
#include "tests/unit/fakes/fake_block_device.h"
#include "tests/unit/fakes/fake_doorbells.h"
#include "tests/unit/fakes/fake_interrupts.h"
#include "tests/unit/fakes/fake_virtio_driver.h"
#include "tests/unit/pci/test_function.h"
#include "vmm/base/event_loop.h"

namespace vmm {
namespace {

constexpr uint64_t kRamBytes = 64 << 10;
constexpr uint16_t kQueueCount = 2;
constexpr uint16_t kQueueSize = 8;
constexpr int kMaxSteps = 2000;
constexpr int kTurns = 6;
constexpr pci::PciAddress kDiskSlot{.slot = 4, .function = 0};
constexpr uint64_t kNotifyOffset = 0x3000;

const fuzz::GuardedRam& ram() {
  static const fuzz::GuardedRam ram({{0, kRamBytes}});
  return ram;
}

virtio::QueueLayout layout_of(uint16_t queue) {
  const uint64_t base = uint64_t{0x1000} * queue;
  return {.size = kQueueSize,
          .descriptors = GuestAddress(base),
          .available = GuestAddress(base + 0x400),
          .used = GuestAddress(base + 0x800)};
}

class Machine {
 public:
  explicit Machine(fuzz::Input& input) : input_(input) {
    VMM_CHECK(ports_.add(layout::kPciConfigAddress, 4, bus_.config_address()).has_value(), "taken");
    VMM_CHECK(ports_.add(layout::kPciConfigData, 4, bus_.config_data()).has_value(), "taken");
    VMM_CHECK(ports_.add(layout::kPmBase, AcpiPower::kPmBlockPorts, power_block_).has_value(), "taken");
    VMM_CHECK(pci::assign_resources(bus_).has_value(), "no room");
  }

  void run() {
    for (int i = 0; i < kMaxSteps && !input_.is_empty(); ++i) {
      const uint64_t signals = signal_count();
      const bool was_silent = is_every_vector_masked();
      resets_in_step_ = 0;
      step();
      check();
      VMM_CHECK(!was_silent || !is_every_vector_masked() || resets_in_step_ > 0 || signal_count() == signals,
                "a masked vector was signalled");
    }
    reset();
    check();
    VMM_CHECK(doorbells_.count() == 0, "a device that was reset has a doorbell");
    VMM_CHECK(!is_any_irq_high(), "a device that was reset interrupts");
  }

 private:
  void step() {
    switch (input_.below(12)) {
      case 0:
        return access_function();
      case 1:
        return access_port(input_.take<uint16_t>(), input_.below(8), input_.take<uint32_t>());
      case 2:
        return access_memory(disk_->decoded_address(0).value_or(0) + input_.take<uint16_t>() % 0x4100U);
      case 3:
        return access_memory(disk_->decoded_address(1).value_or(0) + input_.take<uint16_t>() % 0x1100U);
      case 4:
        return access_memory(input_.take<uint64_t>());
      case 5:
        return turn();
      case 6:
        return driver_.bring_up(input_.chance() ? driver_.device_features() : uint64_t{1} << 32,
                                {layout_of(0), layout_of(1)});
      case 7:
        return get_id(input_.below(kQueueCount));
      case 8:
        return disk_->core().config_changed();
      case 9:
        return reset();
      case 10:
        msi_.is_exhausted = input_.chance();
        doorbells_.is_full = input_.chance();
        return;
      default:
        return access_capability();
    }
  }

  // Configuration mechanism 1.
  void access_config(pci::PciAddress where, uint8_t offset, uint8_t kind, uint32_t value) {
    const uint32_t address =
        0x8000'0000U | uint32_t{where.slot} << 11 | uint32_t{where.function} << 8 | (offset & 0xfcU);
    out<uint32_t>(bus_.config_address(), 0, address);
    access_port(static_cast<uint16_t>(layout::kPciConfigData + (offset & 3)), kind, value);
  }
  void access_function() {
    const uint8_t which = input_.take<uint8_t>();
    const pci::PciAddress where =
        which < 0x80 ? kPlaces[which % kPlaces.size()]
                     : pci::PciAddress{.slot = static_cast<uint8_t>(which & 31), .function = input_.below(8)};
    const auto offset = input_.take<uint8_t>();
    access_config(where, offset, input_.below(8), input_.take<uint32_t>());
  }
  // The MSI-X control word and the window into the BARs, which are hard to find otherwise.
  void access_capability() {
    const uint8_t which = input_.below(6);
    const uint8_t capability = which == 0 ? driver_.msix_capability : driver_.capabilities[which];
    const auto offset = static_cast<uint8_t>(capability + input_.below(20));
    access_config(kDiskSlot, offset, input_.below(8), input_.take<uint32_t>());
  }
  void access_port(uint16_t port, uint8_t kind, uint32_t value) {
    std::array<std::byte, 4> bytes{};
    store_le<uint32_t>(bytes.data(), value);
    const std::span data = std::span(bytes).first(size_t{1} << std::min(kind & 3, 2));
    if ((kind & 4) != 0) {
      ports_.write(port, data);
    } else {
      ports_.read(port, data);
    }
  }
  void access_memory(uint64_t address) {
    const uint8_t kind = input_.below(8);
    const auto value = input_.take<uint64_t>();
    switch (kind) {
      case 0:
        return mmio_.write<uint8_t>(address, static_cast<uint8_t>(value & 0xff));
      case 1:
        return mmio_.write<uint16_t>(address, static_cast<uint16_t>(value & 0xffff));
      case 2:
        return mmio_.write<uint32_t>(address, static_cast<uint32_t>(value & 0xffff'ffff));
      case 3:
        return mmio_.write<uint64_t>(address, value);
      case 4:
        return static_cast<void>(mmio_.read<uint8_t>(address));
      case 5:
        return static_cast<void>(mmio_.read<uint16_t>(address));
      case 6:
        return static_cast<void>(mmio_.read<uint32_t>(address));
      default:
        return static_cast<void>(mmio_.read<uint64_t>(address));
    }
  }

  void turn() const {
    for (int i = 0; i < kTurns; ++i) {
      loop_->run_once(std::chrono::nanoseconds(0));
    }
  }

  // A request that the disk answers by itself, so that there are interrupts.
  void get_id(uint16_t queue) {
    const virtio::QueueLayout layout = layout_of(queue);
    const uint64_t data = 0x4000;
    const auto put = [&](uint64_t index, uint64_t address, uint32_t length, uint16_t flags) {
      const GuestAddress place(layout.descriptors.value() + 16 * index);
      VMM_CHECK(ram_.write<uint64_t>(place, address) && ram_.write<uint32_t>(*place.plus(8), length) &&
                    ram_.write<uint16_t>(*place.plus(12), flags) &&
                    ram_.write<uint16_t>(*place.plus(14), static_cast<uint16_t>(index + 1)),
                "not in memory");
    };
    put(0, data, 16, 1);
    put(1, data + 32, 21, 2);
    const auto index = static_cast<uint16_t>(ram_.read<uint16_t>(*layout.available.plus(2)).value() + 1);
    VMM_CHECK(
        ram_.write<uint32_t>(GuestAddress(data), 8) && ram_.write<uint16_t>(*layout.available.plus(2), index),
        "not in memory");
    disk_->core().notify(queue);
    turn();
  }

  // As the machine does it: the disk comes to rest, then all begin anew.
  void reset() {
    bool is_quiet = false;
    disk_->core().quiesce([&is_quiet] { is_quiet = true; });
    turn();
    VMM_CHECK(is_quiet, "a disk without requests does not come to rest");
    ++resets_in_step_;
    bus_.reset();
    turn();
    VMM_CHECK(memory_bus_.add(0, UINT64_MAX, power_block_).has_value(),
              "a device answers without an address");
    memory_bus_.remove(0);
    disk_->core().resume();
    ram_owner_.clear();
    VMM_CHECK(pci::assign_resources(bus_).has_value(), "no room");
    turn();
    VMM_CHECK(driver_.status() == 0, "a reset does not end");
  }

  void move_power_block(std::optional<uint16_t> base) {
    if (power_block_base_) {
      ports_.remove(*power_block_base_);
    }
    power_block_base_ = base;
    if (base && !ports_.add(*base, AcpiPower::kPmBlockPorts, power_block_)) {
      power_block_base_.reset();
    }
  }

  uint64_t signal_count() const {
    uint64_t sum = 0;
    for (const auto& vector : msi_.vectors) {
      sum += static_cast<uint64_t>(vector->signals.load());
    }
    return sum;
  }
  // Only where the table can be looked at: not while its BAR is off, or lies under another.
  bool is_every_vector_masked() {
    const std::optional<uint64_t> table = disk_->decoded_address(1);
    bool is_masked = table.has_value();
    for (uint64_t vector = 0; is_masked && vector <= kQueueCount; ++vector) {
      is_masked = mmio_.read<uint32_t>(*table + 16 * vector + 12) == 1;
    }
    return is_masked;
  }

  bool is_any_irq_high() const {
    return std::ranges::any_of(lines_, [](const FakeLine& line) { return line.level.load(); });
  }

  void check() {
    for (const auto& [bar, address] : test_.mapped) {
      VMM_CHECK(test_.decoded_address(bar) == address, "a BAR is mapped elsewhere than its register says");
    }
    const std::optional<uint64_t> structures = disk_->decoded_address(0);
    VMM_CHECK(doorbells_.count() <= (structures ? kQueueCount : 0U), "there are doorbells of nobody");
    size_t attached = 0;
    for (uint64_t queue = 0; structures && queue < kQueueCount; ++queue) {
      attached += doorbells_.has_at(*structures + kNotifyOffset + 4 * queue) ? 1U : 0U;
    }
    VMM_CHECK(attached == doorbells_.count(), "a doorbell hangs in the wrong place");
    VMM_CHECK(msi_.vectors.size() <= kQueueCount + 1U, "more vectors were taken than the table has");
    VMM_CHECK(!is_any_irq_high() || disk_->core().interrupt_status() != 0, "a line is high without a cause");
    for (size_t i = 0; i < functions_.size(); ++i) {
      std::array<std::byte, 4> identity{};
      functions_[i]->read_config(0, identity);
      VMM_CHECK(load_le<uint32_t>(identity.data()) == kIdentities[i], "a guest changed what a function is");
    }
  }

  static constexpr std::array<pci::PciAddress, 5> kPlaces = {{{0, 0}, {1, 0}, {1, 3}, {3, 0}, kDiskSlot}};
  static constexpr std::array<uint32_t, 5> kIdentities = {0x1237'8086, 0x7000'8086, 0x7113'8086, 0x1234'1af4,
                                                          0x1042'1af4};

  fuzz::Input& input_;
  const fuzz::GuardedRam& ram_owner_ = ram();
  const GuestMemory& ram_ = ram_owner_.memory();
  std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
  IoBus ports_;
  IoBus memory_bus_;
  FakeDoorbells doorbells_;
  FakeMmio mmio_{memory_bus_, doorbells_};
  FakeMsiSink msi_;
  std::array<FakeLine, pci::kIsaIrqCount> lines_;
  ResetPort reset_port_{[] {}};
  pci::ConstantDevice power_block_{0x11};
  std::optional<uint16_t> power_block_base_ = layout::kPmBase;
  block::FakeBlockDevice disk_image_{64 << 10};
  virtio::VirtioBlock disk_device_{disk_image_,
                                   {.serial = "fuzz", .queue_count = kQueueCount, .queue_size = kQueueSize}};
  pci::HostBridge host_bridge_;
  pci::Piix3 isa_bridge_{irqs()};
  pci::Piix4Pm power_function_{[this](std::optional<uint16_t> base) { move_power_block(base); }};
  pci::TestFunction test_;
  std::unique_ptr<virtio::VirtioPci> disk_ = *virtio::VirtioPci::create(
      disk_device_, {.loop = *loop_,
                     .memory = ram_,
                     .doorbells = doorbells_,
                     .msi = msi_,
                     .intx = isa_bridge_.intx(kDiskSlot.slot, pci::InterruptPin::kIntA)});
  std::array<pci::PciFunction*, 5> functions_ = {&host_bridge_, &isa_bridge_, &power_function_, &test_,
                                                 disk_.get()};
  pci::PciBus bus_{ports_, memory_bus_, &reset_port_};
  virtio::FakePciDriver driver_{attached_bus(), kDiskSlot, mmio_};

  pci::PciBus& attached_bus() {
    test_.set_expansion_rom({3000, std::byte{0x77}});
    for (size_t i = 0; i < functions_.size(); ++i) {
      VMM_CHECK(bus_.attach(kPlaces[i], *functions_[i]).has_value(), "slot taken");
    }
    return bus_;
  }
  int resets_in_step_ = 0;

  std::array<InterruptLine*, pci::kIsaIrqCount> irqs() {
    std::array<InterruptLine*, pci::kIsaIrqCount> all{};
    std::ranges::transform(lines_, all.begin(), [](FakeLine& line) { return &line; });
    return all;
  }
};

}  // namespace
}  // namespace vmm

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::fuzz::silence_log();
  vmm::ram().clear();
  vmm::fuzz::Input input(data, size);
  vmm::Machine(input).run();
  return 0;
}
