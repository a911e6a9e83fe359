// BarMapper: keeps the port and memory buses in line with what the BARs and command registers of all
// functions say.
//
// Threads: add() while building; settle() from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "devices/pci/pci_function.h"
#include "devices/pci/settler.h"
#include "vmm/base/log.h"
#include "vmm/core/io_bus.h"

namespace vmm::pci {

class BarMapper {
 public:
  BarMapper(IoBus& ports, IoBus& memory) : ports_(ports), memory_(memory) {}

  void add(PciFunction& function);

  // Unmaps what moved or was switched off, then maps what can be. A BAR that lies over something else is left
  // out (with a line in the log) until the other makes way.
  void settle() {
    settler_.settle([this] { apply(); });
  }

 private:
  struct Entry {
    PciFunction* function = nullptr;
    size_t bar = 0;
    std::optional<uint64_t> mapped;
    std::optional<uint64_t> refused;  // where it was last found in conflict: logged once
  };
  void apply();
  void unmap(Entry& entry);
  void map(Entry& entry, uint64_t address);
  IoBus& bus_of(const Entry& entry);

  IoBus& ports_;
  IoBus& memory_;
  Settler settler_;
  std::vector<Entry> entries_;  // the settling thread only
  log::RateLimit log_limit_;
};

}  // namespace vmm::pci
