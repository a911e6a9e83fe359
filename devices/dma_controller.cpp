#include "devices/dma_controller.h"

namespace vmm {
namespace {

// 8237A, figure 6: above the channels' registers.
constexpr uint64_t kFirstCommand = 8;
constexpr uint64_t kClearFlipFlop = 12;
constexpr uint64_t kMasterClear = 13;

}  // namespace

void DmaController::reset() {
  const MutexLock lock(mutex_);
  chips_ = {};
  pages_ = {};
}

uint8_t DmaController::read(size_t chip, uint64_t number) {
  const MutexLock lock(mutex_);
  if (number >= kFirstCommand) {
    return 0;  // status: no channel has asked, none has come to its end
  }
  Chip& state = chips_.at(chip);
  const uint16_t value = state.addresses_and_counts.at(number);
  const bool is_high = state.is_high_byte;
  state.is_high_byte = !is_high;
  return static_cast<uint8_t>(is_high ? value >> 8U : value);
}

// Command, mode, mask and request have nobody to act on.
void DmaController::write(size_t chip, uint64_t number, uint8_t value) {
  const MutexLock lock(mutex_);
  Chip& state = chips_.at(chip);
  if (number == kClearFlipFlop || number == kMasterClear) {
    state.is_high_byte = false;
  }
  if (number >= kFirstCommand) {
    return;
  }
  uint16_t& place = state.addresses_and_counts.at(number);
  place = static_cast<uint16_t>(state.is_high_byte ? (place & 0x00ffU) | unsigned{value} << 8U
                                                   : (place & 0xff00U) | value);
  state.is_high_byte = !state.is_high_byte;
}

uint8_t DmaController::read_page(uint64_t offset) {
  const MutexLock lock(mutex_);
  return pages_.at(offset);
}

void DmaController::write_page(uint64_t offset, uint8_t value) {
  const MutexLock lock(mutex_);
  pages_.at(offset) = value;
}

}  // namespace vmm
