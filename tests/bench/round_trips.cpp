// How many times a byte goes to the other end of a TCP connection and comes back in a second, one at a time.
//
//   round_trips serve PORT              answers, until it is killed
//   round_trips ADDRESS PORT SECONDS    prints the number
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

int serve(int listener) {
  char byte = 0;
  while (true) {
    const int client = ::accept(listener, nullptr, nullptr);
    if (client < 0) {
      return 1;
    }
    const int one = 1;
    ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    while (::read(client, &byte, 1) == 1 && ::write(client, &byte, 1) == 1) {
    }
    ::close(client);
  }
}

int ask(int fd, double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const auto end = start + std::chrono::duration<double>(seconds);
  long trips = 0;
  char byte = 0;
  while (Clock::now() < end) {
    if (::write(fd, &byte, 1) != 1 || ::read(fd, &byte, 1) != 1) {
      std::fprintf(stderr, "the connection is gone\n");
      return 1;
    }
    ++trips;
  }
  std::printf("trips=%.1f\n",
              static_cast<double>(trips) / std::chrono::duration<double>(Clock::now() - start).count());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    return 2;
  }
  const bool is_server = std::strcmp(argv[1], "serve") == 0;
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  const int one = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(argv[2])));
  if (is_server) {
    if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(fd, 1) != 0) {
      std::perror("round_trips");
      return 1;
    }
    return serve(fd);
  }
  if (argc < 4 || ::inet_pton(AF_INET, argv[1], &address.sin_addr) != 1 ||
      ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    std::perror("round_trips");
    return 1;
  }
  return ask(fd, std::atof(argv[3]));
}
