#include "vmm/domain/net_addresses.h"

#include <arpa/inet.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>
#include <utility>

namespace vmm::domain {
namespace {

// FNV-1a: stable, and spreads what differs in few bits.
class Hash {
 public:
  void add(uint8_t byte) { value_ = (value_ ^ byte) * 0x0000'0100'0000'01b3; }
  void add_text(std::string_view text) {
    for (const char c : text) {
      add(static_cast<uint8_t>(c));
    }
  }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xcbf2'9ce4'8422'2325;
};

}  // namespace

std::optional<MacAddress> parse_mac(std::string_view text) {
  constexpr size_t kCharacters = 17;
  MacAddress mac;
  if (text.size() != kCharacters) {
    return std::nullopt;
  }
  for (size_t i = 0; i < mac.bytes.size(); ++i) {
    const std::string_view digits = text.substr(3 * i, 2);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), mac.bytes.at(i), 16);
    const bool is_byte = error == std::errc() && end == digits.data() + digits.size();
    if (!is_byte || (i > 0 && text[3 * i - 1] != ':')) {
      return std::nullopt;
    }
  }
  return mac;
}

std::string mac_text(const MacAddress& mac) { return fmt::format("{:02x}", fmt::join(mac.bytes, ":")); }

MacAddress made_mac(const Domain& domain, uint32_t index) {
  Hash hash;
  if (domain.uuid) {
    std::ranges::for_each(*domain.uuid, [&hash](uint8_t byte) { hash.add(byte); });
  } else {
    hash.add_text(domain.name);
  }
  hash.add(0);
  hash.add(static_cast<uint8_t>(index));
  hash.add(static_cast<uint8_t>(index >> 8U));
  const uint64_t value = hash.value() ^ hash.value() >> 32U;
  return {.bytes = {0x52, 0x54, 0x00, static_cast<uint8_t>(value >> 16U), static_cast<uint8_t>(value >> 8U),
                    static_cast<uint8_t>(value)}};
}

bool is_host_device_name(std::string_view name) {
  constexpr size_t kLongestName = 15;  // IFNAMSIZ, without its NUL
  return !name.empty() && name.size() <= kLongestName && name != "." && name != ".." &&
         std::ranges::all_of(name,
                             [](char c) { return c > ' ' && c < 0x7f && c != '/' && c != ':' && c != '%'; });
}

std::optional<IpAddress> parse_ip(std::string_view text) {
  const std::string whole(text);
  IpAddress address;
  if (text.find('\0') != std::string_view::npos) {
    return std::nullopt;
  }
  address.is_v6 = text.find(':') != std::string_view::npos;
  const int family = address.is_v6 ? AF_INET6 : AF_INET;
  return ::inet_pton(family, whole.c_str(), address.bytes.data()) == 1 ? std::optional(address)
                                                                       : std::nullopt;
}

std::string ip_text(const IpAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = address.is_v6 ? AF_INET6 : AF_INET;
  return ::inet_ntop(family, address.bytes.data(), text.data(), text.size()) == nullptr ? "" : text.data();
}

std::optional<uint32_t> usual_prefix(const IpAddress& address) {
  constexpr uint32_t kIpv6Prefix = 64;
  constexpr std::array<std::pair<uint8_t, uint32_t>, 3> kClasses = {{{0x80, 8}, {0xc0, 16}, {0xe0, 24}}};
  if (address.is_v6) {
    return kIpv6Prefix;
  }
  for (const auto& [end, prefix] : kClasses) {
    if (address.bytes[0] < end) {
      return prefix;
    }
  }
  return std::nullopt;
}

}  // namespace vmm::domain
