#include "vmm/console/stream_end.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <string>
#include <utility>

namespace vmm {
namespace {

std::array<iovec, 2> to_iovecs(const std::array<std::span<const std::byte>, 2>& pieces) {
  std::array<iovec, 2> vectors{};
  for (size_t i = 0; i < pieces.size(); ++i) {
    vectors[i] = {.iov_base = const_cast<std::byte*>(pieces[i].data()), .iov_len = pieces[i].size()};
  }
  return vectors;
}

UniqueFd open_anew(int fd, Direction direction) {
  const int access = direction == Direction::kInput ? O_RDONLY : O_WRONLY;
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  return UniqueFd(::open(path.c_str(), access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

}  // namespace

Result<std::optional<StreamEnd>> StreamEnd::of_shared(int fd, Direction direction, TerminalGuard& guard) {
  struct stat info{};
  if (::fstat(fd, &info) != 0) {
    return std::nullopt;
  }
  // A regular file opened anew would begin at its start, and never blocks.
  const bool is_file = S_ISREG(info.st_mode);
  const bool is_socket = S_ISSOCK(info.st_mode);
  if (!is_file && !is_socket) {
    if (UniqueFd own = open_anew(fd, direction)) {
      return StreamEnd(std::move(own));
    }
  }
  UniqueFd duplicate(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!duplicate) {
    return fail("cannot duplicate a standard descriptor: {}", errno_text(errno));
  }
  if (!is_file && !is_socket) {
    VMM_TRY(guard.make_nonblocking(fd));
  }
  return StreamEnd(std::move(duplicate), is_socket);
}

ssize_t StreamEnd::read(std::span<std::byte> bytes) const {
  ssize_t count = 0;
  do {
    count = is_socket_ ? ::recv(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT)
                       : ::read(fd_.get(), bytes.data(), bytes.size());
  } while (count < 0 && errno == EINTR);
  return count;
}

ssize_t StreamEnd::write(const std::array<std::span<const std::byte>, 2>& pieces) const {
  std::array<iovec, 2> vectors = to_iovecs(pieces);
  msghdr message{};
  message.msg_iov = vectors.data();
  message.msg_iovlen = vectors.size();
  ssize_t count = 0;
  do {
    count = is_socket_ ? ::sendmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL)
                       : ::writev(fd_.get(), vectors.data(), static_cast<int>(vectors.size()));
  } while (count < 0 && errno == EINTR);
  return count;
}

}  // namespace vmm
