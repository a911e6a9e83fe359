#include "devices/pci/bar_mapper.h"

namespace vmm::pci {

void BarMapper::add(PciFunction& function) {
  for (size_t bar = 0; bar < kRegionCount; ++bar) {
    if (function.bars()[bar].kind != BarKind::kNone) {
      entries_.push_back({.function = &function, .bar = bar, .mapped = {}, .refused = {}});
    }
  }
}

IoBus& BarMapper::bus_of(const Entry& entry) {
  return entry.function->bars()[entry.bar].kind == BarKind::kIo ? ports_ : memory_;
}

void BarMapper::apply() {
  // All that leaves goes first: two functions may change places.
  for (Entry& entry : entries_) {
    if (entry.mapped && entry.function->decoded_address(entry.bar) != entry.mapped) {
      unmap(entry);
    }
  }
  for (Entry& entry : entries_) {
    const std::optional<uint64_t> wanted = entry.function->decoded_address(entry.bar);
    if (wanted && !entry.mapped) {
      map(entry, *wanted);
    }
  }
}

void BarMapper::unmap(Entry& entry) {
  entry.function->bar_unmapped(entry.bar, *entry.mapped);
  bus_of(entry).remove(*entry.mapped);
  entry.mapped.reset();
}

void BarMapper::map(Entry& entry, uint64_t address) {
  const Bar& bar = entry.function->bars()[entry.bar];
  if (const Status added = bus_of(entry).add(address, bar.length_bytes, *bar.device); !added) {
    if (entry.refused != address && log_limit_.allows()) {
      log::warning("PCI: the guest put a BAR where it cannot be: {}", added.error().message());
    }
    entry.refused = address;
    return;
  }
  entry.mapped = address;
  entry.refused.reset();
  entry.function->bar_mapped(entry.bar, address);
}

}  // namespace vmm::pci
