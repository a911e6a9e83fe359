// Progress: how far a long command has come.
//
// With -p on one line of standard output, as qemu-img shows it. Without, a bar on standard error where that
// is a terminal, with what is done, the rate and the time that is left; it goes away at the end. SIGUSR1
// prints it at any time, on standard error, also as qemu-img. Threads: one; one object at a time.
#pragma once

#include <cstdint>
#include <optional>

#include "vmm/base/progress_bar.h"

namespace vmm::block::tool {

class Progress {
 public:
  // -p, and -q: neither line nor bar.
  Progress(bool is_shown, bool is_quiet);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  // Ends the line. SIGUSR1 is still answered.
  ~Progress();

  // Bytes.
  void show(uint64_t done, uint64_t all);

 private:
  bool is_shown_;
  double shown_percent_ = 0;
  std::optional<ProgressBar> bar_;
};

}  // namespace vmm::block::tool
