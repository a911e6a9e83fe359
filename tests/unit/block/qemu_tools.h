// qemu-img and qemu-io: the other reader and writer of our formats.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace vmm::block {

struct ToolResult {
  int status = -1;
  std::string output;  // both streams, at most 64 KiB
};

// Runs a program of the PATH without a shell, its standard input empty.
inline ToolResult run_tool(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  int pipe_ends[2] = {-1, -1};
  if (::pipe2(pipe_ends, O_CLOEXEC) != 0) {
    return {};
  }
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], 1);
  ::posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], 2);
  pid_t child = -1;
  const int error = ::posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(pipe_ends[1]);
  ToolResult result;
  char buffer[4096];
  for (ssize_t length = 0; (length = ::read(pipe_ends[0], buffer, sizeof buffer)) > 0;) {
    if (result.output.size() < (size_t{64} << 10U)) {
      result.output.append(buffer, static_cast<size_t>(length));
    }
  }
  ::close(pipe_ends[0]);
  int status = 0;
  if (error == 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status)) {
    result.status = WEXITSTATUS(status);
  }
  return result;
}

// The same, which must go well.
inline void must_run(const std::vector<std::string>& command) {
  const ToolResult result = run_tool(command);
  ASSERT_EQ(result.status, 0) << testing::PrintToString(command) << ": " << result.output;
}

}  // namespace vmm::block
