// SharedLine: several devices on one interrupt line (COM1 and COM3 on IRQ 4, PCI pins on one PIRQ): the line
// is high while any input is.
//
// Threads: make_input() on the thread that builds the machine; the inputs from any thread.
#pragma once

#include <cstdint>
#include <memory>

#include "vmm/base/thread_annotations.h"
#include "vmm/core/interrupt.h"
#include "vmm/core/line_driver.h"

namespace vmm {

class SharedLine {
 public:
  static constexpr unsigned kMaxInputs = 64;

  explicit SharedLine(InterruptLine& line) : driver_(line) {}
  SharedLine(const SharedLine&) = delete;
  SharedLine& operator=(const SharedLine&) = delete;

  // A new input, low. The SharedLine must outlive it; an input that is destroyed stays as it was.
  // REQUIRES: fewer than kMaxInputs so far.
  std::unique_ptr<InterruptLine> make_input();

 private:
  class Input;
  void set_input(uint64_t mask, bool level) VMM_EXCLUDES(mutex_);

  LineDriver driver_;
  unsigned input_count_ = 0;
  Mutex mutex_;
  uint64_t high_inputs_ VMM_GUARDED_BY(mutex_) = 0;
};

}  // namespace vmm
