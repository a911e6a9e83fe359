#include "vmm/cli/quick_network.h"

#include <charconv>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

#include "vmm/domain/net_addresses.h"

namespace vmm::cli {
namespace {

// What others on this machine and beyond are kept from, if it is not said.
constexpr std::string_view kUsualAddress = "127.0.0.1";

std::optional<uint16_t> parse_port(std::string_view text) {
  uint16_t port = 0;
  const char* const end = std::to_address(text.end());
  const auto [rest, error] = std::from_chars(std::to_address(text.begin()), end, port);
  return error == std::errc() && rest == end && port > 0 ? std::optional(port) : std::nullopt;
}

// Takes what stands behind the last ':' away from `text`.
std::string_view take_last(std::string_view& text) {
  const size_t colon = text.rfind(':');
  const std::string_view last = colon == std::string_view::npos ? text : text.substr(colon + 1);
  text = colon == std::string_view::npos ? std::string_view() : text.substr(0, colon);
  return last;
}

// "[::1]" or "127.0.0.1"
std::optional<domain::IpAddress> parse_address(std::string_view text) {
  const bool is_in_brackets = text.starts_with('[') && text.ends_with(']') && text.size() > 2;
  const auto address = domain::parse_ip(is_in_brackets ? text.substr(1, text.size() - 2) : text);
  return address && address->is_v6 == is_in_brackets ? address : std::nullopt;
}

// What "tap:" or "bridge:" names.
Status read_net_device(std::string_view text, std::string_view name, domain::QuickDomain& quick) {
  if (!domain::is_host_device_name(name)) {
    return fail_configuration(
        "--net {}: '{}' is not a name of a network device: these have 1 to 15 characters, no '/', ':' or '%' "
        "and "
        "no white space",
        text, name);
  }
  quick.net_device = name;
  return {};
}

}  // namespace

Status read_net(std::string_view text, domain::QuickDomain& quick) {
  constexpr std::string_view kTap = "tap:";
  constexpr std::string_view kBridge = "bridge:";
  if (quick.net) {
    return fail_configuration("--net {}: --net was given already; one card is made, more in a domain file",
                              text);
  }
  if (text == "user" || text == "none") {
    quick.net = text == "user" ? domain::QuickNet::kUser : domain::QuickNet::kNone;
    return {};
  }
  if (text.starts_with(kTap)) {
    quick.net = domain::QuickNet::kTap;
    return read_net_device(text, text.substr(kTap.size()), quick);
  }
  if (text.starts_with(kBridge)) {
    quick.net = domain::QuickNet::kBridge;
    return read_net_device(text, text.substr(kBridge.size()), quick);
  }
  return fail_configuration("--net {}: user, none, tap:NAME and bridge:NAME can be", text);
}

Status read_forward(std::string_view text, domain::QuickDomain& quick) {
  domain::QuickForward forward;
  std::string_view rest = text;
  if (rest.starts_with("tcp:") || rest.starts_with("udp:")) {
    forward.protocol = rest.starts_with("udp:") ? domain::IpProtocol::kUdp : domain::IpProtocol::kTcp;
    rest.remove_prefix(4);
  }
  const auto guest_port = parse_port(take_last(rest));
  const auto host_port = parse_port(take_last(rest));
  const auto address = parse_address(rest.empty() ? kUsualAddress : rest);
  if (!guest_port || !host_port || !address) {
    return fail_configuration(
        "--forward {}: write it as 2222:22, tcp:127.0.0.1:2222:22 or udp:[::1]:5353:53: the host's port, "
        "then the "
        "guest's, each from 1 to 65535",
        text);
  }
  forward.address = *address;
  forward.host_port = *host_port;
  forward.guest_port = *guest_port;
  quick.forwards.push_back(forward);
  return {};
}

}  // namespace vmm::cli
