// What `vmm ctl GUEST console` does: a guest's console on this terminal, until Ctrl-] is typed or the other
// side ends it.
//
// Threads: the main thread; waits for as long as the person stays.
#pragma once

#include <string>
#include <string_view>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"

namespace vmm::control {

// How it came to its end.
enum class ConsoleEnd : unsigned char {
  kLeft,    // by Ctrl-]
  kClosed,  // the guest has ended, or somebody else took its console
};

// `console`: a stream socket, non-blocking. `received`: what came from it already. What is typed at input_fd
// goes there and what comes from there to output_fd. A terminal is raw meanwhile, and is restored however
// this ends (TerminalGuard); other input passes as it is, and where it ends output goes on.
Result<ConsoleEnd> run_console(const UniqueFd& console, std::string_view received, int input_fd = 0,
                               int output_fd = 1);

}  // namespace vmm::control
