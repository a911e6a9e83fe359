// A program that vmm runs and waits for: QEMU's bridge helper, passt.
//
// Threads: the calling one, which waits.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"

namespace vmm::net {

struct ProgramEnd {
  int status = 0;      // as waitpid(2) has it; 0: it ended well
  std::string said{};  // on its standard error, at most kMostSaid bytes
};

inline constexpr size_t kMostSaid = 4000;
// The number that a program has its descriptor by.
inline constexpr int kGivenDescriptor = 3;

// Two ends of a stream.
Result<std::pair<UniqueFd, UniqueFd>> make_socket_pair();

// words: the program's path, and its arguments. An error: it cannot be run, or has not ended in time, and was
// killed.
Result<ProgramEnd> run_program(const std::vector<std::string>& words, const UniqueFd& given,
                               std::chrono::seconds most_time);

}  // namespace vmm::net
