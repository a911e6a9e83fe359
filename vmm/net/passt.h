// passt(1): a program that is a network of the guest's own, with the host's sockets, in a process of its own
// that has no rights left (libvirt's <backend type='passt'/>).
//
// It has one end of a pair of sockets, and ends when the other is closed: with vmm, however that ends.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/ip_address.h"
#include "vmm/core/net_end.h"

namespace vmm::net {

struct PasstOptions {
  struct Range {
    uint16_t first = 0, last = 0;  // of the host's ports
    uint16_t to = 0;               // the guest's port for the first
    bool is_excluded = false;
  };
  struct Forward {
    bool is_udp = false;
    std::optional<IpAddress> address{};  // of the host; absent: all
    std::string device{};                // of the host; empty: all; with an address, or IPv4 only
    std::vector<Range> ranges{};         // empty: all ports
  };

  std::string program{};           // empty: passt, where packages put it
  std::string device{};            // whose addresses and routes the guest gets; empty: passt's choice
  std::optional<IpAddress> ip4{};  // the guest's; absent: the host's own
  uint32_t prefix4 = 0;            // bits; with ip4
  std::optional<IpAddress> ip6{};  // the same
  uint32_t mtu = 0;                // the guest is told; 0: nothing
  std::string log_file{};          // empty: none
  std::vector<Forward> forwards{};
};

// passt's command line, its path first; its end of the socket is called `descriptor`.
std::vector<std::string> passt_words(const PasstOptions& options, int descriptor);

// What is missing on the host.
Status check_passt(const PasstOptions& options);

// Waits until passt is ready, at most 10 s. Errors have what it said. The end belongs to the loop.
Result<std::unique_ptr<NetEnd>> open_passt(const PasstOptions& options, EventLoop& loop);

}  // namespace vmm::net
