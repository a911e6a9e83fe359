// Kvm: the host's /dev/kvm (Linux Documentation/virt/kvm/api.rst). Whether virtualization exists is asked of
// KVM, never decided from CPUID.
//
// Threads: constant after open(); methods may be called from any thread.
#pragma once

#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"
#include "vmm/kvm/cpuid_entry.h"

namespace vmm {

// ioctl(2), repeated while a signal interrupts it. Returns what the ioctl returned, or -1 with errno set.
int kvm_ioctl(int fd, unsigned long request, void* argument);
int kvm_ioctl(int fd, unsigned long request, unsigned long argument);

class Kvm {
 public:
  // Opens the device and checks the API version and every capability that vmm cannot do without. Each error
  // is one sentence that says what is missing and what to do.
  static Result<Kvm> open(const std::string& path = "/dev/kvm");

  // A fresh virtual machine's descriptor.
  Result<UniqueFd> create_vm() const;
  // CPUID as this host's KVM can give it to a guest.
  Result<Cpuid> supported_cpuid() const;
  // The value of KVM_CHECK_EXTENSION; 0 where the capability is absent.
  int capability(int number) const;
  // Bytes of the mapping that a vCPU's descriptor offers.
  size_t run_page_bytes() const { return run_page_bytes_; }
  unsigned max_vcpus() const { return max_vcpus_; }
  // MSRs whose values make up a vCPU's state.
  const std::vector<uint32_t>& state_msrs() const { return state_msrs_; }

 private:
  explicit Kvm(UniqueFd fd) : fd_(std::move(fd)) {}
  Status check_capabilities(const std::string& path);
  Status read_state_msrs();

  UniqueFd fd_;
  size_t run_page_bytes_ = 0;
  unsigned max_vcpus_ = 0;
  std::vector<uint32_t> state_msrs_;
};

}  // namespace vmm
