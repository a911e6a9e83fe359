#include "vmm/base/service_manager.h"

#include <sys/socket.h>

#include <cstdlib>

#include "vmm/base/unix_socket.h"

namespace vmm {

bool has_service_manager() {
  const char* const path = std::getenv("NOTIFY_SOCKET");
  return path != nullptr && *path != '\0';
}

void tell_service_manager(std::string_view lines) {
  if (!has_service_manager()) {
    return;
  }
  if (const auto socket = connect_unix_datagram("the service manager", std::getenv("NOTIFY_SOCKET"))) {
    static_cast<void>(::send(socket->get(), lines.data(), lines.size(), MSG_NOSIGNAL));
  }
}

}  // namespace vmm
