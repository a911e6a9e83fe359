#include "vmm/net/tcp_cutter.h"

#include <algorithm>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"
#include "vmm/net/checksum.h"

namespace vmm::net {

TcpCutter::TcpCutter(std::span<const std::byte> frame, const TcpFrame& at, size_t segment_bytes)
    : frame_(frame), at_(at), segment_bytes_(segment_bytes) {
  VMM_CHECK(segment_bytes > 0, "a packet cannot be cut into segments of nothing");
}

std::span<const std::byte> TcpCutter::next() {
  const size_t from = index_ * segment_bytes_;
  if (index_ > 0 && from >= at_.payload_bytes()) {
    return {};
  }
  const size_t count = std::min(segment_bytes_, at_.payload_bytes() - from);
  const auto headers = frame_.first(at_.payload_at);
  const auto payload = frame_.subspan(at_.payload_at + from, count);
  segment_.assign(headers.begin(), headers.end());
  segment_.insert(segment_.end(), payload.begin(), payload.end());
  set_headers(index_, from, from + count == at_.payload_bytes());
  ++index_;
  return segment_;
}

void TcpCutter::set_headers(size_t index, size_t payload_from, bool is_last) {
  std::byte* const tcp = &segment_[at_.tcp_at];
  if (at_.is_v4) {
    std::byte* const id = &segment_[TcpFrame::kIpAt + kIp4IdAt];
    store_be<uint16_t>(id, static_cast<uint16_t>(load_be<uint16_t>(id) + index));
  }
  store_be<uint32_t>(tcp + kTcpSequenceAt,
                     static_cast<uint32_t>(load_be<uint32_t>(tcp + kTcpSequenceAt) + payload_from));
  uint8_t not_here = 0;
  if (!is_last) {
    not_here |= kTcpFin | kTcpPush;
  }
  if (index > 0) {
    not_here |= kTcpCwr;
  }
  tcp[kTcpFlagsAt] &= ~std::byte{not_here};
  set_lengths(segment_, at_);
  complete_checksum(segment_, at_.tcp_at, kTcpChecksumAt);
}

}  // namespace vmm::net
