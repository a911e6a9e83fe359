// The host's end of a domain's <interface>.
//
// Threads: the main thread, before the loop turns.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/unique_fd.h"
#include "vmm/core/net_end.h"
#include "vmm/domain/domain.h"
#include "vmm/net/filtered_end.h"

namespace vmm {

struct OpenedNetEnd {
  std::unique_ptr<NetEnd> end;
  std::string target;                          // the host's interface; empty: there is none
  const net::FilteredEnd* filtered = nullptr;  // within `end`, where it has a filter
  std::vector<UniqueFd> tap_queues{};          // of a tap or macvtap, as in `end`
};

// What stands in the way of that, as far as it is seen without a change to the host.
Status check_net_end(const domain::Interface& wanted);

// name: of the interface, for the log. An error says what is missing on the host, and what to do.
Result<OpenedNetEnd> open_net_end(const domain::Domain& domain, const domain::Interface& wanted,
                                  const std::string& name, EventLoop& loop);

}  // namespace vmm
