// TcpCutter: cuts a large TCP packet into segments, as an interface with segmentation offload does.
//
// Sequence numbers and IPv4's identification go on; PSH and FIN are the last segment's, CWR the first's (RFC
// 3168, section 6.1.2). Lengths and checksums are made anew. Threads: its owner's.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "vmm/net/tcp_frame.h"

namespace vmm::net {

class TcpCutter {
 public:
  // REQUIRES: `at` is of this frame, which stays as it is meanwhile; segment_bytes > 0.
  TcpCutter(std::span<const std::byte> frame, const TcpFrame& at, size_t segment_bytes);

  // The next segment, a frame, which stays until the next call; empty: there is none. A packet without
  // payload is one segment.
  std::span<const std::byte> next();

 private:
  void set_headers(size_t index, size_t payload_from, bool is_last);

  std::span<const std::byte> frame_;
  TcpFrame at_;
  size_t segment_bytes_;
  size_t index_ = 0;
  std::vector<std::byte> segment_;
};

}  // namespace vmm::net
