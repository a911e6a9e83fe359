#include "vmm/kvm/vm.h"

#include <linux/kvm.h>

#include <cerrno>
#include <utility>

#include "vmm/base/check.h"
#include "vmm/core/layout.h"

namespace vmm {
namespace {

constexpr size_t kMostGsis = 4096;  // KVM_MAX_IRQ_ROUTES, which the API does not export

}  // namespace

// PIC master, PIC slave and IOAPIC (4.26), and the PIT (4.72).
struct Vm::ChipStates {
  kvm_irqchip chips[3];
  kvm_pit_state2 pit;
};

Vm::Vm(const Kvm& kvm, UniqueFd fd, bool has_pit)
    : kvm_(kvm), fd_(std::move(fd)), has_pit_(has_pit), power_on_state_(std::make_unique<ChipStates>()) {}

Vm::~Vm() = default;

Result<std::unique_ptr<Vm>> Vm::create(const Kvm& kvm, const GuestMemory& memory, bool has_pit) {
  VMM_ASSIGN_OR_RETURN(UniqueFd fd, kvm.create_vm());
  std::unique_ptr<Vm> vm(new Vm(kvm, std::move(fd), has_pit));
  VMM_TRY(vm->set_up_addresses());
  VMM_TRY(vm->set_up_irqchip());
  VMM_TRY(vm->set_up_memory(memory));
  VMM_TRY(vm->save_irqchip());
  return vm;
}

Status Vm::set_up_addresses() {
  uint64_t identity_map = layout::kKvmIdentityMapAddress;
  if (kvm_ioctl(fd(), KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0) {
    return fail("KVM refuses the identity map address: {}", errno_text(errno));
  }
  if (kvm_ioctl(fd(), KVM_SET_TSS_ADDR, static_cast<unsigned long>(layout::kKvmTssAddress)) < 0) {
    return fail("KVM refuses the TSS address: {}", errno_text(errno));
  }
  return {};
}

Status Vm::set_up_irqchip() {
  if (kvm_ioctl(fd(), KVM_CREATE_IRQCHIP, 0UL) < 0) {
    return fail("KVM cannot create the interrupt controllers: {}", errno_text(errno));
  }
  kvm_pit_config pit{};
  pit.flags = KVM_PIT_SPEAKER_DUMMY;  // KVM answers port 0x61 too
  if (has_pit_ && kvm_ioctl(fd(), KVM_CREATE_PIT2, &pit) < 0) {
    return fail("KVM cannot create the interval timer: {}", errno_text(errno));
  }
  const MutexLock lock(routes_mutex_);
  gsi_in_use_.assign(kMostGsis, false);
  for (uint32_t gsi = 0; gsi < layout::kIoApicPins; ++gsi) {
    gsi_in_use_[gsi] = true;
    kvm_irq_routing_entry entry{};
    entry.gsi = gsi;
    entry.type = KVM_IRQ_ROUTING_IRQCHIP;
    if (gsi < 16) {
      entry.u.irqchip.irqchip = gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
      entry.u.irqchip.pin = gsi % 8;
      routes_.push_back(entry);
    }
    // On PCs the timer (ISA IRQ 0) is wired to IOAPIC input 2, which the cascade leaves free; the MADT says
    // so.
    if (gsi != 2) {
      entry.u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
      entry.u.irqchip.pin = gsi == 0 ? 2 : gsi;
      routes_.push_back(entry);
    }
  }
  return apply_routes();
}

Status Vm::set_up_memory(const GuestMemory& memory) {
  for (const GuestMemory::Region& region : memory.regions()) {
    VMM_TRY(add_slot(region.start, region.mapping, 0));
  }
  return {};
}

Status Vm::add_rom(GuestAddress start, const Mapping& content) {
  if (kvm_.capability(KVM_CAP_READONLY_MEM) <= 0) {
    return fail(
        "this host's KVM has no read-only memory (KVM_CAP_READONLY_MEM), which firmware and <genid> need");
  }
  return add_slot(start, content, KVM_MEM_READONLY);
}

Status Vm::add_slot(GuestAddress start, const Mapping& content, uint32_t flags) {
  kvm_userspace_memory_region where{};
  where.slot = slots_++;
  where.flags = flags;
  where.guest_phys_addr = start.value();
  where.memory_size = content.size();
  where.userspace_addr = reinterpret_cast<uint64_t>(content.data());
  if (kvm_ioctl(fd(), KVM_SET_USER_MEMORY_REGION, &where) < 0) {
    return fail("KVM refuses {} bytes of guest memory at {:#x}: {}", where.memory_size, where.guest_phys_addr,
                errno_text(errno));
  }
  return {};
}

Status Vm::save_irqchip() {
  for (uint32_t i = 0; i < 3; ++i) {
    power_on_state_->chips[i].chip_id = i;
    if (kvm_ioctl(fd(), KVM_GET_IRQCHIP, &power_on_state_->chips[i]) < 0) {
      return fail("KVM does not show the state of an interrupt controller: {}", errno_text(errno));
    }
  }
  if (has_pit_ && kvm_ioctl(fd(), KVM_GET_PIT2, &power_on_state_->pit) < 0) {
    return fail("KVM does not show the state of the interval timer: {}", errno_text(errno));
  }
  return {};
}

Result<uint64_t> Vm::clock_ns() const {
  kvm_clock_data clock{};
  if (kvm_ioctl(fd(), KVM_GET_CLOCK, &clock) < 0) {
    return fail("KVM does not tell its clock: {}", errno_text(errno));
  }
  return clock.clock;
}

Status Vm::set_clock_ns(uint64_t value) const {
  kvm_clock_data clock{};
  clock.clock = value;
  if (kvm_ioctl(fd(), KVM_SET_CLOCK, &clock) < 0) {
    return fail("KVM does not set its clock: {}", errno_text(errno));
  }
  return {};
}

Status Vm::reset_irqchip() {
  for (kvm_irqchip& chip : power_on_state_->chips) {
    if (kvm_ioctl(fd(), KVM_SET_IRQCHIP, &chip) < 0) {
      return fail("KVM does not reset an interrupt controller: {}", errno_text(errno));
    }
  }
  if (has_pit_ && kvm_ioctl(fd(), KVM_SET_PIT2, &power_on_state_->pit) < 0) {
    return fail("KVM does not reset the interval timer: {}", errno_text(errno));
  }
  return {};
}

Status Vm::apply_doorbell(const Doorbell& doorbell, const EventFd& event, uint32_t flags) {
  kvm_ioeventfd request{};
  request.addr = doorbell.address;
  request.len = doorbell.length_bytes;
  request.fd = event.fd();
  request.flags = flags | (doorbell.space == AddressSpace::kPortIo ? KVM_IOEVENTFD_FLAG_PIO : 0U);
  if (doorbell.match_value) {
    request.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
    request.datamatch = *doorbell.match_value;
  }
  if (kvm_ioctl(fd(), KVM_IOEVENTFD, &request) < 0) {
    return fail("KVM refuses a doorbell at {:#x}: {}", doorbell.address, errno_text(errno));
  }
  return {};
}

Status Vm::attach(const Doorbell& doorbell, const EventFd& event) {
  return apply_doorbell(doorbell, event, 0);
}

void Vm::detach(const Doorbell& doorbell, const EventFd& event) {
  const Status status = apply_doorbell(doorbell, event, KVM_IOEVENTFD_FLAG_DEASSIGN);
  VMM_CHECK(status.has_value(), "a doorbell was detached that was not attached");
}

}  // namespace vmm
