// Vcpu's registers: set-up, power-on state and entry state.
#include <linux/kvm.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <span>
#include <utility>

#include "vmm/base/bytes.h"
#include "vmm/kvm/kvm_lists.h"
#include "vmm/kvm/vcpu.h"

namespace vmm {
namespace {

constexpr uint32_t kMsrTsc = 0x10;
constexpr uint32_t kMsrMiscEnable = 0x1a0;
constexpr uint32_t kMsrMtrrDefType = 0x2ff;
constexpr uint64_t kMiscEnableFastStrings = 1;
constexpr uint64_t kMtrrEnabledWriteBack = 0x800 | 6;  // Intel SDM 3A, 12.11.2.1

// Local APIC registers (Intel SDM 3A, table 11-1) and delivery modes (figure 11-8).
constexpr size_t kApicLvtLint0 = 0x350;
constexpr size_t kApicLvtLint1 = 0x360;
constexpr uint32_t kDeliveryExtInt = 7U << 8;
constexpr uint32_t kDeliveryNmi = 4U << 8;
constexpr uint32_t kDeliveryBits = 7U << 8;
constexpr uint32_t kLvtMasked = 1U << 16;

kvm_segment to_kvm(const SegmentState& from) {
  kvm_segment segment{};
  segment.base = from.base;
  segment.limit = from.limit;
  segment.selector = from.selector;
  segment.type = from.type;
  segment.present = from.present ? 1 : 0;
  segment.dpl = from.privilege;
  segment.db = from.default_size_32 ? 1 : 0;
  segment.s = from.is_code_or_data ? 1 : 0;
  segment.l = from.is_long ? 1 : 0;
  segment.g = from.granularity_4k ? 1 : 0;
  return segment;
}

int set_msr(int fd, uint32_t index, uint64_t value) {
  const kvm_msr_entry entry{.index = index, .reserved = 0, .data = value};
  KvmList<kvm_msr_entry> list(std::span(&entry, 1));
  return kvm_ioctl(fd, kKvmSetMsrs, list.argument());
}

// Gives all MSRs to one request of KVM's, which stops at the first that it refuses; then those behind it.
// What was done is `done`'s: the MSRs, as KVM left them.
template <typename Done>
void for_msrs(int fd, unsigned long request, std::span<const kvm_msr_entry> entries, const Done& done) {
  while (!entries.empty()) {
    KvmList<kvm_msr_entry> list(entries);
    const auto count = static_cast<size_t>(std::max(kvm_ioctl(fd, request, list.argument()), 0));
    for (size_t i = 0; i < count; ++i) {
      done(list[i]);
    }
    entries = entries.subspan(std::min(count + 1, entries.size()));
  }
}

}  // namespace

struct Vcpu::PowerOnState {
  kvm_regs regs{};
  kvm_sregs sregs{};
  KvmXsave xsave{};
  kvm_xcrs xcrs{};
  kvm_debugregs debug{};
  kvm_lapic_state local_apic{};
  kvm_mp_state mp_state{};
  kvm_vcpu_events events{};
  std::vector<kvm_msr_entry> msrs;
};

Vcpu::Vcpu(const Vm& vm, unsigned id, const Cpuid& cpuid, UniqueFd fd, Mapping run_page, const IoBus& ports,
           const IoBus& mmio)
    : vm_(vm),
      id_(id),
      cpuid_(cpuid),
      fd_(std::move(fd)),
      run_page_(std::move(run_page)),
      ports_(ports),
      mmio_(mmio) {}

Vcpu::~Vcpu() = default;

Status Vcpu::set_up(int fd) const {
  std::vector<kvm_cpuid_entry2> entries;
  for (const CpuidEntry& entry : cpuid_) {
    entries.push_back({.function = entry.leaf,
                       .index = entry.subleaf,
                       .flags = entry.has_subleaves ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0U,
                       .eax = entry.eax,
                       .ebx = entry.ebx,
                       .ecx = entry.ecx,
                       .edx = entry.edx,
                       .padding = {}});
  }
  KvmList<kvm_cpuid_entry2> list{std::span<const kvm_cpuid_entry2>(entries)};
  if (kvm_ioctl(fd, kKvmSetCpuid2, list.argument()) < 0) {
    return fail("KVM refuses the CPUID of vCPU {}: {}", id_, errno_text(errno));
  }
  VMM_TRY(set_up_msrs(fd));
  return set_up_local_apic(fd);
}

Status Vcpu::set_up_msrs(int fd) const {
  // The second is what firmware would leave behind: all memory write-back unless a range says otherwise.
  if (set_msr(fd, kMsrMiscEnable, kMiscEnableFastStrings) != 1 ||
      set_msr(fd, kMsrMtrrDefType, kMtrrEnabledWriteBack) != 1) {
    return fail("KVM refuses the first MSRs of vCPU {}: {}", id_, errno_text(errno));
  }
  return {};
}

// With a local APIC in the kernel the wire is this (KVM's api.rst, KVM_NMI).
Status Vcpu::press_nmi() const {
  kvm_lapic_state apic{};
  if (kvm_ioctl(fd_.get(), KVM_GET_LAPIC, &apic) < 0) {
    return fail("cannot read the local APIC of vCPU {}: {}", id_, errno_text(errno));
  }
  const auto lint1 = load_le<uint32_t>(reinterpret_cast<const std::byte*>(&apic.regs[kApicLvtLint1]));
  const bool is_listening = (lint1 & kLvtMasked) == 0 && (lint1 & kDeliveryBits) == kDeliveryNmi;
  if (is_listening && kvm_ioctl(fd_.get(), KVM_NMI, 0UL) < 0) {
    return fail("KVM refuses an NMI for vCPU {}: {}", id_, errno_text(errno));
  }
  return {};
}

// EINVAL: the guest does not use kvmclock.
void Vcpu::tell_of_pause() const { static_cast<void>(kvm_ioctl(fd_.get(), KVM_KVMCLOCK_CTRL, 0UL)); }

Status Vcpu::set_up_local_apic(int fd) const {
  // The wiring of a PC: LINT0 is the PIC, LINT1 is NMI (MultiProcessor Specification 1.4, 3.6.2.2).
  kvm_lapic_state state{};
  if (kvm_ioctl(fd, KVM_GET_LAPIC, &state) < 0) {
    return fail("KVM does not show the local APIC of vCPU {}: {}", id_, errno_text(errno));
  }
  auto* registers = reinterpret_cast<std::byte*>(state.regs);
  if (id_ == 0) {
    store_le<uint32_t>(registers + kApicLvtLint0, kDeliveryExtInt);
  }
  store_le<uint32_t>(registers + kApicLvtLint1, kDeliveryNmi);
  if (kvm_ioctl(fd, KVM_SET_LAPIC, &state) < 0) {
    return fail("KVM refuses the local APIC of vCPU {}: {}", id_, errno_text(errno));
  }
  return {};
}

Status Vcpu::find_power_on_state() {
  VMM_ASSIGN_OR_RETURN(const UniqueFd vm, vm_.kvm().create_vm());
  const bool has_irqchip = kvm_ioctl(vm.get(), KVM_CREATE_IRQCHIP, 0UL) >= 0;
  const UniqueFd fd(has_irqchip ? kvm_ioctl(vm.get(), KVM_CREATE_VCPU, static_cast<unsigned long>(id_)) : -1);
  if (!fd) {
    return fail("KVM cannot create a vCPU to reset vCPU {} by: {}", id_, errno_text(errno));
  }
  VMM_TRY(set_up(fd.get()));
  return read_power_on_state(fd.get());
}

Status Vcpu::read_power_on_state(int fd) {
  auto found = std::make_unique<PowerOnState>();
  PowerOnState& state = *found;
  const bool ok =
      kvm_ioctl(fd, KVM_GET_REGS, &state.regs) >= 0 && kvm_ioctl(fd, KVM_GET_SREGS, &state.sregs) >= 0 &&
      kvm_ioctl(fd, kKvmGetXsave, state.xsave.data()) >= 0 && kvm_ioctl(fd, KVM_GET_XCRS, &state.xcrs) >= 0 &&
      kvm_ioctl(fd, KVM_GET_DEBUGREGS, &state.debug) >= 0 &&
      kvm_ioctl(fd, KVM_GET_LAPIC, &state.local_apic) >= 0 &&
      kvm_ioctl(fd, KVM_GET_MP_STATE, &state.mp_state) >= 0 &&
      kvm_ioctl(fd, KVM_GET_VCPU_EVENTS, &state.events) >= 0;
  if (!ok) {
    return fail("KVM does not show the registers of vCPU {}: {}", id_, errno_text(errno));
  }
  std::vector<kvm_msr_entry> wanted;
  for (const uint32_t index : vm_.kvm().state_msrs()) {
    wanted.push_back({.index = index});
  }
  // KVM refuses those that this CPU model does not have.
  for_msrs(fd, kKvmGetMsrs, wanted, [&state](const kvm_msr_entry& entry) {
    state.msrs.push_back({.index = entry.index, .data = entry.index == kMsrTsc ? 0 : entry.data});
  });
  power_on_state_ = std::move(found);
  return {};
}

Status Vcpu::reset() {
  if (power_on_state_ == nullptr) {
    VMM_TRY(find_power_on_state());
  }
  PowerOnState& state = *power_on_state_;
  const int fd = fd_.get();
  const bool ok =
      kvm_ioctl(fd, KVM_SET_MP_STATE, &state.mp_state) >= 0 &&
      kvm_ioctl(fd, KVM_SET_SREGS, &state.sregs) >= 0 && kvm_ioctl(fd, KVM_SET_REGS, &state.regs) >= 0 &&
      kvm_ioctl(fd, KVM_SET_XCRS, &state.xcrs) >= 0 && kvm_ioctl(fd, kKvmSetXsave, state.xsave.data()) >= 0 &&
      kvm_ioctl(fd, KVM_SET_DEBUGREGS, &state.debug) >= 0 &&
      kvm_ioctl(fd, KVM_SET_LAPIC, &state.local_apic) >= 0 &&
      kvm_ioctl(fd, KVM_SET_VCPU_EVENTS, &state.events) >= 0;
  if (!ok) {
    return fail("KVM does not reset the registers of vCPU {}: {}", id_, errno_text(errno));
  }
  // Some can be read and not written; those keep their value, which a guest cannot have changed either.
  for_msrs(fd, kKvmSetMsrs, state.msrs, [](const kvm_msr_entry&) {});
  stop_reason_.clear();
  faulting_instruction_.clear();
  return {};
}

Status Vcpu::set_entry(const EntryState& entry) {
  // Those of power-on: nothing has run since.
  kvm_sregs sregs{};
  if (kvm_ioctl(fd_.get(), KVM_GET_SREGS, &sregs) < 0) {
    return fail("KVM does not show the registers of vCPU {}: {}", id_, errno_text(errno));
  }
  sregs.cs = to_kvm(entry.code);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = to_kvm(entry.data);
  sregs.tr = to_kvm(entry.task);
  sregs.gdt.base = entry.gdt.value();
  sregs.gdt.limit = entry.gdt_limit;
  sregs.idt.base = 0;
  sregs.idt.limit = 0;
  sregs.cr0 = entry.cr0;
  sregs.cr3 = entry.cr3;
  sregs.cr4 = entry.cr4;
  sregs.efer = entry.efer;
  kvm_regs regs{};
  regs.rip = entry.instruction_pointer.value();
  regs.rsp = entry.stack_pointer.value();
  regs.rsi = entry.rsi;
  regs.rbx = entry.rbx;
  regs.rflags = entry.rflags;
  if (kvm_ioctl(fd_.get(), KVM_SET_SREGS, &sregs) < 0 || kvm_ioctl(fd_.get(), KVM_SET_REGS, &regs) < 0) {
    return fail("KVM refuses the entry registers of vCPU {}: {}", id_, errno_text(errno));
  }
  return {};
}

}  // namespace vmm
