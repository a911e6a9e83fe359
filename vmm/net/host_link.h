// HostLink: what can be done to network interfaces of the host (netdevice(7)).
//
// Threads: any.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"

namespace vmm::net {

class HostLinks {
 public:
  static Result<HostLinks> open();

  bool exists(const std::string& name) const;
  bool is_bridge(const std::string& name) const;
  // Errors name what could not be done to which interface.
  Status set_up(const std::string& name) const;
  Status set_mtu(const std::string& name, uint32_t mtu) const;
  Status set_mac(const std::string& name, const std::array<std::byte, 6>& mac) const;
  Status add_to_bridge(const std::string& name, const std::string& bridge) const;

 private:
  explicit HostLinks(UniqueFd socket) : socket_(std::move(socket)) {}
  UniqueFd socket_;
};

}  // namespace vmm::net
