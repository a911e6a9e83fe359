#include "vmm/control/guest_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "vmm/base/unix_socket.h"

namespace vmm::control {
namespace {

// Root's folders are those of the whole machine: a name that nobody else has.
std::string a_name() { return "vmm-test-" + std::to_string(::getpid()); }

// As kill -9 leaves it.
void leave_a_dead_guest(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  ASSERT_EQ(::mknod((folder / "control").c_str(), S_IFSOCK | 0600, 0), 0);
}

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
  ASSERT_TRUE(second.has_value());
  EXPECT_FALSE(second->has_value());
  EXPECT_FALSE(is_guest_running(a_name()));  // it does not listen
}

TEST_F(GuestFolders, WhoHasTheNameIsToldWithHisProcess) {
  const auto folder = GuestFolder::create(a_name());
  ASSERT_TRUE(folder.has_value() && folder->has_value());
  const auto socket = UnixListener::listen("a test", folder_ / "control");
  ASSERT_TRUE(socket.has_value());
  EXPECT_TRUE(is_guest_running(a_name()));
  const std::string told = name_is_taken(a_name()).message();
  EXPECT_NE(told.find("runs already, as process " + std::to_string(::getpid())), std::string::npos) << told;
}

TEST_F(GuestFolders, WhoHasTheNameAndDoesNotListenIsToldWithout) {
  EXPECT_NE(name_is_taken(a_name()).message().find("' runs already; end it"), std::string::npos);
}

TEST_F(GuestFolders, AllThatKilledGuestsLeftCanBeRemoved) {
  const auto running = GuestFolder::create(a_name());
  ASSERT_TRUE(running.has_value() && running->has_value());
  std::vector<std::filesystem::path> dead;
  for (int i = 0; i < 100; ++i) {
    dead.push_back(folder_.native() + "-dead-" + std::to_string(i));
    leave_a_dead_guest(dead.back());
  }
  const auto is_there = [](const auto& path) { return std::filesystem::exists(path); };
  for (int i = 0; i < 1000 && std::ranges::any_of(dead, is_there); ++i) {
    remove_dead_guests();  // not while others start
  }
  EXPECT_TRUE(std::ranges::none_of(dead, is_there));
  EXPECT_TRUE(std::filesystem::exists(folder_));
}

TEST_F(GuestFolders, WhatAKilledGuestLeftIsTakenOver) {
  std::filesystem::create_directories(folder_);
  const auto folder = GuestFolder::create(a_name());
  EXPECT_TRUE(folder.has_value() && folder->has_value());
}

TEST_F(GuestFolders, WhatKilledGuestsLeftGoesWhenOthersStart) {
  std::vector<std::filesystem::path> dead;
  for (int i = 0; i < 100; ++i) {
    dead.push_back(folder_.native() + "-dead-" + std::to_string(i));
    leave_a_dead_guest(dead.back());
  }
  // Each start looks at some of them; the machine may have guests beside those of this test.
  constexpr int kStarts = 10'000;
  const auto is_there = [](const auto& path) { return std::filesystem::exists(path); };
  for (int i = 0; i < kStarts && std::ranges::any_of(dead, is_there); ++i) {
    ASSERT_TRUE(GuestFolder::create(a_name()).has_value());
  }
  EXPECT_TRUE(std::ranges::none_of(dead, is_there));
  for (const auto& path : dead) {
    std::filesystem::remove_all(path);
  }
}

TEST_F(GuestFolders, WhatARunningGuestHasStays) {
  const auto running = GuestFolder::create(a_name());
  ASSERT_TRUE(running.has_value());
  ASSERT_EQ(::mknod((folder_ / "control").c_str(), S_IFSOCK | 0600, 0), 0);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(GuestFolder::create(a_name() + "-other").has_value());
  }
  EXPECT_TRUE(std::filesystem::exists(folder_ / "control"));
  std::filesystem::remove(folder_ / "control");
}

TEST_F(GuestFolders, OneThatStartsKeepsItsFolderFromThoseThatRemove) {
  std::atomic<int> failures = 0;
  const auto start_often = [&](int number) {
    const std::string name = a_name() + "-" + std::to_string(number);
    const std::filesystem::path folder = folder_.parent_path() / name;
    for (int i = 0; i < 500; ++i) {
      std::error_code error;  // another thread may just remove it
      std::filesystem::create_directories(folder, error);
      const auto made = GuestFolder::create(name);
      failures += made.has_value() && made->has_value() && std::filesystem::exists(folder) ? 0 : 1;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back(start_often, i);
  }
  for (std::thread& each : threads) {
    each.join();
  }
  EXPECT_EQ(failures, 0);
}

TEST_F(GuestFolders, NamesThatLeadElsewhereAreRefused) {
  for (const char* name : {"", ".", "..", "a/b", "/etc"}) {
    EXPECT_FALSE(control_socket_of(name).has_value()) << name;
    EXPECT_FALSE(GuestFolder::create(name).has_value()) << name;
  }
}

}  // namespace
}  // namespace vmm::control
