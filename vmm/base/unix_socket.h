// Unix stream sockets by path (unix(7)).
//
// Threads: any; an object by one thread at a time.
#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"

namespace vmm {

// Listens at a path, non-blocking. What a run before this one left behind there is removed; a socket that
// somebody listens at, and anything else of that name, is an error. Goes with its path, if that is still its
// own.
class UnixListener {
 public:
  // role: for errors, as "the console's socket". mode: who may connect, less the umask.
  static Result<UnixListener> listen(std::string_view role, const std::string& path, mode_t mode = 0777,
                                     int backlog = 1);
  UnixListener(UnixListener&&) noexcept = default;
  UnixListener& operator=(UnixListener&&) = delete;
  UnixListener(const UnixListener&) = delete;
  UnixListener& operator=(const UnixListener&) = delete;
  ~UnixListener();

  int fd() const { return fd_.get(); }
  // The next client, non-blocking; no descriptor where there is none.
  UniqueFd accept() const;

 private:
  UnixListener(UniqueFd fd, std::string path, const struct stat& info)
      : fd_(std::move(fd)), path_(std::move(path)), device_(info.st_dev), inode_(info.st_ino) {}

  UniqueFd fd_;
  std::string path_;
  dev_t device_;
  ino_t inode_;
};

// A connection, non-blocking. role: for errors, as "the socket of a console".
Result<UniqueFd> connect_unix(std::string_view role, const std::string& path);

// For datagrams, non-blocking. A path that begins with @ is one of the abstract namespace (unix(7)).
Result<UniqueFd> connect_unix_datagram(std::string_view role, const std::string& path);

// The process that listens there, as this one's PID namespace knows it; 0: nobody, or it is not told.
int listening_process(const std::string& path);

// There is a socket at which nobody listens: a process that was killed has left it behind.
bool is_left_over_socket(const std::string& path);

}  // namespace vmm
