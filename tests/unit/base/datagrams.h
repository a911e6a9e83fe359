// A socket that gets datagrams, at a path of its own.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>

#include "vmm/base/unique_fd.h"

namespace vmm {

class Datagrams {
 public:
  Datagrams() : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    std::string pattern = (std::filesystem::temp_directory_path() / "vmm-datagrams.XXXXXX").native();
    folder_ = ::mkdtemp(pattern.data());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(path(), address.sun_path);
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  ~Datagrams() { std::filesystem::remove_all(folder_); }
  Datagrams(const Datagrams&) = delete;
  Datagrams& operator=(const Datagrams&) = delete;

  std::string path() const { return (folder_ / "socket").native(); }
  // The next one; empty where there is none.
  std::string receive() const {
    std::array<char, 65536> bytes{};
    const ssize_t count = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
    return {bytes.data(), count > 0 ? static_cast<size_t>(count) : 0};
  }

 private:
  UniqueFd fd_;
  std::filesystem::path folder_;
};

}  // namespace vmm
