#include "vmm/control/guest_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

namespace vmm::control {
namespace {

// Root's folders are those of the whole machine: a name that nobody else has.
std::string a_name() { return "vmm-test-" + std::to_string(::getpid()); }

class GuestFolders : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      std::string pattern = "/tmp/vmm-runtime.XXXXXX";
      runtime_ = ::mkdtemp(pattern.data());
      ::setenv("XDG_RUNTIME_DIR", runtime_.c_str(), 1);
    }
    const auto socket = control_socket_of(a_name());
    ASSERT_TRUE(socket.has_value()) << socket.error().message();
    folder_ = socket->parent_path();
  }
  void TearDown() override {
    if (!runtime_.empty()) {
      std::filesystem::remove_all(runtime_);
    }
  }
  std::filesystem::path runtime_;  // of who is not root
  std::filesystem::path folder_;
};

TEST_F(GuestFolders, IsThereForItsUserAloneAndGoes) {
  {
    const auto folder = GuestFolder::create(a_name());
    ASSERT_TRUE(folder.has_value()) << folder.error().message();
    struct stat info{};
    ASSERT_EQ(::stat(folder_.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0700U);
  }
  EXPECT_FALSE(std::filesystem::exists(folder_));
}

TEST_F(GuestFolders, OneGuestHasAName) {
  auto first = GuestFolder::create(a_name());
  ASSERT_TRUE(first.has_value());
  const auto second = GuestFolder::create(a_name());
  ASSERT_FALSE(second.has_value());
  EXPECT_NE(second.error().message().find("another guest of the name"), std::string::npos);
}

TEST_F(GuestFolders, WhatAKilledGuestLeftIsTakenOver) {
  std::filesystem::create_directories(folder_);
  EXPECT_TRUE(GuestFolder::create(a_name()).has_value());
}

TEST_F(GuestFolders, NamesThatLeadElsewhereAreRefused) {
  for (const char* name : {"", ".", "..", "a/b", "/etc"}) {
    EXPECT_FALSE(control_socket_of(name).has_value()) << name;
    EXPECT_FALSE(GuestFolder::create(name).has_value()) << name;
  }
}

}  // namespace
}  // namespace vmm::control
