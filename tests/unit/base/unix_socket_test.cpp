#include "vmm/base/unix_socket.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

namespace vmm {
namespace {

class UnixSocket : public testing::Test {
 protected:
  UnixSocket() {
    std::string pattern = "/tmp/vmm-socket.XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~UnixSocket() override { std::filesystem::remove_all(folder_); }
  std::string path(const char* name) const { return (folder_ / name).native(); }

  std::filesystem::path folder_;
};

TEST_F(UnixSocket, ListensAndConnects) {
  const auto listener = UnixListener::listen("the socket", path("s"));
  ASSERT_TRUE(listener.has_value()) << listener.error().message();
  EXPECT_FALSE(listener->accept());
  const auto client = connect_unix("a test", path("s"));
  ASSERT_TRUE(client.has_value()) << client.error().message();
  EXPECT_TRUE(listener->accept());
}

TEST_F(UnixSocket, AFileIsNone) {
  std::ofstream(path("s")) << "text";
  const auto client = connect_unix("a test", path("s"));
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().message(), "cannot connect to a test " + path("s") + ": it is no socket");
}

TEST_F(UnixSocket, HasTheModeThatIsAskedFor) {
  const auto listener = UnixListener::listen("the socket", path("s"), 0600);
  ASSERT_TRUE(listener.has_value());
  struct stat info{};
  ASSERT_EQ(::stat(path("s").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST_F(UnixSocket, ItsPathGoesWithIt) {
  {
    ASSERT_TRUE(UnixListener::listen("the socket", path("s")).has_value());
  }
  EXPECT_FALSE(std::filesystem::exists(path("s")));
}

TEST_F(UnixSocket, AnothersAtItsPathStays) {
  {
    const auto listener = UnixListener::listen("the socket", path("s"));
    ASSERT_TRUE(listener.has_value());
    std::filesystem::remove(path("s"));
    std::ofstream(path("s")) << "another's";
  }
  EXPECT_TRUE(std::filesystem::exists(path("s")));
}

TEST_F(UnixSocket, OneThatSomebodyListensAtIsNotTaken) {
  const auto first = UnixListener::listen("the socket", path("s"));
  ASSERT_TRUE(first.has_value());
  const auto second = UnixListener::listen("the socket", path("s"));
  ASSERT_FALSE(second.has_value());
  EXPECT_NE(second.error().message().find("listens there"), std::string::npos);
}

TEST_F(UnixSocket, WhatAKilledProcessLeftIsReplaced) {
  {
    auto listener = UnixListener::listen("the socket", path("s"));
    ASSERT_TRUE(listener.has_value());
    std::filesystem::rename(path("s"), path("left"));
  }
  EXPECT_TRUE(UnixListener::listen("the socket", path("left")).has_value());
}

TEST_F(UnixSocket, AFileOfThatNameStays) {
  std::ofstream(path("s")) << "precious";
  const auto listener = UnixListener::listen("the socket", path("s"));
  ASSERT_FALSE(listener.has_value());
  EXPECT_NE(listener.error().message().find("there is something else of that name"), std::string::npos);
  EXPECT_EQ(std::filesystem::file_size(path("s")), 8U);
}

TEST_F(UnixSocket, PathsThatAreTooLongAreErrors) {
  EXPECT_FALSE(UnixListener::listen("the socket", path(std::string(200, 'x').c_str())).has_value());
  EXPECT_FALSE(connect_unix("a test", "").has_value());
}

}  // namespace
}  // namespace vmm
