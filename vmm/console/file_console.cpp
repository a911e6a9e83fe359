#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "vmm/base/output_file.h"
#include "vmm/console/console.h"
#include "vmm/console/stream_console.h"

namespace vmm {
namespace {

struct flock whole_file() {
  struct flock range{};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  return range;
}

bool is_unlocked(const UniqueFd& file) {
  struct flock range = whole_file();
  return ::fcntl(file.get(), F_OFD_GETLK, &range) != 0 || range.l_type == F_UNLCK;
}

std::unexpected<Error> in_use(const std::string& path) {
  return fail(
      "cannot open {} for a console: it is in use, by another guest's console or as a disk image; give "
      "another "
      "path",
      path);
}

bool is_new_file(const std::string& path) {
  std::error_code error;
  return !std::filesystem::exists(std::filesystem::symlink_status(path, error));
}

bool can_be_created(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  return ::access(folder.empty() ? "." : folder.c_str(), W_OK | X_OK) == 0;
}

class FileConsole final : public StreamConsole {
 public:
  FileConsole(EventLoop& loop, const std::string& path, bool is_append)
      : StreamConsole(loop, "the console in " + path), path_(path), is_append_(is_append) {}

  // A file that is there is opened and stays as it is; one that is not there is not made yet.
  Status open() {
    VMM_TRY(start());
    return is_new_file(path_) && can_be_created(path_) ? Status() : open_file(0);
  }

  std::string host_end() const override { return "file"; }
  Status begin() override {
    if (!file_) {
      VMM_TRY(open_file(O_CREAT));
    }
    struct stat info{};
    if (!is_append_ && ::fstat(file_.get(), &info) == 0 && S_ISREG(info.st_mode) &&
        ::ftruncate(file_.get(), 0) != 0) {
      return fail("cannot empty {} for a console: {}", path_, errno_text(errno));
    }
    attach(std::nullopt, StreamEnd(std::move(file_)));
    return {};
  }

 private:
  Status open_file(int flags) {
    VMM_ASSIGN_OR_RETURN(UniqueFd file, open_output(path_, (is_append_ ? O_APPEND : 0) | flags, 0600,
                                                    path_ + " for a console"));
    VMM_TRY(lock(file));
    file_ = std::move(file);
    return {};
  }

  // Two that append to one file may share it; nobody shares one that he has locked.
  Status lock(const UniqueFd& file) const {
    struct flock range = whole_file();
    const bool is_free =
        is_append_ ? is_unlocked(file)
                   : ::fcntl(file.get(), F_OFD_SETLK, &range) == 0 || (errno != EAGAIN && errno != EACCES);
    return is_free ? Status() : Status(in_use(path_));
  }

  const std::string path_;
  const bool is_append_;
  UniqueFd file_;
};

class NullConsole final : public Console {
 public:
  size_t write(std::span<const std::byte> bytes) override { return bytes.size(); }
  void input_room() override {}
  void connect(ByteReceiver& /*receiver*/) override {}
  void flush() override {}
};

}  // namespace

Result<std::unique_ptr<Console>> open_file_console(EventLoop& loop, const std::string& path, bool is_append) {
  auto console = std::make_unique<FileConsole>(loop, path, is_append);
  VMM_TRY(console->open());
  return console;
}

Status check_file_console(const std::string& path) {
  if (is_new_file(path) && can_be_created(path)) {
    return {};
  }
  VMM_ASSIGN_OR_RETURN(const UniqueFd file, open_output(path, 0, 0600, path + " for a console"));
  return is_unlocked(file) ? Status() : Status(in_use(path));
}

std::unique_ptr<Console> make_null_console() { return std::make_unique<NullConsole>(); }

}  // namespace vmm
