#include "vmm/net/recorded_end.h"

#include <algorithm>
#include <chrono>

#include "vmm/net/packet_queue.h"

namespace vmm::net {

RecordedEnd::RecordedEnd(std::unique_ptr<NetEnd> end, PcapFile file)
    : WrappedEnd(std::move(end)), file_(std::move(file)), packet_(kMaxPacketBytes) {}

void RecordedEnd::record(std::span<const std::byte> frame) {
  file_.write(frame, std::chrono::system_clock::now());
}

// Read once: what is recorded is what is sent.
NetEnd::Sent RecordedEnd::send(uint16_t pair, const PacketHeader& header, std::span<const iovec> frame,
                               size_t frame_bytes) {
  if (!file_.is_open()) {
    return WrappedEnd::send(pair, header, frame, frame_bytes);
  }
  const auto copy = std::span(packet_).first(gather(frame, std::span(packet_).first(frame_bytes)));
  const iovec buffer{.iov_base = copy.data(), .iov_len = copy.size()};
  const Sent sent = WrappedEnd::send(pair, header, {&buffer, 1}, copy.size());
  if (sent != Sent::kFull) {
    record(copy);
  }
  return sent;
}

size_t RecordedEnd::receive(uint16_t pair, std::span<const iovec> room) {
  const size_t bytes = WrappedEnd::receive(pair, room);
  if (bytes > kPacketHeaderBytes && file_.is_open()) {
    gather(room, std::span(packet_).first(bytes));
    record(std::span(packet_).first(bytes).subspan(kPacketHeaderBytes));
  }
  return bytes;
}

}  // namespace vmm::net
