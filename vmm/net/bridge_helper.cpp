#include "vmm/net/bridge_helper.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "vmm/base/printable.h"
#include "vmm/net/child_program.h"

namespace vmm::net {
namespace {

constexpr const char* kHelperPaths[] = {"/usr/lib/qemu/qemu-bridge-helper",
                                        "/usr/libexec/qemu-bridge-helper"};
constexpr std::chrono::seconds kMostTime(10);

UniqueFd received_from(const UniqueFd& socket) {
  char byte = 0;
  iovec part{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (::recvmsg(socket.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0) {
    return {};
  }
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof(int))) {
    return {};
  }
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return UniqueFd(fd);
}

}  // namespace

std::string find_bridge_helper() {
  for (const char* const path : kHelperPaths) {
    if (::access(path, X_OK) == 0) {
      return path;
    }
  }
  return {};
}

Result<UniqueFd> tap_from_bridge_helper(const std::string& program, const std::string& bridge) {
  VMM_ASSIGN_OR_RETURN(auto sockets, make_socket_pair());
  VMM_ASSIGN_OR_RETURN(
      const ProgramEnd end,
      run_program({program, "--use-vnet", fmt::format("--fd={}", kGivenDescriptor), "--br=" + bridge},
                  sockets.second, kMostTime));
  UniqueFd tap = received_from(sockets.first);
  if (end.status != 0 || !tap) {
    const std::string line = end.said.substr(0, end.said.find('\n'));
    return fail("{}: {}", program, line.empty() ? "gave no tap" : printable(line));
  }
  if (::fcntl(tap.get(), F_SETFL, O_RDWR | O_NONBLOCK) != 0) {
    return fail("{}: its tap cannot be used: {}", program, errno_text(errno));
  }
  return tap;
}

}  // namespace vmm::net
