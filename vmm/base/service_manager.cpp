#include "vmm/base/service_manager.h"

#include <sys/socket.h>

#include <cstdlib>

#include "vmm/base/unix_socket.h"

namespace vmm {

void tell_service_manager(std::string_view lines) {
  const char* const path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || *path == '\0') {
    return;
  }
  if (const auto socket = connect_unix_datagram("the service manager", path)) {
    static_cast<void>(::send(socket->get(), lines.data(), lines.size(), MSG_NOSIGNAL));
  }
}

}  // namespace vmm
