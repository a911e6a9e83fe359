// QmpSession: one client's conversation in the QEMU Machine Protocol (QEMU's docs/interop/qmp-spec.txt), and
// the commands that vmm has of it, with the names, arguments, results and error classes of QEMU's schema.
//
// Of vmm's own is "x-vmm-boot-once" {"device"}: at the next reset, firmware boots from this disk first.
//
// Threads: the main loop's. Every message has one answer; events are not sent yet.
#pragma once

#include <string>
#include <string_view>

#include "vmm/control/guest.h"

namespace vmm::control {

class QmpSession {
 public:
  explicit QmpSession(Guest& guest) : guest_(guest) {}

  // Each a line with its end. The greeting opens the conversation.
  static std::string greeting();
  std::string answer(std::string_view message);
  // To what was no message.
  static std::string complaint(std::string_view reason);

 private:
  Guest& guest_;
  bool has_negotiated_ = false;
};

}  // namespace vmm::control
