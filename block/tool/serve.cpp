// vmm-img serve: a disk for NBD clients at a unix socket, with the options of qemu-nbd.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "block/copy/disk.h"
#include "block/nbd/protocol.h"
#include "block/nbd/server.h"
#include "block/tool/chain_options.h"
#include "block/tool/command_line.h"
#include "block/tool/commands.h"
#include "block/tool/default_format.h"
#include "block/tool/text.h"
#include "vmm/base/printable.h"
#include "vmm/base/size.h"

namespace vmm::block::tool {
namespace {

struct ServeOptions {
  std::string path;
  std::string format;
  std::string socket;
  std::string name;
  std::string description;
  std::string cache = "writeback";
  std::string engine = "io_uring";
  std::string discard = "ignore";
  std::string detect_zeroes = "off";
  std::string pid_file;
  uint32_t clients = 1;
  bool is_read_only = false;
  bool has_no_cache = false;
  bool is_persistent = false;
  bool forks = false;
  bool is_quiet = false;
  ChainOptions chain;
};

// --- Its process ---

// The first signal ends the server in order, the second one ends it as it is.
class StopSignals {
 public:
  // Blocks them for this thread and all that it starts from now on.
  static Result<StopSignals> block() {
    StopSignals signals;
    ::sigemptyset(&signals.set_);
    for (const int number : kNumbers) {
      ::sigaddset(&signals.set_, number);
    }
    ::pthread_sigmask(SIG_BLOCK, &signals.set_, nullptr);
    static_cast<void>(::signal(SIGXFSZ, SIG_IGN));  // the write fails, and its client is told
    signals.fd_ = UniqueFd(::signalfd(-1, &signals.set_, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals.fd_) {
      return fail("cannot watch for signals: {}", errno_text(errno));
    }
    return signals;
  }

  Status watch(EventLoop& loop, nbd::Server& server) {
    VMM_ASSIGN_OR_RETURN(watch_, loop.watch(fd_.get(), EPOLLIN, [this, &server](uint32_t) {
      signalfd_siginfo info{};
      if (::read(fd_.get(), &info, sizeof info) == sizeof info) {
        let_the_next_one_kill();
        server.stop();
      }
    }));
    return {};
  }

 private:
  static constexpr std::array kNumbers = {SIGTERM, SIGINT, SIGHUP};

  void let_the_next_one_kill() {
    for (const int number : kNumbers) {
      static_cast<void>(::signal(number, SIG_DFL));
    }
    ::pthread_sigmask(SIG_UNBLOCK, &set_, nullptr);
  }

  sigset_t set_{};
  UniqueFd fd_;
  EventLoop::Watch watch_;
};

class PidFile {
 public:
  static Result<PidFile> create(const std::string& path) {
    PidFile file(path);
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    const std::string text = fmt::format("{}\n", ::getpid());
    if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
      return fail("--pid-file {} cannot be written: {}", path, errno_text(errno));
    }
    return file;
  }
  PidFile(PidFile&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  PidFile& operator=(PidFile&&) = delete;
  PidFile(const PidFile&) = delete;
  PidFile& operator=(const PidFile&) = delete;
  ~PidFile() {
    if (!path_.empty()) {
      ::unlink(path_.c_str());
    }
  }

 private:
  explicit PidFile(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// --fork: a child goes on as the server, and the parent ends when clients can come.
class Fork {
 public:
  // In the parent: its exit status. The child, and who does not fork, goes on.
  Result<std::optional<int>> begin() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      return fail("--fork: cannot make a pipe: {}", errno_text(errno));
    }
    UniqueFd reader(ends[0]);
    ready_ = UniqueFd(ends[1]);
    const pid_t child = ::fork();
    if (child < 0) {
      return fail("--fork: cannot make a process: {}", errno_text(errno));
    }
    if (child == 0) {
      ::setsid();
      return std::nullopt;
    }
    ready_.reset();
    char byte = 0;
    if (::read(reader.get(), &byte, 1) == 1) {
      return 0;
    }
    // It has said why.
    int status = 0;
    return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) != 0
               ? WEXITSTATUS(status)
               : 1;
  }

  // Nobody who waits for the end of the parent's output is to wait for the server.
  Status tell_ready() {
    if (!ready_) {
      return {};
    }
    const UniqueFd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      if (!nothing || ::dup2(nothing.get(), fd) < 0) {
        return fail("--fork: cannot leave the terminal: {}", errno_text(errno));
      }
    }
    if (::write(ready_.get(), "", 1) != 1) {
      return fail("--fork: the parent has gone: {}", errno_text(errno));
    }
    ready_.reset();
    return {};
  }

 private:
  UniqueFd ready_;
};

// --- What is served ---

Result<DiskOptions> disk_options(const ServeOptions& options) {
  DiskOptions image{.path = options.path, .read_only = options.is_read_only};
  VMM_ASSIGN_OR_RETURN(image.format, disk_format(options.format));
  if (!image.read_only && image.format != Format::kRaw && image.format != Format::kQcow2) {
    return fail_configuration("{}: images of the format {} are only read here; add -r", options.path,
                              options.format);
  }
  VMM_ASSIGN_OR_RETURN(image.cache, cache_mode(options.has_no_cache ? "none" : options.cache));
  VMM_TRY(options.chain.apply_to(image));
  image.io = options.engine == "threads" ? EngineKind::kThreads : EngineKind::kIoUring;
  const bool unmaps = options.discard == "unmap" || options.discard == "on";
  image.discard = unmaps ? DiscardMode::kUnmap : DiscardMode::kIgnore;
  if (options.detect_zeroes == "unmap" && !unmaps) {
    return fail_configuration("--detect-zeroes=unmap: needs --discard=unmap");
  }
  image.detect_zeroes = options.detect_zeroes == "unmap" ? DetectZeroes::kUnmap
                        : options.detect_zeroes == "on"  ? DetectZeroes::kOn
                                                         : DetectZeroes::kOff;
  return image;
}

Result<nbd::Server::Options> server_options(const ServeOptions& options) {
  if (options.clients > nbd::kMaxClients) {
    return fail_configuration("-e {}: there are at most {} clients at once; -e 0 is as many as there can be",
                              options.clients, nbd::kMaxClients);
  }
  if (options.clients != 1 && !options.is_read_only) {
    return fail_configuration("-e {}: what can be written to has one client at a time; add -r",
                              options.clients);
  }
  return nbd::Server::Options{.clients = options.clients == 0 ? nbd::kMaxClients : options.clients,
                              .is_persistent = options.is_persistent};
}

Result<nbd::Export> export_of(const ServeOptions& options, BlockDevice& disk) {
  for (const auto& [option, text] : {std::pair("-x", &options.name), std::pair("-D", &options.description)}) {
    if (text->size() > nbd::kMaxStringBytes) {
      return fail_configuration("{}: has {} bytes, and clients take {} at most", option, text->size(),
                                nbd::kMaxStringBytes);
    }
  }
  return nbd::Export{.name = options.name,
                     .description = options.description,
                     .disk = &disk,
                     .has_several_connections = options.is_read_only && options.clients != 1};
}

std::string percent_encoded(std::string_view text) {
  std::string result;
  for (const char character : text) {
    const bool is_plain = (character >= '0' && character <= '9') || (character >= 'A' && character <= 'Z') ||
                          (character >= 'a' && character <= 'z') ||
                          std::string_view("-._~/").contains(character);
    result +=
        is_plain ? std::string(1, character) : fmt::format("%{:02X}", static_cast<unsigned char>(character));
  }
  return result;
}

void announce(const ServeOptions& options, const Disk& disk) {
  std::error_code error;
  const std::string socket = std::filesystem::absolute(options.socket, error);
  const std::string text =
      fmt::format("Serving {} ({}, {}{}) {}.\nConnect with: nbdinfo 'nbd+unix:///{}?socket={}'\n",
                  printable(options.path), options.format, size_text(disk.size_bytes()),
                  options.is_read_only ? ", read-only" : "",
                  options.is_persistent ? "until SIGTERM or SIGINT" : "until the last client has gone",
                  percent_encoded(options.name), percent_encoded(error ? options.socket : socket));
  static_cast<void>(std::fputs(text.c_str(), stdout));
  static_cast<void>(std::fflush(stdout));
}

// Until it is over. What clients have written is on stable storage then.
Result<int> run_server(const ServeOptions& options, const nbd::Server::Options& limits, Fork& forked) {
  VMM_ASSIGN_OR_RETURN(const DiskOptions image, disk_options(options));
  VMM_ASSIGN_OR_RETURN(const std::shared_ptr<EventLoop> loop, EventLoop::create());
  VMM_ASSIGN_OR_RETURN(StopSignals signals, StopSignals::block());
  VMM_ASSIGN_OR_RETURN(const auto disk, Disk::open(image, loop));
  VMM_ASSIGN_OR_RETURN(nbd::Export exported, export_of(options, disk->device()));
  VMM_ASSIGN_OR_RETURN(UnixListener listener, nbd::Server::listen(options.socket));
  std::optional<PidFile> pid_file;
  if (!options.pid_file.empty()) {
    VMM_ASSIGN_OR_RETURN(PidFile file, PidFile::create(options.pid_file));
    pid_file.emplace(std::move(file));
  }
  VMM_ASSIGN_OR_RETURN(const auto server,
                       nbd::Server::create(*loop, std::move(exported), std::move(listener), limits));
  VMM_TRY(signals.watch(*loop, *server));
  if (!options.is_quiet) {
    announce(options, *disk);
  }
  VMM_TRY(forked.tell_ready());
  while (!server->is_over()) {
    loop->run_once(EventLoop::Duration(-1));
  }
  const IoStatus status = disk->run(BlockOp::kFlush, 0, 0);
  if (status != IoStatus::kOk) {
    return fail("{}: what clients have written cannot be brought to stable storage: {}", options.path,
                status_text(status));
  }
  return 0;
}

Result<int> serve(ServeOptions& options) {
  VMM_ASSIGN_OR_RETURN(options.format, format_of_image(options.format, options.path, "-f"));
  VMM_ASSIGN_OR_RETURN(const nbd::Server::Options limits, server_options(options));
  Fork forked;
  if (options.forks) {
    VMM_ASSIGN_OR_RETURN(const std::optional<int> status, forked.begin());
    if (status) {
      return *status;
    }
  }
  return run_server(options, limits, forked);
}

void add_disk_options(CommandLine& command, ServeOptions& options) {
  command.add_option("-f,--format", options.format, "Format: raw, qcow2, qcow or iso").type_name("FMT");
  command.add_flag("-r,--read-only", options.is_read_only, "Clients may only read");
  command
      .add_option("--cache", options.cache, "none, writeback (if absent), writethrough, directsync or unsafe")
      .type_name("MODE");
  command.add_flag("-n,--nocache", options.has_no_cache, "As --cache none");
  command.add_option("--aio", options.engine, "io_uring (if absent; native is the same) or threads")
      .one_of({"io_uring", "native", "threads"})
      .type_name("MODE");
  command
      .add_option("--discard", options.discard,
                  "What is trimmed, or zeroed, is given back to the host: unmap; or not: ignore (if absent)")
      .one_of({"ignore", "off", "unmap", "on"})
      .type_name("MODE");
  command
      .add_option("--detect-zeroes", options.detect_zeroes,
                  "Zeroes that are written are not stored: on, unmap; off if absent")
      .one_of({"off", "on", "unmap"})
      .type_name("MODE");
  options.chain.add_to(command);
  options.chain.add_backing_format_to(command);
}

void add_server_options(CommandLine& command, ServeOptions& options) {
  command.add_option("-k,--socket", options.socket, "Path of the unix socket, for you and root alone")
      .required()
      .type_name("PATH");
  command.add_option("-x,--export-name", options.name, "Name that clients ask for (empty if absent)")
      .type_name("NAME");
  command.add_option("-D,--description", options.description, "Text that clients may show").type_name("TEXT");
  command
      .add_option(
          "-e,--shared", options.clients,
          "Clients at once (1 if absent; 0: as many as there can be); others wait. More than one need -r")
      .type_name("NUM");
  command.add_flag("-t,--persistent", options.is_persistent, "Go on when the last client has gone");
  command.add_flag("--fork", options.forks, "Go on in the background when clients can come");
  command.add_option("--pid-file", options.pid_file, "Gets the server's process number while it runs")
      .type_name("PATH");
  command.add_flag("-q,--quiet", options.is_quiet, "Print nothing but errors");
}

}  // namespace

void declare_serve(CommandLine& command) {
  auto options = std::make_shared<ServeOptions>();
  command.set_footer(
      "Clients: nbdinfo, nbdcopy, fio --ioengine=nbd, qemu-img and others, with "
      "nbd+unix:///NAME?socket=PATH.\n"
      "SIGTERM and SIGINT end the server in order, with all that was written on stable storage.");
  add_disk_options(command, *options);
  add_server_options(command, *options);
  command.add_option("FILENAME", options->path).required().type_name("");
  command.set_action([options] { return serve(*options); });
}

}  // namespace vmm::block::tool
