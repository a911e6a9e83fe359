// ThreadPins: on which of the host's CPUs vmm's threads run (<vcpu cpuset=…>, <cputune>).
//
// A thread is begun where the one that begins it runs. So the main thread is pinned before all others are
// made, with what is nobody else's: the emulator's threads; those of vCPUs and of <iothreads> are moved once
// they are there.
//
// Threads: the main thread's.
#pragma once

#include <pthread.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/domain/domain.h"

namespace vmm {

class ThreadPins {
 public:
  // Of CPUs that are pinned to, one of each set must be there, as in libvirt; what is missing beside is told
  // by a warning (domain::Domain::warn()). Where the domain pins nothing nothing is done. The domain outlives
  // the pins.
  static Result<ThreadPins> create(const domain::Domain& domain);

  // This thread, which all others come from.
  Status pin_emulator() const;
  Status pin_vcpu(unsigned index, pthread_t thread) const;
  // id: 0 is the emulator's own.
  Status pin_iothread(uint32_t id, pthread_t thread) const;

 private:
  explicit ThreadPins(const domain::Domain& domain) : domain_(&domain) {}
  Status check(const domain::CpuSet& wanted, const std::string& element) const;
  Status check_all() const;
  bool is_idle() const { return begun_on_.empty(); }
  Status pin(pthread_t thread, const domain::CpuSet* own) const;

  const domain::Domain* domain_;
  std::vector<uint32_t> begun_on_;  // for threads that are not pinned; empty: the domain pins nothing
  std::vector<uint32_t> allowed_;
};

}  // namespace vmm
