#include "vmm/net/host_link.h"

// The C library's header first: the kernel's then leaves out what it has.
#include <net/if.h>
//
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

namespace vmm::net {
namespace {

ifreq request_for(const std::string& name) {
  ifreq request{};
  std::copy_n(name.begin(), std::min<size_t>(name.size(), IFNAMSIZ - 1), request.ifr_name);
  return request;
}

std::string why(int error) {
  switch (error) {
    case EPERM:
      return "this needs the capability CAP_NET_ADMIN";
    case EADDRINUSE:
    case EBUSY:
      return "another one at the same interface has its MAC address";
    default:
      return errno_text(error);
  }
}

}  // namespace

Result<HostLinks> HostLinks::open() {
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) {
    return fail("cannot make a socket: {}", errno_text(errno));
  }
  return HostLinks(std::move(socket));
}

bool HostLinks::exists(const std::string& name) const { return ::if_nametoindex(name.c_str()) != 0; }

bool HostLinks::is_bridge(const std::string& name) const {
  ethtool_drvinfo info{};
  info.cmd = ETHTOOL_GDRVINFO;
  ifreq request = request_for(name);
  request.ifr_data = reinterpret_cast<char*>(&info);
  return ::ioctl(socket_.get(), SIOCETHTOOL, &request) == 0 && std::string_view(info.driver) == "bridge";
}

Status HostLinks::set_up(const std::string& name) const {
  ifreq request = request_for(name);
  if (::ioctl(socket_.get(), SIOCGIFFLAGS, &request) != 0) {
    return fail("{}: cannot be looked at: {}", name, errno_text(errno));
  }
  if ((request.ifr_flags & IFF_UP) != 0) {
    return {};
  }
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (::ioctl(socket_.get(), SIOCSIFFLAGS, &request) != 0) {
    return fail("{}: cannot be switched on: {}", name, why(errno));
  }
  return {};
}

Status HostLinks::set_mtu(const std::string& name, uint32_t mtu) const {
  ifreq request = request_for(name);
  request.ifr_mtu = static_cast<int>(mtu);
  if (::ioctl(socket_.get(), SIOCSIFMTU, &request) != 0) {
    return fail("{}: cannot be given the MTU {}: {}", name, mtu, why(errno));
  }
  return {};
}

Status HostLinks::set_mac(const std::string& name, const std::array<std::byte, 6>& mac) const {
  ifreq request = request_for(name);
  request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
  std::memcpy(request.ifr_hwaddr.sa_data, mac.data(), mac.size());
  if (::ioctl(socket_.get(), SIOCSIFHWADDR, &request) != 0) {
    return fail("{}: cannot be given the guest's MAC address: {}", name, why(errno));
  }
  return {};
}

Status HostLinks::add_to_bridge(const std::string& name, const std::string& bridge) const {
  ifreq request = request_for(bridge);
  request.ifr_ifindex = static_cast<int>(::if_nametoindex(name.c_str()));
  if (::ioctl(socket_.get(), SIOCBRADDIF, &request) != 0 && errno != EBUSY) {
    return fail("{}: cannot be put into the bridge {}: {}", name, bridge, why(errno));
  }
  return {};
}

}  // namespace vmm::net
