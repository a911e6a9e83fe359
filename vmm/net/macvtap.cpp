#include "vmm/net/macvtap.h"

#include <fcntl.h>
// The C library's header first: the kernel's then leaves out what it has.
#include <net/if.h>
//
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "vmm/base/log.h"
#include "vmm/base/unique_fd.h"
#include "vmm/net/host_link.h"
#include "vmm/net/route_link.h"
#include "vmm/net/tap_end.h"

namespace vmm::net {
namespace {

constexpr const char* kKind = "macvtap";
constexpr int kMostNames = 4096;
// What shows that vmm has made it, and holds a lock on its file while it is used.
constexpr std::string_view kMark = "vmm: deleted with its guest";

uint32_t number_of(MacvtapMode mode) {
  switch (mode) {
    case MacvtapMode::kVepa:
      return MACVLAN_MODE_VEPA;
    case MacvtapMode::kBridge:
      return MACVLAN_MODE_BRIDGE;
    case MacvtapMode::kPrivate:
      return MACVLAN_MODE_PRIVATE;
    case MacvtapMode::kPassthrough:
      break;
  }
  return MACVLAN_MODE_PASSTHRU;
}

// device: an index; 0: none, and so none is made.
LinkRequest request_of(const MacvtapOptions& options, const std::string& name, uint32_t device) {
  LinkRequest request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  if (!name.empty()) {
    request.add_text(IFLA_IFNAME, name);
  }
  if (device != 0) {
    request.add_number(IFLA_LINK, device);
  }
  request.add(IFLA_ADDRESS, options.mac);
  if (options.mtu != 0) {
    request.add_number(IFLA_MTU, options.mtu);
  }
  const size_t info = request.begin(IFLA_LINKINFO);
  request.add_text(IFLA_INFO_KIND, kKind);
  const size_t data = request.begin(IFLA_INFO_DATA);
  request.add_number(IFLA_MACVLAN_MODE, number_of(options.mode));
  request.end(data);
  request.end(info);
  return request;
}

std::string why_no_macvtap(int error, const MacvtapOptions& options) {
  switch (error) {
    case EPERM:
      return "making a macvtap needs the capability CAP_NET_ADMIN: run vmm as root; or use <interface "
             "type='user'>";
    case EOPNOTSUPP:
      return "the host's kernel has no macvtaps; load its module (modprobe macvtap), or use type='bridge'";
    case EEXIST:
      return fmt::format(
          "there is an interface {} already; if a guest left it that was killed, as root: ip "
          "link del {}",
          options.name, options.name);
    case EBUSY:
      return options.mode == MacvtapMode::kPassthrough
                 ? "it is used by others; mode='passthrough' needs it for itself"
                 : "it is in a bridge, or another guest has it for itself (mode='passthrough')";
    case EINVAL:
      return "no macvtap can stand on this interface, or one with mode='passthrough' does, or it has a "
             "smaller MTU";
    default:
      return errno_text(error);
  }
}

Status cannot_be_made(int error, const MacvtapOptions& options) {
  return fail("{}: {}", options.device, why_no_macvtap(error, options));
}

// --- Its file ---

std::string first_line_of(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Nothing: /sys is not there, or is another network's.
std::optional<dev_t> device_number(const std::string& name, unsigned index) {
  const std::string text = first_line_of(fmt::format("/sys/class/net/{}/tap{}/dev", name, index));
  const size_t colon = text.find(':');
  unsigned major = 0;
  unsigned minor = 0;
  const char* const end = text.data() + text.size();
  if (colon == std::string::npos || std::from_chars(text.data(), end, major).ec != std::errc() ||
      std::from_chars(text.data() + colon + 1, end, minor).ec != std::errc()) {
    return std::nullopt;
  }
  return ::makedev(major, minor);
}

struct OpenedFile {
  UniqueFd fd;
  bool is_shared = true;  // others open the same one
};

constexpr int kOpenFlags = O_RDWR | O_NONBLOCK | O_CLOEXEC;

// Where nobody has made one.
Result<UniqueFd> open_made(dev_t number, unsigned index) {
  const std::string path = fmt::format("/dev/vmm-tap{}-{}", index, ::getpid());
  if (::mknod(path.c_str(), S_IFCHR | S_IRUSR | S_IWUSR, number) != 0) {
    return fail("/dev/tap{}: is not there, and {} cannot be made: {}", index, path, errno_text(errno));
  }
  UniqueFd fd(::open(path.c_str(), kOpenFlags));
  const int error = errno;
  ::unlink(path.c_str());
  if (!fd) {
    return fail("{}: cannot be opened: {}", path, errno_text(error));
  }
  return fd;
}

Result<OpenedFile> open_file(const std::string& name, unsigned index) {
  const std::string path = fmt::format("/dev/tap{}", index);
  const auto number = device_number(name, index);
  struct stat info{};
  const bool is_there = ::stat(path.c_str(), &info) == 0 && S_ISCHR(info.st_mode);
  if (is_there && (!number || info.st_rdev == *number)) {
    UniqueFd fd(::open(path.c_str(), kOpenFlags));
    if (!fd) {
      return fail("{}: cannot be opened: {}", path, errno_text(errno));
    }
    return OpenedFile{.fd = std::move(fd)};
  }
  if (!number) {
    return fail("{}: is not there, and /sys/class/net/{} does not say which device it would be", path, name);
  }
  VMM_ASSIGN_OR_RETURN(UniqueFd fd, open_made(*number, index));
  return OpenedFile{.fd = std::move(fd), .is_shared = false};
}

Result<OpenedFile> open_macvtap_queue(const std::string& name, unsigned index, uint16_t pairs) {
  VMM_ASSIGN_OR_RETURN(OpenedFile file, open_file(name, index));
  ifreq request{};
  request.ifr_flags =
      static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (pairs > 1 ? IFF_MULTI_QUEUE : 0));
  if (::ioctl(file.fd.get(), TUNSETIFF, &request) != 0) {
    return fail("the macvtap {} cannot be used: {}", name, errno_text(errno));
  }
  VMM_TRY(set_tap_header(file.fd, name));
  return file;
}

// --- What others left ---

std::string text_of_mac(const std::array<std::byte, 6>& mac) {
  std::string text;
  for (const std::byte byte : mac) {
    text += fmt::format("{}{:02x}", text.empty() ? "" : ":", std::to_integer<unsigned>(byte));
  }
  return text;
}

// Whether vmm has made it, and nobody holds its lock any more.
bool is_left_over(const std::string& name, unsigned index) {
  if (first_line_of(fmt::format("/sys/class/net/{}/ifalias", name)) != kMark) {
    return false;
  }
  const auto file = open_file(name, index);
  return file && file->is_shared && ::flock(file->fd.get(), LOCK_EX | LOCK_NB) == 0;
}

void delete_left_over(const MacvtapOptions& options) {
  const std::string mac = text_of_mac(options.mac);
  const std::unique_ptr<struct if_nameindex, decltype(&::if_freenameindex)> all(::if_nameindex(),
                                                                                &::if_freenameindex);
  for (const struct if_nameindex* each = all.get(); each != nullptr && each->if_index != 0; ++each) {
    const std::string name = each->if_name;
    const bool is_in_the_way =
        name == options.name || first_line_of(fmt::format("/sys/class/net/{}/address", name)) == mac;
    if (is_in_the_way && is_left_over(name, each->if_index) &&
        delete_link(static_cast<int>(each->if_index))) {
      log::warning("network interface {}: was left by a guest that was killed, and is deleted", name);
    }
  }
}

// The next one to make one of this name or address sees that it is used.
void mark(const OpenedFile& file, int index) {
  if (file.is_shared && ::flock(file.fd.get(), LOCK_EX | LOCK_NB) == 0) {
    LinkRequest request(RTM_NEWLINK, 0, index);
    request.add_text(IFLA_IFALIAS, kMark);
    if (const int error = request.send(); error != 0) {
      log::warning("a macvtap cannot be marked as vmm's: {}", errno_text(error));
    }
  }
}

// --- Making it ---

Status check_before(const MacvtapOptions& options) {
  if (options.name.size() >= IFNAMSIZ) {
    return fail("{}: the name of an interface has at most {} bytes", options.name, IFNAMSIZ - 1);
  }
  if (::if_nametoindex(options.device.c_str()) == 0) {
    return fail("{}: there is no such interface; ip link shows those of the host", options.device);
  }
  return {};
}

Result<std::string> make_link(const MacvtapOptions& options) {
  const unsigned device = ::if_nametoindex(options.device.c_str());
  for (int number = 0; number < kMostNames; ++number) {
    std::string name = options.name.empty() ? fmt::format("{}{}", kKind, number) : options.name;
    const int error = request_of(options, name, device).send();
    if (error == 0) {
      return name;
    }
    if (error != EEXIST || !options.name.empty()) {
      return std::unexpected(cannot_be_made(error, options).error());
    }
  }
  return std::unexpected(cannot_be_made(EEXIST, options).error());
}

// The kernel gives it the host's interface's address, and puts that one's back at the end.
Status take_over(const MacvtapOptions& options, const std::string& name, const HostLinks& links) {
  VMM_TRY(links.set_mac(name, options.mac));
  return links.set_up(options.device);
}

}  // namespace

Status check_macvtap(const MacvtapOptions& options) {
  VMM_TRY(check_before(options));
  // On top of nothing none can be made (EINVAL), which the kernel finds out last.
  const int error = request_of(options, "", 0).send();
  return error == EPERM || error == EOPNOTSUPP ? cannot_be_made(error, options) : Status();
}

Result<OpenedTap> open_macvtap(const MacvtapOptions& options, EventLoop& loop) {
  VMM_TRY(check_before(options));
  VMM_ASSIGN_OR_RETURN(const HostLinks links, HostLinks::open());
  delete_left_over(options);
  VMM_ASSIGN_OR_RETURN(std::string name, make_link(options));
  const unsigned index = ::if_nametoindex(name.c_str());
  MadeLink link(static_cast<int>(index));
  std::vector<UniqueFd> queues;
  while (queues.size() < options.pairs) {
    VMM_ASSIGN_OR_RETURN(OpenedFile file, open_macvtap_queue(name, index, options.pairs));
    if (queues.empty()) {
      mark(file, link.index());
    }
    queues.push_back(std::move(file.fd));
  }
  if (options.mode == MacvtapMode::kPassthrough) {
    VMM_TRY(take_over(options, name, links));
  }
  VMM_TRY(links.set_up(name));
  VMM_ASSIGN_OR_RETURN(std::vector<UniqueFd> same, same_queues(queues));
  VMM_ASSIGN_OR_RETURN(std::unique_ptr<NetEnd> end,
                       make_tap_end(loop, name, std::move(queues), std::move(link)));
  return OpenedTap{.end = std::move(end), .name = std::move(name), .queues = std::move(same)};
}

}  // namespace vmm::net
