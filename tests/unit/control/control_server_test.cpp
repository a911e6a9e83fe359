#include "vmm/control/control_server.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <string>
#include <vector>

#include "tests/unit/control/served_guest.h"
#include "vmm/base/unix_socket.h"

namespace vmm::control {
namespace {

using std::chrono::milliseconds;

class Server : public ServedGuest {
 protected:
  UniqueFd connect() const {
    auto fd = connect_unix("a test", path_);
    EXPECT_TRUE(fd.has_value()) << fd.error().message();
    return std::move(*fd);
  }
  void turn() { loop_->run_once(milliseconds(10)); }
  static void send(const UniqueFd& fd, const std::string& text) {
    EXPECT_EQ(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // What comes until the text is there, or some turns passed.
  std::string read_until(const UniqueFd& fd, const std::string& text) {
    std::string all;
    std::array<char, 65536> bytes;
    for (int i = 0; i < 200 && all.find(text) == std::string::npos; ++i) {
      turn();
      const ssize_t count = ::recv(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (count > 0) {
        all.append(bytes.data(), static_cast<size_t>(count));
      }
    }
    return all;
  }
  bool is_closed(const UniqueFd& fd) {
    std::array<char, 65536> bytes;
    for (int i = 0; i < 200; ++i) {
      turn();
      const ssize_t count = ::recv(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (count == 0 || (count < 0 && errno == ECONNRESET)) {
        return true;
      }
    }
    return false;
  }
};

TEST_F(Server, GreetsAndAnswers) {
  const UniqueFd client = connect();
  EXPECT_NE(read_until(client, "\n").find("\"QMP\""), std::string::npos);
  send(client, R"({"execute":"qmp_capabilities"}{"execute":"query-name","id":1})");
  EXPECT_NE(read_until(client, "\"id\"").find("\"fake\""), std::string::npos);
}

TEST_F(Server, IsForItsUserAlone) {
  struct stat info{};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST_F(Server, ServesSeveralAtOnceAndOutlivesThem) {
  std::vector<UniqueFd> clients;
  for (size_t i = 0; i < kMaxClients; ++i) {
    clients.push_back(connect());
  }
  for (const UniqueFd& client : clients) {
    EXPECT_NE(read_until(client, "\n").find("QMP"), std::string::npos);
  }
  for (const UniqueFd& client : clients) {
    send(client, R"({"execute":"qmp_capabilities"})");
    read_until(client, "return");
  }
  const UniqueFd one_more = connect();
  EXPECT_TRUE(is_closed(one_more));
  clients.clear();
  for (int i = 0; i < 20; ++i) {
    turn();
  }
  const UniqueFd later = connect();
  EXPECT_NE(read_until(later, "\n").find("QMP"), std::string::npos);
}

TEST_F(Server, NonsenseIsAnsweredAndTheConversationGoesOn) {
  const UniqueFd client = connect();
  read_until(client, "\n");
  send(client, "GET / HTTP/1.1\r\n\r\n");
  EXPECT_NE(read_until(client, "error").find("GenericError"), std::string::npos);
  send(client, R"({"execute":"qmp_capabilities"})");
  EXPECT_NE(read_until(client, "return").find("return"), std::string::npos);
}

TEST_F(Server, AClientThatNeverReadsIsNotReadEither) {
  const UniqueFd client = connect();
  std::string flood;
  for (int i = 0; i < 1000; ++i) {
    flood += "{}";
  }
  size_t sent = 0;
  // It ends: neither side keeps more than its sockets do.
  for (int i = 0; i < 20'000; ++i) {
    const ssize_t count = ::send(client.get(), flood.data(), flood.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0) {
      break;
    }
    sent += static_cast<size_t>(count);
    loop_->run_once(milliseconds(0));
  }
  EXPECT_LT(sent, size_t{8} << 20U);
  const UniqueFd other = connect();
  EXPECT_NE(read_until(other, "\n").find("QMP"), std::string::npos);
}

// Who sends much and reads nothing gets a bounded number of answers, however long these are.
TEST_F(Server, AnswersThatNobodyReadsAreNotMade) {
  guest_.drives_.resize(1000);  // long answers to short questions
  const UniqueFd client = connect();
  send(client, R"({"execute":"qmp_capabilities"})");
  read_until(client, "return");
  std::string flood;
  for (int i = 0; i < 10'000; ++i) {
    flood += R"({"execute":"query-block"})";
  }
  const int before = guest_.drives_calls_;
  ::send(client.get(), flood.data(), flood.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  for (int i = 0; i < 200; ++i) {
    loop_->run_once(milliseconds(0));
  }
  EXPECT_GT(guest_.drives_calls_ - before, 0);
  EXPECT_LT(guest_.drives_calls_ - before, 10);
}

TEST_F(Server, OneThatFloodsKeepsNobodyWaiting) {
  const UniqueFd flooding = connect();
  const UniqueFd polite = connect();
  for (const UniqueFd* const each : {&flooding, &polite}) {
    send(*each, R"({"execute":"qmp_capabilities"})");
    read_until(*each, "return");
  }
  std::string flood;
  for (int i = 0; i < 1000; ++i) {
    flood += R"({"execute":"stop"})";
  }
  send(flooding, flood);
  turn();
  send(polite, R"({"execute":"query-name","id":"polite"})");
  turn();
  turn();
  std::array<char, 1 << 16> bytes{};
  const ssize_t count = ::recv(polite.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  ASSERT_GT(count, 0);
  EXPECT_NE(std::string_view(bytes.data(), static_cast<size_t>(count)).find("polite"),
            std::string_view::npos);
}

TEST_F(Server, ThoseWhoHangKeepNobodyOut) {
  std::vector<UniqueFd> hanging;
  for (size_t i = 0; i < 2 * kMaxClients; ++i) {
    hanging.push_back(connect());
    turn();
  }
  const UniqueFd polite = connect();
  send(polite, R"({"execute":"qmp_capabilities"}{"execute":"query-name"})");
  EXPECT_NE(read_until(polite, "fake").find("fake"), std::string::npos);
  EXPECT_TRUE(is_closed(hanging.front()));
}

TEST_F(Server, EventsGoToThoseWhoHaveNegotiated) {
  const UniqueFd client = connect();
  const UniqueFd stranger = connect();
  read_until(stranger, "QMP");
  send(client, R"({"execute":"qmp_capabilities"})");
  read_until(client, "return");
  send(client, R"({"execute":"stop","id":"s"})");
  const std::string answer = read_until(client, "\"s\"");
  EXPECT_LT(answer.find("STOP"), answer.find("\"s\""));  // as QEMU does it
  guest_.tell({.kind = MachineEvent::Kind::kPowerdown});
  EXPECT_NE(read_until(client, "POWERDOWN").find("POWERDOWN"), std::string::npos);
  EXPECT_EQ(read_until(stranger, "POWERDOWN"), "");
}

TEST_F(Server, TheLastEventComesThoughTheLoopTurnsNoMore) {
  const UniqueFd client = connect();
  send(client, R"({"execute":"qmp_capabilities"})");
  read_until(client, "return");
  guest_.tell({.kind = MachineEvent::Kind::kShutdown});
  std::array<char, 1024> bytes{};
  const ssize_t count = ::recv(client.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  ASSERT_GT(count, 0);
  EXPECT_NE(std::string(bytes.data(), static_cast<size_t>(count)).find("SHUTDOWN"), std::string::npos);
}

TEST_F(Server, EventsThatNobodyReadsAreNotKept) {
  const UniqueFd client = connect();
  send(client, R"({"execute":"qmp_capabilities"})");
  read_until(client, "return");
  for (int i = 0; i < 200'000; ++i) {
    guest_.tell({.kind = MachineEvent::Kind::kStopped});
  }
  size_t received = 0;
  std::array<char, 65536> bytes{};
  for (int i = 0; i < 2000; ++i) {
    turn();
    const ssize_t count = ::recv(client.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    received += count > 0 ? static_cast<size_t>(count) : 0;
    if (count <= 0 && i > 100) {
      break;
    }
  }
  EXPECT_GT(received, kMaxUnreadBytes);
  EXPECT_LT(received, size_t{4} << 20U);
  // It is told of the next ones again.
  guest_.tell({.kind = MachineEvent::Kind::kPowerdown});
  EXPECT_NE(read_until(client, "POWERDOWN").find("POWERDOWN"), std::string::npos);
}

TEST_F(Server, AConnectionBecomesThatOfAConsole) {
  const UniqueFd client = connect();
  send(client, R"({"execute":"qmp_capabilities"})");
  read_until(client, "return");
  send(client, R"({"execute":"x-vmm-console","arguments":{"device":"none"},"id":1})");
  EXPECT_NE(read_until(client, "}\r\n").find("no console 'none'"), std::string::npos);
  send(client, R"({"execute":"x-vmm-console","arguments":{"device":"serial0"},"id":2}{"execute":"quit"})");
  EXPECT_EQ(read_until(client, "\n"), "{\"return\":{},\"id\":2}\r\n");
  for (int i = 0; i < 100 && guest_.done_.empty(); ++i) {
    turn();
  }
  ASSERT_EQ(guest_.done_, std::vector<std::string>{"attached to serial0"});
  // No event goes there any more, and what comes from there is no message.
  guest_.tell({.kind = MachineEvent::Kind::kPowerdown});
  send(client, "{}");
  for (int i = 0; i < 20; ++i) {
    turn();
  }
  std::array<char, 16> bytes{};
  EXPECT_EQ(::recv(guest_.console_.get(), bytes.data(), bytes.size(), 0), 2);
  EXPECT_LT(::recv(client.get(), bytes.data(), bytes.size(), MSG_DONTWAIT), 0);
}

TEST_F(Server, AConsoleIsTakenFromAnotherByForceOnly) {
  guest_.console_ = connect();
  const UniqueFd client = connect();
  send(client, R"({"execute":"qmp_capabilities"}{"execute":"x-vmm-console","id":1})");
  EXPECT_NE(read_until(client, "error").find("somebody else"), std::string::npos);
  send(client, R"({"execute":"x-vmm-console","arguments":{"force":true},"id":2})");
  EXPECT_NE(read_until(client, "\"id\":2").find("return"), std::string::npos);
}

TEST_F(Server, QuitIsAnswered) {
  const UniqueFd client = connect();
  send(client, R"({"execute":"qmp_capabilities"}{"execute":"quit","id":"bye"})");
  EXPECT_NE(read_until(client, "bye").find("bye"), std::string::npos);
  EXPECT_EQ(guest_.done_, std::vector<std::string>{"quit"});
}

}  // namespace
}  // namespace vmm::control
