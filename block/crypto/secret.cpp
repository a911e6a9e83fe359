#include "block/crypto/secret.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "vmm/base/bytes.h"
#include "vmm/base/unique_fd.h"

namespace vmm::block {
namespace {

// Of a pipe whose writer takes its time: until there is something to read, or nobody who could write it.
Status wait_for_writer(int fd, const std::string& path) {
  pollfd wanted{.fd = fd, .events = POLLIN, .revents = 0};
  if (::poll(&wanted, 1, -1) < 0 && errno != EINTR) {
    return fail("the passphrase file {} cannot be waited for: {}", path, errno_text(errno));
  }
  return {};
}

// Up to to.size() bytes; fewer at the end of the file.
Result<size_t> read_up_to(int fd, const std::string& path, std::span<std::byte> to) {
  size_t done = 0;
  while (done < to.size()) {
    const ssize_t moved = ::read(fd, to.data() + done, to.size() - done);
    if (moved < 0 && errno == EINTR) {
      continue;
    }
    if (moved < 0 && errno == EAGAIN) {
      VMM_TRY(wait_for_writer(fd, path));
      continue;
    }
    if (moved < 0) {
      return fail("the passphrase file {} cannot be read: {}", path, errno_text(errno));
    }
    if (moved == 0) {
      break;
    }
    done += static_cast<size_t>(moved);
  }
  return done;
}

}  // namespace

Secret::Secret(size_t bytes) : data_(static_cast<std::byte*>(LockedMemory::allocate(bytes))), size_(bytes) {
  if (data_ == nullptr) {
    throw std::bad_alloc();
  }
  std::memset(data_.get(), 0, bytes);
}

Secret Secret::copy_of(std::span<const std::byte> bytes) {
  Secret copy(bytes.size());
  if (!bytes.empty()) {
    std::memcpy(copy.data_.get(), bytes.data(), bytes.size());
  }
  return copy;
}

Secret Secret::copy_of(std::string_view text) { return copy_of(as_bytes(text)); }

Secret::Secret(Secret&& other) noexcept
    : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}

Secret& Secret::operator=(Secret&& other) noexcept {
  data_ = std::move(other.data_);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

Result<Secret> passphrase_from_file(const std::string& path) {
  // Opening does not wait: a pipe that nobody has open for writing is empty. One with a writer, as a shell
  // makes with <(…), is read up to its end.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) {
    return fail("the passphrase file {} cannot be opened: {}", path, errno_text(errno));
  }
  // One more than allowed, to see whether there is more.
  Secret buffer(kMaxPassphraseBytes + 1);
  VMM_ASSIGN_OR_RETURN(const size_t length, read_up_to(fd.get(), path, buffer.bytes()));
  if (length == 0) {
    return fail("the passphrase file {} is empty", path);
  }
  if (length > kMaxPassphraseBytes) {
    return fail("the passphrase file {} is longer than {} bytes", path, kMaxPassphraseBytes);
  }
  return Secret::copy_of(std::span<const std::byte>(buffer.bytes()).first(length));
}

Result<Secret> passphrase_from_environment(const std::string& name) {
  const char* value = ::getenv(name.c_str());
  if (value == nullptr) {
    return fail("the environment variable {} for the passphrase is not set", name);
  }
  const std::string_view text(value);
  if (text.empty()) {
    return fail("the environment variable {} for the passphrase is empty", name);
  }
  if (text.size() > kMaxPassphraseBytes) {
    return fail("the environment variable {} for the passphrase is longer than {} bytes", name,
                kMaxPassphraseBytes);
  }
  return Secret::copy_of(text);
}

}  // namespace vmm::block
