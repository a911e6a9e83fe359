#include "vmm/net/tap.h"

#include <fcntl.h>
// The C library's header first: the kernel's then leaves out what it has.
#include <net/if.h>
//
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "vmm/base/log.h"
#include "vmm/base/unique_fd.h"
#include "vmm/net/bridge_helper.h"
#include "vmm/net/host_link.h"
#include "vmm/net/tap_end.h"

namespace vmm::net {
namespace {

constexpr const char* kTunPath = "/dev/net/tun";

std::string why_not_made(int error, const std::string& name, bool is_there) {
  const std::string called = name.empty() ? "vnet0" : name;
  switch (error) {
    case EPERM:
      return is_there ? fmt::format(
                            "it belongs to another user; as root: ip tuntap del dev {0} mode tap; ip tuntap "
                            "add dev {0} mode tap user {1}",
                            called, ::getuid())
                      : fmt::format(
                            "making one needs the capability CAP_NET_ADMIN; as root, once: ip tuntap add dev "
                            "{} mode tap user {}; or use <interface type='user'>",
                            called, ::getuid());
    case EBUSY:
      return "another process uses it";
    case EINVAL:
      return is_there ? "it is no tap, or one of another number of queues (<driver queues=…>)"
                      : errno_text(error);
    default:
      return errno_text(error);
  }
}

std::string why_not_there(int error) {
  return errno_text(error) + (error == ENOENT ? "; load the host's module tun (modprobe tun)" : "");
}

// is_forbidden: whether it is for want of a right that there is none.
Result<UniqueFd> open_queue(const TapOptions& options, bool is_there, std::string& name, bool& is_forbidden) {
  UniqueFd fd(::open(kTunPath, O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd) {
    return fail("{}: {}", kTunPath, why_not_there(errno));
  }
  ifreq request{};
  request.ifr_flags =
      static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (options.pairs > 1 ? IFF_MULTI_QUEUE : 0));
  const std::string wanted = name.empty() ? "vnet%d" : name;
  std::copy_n(wanted.begin(), std::min<size_t>(wanted.size(), IFNAMSIZ - 1), request.ifr_name);
  if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) {
    is_forbidden = errno == EPERM;
    return fail("the tap {}cannot be {}: {}", name.empty() ? "" : name + " ", is_there ? "used" : "made",
                why_not_made(errno, name, is_there));
  }
  name = request.ifr_name;
  VMM_TRY(set_tap_header(fd, name));
  return fd;
}

// Made by a program that may. It chooses the name, and has put it into the bridge and switched it on.
Result<UniqueFd> open_by_helper(const TapOptions& options, const std::string& program, std::string& name) {
  if (options.pairs > 1) {
    return fail("{}: makes taps of one queue only; leave <driver queues=…> out", program);
  }
  VMM_ASSIGN_OR_RETURN(UniqueFd fd, tap_from_bridge_helper(program, options.bridge));
  ifreq request{};
  if (::ioctl(fd.get(), TUNGETIFF, &request) != 0 ||
      (request.ifr_flags & (IFF_TAP | IFF_VNET_HDR)) != (IFF_TAP | IFF_VNET_HDR)) {
    return fail("{}: what it gave is no tap of the kind that was asked for", program);
  }
  if (!name.empty()) {
    log::warning("network interface {}: is called so by {}, and not {}", request.ifr_name, program, name);
  }
  name = request.ifr_name;
  VMM_TRY(set_tap_header(fd, name));
  return fd;
}

Status check_before(const TapOptions& options, const HostLinks& links) {
  if (options.name.size() >= IFNAMSIZ) {
    return fail("{}: the name of an interface has at most {} bytes", options.name, IFNAMSIZ - 1);
  }
  if (!options.bridge.empty() && !links.is_bridge(options.bridge)) {
    return fail("{}: {}", options.bridge,
                links.exists(options.bridge)
                    ? "this interface is no bridge"
                    : "there is no such bridge; as root: ip link add " + options.bridge + " type bridge");
  }
  if (!options.is_managed && !links.exists(options.name)) {
    return fail("{}: there is no such interface, and managed='no' leaves it to others to make it",
                options.name);
  }
  return {};
}

}  // namespace

Status check_tap(const TapOptions& options) {
  VMM_ASSIGN_OR_RETURN(const HostLinks links, HostLinks::open());
  VMM_TRY(check_before(options, links));
  if (::access(kTunPath, R_OK | W_OK) != 0) {
    return fail("{}: {}", kTunPath, why_not_there(errno));
  }
  return {};
}

Result<OpenedTap> open_tap(const TapOptions& options, EventLoop& loop) {
  VMM_ASSIGN_OR_RETURN(const HostLinks links, HostLinks::open());
  VMM_TRY(check_before(options, links));
  const bool is_there = !options.name.empty() && links.exists(options.name);
  const std::string helper = options.bridge_helper.empty() ? find_bridge_helper() : options.bridge_helper;
  std::string name = options.name;
  std::vector<UniqueFd> queues;
  bool is_of_helper = false;
  while (queues.size() < options.pairs) {
    bool is_forbidden = false;
    auto fd = open_queue(options, is_there, name, is_forbidden);
    if (is_forbidden && !is_there && !options.bridge.empty() && !helper.empty()) {
      const std::string reason = fd.error().message();
      fd = open_by_helper(options, helper, name);
      if (!fd) {
        return fail("{}; {}", reason, fd.error().message());
      }
      is_of_helper = true;
    }
    if (!fd) {
      return std::unexpected(fd.error());
    }
    queues.push_back(*std::move(fd));
  }
  if (options.is_managed) {
    if (options.mtu != 0) {
      VMM_TRY(links.set_mtu(name, options.mtu));
    }
    if (!options.bridge.empty() && !is_of_helper) {
      VMM_TRY(links.add_to_bridge(name, options.bridge));
    }
    // One that somebody made for this user may be up already, which he may not do himself.
    VMM_TRY(links.set_up(name));
  }
  VMM_ASSIGN_OR_RETURN(std::vector<UniqueFd> same, same_queues(queues));
  VMM_ASSIGN_OR_RETURN(std::unique_ptr<NetEnd> end, make_tap_end(loop, name, std::move(queues)));
  return OpenedTap{.end = std::move(end), .name = name, .queues = std::move(same)};
}

}  // namespace vmm::net
