// What the host's kernel has counted at one of its network interfaces (proc(5), /proc/net/dev).
//
// Threads: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vmm::net {

struct LinkCounters {
  struct Direction {
    uint64_t packets = 0;
    uint64_t bytes = 0;
    uint64_t dropped = 0;
  };
  Direction received;  // by the interface
  Direction sent;
};

// In the network namespace of this thread. Nothing: there is no such interface.
std::optional<LinkCounters> link_counters(const std::string& name);
// The same out of the file's text.
std::optional<LinkCounters> link_counters_in(std::string_view text, std::string_view name);

}  // namespace vmm::net
