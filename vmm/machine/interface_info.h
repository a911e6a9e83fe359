// InterfaceInfo: one of a guest's network interfaces, as it is told to who asks.
//
// Threads: values.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "vmm/core/net_counters.h"

namespace vmm {

struct InterfaceInfo {
  using Mac = std::array<uint8_t, 6>;
  // Which frames of a kind the guest receives.
  enum class Receives : uint8_t { kNone, kListed, kAll };

  std::string name;    // net0, net1, …: by their order in the file; or its alias
  std::string target;  // the host's interface; empty: there is none
  Mac mac{};           // as its driver has set it
  bool is_link_up = true;
  bool is_promiscuous = true;
  Receives unicast = Receives::kListed;
  Receives multicast = Receives::kListed;
  bool receives_broadcast = true;
  std::vector<Mac> unicast_list;
  std::vector<Mac> multicast_list;
  bool unicast_has_overflown = false;
  bool multicast_has_overflown = false;
  bool filters_vlans = false;
  std::vector<uint16_t> vlans;  // those it receives, where it filters them

  NetCounters::Values counters;  // since the start
};

}  // namespace vmm
