#include "vmm/cli/pid_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

namespace vmm::cli {
namespace {

// What stands in it: nothing, or a number and an end of line.
Status check_contents(const UniqueFd& file, const std::string& path) {
  struct stat info{};
  std::array<char, 32> bytes{};
  const bool is_file = ::fstat(file.get(), &info) == 0 && S_ISREG(info.st_mode);
  const ssize_t count = is_file ? ::pread(file.get(), bytes.data(), bytes.size(), 0) : -1;
  const std::string_view text(bytes.data(), static_cast<size_t>(std::max<ssize_t>(count, 0)));
  const bool is_ours = count >= 0 && text.size() < bytes.size() &&
                       text.find_first_not_of("0123456789\n") == std::string_view::npos;
  return is_ours ? Status()
                 : fail("--pidfile {}: is there already, and holds no number of a process; give another path",
                        path);
}

}  // namespace

Result<PidFile> PidFile::create(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644));
  if (!file) {
    return fail("--pidfile {}: cannot be opened: {}", path, errno_text(errno));
  }
  VMM_TRY(check_contents(file, path));
  struct flock range{};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  if (::fcntl(file.get(), F_OFD_SETLK, &range) != 0 && (errno == EAGAIN || errno == EACCES)) {
    return fail("--pidfile {}: another vmm that runs has it; give another path", path);
  }
  const std::string text = fmt::format("{}\n", ::getpid());
  if (::ftruncate(file.get(), 0) != 0 ||
      ::pwrite(file.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return fail("--pidfile {}: cannot be written: {}", path, errno_text(errno));
  }
  return PidFile(path, std::move(file));
}

PidFile::~PidFile() {
  struct stat ours{};
  struct stat there{};
  const bool is_there = file_ && ::fstat(file_.get(), &ours) == 0 && ::stat(path_.c_str(), &there) == 0 &&
                        ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
  if (is_there) {
    ::unlink(path_.c_str());
  }
}

}  // namespace vmm::cli
