// A network namespace of a test's own, for as long as this lives, and /sys as it is there.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>

#include "vmm/base/unique_fd.h"

namespace vmm::net {

class OwnNetwork {
 public:
  OwnNetwork() {
    is_there_ = ::unshare(CLONE_NEWNET | CLONE_NEWNS) == 0;
    if (is_there_) {
      EXPECT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
      has_sys_ = ::mount("sysfs", "/sys", "sysfs", 0, nullptr) == 0;
    }
  }
  ~OwnNetwork() {
    if (is_there_) {
      EXPECT_EQ(::setns(network_before_.get(), CLONE_NEWNET), 0);
      EXPECT_EQ(::setns(mounts_before_.get(), CLONE_NEWNS), 0);
      std::filesystem::current_path(folder_before_);
    }
  }
  OwnNetwork(const OwnNetwork&) = delete;
  OwnNetwork& operator=(const OwnNetwork&) = delete;

  // False: it needs root.
  bool is_there() const { return is_there_; }
  bool has_sys() const { return has_sys_; }

 private:
  static UniqueFd open_namespace(const char* path) { return UniqueFd(::open(path, O_RDONLY | O_CLOEXEC)); }

  const UniqueFd network_before_ = open_namespace("/proc/thread-self/ns/net");
  const UniqueFd mounts_before_ = open_namespace("/proc/thread-self/ns/mnt");
  const std::filesystem::path folder_before_ = std::filesystem::current_path();
  bool is_there_ = false;
  bool has_sys_ = false;
};

}  // namespace vmm::net
