// Doorbells, and the guest's memory writes as a hypervisor routes them: to a doorbell first, else to the bus.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"
#include "vmm/core/doorbell.h"
#include "vmm/core/io_bus.h"

namespace vmm {

class FakeDoorbells final : public DoorbellRegistry {
 public:
  Status attach(const Doorbell& doorbell, const EventFd& event) override {
    if (is_full) {
      return fail("no doorbells left");
    }
    attached_.push_back({doorbell, &event});
    return {};
  }
  void detach(const Doorbell& doorbell, const EventFd& event) override {
    VMM_CHECK(std::erase(attached_, Entry{doorbell, &event}) == 1, "a doorbell was detached twice");
  }

  // True where a doorbell took the write.
  bool ring(AddressSpace space, uint64_t address, size_t length, uint64_t value) const {
    for (const auto& [doorbell, event] : attached_) {
      const bool is_length = doorbell.length_bytes == 0 || doorbell.length_bytes == length;
      const bool is_value = !doorbell.match_value || *doorbell.match_value == value;
      if (doorbell.space == space && doorbell.address == address && is_length && is_value) {
        event->signal();
        return true;
      }
    }
    return false;
  }
  size_t count() const { return attached_.size(); }
  bool has_at(uint64_t address) const {
    return std::ranges::any_of(attached_, [&](const Entry& entry) { return entry.first.address == address; });
  }

  bool is_full = false;

 private:
  using Entry = std::pair<Doorbell, const EventFd*>;
  std::vector<Entry> attached_;
};

// What a vCPU's memory accesses meet.
class FakeMmio {
 public:
  FakeMmio(IoBus& bus, const FakeDoorbells& doorbells) : bus_(bus), doorbells_(doorbells) {}

  template <typename T>
  T read(uint64_t address) const {
    std::array<std::byte, sizeof(T)> bytes{};
    bus_.read(address, bytes);
    return load_le<T>(bytes.data());
  }
  template <typename T>
  void write(uint64_t address, T value) const {
    if (doorbells_.ring(AddressSpace::kMemory, address, sizeof(T), value)) {
      return;
    }
    std::array<std::byte, sizeof(T)> bytes{};
    store_le<T>(bytes.data(), value);
    bus_.write(address, bytes);
  }

 private:
  IoBus& bus_;
  const FakeDoorbells& doorbells_;
};

}  // namespace vmm
