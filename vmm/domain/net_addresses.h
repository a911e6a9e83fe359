// Addresses of network cards and of IP, as text.
//
// Threads: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "vmm/domain/domain.h"

namespace vmm::domain {

// "52:54:00:12:34:56"
std::optional<MacAddress> parse_mac(std::string_view text);
std::string mac_text(const MacAddress& mac);

// Of the domain's interface number `index` where the file names none: the same for each domain of this uuid
// (of this name, where it has no uuid), as good as sure another for others.
MacAddress made_mac(const Domain& domain, uint32_t index);

// Whether a network device of the host can be called so: dev_valid_name() of Linux, but for characters that a
// terminal does not show.
bool is_host_device_name(std::string_view name);

// "192.168.1.2" or "2001:db8::2", as inet_pton(3) takes them.
std::optional<IpAddress> parse_ip(std::string_view text);
std::string ip_text(const IpAddress& address);

// How many bits name the network where it is not said: as libvirt does, 64 of IPv6, and of IPv4 those of the
// address's class (RFC 791, section 3.2). Nothing: it is of none.
std::optional<uint32_t> usual_prefix(const IpAddress& address);

}  // namespace vmm::domain
