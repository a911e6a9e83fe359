// Progress: how far a long command has come, on one line of standard output, as qemu-img -p shows it.
#pragma once

#include <cstdint>

namespace vmm::block::tool {

class Progress {
 public:
  explicit Progress(bool is_shown);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  // Ends the line.
  ~Progress();

  void show(uint64_t done, uint64_t all);

 private:
  bool is_shown_;
  double shown_percent_ = 0;
};

}  // namespace vmm::block::tool
