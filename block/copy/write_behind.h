// WriteBehind: a file that is being written by way of the page cache begins to go to the disk meanwhile, so
// that the flush at its end has little left to wait for.
//
// Threads: one owner; the kernel's work is done by a thread of its own. Errors come from the flush.
#pragma once

#include <atomic>
#include <cstdint>
#include <semaphore>
#include <string>
#include <thread>

#include "vmm/base/unique_fd.h"

namespace vmm::block {

class WriteBehind {
 public:
  static constexpr uint64_t kStepBytes = uint64_t{32} << 20U;

  // A file that cannot be opened is left to its flush.
  explicit WriteBehind(const std::string& path);
  ~WriteBehind();
  WriteBehind(const WriteBehind&) = delete;
  WriteBehind& operator=(const WriteBehind&) = delete;

  // So much has been written so far.
  void written(uint64_t bytes);

 private:
  void serve();

  UniqueFd file_;
  uint64_t begun_bytes_ = 0;
  std::atomic<bool> is_asked_{false};
  std::atomic<bool> is_stopping_{false};
  std::binary_semaphore asked_{0};
  std::thread thread_;
};

}  // namespace vmm::block
