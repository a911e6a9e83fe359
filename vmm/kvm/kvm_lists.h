// KvmList: the ioctl arguments of KVM that end in an array of any length, and their request numbers.
//
// <linux/kvm.h> cannot be used for these in C++: it hides the array behind an empty struct, which takes no
// room in C and one byte in C++, so that offsets and, with them, request numbers come out wrong. Here they
// are made of fixed parts, as Documentation/virt/kvm/api.rst has them (sections 4.3, 4.18
// to 4.20, 4.42, 4.43, 4.46, 4.52).
#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace vmm {

using KvmXsave = std::array<std::byte, 4096>;

inline constexpr unsigned long kKvmGetMsrIndexList = _IOWR(KVMIO, 0x02, uint32_t);
inline constexpr unsigned long kKvmGetSupportedCpuid = _IOWR(KVMIO, 0x05, uint64_t);
inline constexpr unsigned long kKvmSetGsiRouting = _IOW(KVMIO, 0x6a, uint64_t);
inline constexpr unsigned long kKvmGetMsrs = _IOWR(KVMIO, 0x88, uint64_t);
inline constexpr unsigned long kKvmSetMsrs = _IOW(KVMIO, 0x89, uint64_t);
inline constexpr unsigned long kKvmSetCpuid2 = _IOW(KVMIO, 0x90, uint64_t);
inline constexpr unsigned long kKvmGetXsave = _IOR(KVMIO, 0xa4, KvmXsave);
inline constexpr unsigned long kKvmSetXsave = _IOW(KVMIO, 0xa5, KvmXsave);

// A count, a word that is not used, and the entries.
template <typename Entry>
class KvmList {
 public:
  explicit KvmList(size_t capacity) : bytes_(kHeaderBytes + capacity * sizeof(Entry)) {
    set_count(static_cast<uint32_t>(capacity));
  }
  explicit KvmList(std::span<const Entry> entries) : KvmList(entries.size()) {
    std::memcpy(bytes_.data() + kHeaderBytes, entries.data(), entries.size_bytes());
  }

  void* argument() { return bytes_.data(); }
  // As KVM has set it, at most the capacity.
  uint32_t count() const {
    uint32_t count = 0;
    std::memcpy(&count, bytes_.data(), sizeof count);
    return count;
  }
  // REQUIRES: index < capacity.
  Entry operator[](size_t index) const {
    Entry entry{};
    std::memcpy(&entry, bytes_.data() + kHeaderBytes + index * sizeof(Entry), sizeof entry);
    return entry;
  }

 private:
  static constexpr size_t kHeaderBytes = 8;
  void set_count(uint32_t count) { std::memcpy(bytes_.data(), &count, sizeof count); }

  std::vector<std::byte> bytes_;
};

}  // namespace vmm
