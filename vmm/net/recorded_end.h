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

#include "vmm/net/pcap_file.h"
#include "vmm/net/wrapped_end.h"

namespace vmm::net {

class RecordedEnd final : public WrappedEnd {
 public:
  RecordedEnd(std::unique_ptr<NetEnd> end, PcapFile file);

  Sent send(uint16_t pair, const PacketHeader& header, std::span<const iovec> frame,
            size_t frame_bytes) override;
  size_t receive(uint16_t pair, std::span<const iovec> room) override;

 private:
  void record(std::span<const std::byte> frame);

  PcapFile file_;
  std::vector<std::byte> packet_;
};

}  // namespace vmm::net
