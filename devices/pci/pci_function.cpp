#include "devices/pci/pci_function.h"

#include <utility>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::pci {
namespace {

constexpr uint64_t kIoSpaceEnd = 0x1'0000;
constexpr uint64_t kMemory32End = 0x1'0000'0000;

constexpr uint32_t kRomEnable = 1;

constexpr size_t offset_of(size_t bar) { return bar == kRomBar ? kExpansionRom : kBar0 + 4 * bar; }

// Bits of the register that are not address (section 6.2.5.1).
constexpr uint32_t type_bits(BarKind kind) {
  switch (kind) {
    case BarKind::kNone:
    case BarKind::kMemory32:
    case BarKind::kRom:
      return 0;
    case BarKind::kIo:
      return 1;
    case BarKind::kMemory64:
      return 2U << 1;
  }
  return 0;
}

// The last possible range of each space counts as no address: that is what a register holds while its size is
// being found out.
bool is_usable(const Bar& bar, uint64_t address) {
  if (address == 0) {
    return false;
  }
  switch (bar.kind) {
    case BarKind::kNone:
      return false;
    case BarKind::kIo:
      return address < kIoSpaceEnd && bar.length_bytes < kIoSpaceEnd - address;
    case BarKind::kMemory32:
    case BarKind::kRom:
      return bar.length_bytes < kMemory32End - address;
    case BarKind::kMemory64:
      return bar.length_bytes < UINT64_MAX - address;
  }
  return false;
}

}  // namespace

void PciFunction::read_config(uint8_t offset, std::span<std::byte> data) {
  const MutexLock lock(config_mutex_);
  config_.read(offset, data);
}

void PciFunction::write_config(uint8_t offset, std::span<const std::byte> data) {
  const MutexLock lock(config_mutex_);
  config_.write(offset, data);
}

void PciFunction::reset() {
  const MutexLock lock(config_mutex_);
  config_.reset();
}

void PciFunction::add_bar(size_t index, const Bar& bar) {
  const bool is_wide = bar.kind == BarKind::kMemory64;
  const uint64_t least = bar.kind == BarKind::kIo ? 4 : 16;
  VMM_CHECK(index + (is_wide ? 1 : 0) < kBarCount && bars_[index].kind == BarKind::kNone, "no such BAR");
  VMM_CHECK(is_power_of_two(bar.length_bytes) && bar.length_bytes >= least, "a BAR's length is wrong");
  const MutexLock lock(config_mutex_);
  bars_[index] = bar;
  const uint64_t mask = ~(bar.length_bytes - 1);
  config_.define<uint32_t>(offset_of(index), type_bits(bar.kind), static_cast<uint32_t>(mask & 0xffff'ffff));
  if (is_wide) {
    config_.define<uint32_t>(offset_of(index + 1), 0, static_cast<uint32_t>(mask >> 32));
  }
}

void PciFunction::set_expansion_rom(std::vector<std::byte> content) {
  VMM_CHECK(!rom_, "a function has one expansion ROM");
  rom_.emplace(std::move(content));
  const MutexLock lock(config_mutex_);
  bars_[kRomBar] = {.kind = BarKind::kRom, .length_bytes = rom_->length_bytes(), .device = &*rom_};
  const auto address_bits = static_cast<uint32_t>(~(rom_->length_bytes() - 1) & 0xffff'ffff);
  config_.define<uint32_t>(kExpansionRom, 0, address_bits | kRomEnable);
}

uint64_t PciFunction::bar_register(size_t bar) const {
  const auto low = config_.get<uint32_t>(offset_of(bar));
  switch (bars_[bar].kind) {
    case BarKind::kNone:
      return 0;
    case BarKind::kIo:
      return low & ~3U;
    case BarKind::kMemory32:
      return low & ~15U;
    case BarKind::kRom:
      return low & ~static_cast<uint32_t>(ExpansionRom::kMinBytes - 1);
    case BarKind::kMemory64:
      return uint64_t{low & ~15U} | (uint64_t{config_.get<uint32_t>(offset_of(bar + 1))} << 32);
  }
  return 0;
}

std::optional<uint64_t> PciFunction::decoded_address(size_t bar) const {
  const MutexLock lock(config_mutex_);
  const bool is_io = bars_[bar].kind == BarKind::kIo;
  const uint16_t enable = is_io ? kCommandIoSpace : kCommandMemorySpace;
  const bool is_on =
      bars_[bar].kind != BarKind::kRom || (config_.get<uint32_t>(kExpansionRom) & kRomEnable) != 0;
  const uint64_t address = bar_register(bar);
  if (!is_on || (config_.get<uint16_t>(kCommand) & enable) == 0 || !is_usable(bars_[bar], address)) {
    return std::nullopt;
  }
  return address;
}

void PciFunction::assign_bar(size_t bar, uint64_t address) {
  VMM_CHECK((address & (bars_[bar].length_bytes - 1)) == 0, "a BAR is not aligned to its length");
  const MutexLock lock(config_mutex_);
  const auto low = static_cast<uint32_t>(address & 0xffff'ffff) | type_bits(bars_[bar].kind);
  config_.put<uint32_t>(offset_of(bar), low);
  if (bars_[bar].kind == BarKind::kMemory64) {
    config_.put<uint32_t>(offset_of(bar + 1), static_cast<uint32_t>(address >> 32));
  }
}

void PciFunction::enable_decoding() {
  const MutexLock lock(config_mutex_);
  const auto command = config_.get<uint16_t>(kCommand);
  config_.put<uint16_t>(kCommand, static_cast<uint16_t>(command | kCommandIoSpace | kCommandMemorySpace));
}

void PciFunction::set_interrupt_line(uint8_t irq) {
  const MutexLock lock(config_mutex_);
  config_.put<uint8_t>(kInterruptLine, irq);
}

uint8_t PciFunction::interrupt_pin() const {
  const MutexLock lock(config_mutex_);
  return config_.get<uint8_t>(kInterruptPin);
}

ConfigSpace::State PciFunction::config_state() const {
  const MutexLock lock(config_mutex_);
  return config_.state();
}

}  // namespace vmm::pci
