#include "vmm/kvm/vcpu.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <span>
#include <utility>

#include "vmm/base/check.h"

namespace vmm {
namespace {

constexpr size_t kInstructionBytes = 15;  // the longest x86 instruction
constexpr uint64_t kResetRip = 0xfff0;
constexpr uint64_t kResetCodeBase = 0xffff0000;

void ignore_signal(int /*signal_number*/) {}

// Sizes that a bus knows; anything else (KVM can ask for 3 bytes of an access that crosses a page) goes byte
// by byte.
bool is_bus_size(size_t length) { return length <= 8 && std::has_single_bit(length); }

void bus_read(const IoBus& bus, uint64_t address, std::span<std::byte> data) {
  if (is_bus_size(data.size())) {
    bus.read(address, data);
    return;
  }
  for (size_t i = 0; i < data.size(); ++i) {
    bus.read(address + i, data.subspan(i, 1));
  }
}

void bus_write(const IoBus& bus, uint64_t address, std::span<const std::byte> data) {
  if (is_bus_size(data.size())) {
    bus.write(address, data);
    return;
  }
  for (size_t i = 0; i < data.size(); ++i) {
    bus.write(address + i, data.subspan(i, 1));
  }
}

}  // namespace

int Vcpu::kick_signal() { return SIGRTMIN; }

Status Vcpu::install_kick_handler() {
  struct sigaction action{};
  action.sa_handler = ignore_signal;
  if (::sigaction(kick_signal(), &action, nullptr) != 0) {
    return fail("cannot set up the signal that stops vCPUs: {}", errno_text(errno));
  }
  return {};
}

Result<std::unique_ptr<Vcpu>> Vcpu::create(const Vm& vm, unsigned id, const Cpuid& cpuid, const IoBus& ports,
                                           const IoBus& mmio) {
  UniqueFd fd(kvm_ioctl(vm.fd(), KVM_CREATE_VCPU, static_cast<unsigned long>(id)));
  if (!fd) {
    return fail("KVM cannot create vCPU {}: {}", id, errno_text(errno));
  }
  VMM_ASSIGN_OR_RETURN(Mapping run_page, Mapping::map("a vCPU's run page", vm.kvm().run_page_bytes(),
                                                      PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
  std::unique_ptr<Vcpu> vcpu(new Vcpu(vm, id, cpuid, std::move(fd), std::move(run_page), ports, mmio));
  VMM_TRY(vcpu->set_up(vcpu->fd_.get()));
  return vcpu;
}

kvm_run& Vcpu::run_page() const { return *reinterpret_cast<kvm_run*>(run_page_.data()); }

void Vcpu::kick(pthread_t thread) {
  std::atomic_ref(run_page().immediate_exit).store(1);
  ::pthread_kill(thread, kick_signal());
}

VcpuStop Vcpu::run() {
  kvm_run& page = run_page();
  for (;;) {
    if (::ioctl(fd_.get(), KVM_RUN, 0) < 0) {
      switch (errno) {
        case EINTR:
          exits_.count(ExitCounters::kSignal);
          std::atomic_ref(page.immediate_exit).store(0);
          return VcpuStop::kKicked;
        case EAGAIN:  // the vCPU was not runnable yet (waiting for INIT) and a signal came
          continue;
        default:
          return crashed(fmt::format("KVM_RUN failed: {}", errno_text(errno)));
      }
    }
    switch (page.exit_reason) {
      case KVM_EXIT_IO:
        exits_.count(ExitCounters::kPort);
        answer_port_access();
        break;
      case KVM_EXIT_MMIO:
        exits_.count(ExitCounters::kMmio);
        answer_mmio_access();
        break;
      case KVM_EXIT_INTR:
        exits_.count(ExitCounters::kSignal);
        return VcpuStop::kKicked;
      case KVM_EXIT_HLT:  // the in-kernel APIC halts by itself
        exits_.count(ExitCounters::kHalt);
        break;
      case KVM_EXIT_IRQ_WINDOW_OPEN:  // only where it was asked for; harmless
      case KVM_EXIT_SET_TPR:
      case KVM_EXIT_IOAPIC_EOI:
        exits_.count(ExitCounters::kOther);
        break;
      case KVM_EXIT_SHUTDOWN:
        exits_.count(ExitCounters::kOther);
        stop_reason_ = "the guest's CPU shut down (triple fault)";
        return VcpuStop::kTripleFault;
      case KVM_EXIT_SYSTEM_EVENT:
        return crashed(fmt::format("KVM reports system event {}", page.system_event.type));
      case KVM_EXIT_FAIL_ENTRY:
        return crashed(fmt::format("the processor refuses to enter the guest (hardware reason {:#x})",
                                   page.fail_entry.hardware_entry_failure_reason));
      case KVM_EXIT_INTERNAL_ERROR:
        return internal_error();
      case KVM_EXIT_EXCEPTION:
      case KVM_EXIT_DEBUG:
      case KVM_EXIT_HYPERCALL:
      case KVM_EXIT_UNKNOWN:
      default:
        return crashed(
            fmt::format("KVM stopped the vCPU for a reason that vmm does not know ({})", page.exit_reason));
    }
  }
}

void Vcpu::answer_port_access() {
  kvm_run& page = run_page();
  const auto& io = page.io;
  std::byte* data = run_page_.data() + io.data_offset;
  // String instructions carry io.count elements in one exit.
  for (uint32_t i = 0; i < io.count; ++i, data += io.size) {
    if (io.direction == KVM_EXIT_IO_IN) {
      bus_read(ports_, io.port, {data, io.size});
    } else {
      bus_write(ports_, io.port, {data, io.size});
    }
  }
}

void Vcpu::answer_mmio_access() {
  auto& mmio = run_page().mmio;
  const std::span bytes = std::as_writable_bytes(std::span(mmio.data)).first(std::min<size_t>(mmio.len, 8));
  if (mmio.is_write != 0) {
    bus_write(mmio_, mmio.phys_addr, bytes);
  } else {
    bus_read(mmio_, mmio.phys_addr, bytes);
  }
}

VcpuStop Vcpu::crashed(std::string reason) {
  stop_reason_ = std::move(reason);
  return VcpuStop::kCrashed;
}

VcpuStop Vcpu::internal_error() {
  const auto& internal = run_page().internal;
  switch (internal.suberror) {
    case KVM_INTERNAL_ERROR_EMULATION: {
      const auto& failure = run_page().emulation_failure;
      if (failure.ndata >= 3 && (failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) != 0) {
        const auto bytes = std::as_bytes(std::span(failure.insn_bytes))
                               .first(std::min<size_t>(failure.insn_size, kInstructionBytes));
        faulting_instruction_.assign(bytes.begin(), bytes.end());
      }
      return crashed("KVM cannot emulate the guest's instruction");
    }
    case KVM_INTERNAL_ERROR_SIMUL_EX:
      return crashed("KVM internal error: an exception while delivering another");
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
      return crashed("KVM internal error: an exit while delivering an event to the guest");
    default:
      return crashed(fmt::format("KVM internal error {}", internal.suberror));
  }
}

std::string Vcpu::describe_stop(const GuestMemory& memory) const {
  kvm_regs r{};
  kvm_sregs s{};
  if (kvm_ioctl(fd_.get(), KVM_GET_REGS, &r) < 0 || kvm_ioctl(fd_.get(), KVM_GET_SREGS, &s) < 0) {
    return fmt::format("vCPU {}: {} (registers unavailable)", id_, stop_reason_);
  }
  std::string text = fmt::format("vCPU {}: {}\n", id_, stop_reason_);
  // AMD leaves the registers undefined after a shutdown (APM volume 2, 15.14.3), and KVM then resets the
  // vCPU.
  if (run_page().exit_reason == KVM_EXIT_SHUTDOWN && r.rip == kResetRip && s.cs.base == kResetCodeBase) {
    text += "  the processor does not tell its registers at a shutdown; these are those of a reset:\n";
  }
  text +=
      fmt::format("  rip {:016x} rflags {:016x} rsp {:016x} rbp {:016x}\n", r.rip, r.rflags, r.rsp, r.rbp);
  text += fmt::format("  rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}\n", r.rax, r.rbx, r.rcx, r.rdx);
  text += fmt::format("  rsi {:016x} rdi {:016x} r8  {:016x} r9  {:016x}\n", r.rsi, r.rdi, r.r8, r.r9);
  text += fmt::format("  r10 {:016x} r11 {:016x} r12 {:016x} r13 {:016x}\n", r.r10, r.r11, r.r12, r.r13);
  text += fmt::format("  r14 {:016x} r15 {:016x}\n", r.r14, r.r15);
  text +=
      fmt::format("  cr0 {:x} cr2 {:x} cr3 {:x} cr4 {:x} efer {:x}\n", s.cr0, s.cr2, s.cr3, s.cr4, s.efer);
  text += fmt::format("  cs {:x}:{:x} ds {:x}:{:x} ss {:x}:{:x} gdt {:x}+{:x} idt {:x}+{:x}\n", s.cs.selector,
                      s.cs.base, s.ds.selector, s.ds.base, s.ss.selector, s.ss.base, s.gdt.base, s.gdt.limit,
                      s.idt.base, s.idt.limit);
  text += "  instruction bytes:";
  const std::vector<std::byte> bytes = instruction_bytes(memory, r, s);
  for (const std::byte byte : bytes) {
    text += fmt::format(" {:02x}", std::to_integer<unsigned>(byte));
  }
  if (bytes.empty()) {
    text += " (not in memory)";
  }
  return text;
}

std::vector<std::byte> Vcpu::instruction_bytes(const GuestMemory& memory, const kvm_regs& regs,
                                               const kvm_sregs& sregs) const {
  if (!faulting_instruction_.empty()) {
    return faulting_instruction_;
  }
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < kInstructionBytes; ++i) {
    kvm_translation where{};
    where.linear_address = (sregs.efer & 0x400) != 0 ? regs.rip + i : sregs.cs.base + regs.rip + i;
    if (kvm_ioctl(fd_.get(), KVM_TRANSLATE, &where) < 0 || where.valid == 0) {
      break;
    }
    const auto byte = memory.read<uint8_t>(GuestAddress(where.physical_address));
    if (!byte) {
      break;
    }
    bytes.push_back(std::byte{*byte});
  }
  return bytes;
}

}  // namespace vmm
