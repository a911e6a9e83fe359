// RecordedEnd: another end of a network, all of whose packets go to a PcapFile as well.
//
// They are recorded as they pass: large packets whole, checksums that are left to the other side not filled
// in. Packets of the guest when they go, also those that the network does not take, and of the network when
// the device gets them.
//
// Threads: as for every NetEnd.
#pragma once

#include <memory>
#include <vector>

#include "vmm/core/net_end.h"
#include "vmm/net/pcap_file.h"

namespace vmm::net {

class RecordedEnd final : public NetEnd {
 public:
  RecordedEnd(std::unique_ptr<NetEnd> end, PcapFile file);

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
  void record(std::span<const std::byte> frame);

  const std::unique_ptr<NetEnd> end_;
  PcapFile file_;
  std::vector<std::byte> packet_;
};

}  // namespace vmm::net
