#include "vmm/control/http_request.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace vmm::control {
namespace {

using State = HttpRequestReader::State;

HttpRequestReader read(const std::string& text) {
  HttpRequestReader reader;
  reader.take(text);
  return reader;
}

TEST(HttpRequest, IsReadToTheEndOfItsHead) {
  const HttpRequestReader reader =
      read("GET /metrics?x=1 HTTP/1.1\r\nHost: localhost:9100\r\nAccept: */*\r\n\r\nbody");
  EXPECT_EQ(reader.state(), State::kDone);
  EXPECT_EQ(reader.method(), "GET");
  EXPECT_EQ(reader.path(), "/metrics");
}

TEST(HttpRequest, ComesInPieces) {
  HttpRequestReader reader;
  for (const char byte : std::string("HEAD /metrics HTTP/1.1\r\nhOsT: x\r\n\r")) {
    EXPECT_EQ(reader.take(std::string(1, byte)), State::kReading);
  }
  EXPECT_EQ(reader.take("\n"), State::kDone);
  EXPECT_EQ(reader.take("GET"), State::kDone);
  EXPECT_EQ(reader.method(), "HEAD");
}

TEST(HttpRequest, MayBeOfTheOldVersionAndEndItsLinesPlainly) {
  EXPECT_EQ(read("GET / HTTP/1.0\r\n\r\n").state(), State::kDone);
  EXPECT_EQ(read("\r\n\nGET / HTTP/1.1\nHost:\n\n").state(), State::kDone);
}

TEST(HttpRequest, ThatIsNoneIsRefused) {
  const std::vector<std::pair<std::string, int>> wrong = {
      {"GET\r\n", 400},
      {"GET /\r\n", 400},
      {" / HTTP/1.1\r\n", 400},
      {"GET  HTTP/1.1\r\n", 400},
      {"G\x01T / HTTP/1.1\r\n", 400},
      {"GET /a b HTTP/1.1\r\n", 400},
      {"GET /\x80 HTTP/1.1\r\n", 400},
      {"GET / FTP/1.1\r\n", 400},
      {"GET / HTTP/2.0\r\n", 505},
      {"GET / HTTP/1.1x\r\n", 505},
      {"GET / HTTP/1.1\r\n\r\n", 400},                        // no host
      {"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400},  // two
      {"GET / HTTP/1.1\r\nHost : a\r\n", 400},
      {"GET / HTTP/1.1\r\nno field\r\n", 400},
      {"GET / HTTP/1.1\r\n: x\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\n more\r\n", 400},
      {std::string("GET /\0 HTTP/1.1\r\n", 17), 400},
      {"{\"execute\":\"quit\"}\r\n", 400},
      {"\x16\x03\x01\x02 tls\r\n", 400},
  };
  for (const auto& [text, status] : wrong) {
    const HttpRequestReader reader = read(text);
    EXPECT_EQ(reader.state(), State::kWrong) << text;
    EXPECT_EQ(reader.status(), status) << text;
  }
}

TEST(HttpRequest, ThatIsTooLongIsRefused) {
  const std::string most(HttpRequestReader::kMaxHeadBytes, 'x');
  for (const std::string& text :
       {most + "x", "GET /" + most, "GET / HTTP/1.1\r\nHost: " + most, std::string(9000, '\n')}) {
    const HttpRequestReader reader = read(text);
    EXPECT_EQ(reader.state(), State::kWrong);
    EXPECT_EQ(reader.status(), 431);
  }
  EXPECT_EQ(read(most).state(), State::kReading);
}

}  // namespace
}  // namespace vmm::control
