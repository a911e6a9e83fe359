// GuestMemory: the guest's RAM, and the only way to it.
//
// The guest may change any byte at any time, from any vCPU: what is read is copied once, checked, and not
// read again. No method hands out a pointer, but io_buffers(), whose result goes to the kernel (preadv and
// its kin) and is not looked at. Every access is checked with its length; one that is not wholly inside RAM
// does nothing and says so.
//
// Threads: constant after construction, so every method may be called from any thread. Bytes are copied
// without ordering: where a protocol needs it (virtqueue indexes), load_acquire and store_release give it.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/mapping.h"
#include "vmm/core/guest_address.h"

namespace vmm {

// T that can be copied in and out of a guest byte for byte, and whose bytes are all values.
template <typename T>
concept GuestValue = std::is_trivially_copyable_v<T> && std::has_unique_object_representations_v<T>;

class GuestMemory {
 public:
  struct Region {
    GuestAddress start;
    Mapping mapping;
    uint64_t end() const { return start.value() + mapping.size(); }
  };

  // REQUIRES: regions are not empty, sorted, do not overlap or touch, and end below 2^64.
  explicit GuestMemory(std::vector<Region> regions);

  const std::vector<Region>& regions() const { return regions_; }
  uint64_t size_bytes() const { return size_bytes_; }
  // In regions that begin below `limit`.
  uint64_t bytes_below(GuestAddress limit) const;

  // A range that crosses from one region to the next is not "inside": regions never touch.
  [[nodiscard]] bool contains(GuestAddress start, uint64_t length_bytes) const {
    return find(start, length_bytes) != nullptr;
  }

  [[nodiscard]] bool read_bytes(GuestAddress from, std::span<std::byte> to) const;
  [[nodiscard]] bool write_bytes(GuestAddress to, std::span<const std::byte> from) const;
  [[nodiscard]] bool fill(GuestAddress start, uint64_t length_bytes, std::byte value) const;

  template <GuestValue T>
  [[nodiscard]] std::optional<T> read(GuestAddress from) const {
    T value;
    if (!read_bytes(from, std::as_writable_bytes(std::span(&value, 1)))) {
      return std::nullopt;
    }
    return value;
  }

  template <GuestValue T>
  [[nodiscard]] bool write(GuestAddress to, const T& value) const {
    return write_bytes(to, std::as_bytes(std::span(&value, 1)));
  }

  // Naturally aligned integers shared with a running guest. Unaligned addresses count as outside.
  template <std::unsigned_integral T>
  [[nodiscard]] std::optional<T> load_acquire(GuestAddress from) const {
    T* place = aligned<T>(from);
    if (place == nullptr) {
      return std::nullopt;
    }
    return std::atomic_ref<T>(*place).load(std::memory_order_acquire);
  }

  template <std::unsigned_integral T>
  [[nodiscard]] bool store_release(GuestAddress to, T value) const {
    T* place = aligned<T>(to);
    if (place == nullptr) {
      return false;
    }
    std::atomic_ref<T>(*place).store(value, std::memory_order_release);
    return true;
  }

  // Appends the host buffers of the range to `buffers`, for the kernel to read or write. False (and nothing
  // appended) where the range is not wholly inside RAM, or is empty.
  [[nodiscard]] bool io_buffers(GuestRange range, std::vector<iovec>& buffers) const;
  // The same for one buffer.
  [[nodiscard]] std::optional<iovec> io_buffer(GuestRange range) const;

 private:
  std::byte* find(GuestAddress start, uint64_t length_bytes) const;

  template <typename T>
  T* aligned(GuestAddress address) const {
    if (address.value() % sizeof(T) != 0) {
      return nullptr;
    }
    return reinterpret_cast<T*>(find(address, sizeof(T)));
  }

  std::vector<Region> regions_;
  uint64_t size_bytes_ = 0;
};

}  // namespace vmm
