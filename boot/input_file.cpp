#include "boot/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace vmm::boot {

Result<InputFile> InputFile::open(const std::string& path, const std::string& role) {
  // O_NONBLOCK: a FIFO without a writer must be refused, not waited for.
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) {
    return fail("cannot open the {} {}: {}", role, path, errno_text(errno));
  }
  struct stat status = {};
  if (::fstat(fd.get(), &status) != 0) {
    return fail("cannot look at the {} {}: {}", role, path, errno_text(errno));
  }
  if (S_ISDIR(status.st_mode)) {
    return fail("{} is a folder; name the {}'s file in it", path, role);
  }
  if (!S_ISREG(status.st_mode)) {
    return fail("{} is not a regular file; the {} must be one", path, role);
  }
  if (status.st_size == 0) {
    return fail("the {} {} is empty; fetch or build it again", role, path);
  }
  return InputFile(std::move(fd), path, static_cast<uint64_t>(status.st_size));
}

Status InputFile::read(uint64_t offset, std::span<std::byte> to) const {
  return read_to(offset, {.iov_base = to.data(), .iov_len = to.size()});
}

Status InputFile::load(uint64_t offset, const GuestMemory& memory, GuestRange to) const {
  if (to.length_bytes == 0) {
    return {};
  }
  const std::optional<iovec> buffer = memory.io_buffer(to);
  if (!buffer) {
    return fail("{}: {} bytes at guest address {:#x} are outside the guest's memory; give it more <memory>",
                path_, to.length_bytes, to.start.value());
  }
  return read_to(offset, *buffer);
}

Status InputFile::read_to(uint64_t offset, iovec to) const {
  auto* const place = static_cast<std::byte*>(to.iov_base);
  size_t done = 0;
  while (done < to.iov_len) {
    const ssize_t count =
        ::pread(fd_.get(), place + done, to.iov_len - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return fail("cannot read {} at offset {}: {}", path_, offset + done, errno_text(errno));
    }
    if (count == 0) {
      return fail("{} became shorter while it was read; start again when it is complete", path_);
    }
    done += static_cast<size_t>(count);
  }
  return {};
}

}  // namespace vmm::boot
