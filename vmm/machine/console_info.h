// ConsoleInfo: a console of the guest, for those who ask about it.
//
// Threads: values.
#pragma once

#include <string>

namespace vmm {

struct ConsoleInfo {
  std::string label;     // "serial0"
  std::string host_end;  // as Console::host_end()
};

}  // namespace vmm
