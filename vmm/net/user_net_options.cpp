// What UserNetOptions may say.
#include "vmm/net/user_net_options.h"

#include <sys/stat.h>

#include <algorithm>

namespace vmm::net {
namespace {

constexpr size_t kMaxHostnameBytes = 32;
constexpr size_t kMaxBootFileBytes = 127;
constexpr uint32_t kLeastMtu4 = 576;
constexpr uint32_t kLeastMtu6 = 1280;
constexpr uint32_t kMostMtu = 65521;

// The bits of `address` behind the prefix are those of `low`.
IpAddress host_of(const IpAddress& network, unsigned prefix_bits, uint16_t low) {
  auto bytes = network.bytes();
  const size_t last = network.bit_count() / 8 - 1;
  for (size_t bit = prefix_bits; bit < network.bit_count(); ++bit) {
    const std::byte mask = std::byte{0x80} >> (bit % 8);
    const size_t index = bit / 8;
    const auto wanted = index == last       ? std::byte(low & 0xff)
                        : index == last - 1 ? std::byte(low >> 8U)
                                            : std::byte{0};
    bytes[index] = (bytes[index] & ~mask) | (wanted & mask);
  }
  return network.is_v4() ? IpAddress::v4(static_cast<uint8_t>(bytes[0]), static_cast<uint8_t>(bytes[1]),
                                         static_cast<uint8_t>(bytes[2]), static_cast<uint8_t>(bytes[3]))
                         : IpAddress::v6(bytes);
}

Status check_place(std::string_view role, const IpAddress& address, const IpAddress& network,
                   unsigned prefix_bits) {
  if (!address.is_in(network, prefix_bits)) {
    return fail_configuration("the {} {} is not in the network {}/{}", role, address.text(), network.text(),
                              prefix_bits);
  }
  return {};
}

Status check_ip4(const UserNetOptions::Ip4& ip4) {
  if (!ip4.network.is_v4() || ip4.prefix_bits < 8 || ip4.prefix_bits > 27) {
    return fail_configuration("{}/{} is not an IPv4 network with a prefix of 8 to 27 bits",
                              ip4.network.text(), ip4.prefix_bits);
  }
  VMM_TRY(check_place("host's address", ip4.host, ip4.network, ip4.prefix_bits));
  VMM_TRY(check_place("DNS server", ip4.dns, ip4.network, ip4.prefix_bits));
  VMM_TRY(check_place("first address for DHCP", ip4.first_dhcp, ip4.network, ip4.prefix_bits));
  if (ip4.host == ip4.dns || ip4.host == ip4.first_dhcp || ip4.dns == ip4.first_dhcp) {
    return fail_configuration(
        "the host, the DNS server and the first address for DHCP have to differ in {}/{}", ip4.network.text(),
        ip4.prefix_bits);
  }
  return {};
}

Status check_ip6(const UserNetOptions::Ip6& ip6) {
  if (ip6.prefix.is_v4() || ip6.prefix_bits < 8 || ip6.prefix_bits > 126) {
    return fail_configuration("{}/{} is not an IPv6 network with a prefix of 8 to 126 bits",
                              ip6.prefix.text(), ip6.prefix_bits);
  }
  VMM_TRY(check_place("host's address", ip6.host, ip6.prefix, ip6.prefix_bits));
  VMM_TRY(check_place("DNS server", ip6.dns, ip6.prefix, ip6.prefix_bits));
  if (ip6.host == ip6.dns) {
    return fail_configuration("the host and the DNS server have to differ in {}/{}", ip6.prefix.text(),
                              ip6.prefix_bits);
  }
  return {};
}

Status check_boot(const UserNetOptions& options) {
  if (options.hostname.size() > kMaxHostnameBytes) {
    return fail_configuration("the host name {} is longer than {} bytes", options.hostname,
                              kMaxHostnameBytes);
  }
  if (options.boot_file.size() > kMaxBootFileBytes) {
    return fail_configuration("the boot file's name {} is longer than {} bytes", options.boot_file,
                              kMaxBootFileBytes);
  }
  struct stat info{};
  if (!options.tftp_folder.empty() &&
      (::stat(options.tftp_folder.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))) {
    return fail("the TFTP folder {} is not there", options.tftp_folder);
  }
  return {};
}

}  // namespace

UserNetOptions::Ip4 UserNetOptions::Ip4::within(const IpAddress& network, unsigned prefix_bits) {
  return {.network = host_of(network, prefix_bits, 0),
          .prefix_bits = prefix_bits,
          .host = host_of(network, prefix_bits, 0x0202),
          .dns = host_of(network, prefix_bits, 0x0203),
          .first_dhcp = host_of(network, prefix_bits, 0x020f)};
}

UserNetOptions::Ip6::Ip6() : Ip6(IpAddress::v6({std::byte{0xfe}, std::byte{0xc0}}), 64) {}

UserNetOptions::Ip6::Ip6(const IpAddress& in_prefix, unsigned bits)
    : prefix(host_of(in_prefix, bits, 0)),
      prefix_bits(bits),
      host(host_of(in_prefix, bits, 2)),
      dns(host_of(in_prefix, bits, 3)) {}

Status check(const UserNetOptions& options) {
  if (!options.ip4 && !options.ip6) {
    return fail_configuration("a user network needs IPv4 or IPv6");
  }
  if (options.ip4) {
    VMM_TRY(check_ip4(*options.ip4));
  }
  if (options.ip6) {
    VMM_TRY(check_ip6(*options.ip6));
  }
  const uint32_t least = options.ip6 ? kLeastMtu6 : kLeastMtu4;
  if (options.mtu < least || options.mtu > kMostMtu) {
    return fail_configuration("an MTU of {} bytes is not from {} to {}", options.mtu, least, kMostMtu);
  }
  return check_boot(options);
}

Status check(const PortForward& forward) {
  if (forward.host_port == 0 || forward.guest_port == 0) {
    return fail_configuration("a forwarded port is from 1 to 65535");
  }
  return {};
}

}  // namespace vmm::net
