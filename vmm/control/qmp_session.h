// QmpSession: one client's conversation in the QEMU Machine Protocol (QEMU's docs/interop/qmp-spec.txt).
//
// Threads: the main loop's. Every message has one answer, in order; the capability "oob" can be enabled, and
// as no command takes long here, none is answered out of band. Events (qmp_events.h) go to those who have
// negotiated.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "vmm/control/guest.h"
#include "vmm/control/qmp_json.h"

namespace vmm::control {

class QmpSession {
 public:
  explicit QmpSession(Guest& guest) : guest_(guest) {}

  // Each a line with its end. The greeting opens the conversation.
  static std::string greeting();
  std::string answer(std::string_view message);
  // To what was no message.
  static std::string complaint(std::string_view reason);

  bool has_negotiated() const { return has_negotiated_; }
  // The last answer was its last: the connection is that of a console now, by its name. What the client sends
  // behind the command that asked for it is no message, and is dropped.
  const std::optional<std::string>& console() const { return console_; }

 private:
  Answer ask_for_console(const Json& values);

  Guest& guest_;
  bool has_negotiated_ = false;
  bool may_be_out_of_band_ = false;
  std::optional<std::string> console_;
};

}  // namespace vmm::control
