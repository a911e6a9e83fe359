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
#include "vmm/core/net_end.h"
#include "vmm/net/spoof_rules.h"

namespace vmm::net {

class FilteredEnd final : public NetEnd {
 public:
  // name: of the interface, for the log.
  FilteredEnd(std::unique_ptr<NetEnd> end, SpoofRules rules, std::string name);

  // Packets that the guest did not get.
  uint64_t received_filtered() const { return received_filtered_.load(std::memory_order_relaxed); }

  uint16_t pairs() const override { return end_->pairs(); }
  PacketOffloads takes() const override { return end_->takes(); }
  PacketOffloads can_give() const override { return end_->can_give(); }
  void connect(NetReceiver& receiver) override { end_->connect(receiver); }
  void set_use(uint16_t pairs, const PacketOffloads& gives) override { end_->set_use(pairs, gives); }
  Sent send(uint16_t pair, const PacketHeader& header, std::span<const iovec> frame,
            size_t frame_bytes) override;
  void want_packets(uint16_t pair, bool is_wanted) override { end_->want_packets(pair, is_wanted); }
  size_t receive(uint16_t pair, std::span<const iovec> room) override;

 private:
  const std::unique_ptr<NetEnd> end_;
  const SpoofRules rules_;
  const std::string name_;
  std::array<std::byte, SpoofRules::kLookedAtBytes> front_{};
  std::vector<iovec> vectors_;
  std::vector<std::byte> packet_;  // on its way to the guest, where that is looked at
  std::atomic<uint64_t> received_filtered_{0};
  log::RateLimit limit_;
};

}  // namespace vmm::net
