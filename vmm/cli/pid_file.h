// PidFile: --pidfile, a file with the number of this process while it runs. It is locked, so that what a
// killed vmm left is told from one of a vmm that runs.
//
// Threads: the main thread's.
#pragma once

#include <string>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"

namespace vmm::cli {

class PidFile {
 public:
  // Errors: another vmm has it; it holds something else.
  static Result<PidFile> create(const std::string& path);
  PidFile(PidFile&&) noexcept = default;
  PidFile& operator=(PidFile&&) = delete;
  PidFile(const PidFile&) = delete;
  PidFile& operator=(const PidFile&) = delete;
  // Removes it.
  ~PidFile();

 private:
  PidFile(std::string path, UniqueFd file) : path_(std::move(path)), file_(std::move(file)) {}

  std::string path_;
  UniqueFd file_;
};

}  // namespace vmm::cli
