#include "vmm/machine/thread_pins.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <memory>
#include <string>

#include "vmm/domain/cpu_set.h"

namespace vmm {
namespace {

// As many as any set may name: larger than the kernel's own sets, which it must not be smaller than.
constexpr size_t kSetBytes = CPU_ALLOC_SIZE(domain::kMaxHostCpus);

class KernelSet {
 public:
  KernelSet() : bits_(CPU_ALLOC(domain::kMaxHostCpus)) { CPU_ZERO_S(kSetBytes, bits_.get()); }
  cpu_set_t* get() const { return bits_.get(); }
  void add(uint32_t cpu) { CPU_SET_S(cpu, kSetBytes, bits_.get()); }
  bool has(uint32_t cpu) const { return CPU_ISSET_S(cpu, kSetBytes, bits_.get()); }

 private:
  struct Free {
    void operator()(cpu_set_t* bits) const { CPU_FREE(bits); }
  };
  std::unique_ptr<cpu_set_t, Free> bits_;
};

Result<std::vector<uint32_t>> cpus_of_this_thread() {
  const KernelSet set;
  if (::sched_getaffinity(0, kSetBytes, set.get()) != 0) {
    return fail("cannot tell which CPUs of the host vmm may use: {}", errno_text(errno));
  }
  std::vector<uint32_t> cpus;
  for (uint32_t cpu = 0; cpu < domain::kMaxHostCpus; ++cpu) {
    if (set.has(cpu)) {
      cpus.push_back(cpu);
    }
  }
  return cpus;
}

KernelSet set_of(const std::vector<uint32_t>& cpus) {
  KernelSet set;
  for (const uint32_t cpu : cpus) {
    set.add(cpu);
  }
  return set;
}

// More than where vmm was begun (taskset(1)), as for libvirt: what the host's administrator leaves it
// (cpuset(7)). Asked by a wish for all.
Result<std::vector<uint32_t>> cpus_allowed(const std::vector<uint32_t>& begun_on) {
  KernelSet all;
  for (uint32_t cpu = 0; cpu < domain::kMaxHostCpus; ++cpu) {
    all.add(cpu);
  }
  if (::sched_setaffinity(0, kSetBytes, all.get()) != 0) {
    return begun_on;
  }
  auto allowed = cpus_of_this_thread();
  static_cast<void>(::sched_setaffinity(0, kSetBytes, set_of(begun_on).get()));
  return allowed;
}

Status move_thread(pthread_t thread, const std::vector<uint32_t>& cpus) {
  const KernelSet set = set_of(cpus);
  const int error = ::pthread_setaffinity_np(thread, kSetBytes, set.get());
  return error == 0 ? Status()
                    : fail("cannot pin a thread to the host's CPUs {}: {}", domain::cpu_set_text(cpus),
                           errno_text(error));
}

}  // namespace

Result<ThreadPins> ThreadPins::create(const domain::Domain& domain) {
  ThreadPins pins(domain);
  const domain::CpuPins& wanted = domain.pins;
  if (!wanted.all && !wanted.emulator && wanted.vcpus.empty() && wanted.iothreads.empty()) {
    return pins;
  }
  VMM_ASSIGN_OR_RETURN(pins.begun_on_, cpus_of_this_thread());
  VMM_ASSIGN_OR_RETURN(pins.allowed_, cpus_allowed(pins.begun_on_));
  VMM_TRY(pins.check_all());
  return pins;
}

Status ThreadPins::check_all() const {
  const domain::CpuPins& wanted = domain_->pins;
  if (wanted.all) {
    VMM_TRY(check(*wanted.all, "<vcpu"));
  }
  for (const auto& [vcpu, cpus] : wanted.vcpus) {
    VMM_TRY(check(cpus, fmt::format("<cputune>/<vcpupin vcpu='{}'", vcpu)));
  }
  if (wanted.emulator) {
    VMM_TRY(check(*wanted.emulator, "<cputune>/<emulatorpin"));
  }
  for (const auto& [id, cpus] : wanted.iothreads) {
    VMM_TRY(check(cpus, fmt::format("<cputune>/<iothreadpin iothread='{}'", id)));
  }
  return {};
}

Status ThreadPins::check(const domain::CpuSet& wanted, const std::string& element) const {
  std::vector<uint32_t> missing;
  std::ranges::set_difference(wanted.cpus, allowed_, std::back_inserter(missing));
  if (missing.empty()) {
    return {};
  }
  const std::string place = fmt::format("{}: {} cpuset='{}'>", domain_->where(wanted.line), element,
                                        domain::cpu_set_text(wanted.cpus));
  if (missing.size() == wanted.cpus.size()) {
    return fail_configuration("{}: vmm may not use any of these CPUs here; it may use {}", place,
                              domain::cpu_set_text(allowed_));
  }
  return domain_->warn(fmt::format("{}: vmm may not use {} here; it may use {}", place,
                                   domain::cpu_set_text(missing), domain::cpu_set_text(allowed_)));
}

Status ThreadPins::pin(pthread_t thread, const domain::CpuSet* own) const {
  const domain::CpuSet* const all = domain_->pins.all ? &*domain_->pins.all : nullptr;
  const domain::CpuSet* const cpus = own != nullptr ? own : all;
  return move_thread(thread, cpus != nullptr ? cpus->cpus : begun_on_);
}

Status ThreadPins::pin_emulator() const {
  const auto& own = domain_->pins.emulator;
  return is_idle() ? Status() : pin(::pthread_self(), own ? &*own : nullptr);
}

Status ThreadPins::pin_vcpu(unsigned index, pthread_t thread) const {
  const auto own = domain_->pins.vcpus.find(index);
  return is_idle() ? Status() : pin(thread, own != domain_->pins.vcpus.end() ? &own->second : nullptr);
}

Status ThreadPins::pin_iothread(uint32_t id, pthread_t thread) const {
  if (is_idle() || id == 0) {
    return {};
  }
  const auto own = domain_->pins.iothreads.find(id);
  return pin(thread, own != domain_->pins.iothreads.end() ? &own->second : nullptr);
}

}  // namespace vmm
