#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "vmm/console/console.h"
#include "vmm/console/stream_console.h"

namespace vmm {
namespace {

class FileConsole final : public StreamConsole {
 public:
  FileConsole(EventLoop& loop, const std::string& path) : StreamConsole(loop, "the console in " + path) {}

  Status open(const std::string& path, bool is_append) {
    VMM_TRY(start());
    // O_NONBLOCK is for those that name a pipe or a terminal.
    const int how = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (is_append ? O_APPEND : O_TRUNC);
    UniqueFd file(::open(path.c_str(), how, 0600));
    if (!file && errno == ENXIO) {
      return fail("cannot open {} for a console: nobody reads from that pipe; start its reader first", path);
    }
    if (!file) {
      return fail("cannot open {} for a console: {}", path, errno_text(errno));
    }
    attach(std::nullopt, StreamEnd(std::move(file)));
    return {};
  }
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
  auto console = std::make_unique<FileConsole>(loop, path);
  VMM_TRY(console->open(path, is_append));
  return console;
}

std::unique_ptr<Console> make_null_console() { return std::make_unique<NullConsole>(); }

}  // namespace vmm
