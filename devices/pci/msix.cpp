#include "devices/pci/msix.h"

#include <algorithm>
#include <bit>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::pci {
namespace {

constexpr uint64_t kEntryBytes = 16;
constexpr uint16_t kControlEnable = 1U << 15;
constexpr uint16_t kControlFunctionMask = 1U << 14;
constexpr uint32_t kVectorMask = 1;
constexpr uint64_t kLeastPbaOffset = 0x800;

// The pending bits are kept off the table's last qword by a round offset; it must be a multiple of 8.
uint64_t pba_offset_for(uint16_t vector_count) {
  return std::max(kLeastPbaOffset, std::bit_ceil(vector_count * kEntryBytes));
}

}  // namespace

MsixTable::MsixTable(uint16_t vector_count, MsiSink& sink)
    : sink_(sink),
      pba_offset_(pba_offset_for(vector_count)),
      bar_length_bytes_(2 * pba_offset_),
      vectors_(vector_count),
      entries_(vector_count) {
  VMM_CHECK(vector_count >= 1 && vector_count <= kMsixMaxVectors, "no such number of MSI-X vectors");
}

uint8_t MsixTable::define_capability(ConfigSpace& config, uint8_t bar) const {
  const uint8_t offset = config.add_capability(kCapabilityMsix, 12);
  config.define<uint16_t>(offset + 2, static_cast<uint16_t>(vectors_.size() - 1),
                          kControlEnable | kControlFunctionMask);
  config.define<uint32_t>(offset + 4, bar);
  config.define<uint32_t>(offset + 8, static_cast<uint32_t>(pba_offset_) | bar);
  return offset;
}

void MsixTable::set_control(uint16_t message_control) {
  {
    const MutexLock lock(mutex_);
    is_function_masked_ = (message_control & kControlFunctionMask) != 0;
    is_enabled_.store((message_control & kControlEnable) != 0, std::memory_order_release);
  }
  settler_.settle([this] { apply(); });
}

void MsixTable::notify(uint16_t vector) {
  Vector& target = vectors_[vector];
  if (target.can_deliver.load(std::memory_order_seq_cst)) {
    target.out.load(std::memory_order_acquire)->signal();
    return;
  }
  // Pairs with apply(): one side stores is_pending and loads can_deliver, the other does it the other way
  // round, so one of them sees both, and exactly one takes the bit.
  target.is_pending.store(true, std::memory_order_seq_cst);
  if (target.can_deliver.load(std::memory_order_seq_cst) && target.is_pending.exchange(false)) {
    target.out.load(std::memory_order_acquire)->signal();
  }
}

const EventFd* MsixTable::direct(uint16_t vector) const {
  const Vector& target = vectors_[vector];
  return target.can_deliver.load(std::memory_order_seq_cst)
             ? target.out.load(std::memory_order_acquire)->event()
             : nullptr;
}

MsixTable::Wanted MsixTable::wanted(size_t vector) const {
  const MutexLock lock(mutex_);
  const Entry& entry = entries_[vector];
  const bool is_masked = is_function_masked_ || (entry.control & kVectorMask) != 0;
  return {.deliver = is_enabled_.load(std::memory_order_acquire) && !is_masked,
          .message = {.address = entry.address, .data = entry.data}};
}

void MsixTable::apply() {
  for (size_t i = 0; i < vectors_.size(); ++i) {
    Vector& vector = vectors_[i];
    const Wanted wish = wanted(i);
    if (!wish.deliver) {
      vector.can_deliver.store(false, std::memory_order_seq_cst);
    } else if (make_ready(vector, wish.message)) {
      vector.can_deliver.store(true, std::memory_order_seq_cst);
      if (vector.is_pending.exchange(false, std::memory_order_seq_cst)) {
        vector.out.load(std::memory_order_acquire)->signal();
      }
    }
  }
  if (on_change_) {
    on_change_();
  }
}

bool MsixTable::make_ready(Vector& vector, const MsiMessage& message) {
  if (vector.owned == nullptr) {
    Result<std::unique_ptr<MsiVector>> made = sink_.make_vector();
    if (!made) {
      if (log_limit_.allows()) {
        log::error("an MSI-X vector stays masked: {}", made.error().message());
      }
      return false;
    }
    vector.owned = *std::move(made);
    vector.out.store(vector.owned.get(), std::memory_order_release);
  }
  if (!vector.has_applied || vector.applied != message) {
    vector.owned->set_message(message);
    vector.applied = message;
    vector.has_applied = true;
  }
  return true;
}

void MsixTable::reset() {
  {
    const MutexLock lock(mutex_);
    std::ranges::fill(entries_, Entry{});
    is_function_masked_ = false;
    is_enabled_ = false;
  }
  settler_.settle([this] { apply(); });
  for (Vector& vector : vectors_) {
    vector.is_pending = false;
  }
}

MsixTable::State MsixTable::state() const {
  const MutexLock lock(mutex_);
  State state{.is_enabled = is_enabled_, .is_function_masked = is_function_masked_, .entries = entries_};
  for (size_t i = 0; i < vectors_.size(); ++i) {
    state.entries[i].is_pending = vectors_[i].is_pending;
  }
  return state;
}

uint32_t MsixTable::read_dword(uint64_t offset) const {
  if (offset >= pba_offset_) {
    uint32_t bits = 0;
    const uint64_t first = (offset - pba_offset_) * 8;
    for (uint64_t i = 0; i < 32 && first + i < vectors_.size(); ++i) {
      bits |= static_cast<uint32_t>(vectors_[first + i].is_pending.load()) << i;
    }
    return bits;
  }
  const uint64_t vector = offset / kEntryBytes;
  if (vector >= vectors_.size()) {
    return 0;
  }
  const MutexLock lock(mutex_);
  const Entry& entry = entries_[vector];
  switch (offset % kEntryBytes / 4) {
    case 0:
      return static_cast<uint32_t>(entry.address & 0xffff'ffff);
    case 1:
      return static_cast<uint32_t>(entry.address >> 32);
    case 2:
      return entry.data;
    default:
      return entry.control;
  }
}

bool MsixTable::write_table(uint64_t offset, uint32_t value) {
  const uint64_t vector = offset / kEntryBytes;
  if (offset >= pba_offset_ || vector >= vectors_.size()) {
    return false;
  }
  const MutexLock lock(mutex_);
  Entry& entry = entries_[vector];
  switch (offset % kEntryBytes / 4) {
    case 0:
      // Messages are dword-aligned (section 6.8.2.7).
      entry.address = (entry.address & ~uint64_t{0xffff'ffff}) | (value & ~3U);
      break;
    case 1:
      entry.address = (entry.address & 0xffff'ffff) | (uint64_t{value} << 32);
      break;
    case 2:
      entry.data = value;
      break;
    default:
      entry.control = value & kVectorMask;
      break;
  }
  return true;
}

void MsixTable::read(uint64_t offset, std::span<std::byte> data) {
  // Section 6.8.2: aligned dwords and qwords only; anything else may read as anything.
  const bool is_valid = offset % 4 == 0 && (data.size() == 4 || data.size() == 8);
  uint64_t value = is_valid ? read_dword(offset) : 0;
  if (is_valid && data.size() == 8) {
    value |= uint64_t{read_dword(offset + 4)} << 32;
  }
  store_le_sized(data, value);
}

void MsixTable::write(uint64_t offset, std::span<const std::byte> data) {
  if (offset % 4 != 0 || (data.size() != 4 && data.size() != 8)) {
    return;
  }
  bool has_changed = write_table(offset, load_le<uint32_t>(data.data()));
  if (data.size() == 8) {
    has_changed = write_table(offset + 4, load_le<uint32_t>(data.data() + 4)) || has_changed;
  }
  if (has_changed) {
    settler_.settle([this] { apply(); });
  }
}

}  // namespace vmm::pci
