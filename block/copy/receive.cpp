#include "block/copy/receive.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>

#include "block/aligned_memory.h"
#include "block/io_vector.h"

namespace vmm::block {
namespace {

constexpr uint64_t kReceiveBytes = uint64_t{1} << 20U;

class Receiver {
 public:
  Receiver(int to, const std::string& to_name, uint64_t hole_bytes)
      : to_(to), to_name_(to_name), hole_bytes_(hole_bytes) {}

  Status take(std::span<std::byte> bytes) {
    const uint64_t unit = hole_bytes_ == 0 ? bytes.size() : hole_bytes_;
    for (size_t at = 0; at < bytes.size();) {
      const auto part = bytes.subspan(at, std::min<uint64_t>(unit, bytes.size() - at));
      if (hole_bytes_ == 0 || !bytes_are_zero(part)) {
        VMM_TRY(write(part, position_ + at));
      }
      at += part.size();
    }
    position_ += bytes.size();
    return {};
  }

  // What ends with a hole is longer than what was written.
  Result<uint64_t> finish() const {
    if (::ftruncate(to_, static_cast<off_t>(position_)) != 0) {
      return fail("{} cannot be made {} bytes long: {}", to_name_, position_, errno_text(errno));
    }
    return position_;
  }

 private:
  Status write(std::span<const std::byte> bytes, uint64_t offset) const {
    while (!bytes.empty()) {
      const ssize_t written = ::pwrite(to_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (written < 0 && errno != EINTR) {
        return fail("{} cannot be written from offset {} on: {}", to_name_, offset, errno_text(errno));
      }
      const auto done = static_cast<size_t>(std::max<ssize_t>(written, 0));
      bytes = bytes.subspan(done);
      offset += done;
    }
    return {};
  }

  int to_;
  const std::string& to_name_;
  uint64_t hole_bytes_;
  uint64_t position_ = 0;
};

// A pipe gives little at a time; less than the whole only at the end.
Result<size_t> fill(int from, const std::string& name, std::span<std::byte> buffer) {
  size_t filled = 0;
  while (filled < buffer.size()) {
    const ssize_t got = ::read(from, buffer.data() + filled, buffer.size() - filled);
    if (got < 0 && errno != EINTR) {
      return fail("{} cannot be read: {}", name, errno_text(errno));
    }
    if (got == 0) {
      break;
    }
    filled += static_cast<size_t>(std::max<ssize_t>(got, 0));
  }
  return filled;
}

}  // namespace

Result<uint64_t> receive(int from, const std::string& from_name, int to, const std::string& to_name,
                         uint64_t hole_bytes) {
  const auto size = static_cast<size_t>(std::max(kReceiveBytes, hole_bytes));
  const AlignedMemory memory = make_aligned_memory(size);
  if (memory == nullptr) {
    return fail("{}: the host is out of memory", to_name);
  }
  const std::span<std::byte> buffer(memory.get(), size);
  Receiver receiver(to, to_name, hole_bytes);
  for (size_t got = size; got == size;) {
    VMM_ASSIGN_OR_RETURN(got, fill(from, from_name, buffer));
    VMM_TRY(receiver.take(buffer.first(got)));
  }
  return receiver.finish();
}

}  // namespace vmm::block
