#include "vmm/base/ip_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

namespace vmm {

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string terminated(text);
  if (text.find('\0') != std::string_view::npos) {
    return std::nullopt;
  }
  std::array<std::byte, 16> bytes{};
  if (::inet_pton(AF_INET, terminated.c_str(), bytes.data()) == 1) {
    return IpAddress(Family::kV4, bytes);
  }
  if (::inet_pton(AF_INET6, terminated.c_str(), bytes.data()) == 1) {
    return IpAddress(Family::kV6, bytes);
  }
  return std::nullopt;
}

bool IpAddress::is_in(const IpAddress& network, size_t prefix_bits) const {
  if (family_ != network.family_ || prefix_bits > bit_count()) {
    return false;
  }
  for (size_t bit = 0; bit < prefix_bits; ++bit) {
    const auto mask = std::byte{0x80} >> (bit % 8);
    if ((bytes_[bit / 8] & mask) != (network.bytes_[bit / 8] & mask)) {
      return false;
    }
  }
  return true;
}

std::string IpAddress::text() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes_.data(), text.data(), text.size());
  return text.data();
}

}  // namespace vmm
