// Interrupts as wires: what a device is given to make itself heard. A device does not know its IRQ number.
//
// Threads: every method may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"

namespace vmm {

// One level-triggered wire (edge-triggered users raise and lower it). set() with the present level does
// nothing.
class InterruptLine {
 public:
  virtual ~InterruptLine() = default;
  virtual void set(bool level) = 0;

  void pulse() {
    set(true);
    set(false);
  }

 protected:
  InterruptLine() = default;
  InterruptLine(const InterruptLine&) = default;
  InterruptLine& operator=(const InterruptLine&) = default;
};

// What the device writes to interrupt a CPU by message (PCI Local Bus 3.0, section 6.8).
struct MsiMessage {
  uint64_t address = 0;
  uint32_t data = 0;
  friend bool operator==(const MsiMessage&, const MsiMessage&) = default;
};

// One message-signalled vector. set_message() comes from vCPU threads when the guest programs it; signal()
// from any thread, cheap (one write to an irqfd).
class MsiVector {
 public:
  virtual ~MsiVector() = default;
  virtual void set_message(const MsiMessage& message) = 0;
  virtual void signal() = 0;
  // What signals it too, for those who do not come by here (the host's kernel); constant. Null: nothing does.
  virtual const EventFd* event() const { return nullptr; }
};

// Where MSI vectors come from.
class MsiSink {
 public:
  virtual ~MsiSink() = default;
  virtual Result<std::unique_ptr<MsiVector>> make_vector() = 0;
};

}  // namespace vmm
