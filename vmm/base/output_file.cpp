#include "vmm/base/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>

namespace vmm {

Result<UniqueFd> open_output(const std::string& path, int flags, mode_t mode, std::string_view what) {
  UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | flags, mode));
  if (file) {
    return file;
  }
  const int error_number = errno;
  struct stat info{};
  if (error_number == ENXIO && ::stat(path.c_str(), &info) == 0 && S_ISFIFO(info.st_mode)) {
    return fail("cannot open {}: nobody reads from that pipe; start its reader first", what);
  }
  return fail("cannot open {}: {}", what, errno_text(error_number));
}

}  // namespace vmm
