#include "vmm/control/metrics_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/unit/fakes/fake_guest.h"
#include "vmm/control/metrics_text.h"

namespace vmm::control {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class MetricsServerTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = "/tmp/vmm-metrics.XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    path_ = (folder_ / "metrics").native();
    loop_ = EventLoop::create().value();
    start(MetricsServer::kClientTime);
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  void start(EventLoop::Duration client_time) {
    server_.reset();
    auto listener = MetricsListener::listen(path_);
    ASSERT_TRUE(listener) << listener.error().message();
    server_ = MetricsServer::create(*loop_, guest_, *std::move(listener), client_time).value();
  }
  UniqueFd connect() const { return connect_unix("a test", path_).value(); }
  void turn() { loop_->run_once(milliseconds(10)); }
  static void send(const UniqueFd& fd, const std::string& text) {
    EXPECT_EQ(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // All that comes until the other side closes, or some turns passed.
  std::string receive(const UniqueFd& fd, int turns = 100) {
    std::string all;
    std::array<char, 65536> bytes{};
    for (int i = 0; i < turns; ++i) {
      turn();
      const ssize_t count = ::recv(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (count == 0 || (count < 0 && errno != EAGAIN)) {
        has_closed_ = true;
        break;
      }
      all.append(bytes.data(), count > 0 ? static_cast<size_t>(count) : 0);
    }
    return all;
  }
  std::string ask(const std::string& request) {
    const UniqueFd fd = connect();
    send(fd, request);
    return receive(fd);
  }

  std::filesystem::path folder_;
  std::string path_;
  FakeGuest guest_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<MetricsServer> server_;
  bool has_closed_ = false;
};

TEST_F(MetricsServerTest, AnswersAndCloses) {
  const std::string answer = ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(answer,
              StartsWith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  const size_t body = answer.find("\r\n\r\n") + 4;
  EXPECT_THAT(answer, HasSubstr("Content-Length: " + std::to_string(answer.size() - body) + "\r\n"));
  EXPECT_EQ(answer.substr(body), metrics_text(guest_));
  EXPECT_TRUE(has_closed_);
}

TEST_F(MetricsServerTest, ToAHeadThereIsNoBody) {
  const std::string answer = ask("HEAD /metrics HTTP/1.0\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_TRUE(answer.ends_with("\r\n\r\n"));
}

TEST_F(MetricsServerTest, WhatIsNotThereIsSaid) {
  EXPECT_THAT(ask("GET / HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_THAT(ask("POST /metrics HTTP/1.0\r\n\r\n"), HasSubstr("\r\nAllow: GET, HEAD\r\n"));
  EXPECT_THAT(ask("GET /metrics HTTP/2.0\r\n"), StartsWith("HTTP/1.1 505 "));
  EXPECT_THAT(ask("nonsense\n"), StartsWith("HTTP/1.1 400 Bad Request\r\n"));
  EXPECT_THAT(ask(std::string(10'000, 'x')), StartsWith("HTTP/1.1 431 "));
}

TEST_F(MetricsServerTest, WhoClosesHisHalfGetsAllTheSame) {
  const UniqueFd fd = connect();
  send(fd, "GET /metrics HTTP/1.0\r\n\r\n");
  ::shutdown(fd.get(), SHUT_WR);
  EXPECT_THAT(receive(fd), HasSubstr(metrics_text(guest_)));
}

TEST_F(MetricsServerTest, WhoSaysNothingIsLetGo) {
  start(milliseconds(1));
  const UniqueFd silent = connect();
  EXPECT_EQ(receive(silent), "");
  EXPECT_TRUE(has_closed_);
}

TEST_F(MetricsServerTest, ServesSoManyAtOnceAndOutlivesThem) {
  std::vector<UniqueFd> clients;
  for (size_t i = 0; i < MetricsServer::kMaxClients; ++i) {
    clients.push_back(connect());
    turn();
  }
  const UniqueFd one_more = connect();
  EXPECT_EQ(receive(one_more), "");
  EXPECT_TRUE(has_closed_);
  send(clients.back(), "GET /metrics HTTP/1.0\r\n\r\n");
  EXPECT_THAT(receive(clients.back()), HasSubstr("vmm_info"));
  clients.clear();
  for (size_t i = 0; i < MetricsServer::kMaxClients; ++i) {
    turn();
  }
  EXPECT_THAT(ask("GET /metrics HTTP/1.0\r\n\r\n"), HasSubstr("vmm_info"));
}

TEST_F(MetricsServerTest, AFloodBehindTheRequestIsThrownAway) {
  const UniqueFd fd = connect();
  send(fd, "GET /metrics HTTP/1.0\r\n\r\n");
  const std::string flood(4096, 'x');
  for (int i = 0; i < 1000; ++i) {
    static_cast<void>(::send(fd.get(), flood.data(), flood.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
    loop_->run_once(milliseconds(0));
  }
  EXPECT_THAT(receive(fd), HasSubstr("vmm_info"));
}

TEST_F(MetricsServerTest, TheSocketIsForItsUserAlone) {
  struct stat info{};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST(MetricsPlace, IsAPortOrAPath) {
  EXPECT_EQ(metrics_port("9100").value(), 9100);
  EXPECT_FALSE(metrics_port("./9100").value());
  EXPECT_FALSE(metrics_port("run/metrics").value());
  for (const char* wrong : {"0", "65536", "99999999999999999999"}) {
    const auto port = metrics_port(wrong);
    ASSERT_FALSE(port);
    EXPECT_EQ(port.error().kind(), ErrorKind::kConfiguration);
    EXPECT_THAT(port.error().message(), HasSubstr("ports are 1 to 65535"));
  }
}

TEST(MetricsPlace, APortIsOfTheLoopbackInterfaceAndOfOneAlone) {
  const auto first = TcpListener::listen("a test's port", 0, 1);
  ASSERT_TRUE(first) << first.error().message();
  sockaddr_in address{};
  socklen_t length = sizeof address;
  ASSERT_EQ(::getsockname(first->fd(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  EXPECT_EQ(address.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
  const auto second = MetricsListener::listen(std::to_string(first->port()));
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message(), StartsWith("cannot listen at the metrics' port"));
}

}  // namespace
}  // namespace vmm::control
