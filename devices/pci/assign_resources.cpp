#include "devices/pci/assign_resources.h"

#include <algorithm>
#include <vector>

#include "vmm/base/bytes.h"

namespace vmm::pci {
namespace {

struct Wish {
  PciFunction* function = nullptr;
  size_t bar = 0;
  uint64_t length_bytes = 0;
  size_t order = 0;
};

struct Window {
  uint64_t next = 0;
  uint64_t end = 0;
};

Status place(const Wish& wish, Window& window) {
  const uint64_t address = align_up(window.next, wish.length_bytes);
  if (address < window.next || address > window.end || wish.length_bytes > window.end - address) {
    return fail_configuration("there is no room left for the registers of all PCI devices: attach fewer");
  }
  wish.function->assign_bar(wish.bar, address);
  window.next = address + wish.length_bytes;
  return {};
}

void collect(PciFunction& function, std::vector<Wish>& io, std::vector<Wish>& memory) {
  for (size_t bar = 0; bar < kRegionCount; ++bar) {
    const Bar& description = function.bars()[bar];
    if (description.kind == BarKind::kNone) {
      continue;
    }
    std::vector<Wish>& wishes = description.kind == BarKind::kIo ? io : memory;
    wishes.push_back({.function = &function,
                      .bar = bar,
                      .length_bytes = description.length_bytes,
                      .order = wishes.size()});
  }
}

// The largest first: nothing is lost to alignment then.
Status place_all(std::vector<Wish>& wishes, Window window) {
  std::ranges::sort(wishes, [](const Wish& a, const Wish& b) {
    return a.length_bytes != b.length_bytes ? a.length_bytes > b.length_bytes : a.order < b.order;
  });
  for (const Wish& wish : wishes) {
    VMM_TRY(place(wish, window));
  }
  return {};
}

void finish(PciFunction& function, uint8_t slot) {
  function.enable_decoding();
  const uint8_t pin = function.interrupt_pin();
  if (pin != 0) {
    const uint32_t pirq = pirq_of(slot, static_cast<InterruptPin>(pin - 1));
    function.set_interrupt_line(static_cast<uint8_t>(layout::kPciIrqs[pirq]));
  }
}

}  // namespace

Status assign_resources(PciBus& bus, const Windows& windows) {
  std::vector<Wish> io;
  std::vector<Wish> memory;
  for (uint8_t slot = 0; slot < kSlotCount; ++slot) {
    for (uint8_t number = 0; number < kFunctionsPerSlot; ++number) {
      if (PciFunction* function = bus.function_at({slot, number}); function != nullptr) {
        collect(*function, io, memory);
        finish(*function, slot);
      }
    }
  }
  VMM_TRY(place_all(io, {windows.io_start, windows.io_end}));
  VMM_TRY(place_all(memory, {windows.memory_start, windows.memory_end}));
  bus.settle();
  return {};
}

}  // namespace vmm::pci
