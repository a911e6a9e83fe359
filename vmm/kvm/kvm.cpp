#include "vmm/kvm/kvm.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstddef>

#include "vmm/kvm/kvm_lists.h"

namespace vmm {
namespace {

constexpr int kApiVersion = 12;  // "This identifies the API version as the stable kvm API" (4.1)
constexpr size_t kMostCpuidEntries = 512;
constexpr size_t kMostMsrs = 4096;

struct Capability {
  int number;
  const char* name;
};

// What vmm uses and has no substitute for.
constexpr Capability kRequired[] = {
    {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
    {KVM_CAP_PIT2, "KVM_CAP_PIT2"},
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"},
    {KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
    {KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
    {KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
    {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
    {KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
    {KVM_CAP_XCRS, "KVM_CAP_XCRS"},
};

Result<UniqueFd> open_device(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (fd) {
    return fd;
  }
  switch (errno) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return fail(
          "{} is not there: load the kvm_intel or kvm_amd module, switch virtualization on in the firmware "
          "setup, "
          "or, in a virtual machine, have its host allow nested virtualization",
          path);
    case EACCES:
    case EPERM:
      return fail(
          "no permission to open {}: add your user to the device's group (usually: adduser USER kvm) and log "
          "in again",
          path);
    case EBUSY:
      return fail(
          "{} is busy: another hypervisor holds the processor's virtualization; stop it and try again", path);
    default:
      return fail("cannot open {}: {}", path, errno_text(errno));
  }
}

}  // namespace

int kvm_ioctl(int fd, unsigned long request, void* argument) {
  int result = 0;
  do {
    result = ::ioctl(fd, request, argument);
  } while (result < 0 && errno == EINTR);
  return result;
}

int kvm_ioctl(int fd, unsigned long request, unsigned long argument) {
  int result = 0;
  do {
    result = ::ioctl(fd, request, argument);
  } while (result < 0 && errno == EINTR);
  return result;
}

Result<Kvm> Kvm::open(const std::string& path) {
  VMM_ASSIGN_OR_RETURN(UniqueFd fd, open_device(path));
  Kvm kvm(std::move(fd));
  const int version = kvm_ioctl(kvm.fd_.get(), KVM_GET_API_VERSION, 0UL);
  if (version < 0) {
    return fail("{} is not a KVM device: {}", path, errno_text(errno));
  }
  if (version != kApiVersion) {
    return fail("{} speaks version {} of the KVM API, vmm needs {}: use a newer Linux kernel", path, version,
                kApiVersion);
  }
  VMM_TRY(kvm.check_capabilities(path));
  VMM_TRY(kvm.read_state_msrs());
  return kvm;
}

int Kvm::capability(int number) const {
  const int value = kvm_ioctl(fd_.get(), KVM_CHECK_EXTENSION, static_cast<unsigned long>(number));
  return value < 0 ? 0 : value;
}

Status Kvm::check_capabilities(const std::string& path) {
  for (const Capability& wanted : kRequired) {
    if (capability(wanted.number) == 0) {
      return fail("{} lacks {}: use a newer Linux kernel, or one with this part of KVM switched on", path,
                  wanted.name);
    }
  }
  const int run_page_bytes = kvm_ioctl(fd_.get(), KVM_GET_VCPU_MMAP_SIZE, 0UL);
  if (run_page_bytes <= 0) {
    return fail("{} does not tell the size of a vCPU's run page: {}", path, errno_text(errno));
  }
  run_page_bytes_ = static_cast<size_t>(run_page_bytes);
  const int most = capability(KVM_CAP_MAX_VCPUS);
  max_vcpus_ = most > 0 ? static_cast<unsigned>(most) : 4;  // "assume 4 cpus max" (4.7)
  return {};
}

Status Kvm::read_state_msrs() {
  state_msrs_.resize(kMostMsrs);
  // struct kvm_msr_list ends in a flexible array: built in a buffer of 32-bit words.
  std::vector<uint32_t> buffer(1 + kMostMsrs);
  buffer[0] = kMostMsrs;
  if (kvm_ioctl(fd_.get(), kKvmGetMsrIndexList, buffer.data()) < 0) {
    return fail("KVM does not list the MSRs that it keeps: {}", errno_text(errno));
  }
  state_msrs_.assign(buffer.begin() + 1, buffer.begin() + 1 + buffer[0]);
  return {};
}

Result<UniqueFd> Kvm::create_vm() const {
  UniqueFd fd(kvm_ioctl(fd_.get(), KVM_CREATE_VM, 0UL));
  if (fd) {
    return fd;
  }
  if (errno == EBUSY) {
    return fail(
        "KVM is busy: another hypervisor holds the processor's virtualization; stop it and try again");
  }
  return fail("KVM cannot create a virtual machine: {}", errno_text(errno));
}

Result<Cpuid> Kvm::supported_cpuid() const {
  KvmList<kvm_cpuid_entry2> list(kMostCpuidEntries);
  if (kvm_ioctl(fd_.get(), kKvmGetSupportedCpuid, list.argument()) < 0) {
    return fail("KVM does not tell which CPU features it supports: {}", errno_text(errno));
  }
  Cpuid cpuid;
  for (uint32_t i = 0; i < list.count(); ++i) {
    const kvm_cpuid_entry2 entry = list[i];
    cpuid.push_back({.leaf = entry.function,
                     .subleaf = entry.index,
                     .has_subleaves = (entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0,
                     .eax = entry.eax,
                     .ebx = entry.ebx,
                     .ecx = entry.ecx,
                     .edx = entry.edx});
  }
  return cpuid;
}

}  // namespace vmm
