// ControlServer: a unix socket at which programs control a running guest, in QMP (qmp_session.h).
//
// Only the user that runs vmm, and root, may connect (mode 0600, and SO_PEERCRED). What a client sends and
// does not read is bounded, and so is what is done for it in a turn of the loop: one that floods, hangs or
// never reads neither slows down the guest nor grows vmm nor keeps others waiting.
//
// Threads: the main loop's.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <string>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/unique_fd.h"
#include "vmm/base/unix_socket.h"
#include "vmm/control/guest.h"
#include "vmm/control/message_splitter.h"
#include "vmm/control/qmp_session.h"

namespace vmm::control {

inline constexpr size_t kMaxClients = 128;
// What a client may have left unread before it is told of no more events, and answered no more.
inline constexpr size_t kMaxUnreadBytes = size_t{64} << 10U;
// What is done for one client before others have their turn.
inline constexpr int kMessagesPerTurn = 16;

class ControlServer {
 public:
  // The socket; who connects waits until there is a server.
  static Result<UnixListener> listen(const std::string& path);
  // REQUIRES: loop and guest outlive the server.
  static Result<std::unique_ptr<ControlServer>> create(EventLoop& loop, Guest& guest, UnixListener listener);
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;
  ~ControlServer();

 private:
  struct Client {
    Client(Guest& guest, UniqueFd peer);
    UniqueFd fd;
    QmpSession session;
    std::string input;   // what was read and not looked at yet, of one read(2)
    std::string output;  // what the socket has not taken yet
    MessageSplitter splitter;
    EventLoop::Watch watch;
  };

  ControlServer(EventLoop& loop, Guest& guest, UnixListener listener)
      : loop_(loop), guest_(guest), listener_(std::move(listener)) {}
  Status watch_listener();
  void listen_again();
  void accept();
  void serve(Client& client, uint32_t events);
  static bool read(Client& client);
  static void answer(Client& client);
  static bool write(Client& client);
  bool has_room();
  void tell(const std::string& line);
  void remove(const Client& client);
  void hand_over(Client& client);

  EventLoop& loop_;
  Guest& guest_;
  UnixListener listener_;
  std::list<Client> clients_;
  EventLoop::Watch watch_;
  EventLoop::Timer again_;  // after the host had no descriptors left
};

}  // namespace vmm::control
