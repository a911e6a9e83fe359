// EscapeFilter: finds the escape key Ctrl-A in what is typed on a terminal. No threads, no I/O.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vmm {

class EscapeFilter {
 public:
  enum class Action : uint8_t {
    kPass,     // the byte is the guest's
    kNothing,  // the escape key, or no command after it
    kQuit,
    kHelp,
    kBreak,
  };

  // Ctrl-A itself passes when it is typed twice.
  Action feed(std::byte typed);

 private:
  bool is_escaped_ = false;
};

}  // namespace vmm
