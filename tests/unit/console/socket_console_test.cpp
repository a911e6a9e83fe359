#include <gtest/gtest.h>
#include <sys/un.h>

#include <fstream>

#include "tests/unit/console/console_fixture.h"
#include "vmm/console/console.h"

namespace vmm {
namespace {

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::ranges::copy(path, address.sun_path);
  return address;
}

UniqueFd connect_to(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = address_of(path);
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  return fd;
}

UniqueFd listen_at(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = address_of(path);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::listen(fd.get(), 1), 0);
  return fd;
}

class SocketConsole : public ConsoleFixture {
 protected:
  void open(SocketMode mode) {
    auto console = open_socket_console(*loop_, path_, mode);
    ASSERT_TRUE(console.has_value()) << console.error().message();
    console_ = std::move(*console);
    console_->connect(guest_);
  }

  std::string path_ = path("console.sock");
  std::unique_ptr<Console> console_;
};

TEST_F(SocketConsole, PassesBytesBothWays) {
  open(SocketMode::kBind);
  const UniqueFd client = connect_to(path_);
  type(client.get(), "in");
  EXPECT_TRUE(turn_until([&] { return guest_.text == "in"; }));
  print(*console_, "out\n");
  EXPECT_TRUE(turn_until_read(client.get(), "out\n"));
}

TEST_F(SocketConsole, DropsOutputWhileNobodyIsConnected) {
  open(SocketMode::kBind);
  EXPECT_EQ(print(*console_, std::string(1'000'000, 'x')), 1'000'000U);
}

TEST_F(SocketConsole, ASecondClientWaitsForTheFirstToLeave) {
  open(SocketMode::kBind);
  UniqueFd first = connect_to(path_);
  type(first.get(), "1");
  ASSERT_TRUE(turn_until([&] { return guest_.text == "1"; }));
  const UniqueFd second = connect_to(path_);
  type(second.get(), "2");
  settle();
  EXPECT_EQ(guest_.text, "1");
  first.reset();
  EXPECT_TRUE(turn_until([&] { return guest_.text == "12"; }));
  print(*console_, "for the second\n");
  EXPECT_TRUE(turn_until_read(second.get(), "for the second\n"));
}

TEST_F(SocketConsole, AClientMaySendAndLeaveAtOnce) {
  open(SocketMode::kBind);
  guest_.room = 1;
  {
    const UniqueFd client = connect_to(path_);
    type(client.get(), "reboot\n");
  }
  settle();
  for (int i = 0; i < 7; ++i) {
    guest_.room = 1;
    console_->input_room();
    settle();
  }
  EXPECT_EQ(guest_.text, "reboot\n");
}

TEST_F(SocketConsole, AClientThatLeftIsNoticedThoughTheGuestTakesNoInput) {
  open(SocketMode::kBind);
  guest_.room = 0;
  {
    const UniqueFd client = connect_to(path_);
    type(client.get(), "x");
    settle();
  }
  print(*console_, "anybody?\n");
  settle();
  const UniqueFd next = connect_to(path_);
  settle();
  print(*console_, "you\n");
  EXPECT_TRUE(turn_until_read(next.get(), "you\n"));
}

TEST_F(SocketConsole, IsRemovedAtTheEnd) {
  open(SocketMode::kBind);
  EXPECT_TRUE(std::filesystem::exists(path_));
  console_.reset();
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(SocketConsole, ReplacesASocketThatNobodyListensOn) {
  {
    const UniqueFd former = listen_at(path_);
  }
  ASSERT_TRUE(std::filesystem::exists(path_));
  open(SocketMode::kBind);
}

TEST_F(SocketConsole, LeavesASocketInUseAndOtherFilesAlone) {
  {
    const UniqueFd other = listen_at(path_);
    EXPECT_FALSE(open_socket_console(*loop_, path_, SocketMode::kBind).has_value());
  }
  EXPECT_TRUE(std::filesystem::exists(path_));
  const std::string file = path("precious");
  std::ofstream(file) << "data";
  EXPECT_FALSE(open_socket_console(*loop_, file, SocketMode::kBind).has_value());
  EXPECT_EQ(std::filesystem::file_size(file), 4U);
}

TEST_F(SocketConsole, ConnectsToAListener) {
  const UniqueFd listener = listen_at(path_);
  open(SocketMode::kConnect);
  const UniqueFd peer(::accept(listener.get(), nullptr, nullptr));
  print(*console_, "hello\n");
  EXPECT_TRUE(turn_until_read(peer.get(), "hello\n"));
  type(peer.get(), "you");
  EXPECT_TRUE(turn_until([&] { return guest_.text == "you"; }));
}

TEST_F(SocketConsole, LeavesTheSocketItConnectedToInItsPlace) {
  const UniqueFd listener = listen_at(path_);
  open(SocketMode::kConnect);
  console_.reset();
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(SocketConsole, NamesASocketThatCannotBeReached) {
  const auto console = open_socket_console(*loop_, path_, SocketMode::kConnect);
  ASSERT_FALSE(console.has_value());
  EXPECT_NE(console.error().message().find("console.sock"), std::string::npos);
}

TEST_F(SocketConsole, RefusesAPathThatIsTooLong) {
  const auto console = open_socket_console(*loop_, path(std::string(120, 'x')), SocketMode::kBind);
  ASSERT_FALSE(console.has_value());
  EXPECT_EQ(console.error().kind(), ErrorKind::kConfiguration);
}

}  // namespace
}  // namespace vmm
