// Consoles: the host's ends of serial ports, on the main thread's event loop.
//
// Output is put into a buffer of 64 KiB by the vCPU threads and written in batches by the loop: a line at
// once, less than a line within 2 ms. A reader that is slow holds the guest's output back (write() comes
// short); one that reads nothing for 5 s while the buffer is full counts as stalled, and from then on output
// is dropped, with one warning, until it reads again: nothing is lost to a slow reader, and a stalled one
// does not hang the guest. Where nobody is connected (pty, socket) output is dropped at once. A file on a
// full file system does not hold the guest back at all: what the buffer cannot keep until there is space is
// lost.
//
// Threads: write() and input_room() from any thread; everything else on the loop's thread. Consoles must not
// outlive their loop, and the receiver must live until the loop turns no more. SIGPIPE must be ignored by the
// process.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/core/byte_sink.h"

namespace vmm {

class Console : public ByteSink {
 public:
  // Input goes there from now on, and what write() could not take is asked for again there. Once, before the
  // guest starts.
  virtual void connect(ByteReceiver& receiver) = 0;

  // What cannot be undone, as to empty a file: once, when nothing else can fail any more, and before the
  // guest starts.
  virtual Status begin() { return {}; }

  // Where it ends on the host, as QEMU's query-chardev calls it: "pty:/dev/pts/3", "unix:PATH,server=on".
  virtual std::string host_end() const { return "null"; }
  // How many of so many bytes write() takes now; where not all, output_room() follows, as after a short
  // write(). Any thread; where one writes, no other makes it fewer.
  virtual size_t room_for(size_t bytes) { return bytes; }

  // Writes what is still in the buffer, waiting for the reader at most half a second. At the end of a run;
  // the destructor does not. Where the loop turns on, it goes on with what is left.
  virtual void flush() = 0;
};

// vmm's own standard input and output. Where input is a terminal (and vmm not in its background) it is put
// into raw mode until the console is destroyed or the process ends, in whatever way but SIGKILL, and Ctrl-A
// is the escape: x calls on_quit, h shows a help, b sends a break, Ctrl-A sends one Ctrl-A. Else bytes pass
// as they are, and the end of input is the end of input only. One at a time.
Result<std::unique_ptr<Console>> open_stdio_console(EventLoop& loop, std::function<void()> on_quit,
                                                    int input_fd = 0, int output_fd = 1);

// Output only, into a file. begin() creates it (mode 0600), or empties it unless is_append. An error where
// somebody has it locked: another console that is not is_append, or a disk, here or in another process.
Result<std::unique_ptr<Console>> open_file_console(EventLoop& loop, const std::string& path, bool is_append);

// Whether that would work now. Nothing is made, changed or locked.
Status check_file_console(const std::string& path);

// A new pseudo-terminal in raw mode; the path of its other end is given to on_path.
Result<std::unique_ptr<Console>> open_pty_console(EventLoop& loop,
                                                  const std::function<void(const std::string&)>& on_path);

enum class SocketMode : unsigned char {
  kBind,     // listens at the path; one client at a time, others wait their turn; removed at the end
  kConnect,  // connects once, now
};
Result<std::unique_ptr<Console>> open_socket_console(EventLoop& loop, const std::string& path,
                                                     SocketMode mode);

// Drops output, has no input.
std::unique_ptr<Console> make_null_console();

}  // namespace vmm
