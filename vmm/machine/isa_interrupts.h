// IsaInterrupts: the sixteen interrupt inputs of a PC, each of which several devices may share.
//
// Threads: built and handed out by the main thread; the inputs may be set from any.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "vmm/core/interrupt.h"
#include "vmm/core/shared_line.h"
#include "vmm/kvm/vm.h"

namespace vmm {

class IsaInterrupts {
 public:
  static constexpr uint32_t kCount = 16;

  explicit IsaInterrupts(Vm& vm);

  // A new source of IRQ `irq` (< kCount); lives as long as this object.
  InterruptLine& make_input(uint32_t irq);

 private:
  struct Irq {
    std::unique_ptr<InterruptLine> line;
    std::unique_ptr<SharedLine> shared;
  };
  std::array<Irq, kCount> irqs_;
  std::vector<std::unique_ptr<InterruptLine>> inputs_;
};

}  // namespace vmm
