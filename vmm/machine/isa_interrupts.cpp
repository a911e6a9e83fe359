#include "vmm/machine/isa_interrupts.h"

#include "vmm/base/check.h"

namespace vmm {

IsaInterrupts::IsaInterrupts(Vm& vm) {
  for (uint32_t irq = 0; irq < kCount; ++irq) {
    irqs_[irq].line = vm.make_level_line(irq);
    irqs_[irq].shared = std::make_unique<SharedLine>(*irqs_[irq].line);
  }
}

InterruptLine& IsaInterrupts::make_input(uint32_t irq) {
  VMM_CHECK(irq < kCount, "no such IRQ");
  return *inputs_.emplace_back(irqs_[irq].shared->make_input());
}

}  // namespace vmm
