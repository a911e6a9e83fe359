// MsixTable: the vectors of one function, behind a BAR: the MSI-X table and the pending bit array (PCI Local
// Bus 3.0, section 6.8.2).
//
// Threads: the table and the control word are touched by vCPU threads (mutex inside). notify() may be called
// from any thread and takes no lock.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "devices/pci/config_space.h"
#include "devices/pci/settler.h"
#include "vmm/base/log.h"
#include "vmm/base/thread_annotations.h"
#include "vmm/core/interrupt.h"
#include "vmm/core/io_bus.h"

namespace vmm::pci {

inline constexpr uint16_t kMsixMaxVectors = 2048;

class MsixTable final : public BusDevice {
 public:
  struct Entry {
    uint64_t address = 0;
    uint32_t data = 0;
    uint32_t control = 1;  // bit 0: masked, as at power-on
    bool is_pending = false;
  };
  struct State {
    bool is_enabled = false;
    bool is_function_masked = false;
    std::vector<Entry> entries;
  };

  // REQUIRES: 1 <= vector_count <= kMsixMaxVectors. Vectors are taken from the sink when the guest first
  // unmasks them.
  MsixTable(uint16_t vector_count, MsiSink& sink);

  uint16_t vector_count() const { return static_cast<uint16_t>(vectors_.size()); }
  uint64_t bar_length_bytes() const { return bar_length_bytes_; }

  // Adds the capability to `config`, for a table in BAR number `bar`; returns its offset.
  uint8_t define_capability(ConfigSpace& config, uint8_t bar) const;
  // The message control word of that capability, after each guest write to it.
  void set_control(uint16_t message_control) VMM_EXCLUDES(mutex_);
  bool is_enabled() const { return is_enabled_.load(std::memory_order_acquire); }

  // Sends the vector's message, now or when it is unmasked. REQUIRES: vector < vector_count().
  void notify(uint16_t vector);
  // What sends the vector's message when it is signalled, as long as it is not masked; any thread. Null: it
  // is masked, or only notify() does. REQUIRES: vector < vector_count().
  const EventFd* direct(uint16_t vector) const;
  // Called after direct() may have changed, by any thread. REQUIRES: before the guest starts.
  void set_on_change(std::function<void()> on_change) { on_change_ = std::move(on_change); }

  void reset() VMM_EXCLUDES(mutex_);
  State state() const VMM_EXCLUDES(mutex_);

  void read(uint64_t offset, std::span<std::byte> data) override VMM_EXCLUDES(mutex_);
  void write(uint64_t offset, std::span<const std::byte> data) override VMM_EXCLUDES(mutex_);

 private:
  struct Vector {
    // The settling thread only.
    std::unique_ptr<MsiVector> owned;
    MsiMessage applied;
    bool has_applied = false;
    // Any thread. `out` is set before can_deliver.
    std::atomic<MsiVector*> out{nullptr};
    std::atomic<bool> can_deliver{false};
    std::atomic<bool> is_pending{false};
  };
  struct Wanted {
    bool deliver = false;
    MsiMessage message;
  };

  Wanted wanted(size_t vector) const VMM_EXCLUDES(mutex_);
  void apply() VMM_EXCLUDES(mutex_);
  bool make_ready(Vector& vector, const MsiMessage& message);
  uint32_t read_dword(uint64_t offset) const VMM_EXCLUDES(mutex_);
  bool write_table(uint64_t offset, uint32_t value) VMM_EXCLUDES(mutex_);

  MsiSink& sink_;
  const uint64_t pba_offset_;
  const uint64_t bar_length_bytes_;
  std::vector<Vector> vectors_;      // never grows
  std::function<void()> on_change_;  // constant after construction
  Settler settler_;
  std::atomic<bool> is_enabled_{false};
  log::RateLimit log_limit_;

  mutable Mutex mutex_;
  std::vector<Entry> entries_ VMM_GUARDED_BY(mutex_);
  bool is_function_masked_ VMM_GUARDED_BY(mutex_) = false;
};

}  // namespace vmm::pci
