#include "block/copy/offload.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace vmm::block {
namespace {

// A step: so often progress can be told.
constexpr uint64_t kOffloadBytes = uint64_t{64} << 20U;

// Between two file systems, from a device, or on a kernel or a file system without it.
bool is_not_offered(int error) {
  return error == EXDEV || error == EINVAL || error == EOPNOTSUPP || error == ENOSYS || error == EBADF;
}

struct DataRange {
  uint64_t begin = 0;
  uint64_t end = 0;
};

// The first data from `offset` on; an empty range: there are none. Where holes are not told all is data.
DataRange next_data(const FileRange& from, uint64_t offset) {
  const off_t data = ::lseek(from.fd, static_cast<off_t>(offset), SEEK_DATA);
  if (data < 0) {
    return errno == ENXIO ? DataRange{} : DataRange{.begin = offset, .end = from.bytes};
  }
  const off_t hole = ::lseek(from.fd, data, SEEK_HOLE);
  const uint64_t end = hole < 0 ? from.bytes : std::min(static_cast<uint64_t>(hole), from.bytes);
  const auto begin = static_cast<uint64_t>(data);
  return begin < end ? DataRange{.begin = begin, .end = end} : DataRange{};
}

}  // namespace

bool share_blocks(int from, int to) { return ::ioctl(to, FICLONE, from) == 0; }

Result<bool> copy_ranges(const FileRange& from, int to, uint64_t offset, const std::string& to_name,
                         const std::function<void(uint64_t done)>& progress) {
  bool has_begun = false;
  uint64_t at = 0;
  for (DataRange data = next_data(from, 0); data.begin < data.end; data = next_data(from, at)) {
    at = data.begin;
    while (at < data.end) {
      auto in = static_cast<loff_t>(at);
      auto out = static_cast<loff_t>(offset + at);
      const ssize_t copied =
          ::copy_file_range(from.fd, &in, to, &out, std::min(data.end - at, kOffloadBytes), 0);
      if (copied < 0 && errno == EINTR) {
        continue;
      }
      if (copied < 0 && !has_begun && is_not_offered(errno)) {
        return false;
      }
      if (copied <= 0) {
        return fail("{} cannot be written from offset {} on: {}", to_name, offset + at,
                    copied == 0 ? "the source became shorter" : errno_text(errno));
      }
      has_begun = true;
      at += static_cast<uint64_t>(copied);
      progress(at);
    }
  }
  progress(from.bytes);
  return true;
}

}  // namespace vmm::block
