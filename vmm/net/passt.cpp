#include "vmm/net/passt.h"

#include <unistd.h>

#include <net/if.h>
#include <chrono>
#include <string_view>
#include <utility>

#include "vmm/base/printable.h"
#include "vmm/net/child_program.h"
#include "vmm/net/stream_socket_end.h"

namespace vmm::net {
namespace {

constexpr const char* kPasstPaths[] = {"/usr/bin/passt", "/usr/local/bin/passt"};
constexpr std::chrono::seconds kPasstsTime(10);
constexpr size_t kMostReason = 400;

std::string find_passt() {
  for (const char* const path : kPasstPaths) {
    if (::access(path, X_OK) == 0) {
      return path;
    }
  }
  return {};
}

Result<std::string> path_of(const PasstOptions& options) {
  std::string path = options.program.empty() ? find_passt() : options.program;
  if (path.empty()) {
    return fail("passt is not there; install the package passt, or leave <backend> out (libslirp)");
  }
  return path;
}

std::string text_of(const PasstOptions::Range& range) {
  std::string text = range.is_excluded ? "~" : "";
  text += fmt::format("{}-{}", range.first, range.last);
  if (!range.is_excluded && range.to != range.first) {
    text += fmt::format(":{}-{}", range.to, range.to + (range.last - range.first));
  }
  return text;
}

std::string text_of(const PasstOptions::Forward& forward) {
  std::string text;
  if (forward.address || !forward.device.empty()) {
    // passt takes a device with an address only.
    text = forward.address.value_or(IpAddress::v4(0, 0, 0, 0)).text();
    text += forward.device.empty() ? "/" : "%" + forward.device + "/";
  }
  if (forward.ranges.empty()) {
    return text + "all";
  }
  std::string_view comma;
  for (const PasstOptions::Range& range : forward.ranges) {
    text += fmt::format("{}{}", std::exchange(comma, ","), text_of(range));
  }
  return text;
}

// What it gave up for: the lines that it wrote, but for what it always says.
std::string reason_in(std::string_view said) {
  std::string reason;
  while (!said.empty()) {
    const std::string_view line = said.substr(0, said.find('\n'));
    said.remove_prefix(std::min(line.size() + 1, said.size()));
    if (!line.empty() && !line.starts_with("Failed to send") && !line.starts_with("Don't run as root")) {
      reason += reason.empty() ? "" : "; ";
      reason += line;
    }
  }
  return printable(reason.substr(0, kMostReason));
}

}  // namespace

// The MAC address that can be given to passt (--mac-addr) would be the gateway's, and not the guest's.
std::vector<std::string> passt_words(const PasstOptions& options, int descriptor) {
  std::vector<std::string> words = {options.program, "--quiet", "--fd", fmt::format("{}", descriptor)};
  const auto add = [&](const char* option, std::string value) {
    words.emplace_back(option);
    words.push_back(std::move(value));
  };
  if (options.mtu != 0) {
    add("--mtu", fmt::format("{}", options.mtu));
  }
  if (!options.device.empty()) {
    add("--interface", options.device);
  }
  if (!options.log_file.empty()) {
    add("--log-file", options.log_file);
  }
  if (options.ip4) {
    add("--address", options.ip4->text());
    add("--netmask", fmt::format("{}", options.prefix4));
  }
  if (options.ip6) {
    add("--address", options.ip6->text());
  }
  for (const PasstOptions::Forward& forward : options.forwards) {
    add(forward.is_udp ? "--udp-ports" : "--tcp-ports", text_of(forward));
  }
  return words;
}

Status check_passt(const PasstOptions& options) {
  VMM_TRY(path_of(options));
  if (!options.device.empty() && ::if_nametoindex(options.device.c_str()) == 0) {
    return fail("{}: there is no such interface", options.device);
  }
  return {};
}

Result<std::unique_ptr<NetEnd>> open_passt(const PasstOptions& options, EventLoop& loop) {
  VMM_TRY(check_passt(options));
  PasstOptions used = options;
  VMM_ASSIGN_OR_RETURN(used.program, path_of(options));
  VMM_ASSIGN_OR_RETURN(auto sockets, make_socket_pair());
  VMM_ASSIGN_OR_RETURN(const ProgramEnd end,
                       run_program(passt_words(used, kGivenDescriptor), sockets.second, kPasstsTime));
  if (end.status != 0) {
    const std::string reason = reason_in(end.said);
    return fail("passt: {}", reason.empty() ? "has ended at once" : reason);
  }
  VMM_ASSIGN_OR_RETURN(std::unique_ptr<NetEnd> opened,
                       StreamSocketEnd::create(loop, std::move(sockets.first), "passt"));
  return opened;
}

}  // namespace vmm::net
