// Vcpu: one virtual CPU of KVM: its registers, and the loop that runs it and feeds its port and memory
// accesses to the buses.
//
// Threads: run(), reset() and the register methods on the vCPU's own thread, or on any one thread while it
// does not run. kick() from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/mapping.h"
#include "vmm/base/unique_fd.h"
#include "vmm/core/cpu_entry.h"
#include "vmm/core/guest_memory.h"
#include "vmm/core/io_bus.h"
#include "vmm/kvm/cpuid_entry.h"
#include "vmm/kvm/exit_counters.h"
#include "vmm/kvm/vm.h"

struct kvm_run;
struct kvm_regs;
struct kvm_sregs;

namespace vmm {

// Why run() came back.
enum class VcpuStop : uint8_t {
  kKicked,       // kick() was called
  kTripleFault,  // KVM_EXIT_SHUTDOWN: the guest's CPU shut down
  kCrashed,      // KVM cannot go on with this vCPU; describe_stop() says why
};

class Vcpu {
 public:
  // REQUIRES: vm, memory and buses outlive the Vcpu.
  static Result<std::unique_ptr<Vcpu>> create(const Vm& vm, unsigned id, const Cpuid& cpuid,
                                              const IoBus& ports, const IoBus& mmio);
  ~Vcpu();
  Vcpu(const Vcpu&) = delete;
  Vcpu& operator=(const Vcpu&) = delete;

  unsigned id() const { return id_; }
  // Any thread.
  const ExitCounters& exits() const { return exits_; }

  // Puts every register, MSR, the local APIC and the multiprocessing state back to power-on: the first vCPU
  // at the reset vector, the others waiting for INIT and SIPI. The first time takes that state from a vCPU
  // that never ran, in a VM of its own: reading it, a hundred MSRs, is nothing for every start.
  Status reset();
  // REQUIRES: after create() or reset().
  Status set_entry(const EntryState& entry);

  // As a PC's NMI button: where the guest listens for it, at LINT1 of this local APIC. REQUIRES: it does not
  // run.
  Status press_nmi() const;
  // Before it goes on after a pause: the guest's watchdogs of soft lockups, where they listen, are told that
  // the host has held it. REQUIRES: it does not run.
  void tell_of_pause() const;

  // Runs the guest until something other than a device access happens. Device accesses are answered here.
  VcpuStop run();

  // Makes a present or the next run() return kKicked. `thread` is the one in run(). Signal kick_signal() must
  // have a handler that does nothing (install_kick_handler()).
  void kick(pthread_t thread);
  static int kick_signal();
  static Status install_kick_handler();

  // After kTripleFault or kCrashed: the reason, registers and the instruction's bytes, on several lines.
  // Reads guest memory through `memory`.
  std::string describe_stop(const GuestMemory& memory) const;

 private:
  struct PowerOnState;

  Vcpu(const Vm& vm, unsigned id, const Cpuid& cpuid, UniqueFd fd, Mapping run_page, const IoBus& ports,
       const IoBus& mmio);
  // Of the vCPU with that descriptor, this one's or the one that never runs.
  Status set_up(int fd) const;
  Status set_up_msrs(int fd) const;
  Status set_up_local_apic(int fd) const;
  Status find_power_on_state();
  Status read_power_on_state(int fd);
  kvm_run& run_page() const;
  void answer_port_access();
  void answer_mmio_access();
  VcpuStop crashed(std::string reason);
  VcpuStop internal_error();
  std::vector<std::byte> instruction_bytes(const GuestMemory& memory, const kvm_regs& regs,
                                           const kvm_sregs& sregs) const;

  // Constant after construction.
  const Vm& vm_;
  const unsigned id_;
  const Cpuid cpuid_;
  UniqueFd fd_;
  Mapping run_page_;
  const IoBus& ports_;
  const IoBus& mmio_;
  std::unique_ptr<PowerOnState> power_on_state_;  // nullptr until the first reset

  ExitCounters exits_;
  std::string stop_reason_;
  std::vector<std::byte> faulting_instruction_;
};

}  // namespace vmm
