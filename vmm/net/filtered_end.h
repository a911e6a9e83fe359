// FilteredEnd: another end of a network, which a guest's packets reach only as SpoofRules say.
//
// What is looked at is copied first, and the copy is sent: the guest cannot change it meanwhile. Large
// packets have one header, which is that of all their segments.
//
// Threads: as for every NetEnd; received_filtered() from any.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "vmm/base/log.h"
#include "vmm/net/spoof_rules.h"
#include "vmm/net/wrapped_end.h"

namespace vmm::net {

class FilteredEnd final : public WrappedEnd {
 public:
  // name: of the interface, for the log.
  FilteredEnd(std::unique_ptr<NetEnd> end, SpoofRules rules, std::string name);

  // Packets that the guest did not get.
  uint64_t received_filtered() const { return received_filtered_.load(std::memory_order_relaxed); }

  Sent send(uint16_t pair, const PacketHeader& header, std::span<const iovec> frame,
            size_t frame_bytes) override;
  size_t receive(uint16_t pair, std::span<const iovec> room) override;

 private:
  const SpoofRules rules_;
  const std::string name_;
  std::array<std::byte, SpoofRules::kLookedAtBytes> front_{};
  std::vector<iovec> vectors_;
  std::vector<std::byte> packet_;  // on its way to the guest, where that is looked at
  std::atomic<uint64_t> received_filtered_{0};
  log::RateLimit limit_;
};

}  // namespace vmm::net
