// OverlayFile: the file that takes what is written to a throwaway disk.
//
// It has no name (open(2), O_TMPFILE): however its process ends, the file system gives its space back. Where
// a file system has no such files, it has a name for the moment between making and removing it.
// Threads: allocated_bytes() and free_bytes() any; the others one at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"

namespace vmm::block {

class OverlayFile {
 public:
  struct Options {
    // Empty: the folder of the base; where no file can be made there, or only one in memory, the user's cache
    // folder ($XDG_CACHE_HOME/vmm, ~/.cache/vmm).
    std::filesystem::path folder;
    bool in_memory = false;    // and in no folder
    bool may_be_kept = false;  // REQUIRES: `folder`
    // Guest data are written under a random key that is nowhere but in LockedMemory. REQUIRES: not
    // may_be_kept.
    bool is_encrypted = false;
  };

  // Errors name the folders; one that is in memory (tmpfs) is refused.
  static Result<std::shared_ptr<OverlayFile>> create(const std::filesystem::path& base,
                                                     const Options& options);

  OverlayFile(const OverlayFile&) = delete;
  OverlayFile& operator=(const OverlayFile&) = delete;

  // For messages.
  const std::string& name() const { return name_; }
  // That it was made in; empty: in memory.
  const std::filesystem::path& folder() const { return folder_; }
  bool may_be_kept() const { return may_be_kept_; }
  bool is_encrypted() const { return is_encrypted_; }
  // Another descriptor of the same open file.
  Result<UniqueFd> open_again() const;
  // What it takes on the host's disk, or of its memory.
  uint64_t allocated_bytes() const;
  // What vmm may still use of the file system that it is on, which is never filled up; in memory: without a
  // limit.
  uint64_t free_bytes() const;
  // Gives it a name, and puts it on stable storage first. The name is in the folder that it was made in.
  // REQUIRES: Options::may_be_kept; nobody writes to it. Errors: the name is taken.
  Status keep(const std::filesystem::path& path) const;

 private:
  OverlayFile(UniqueFd fd, std::string name, std::filesystem::path folder, const Options& options)
      : fd_(std::move(fd)),
        name_(std::move(name)),
        folder_(std::move(folder)),
        may_be_kept_(options.may_be_kept),
        is_encrypted_(options.is_encrypted) {}

  UniqueFd fd_;
  std::string name_;
  std::filesystem::path folder_;
  bool may_be_kept_;
  bool is_encrypted_;
};

}  // namespace vmm::block
