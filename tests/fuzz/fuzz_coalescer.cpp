// Segments of TCP on their way to a guest, in order or not, whole or cut off, and a guest that takes them now
// and then. What is cut again is what came, byte for byte, and no more is kept than the queue may hold.
//
// Input: options, then operations (see run()).
#include <algorithm>
#include <array>
#include <deque>
#include <vector>

#include "tests/fuzz/input.h"
#include "vmm/net/checksum.h"
#include "vmm/net/coalescer.h"
#include "vmm/net/tcp_cutter.h"

namespace vmm::net {
namespace {

constexpr int kMaxSteps = 1000;
constexpr size_t kQueueBytes = 100'000;
using Frame = std::vector<std::byte>;

class CoalescerFuzzer {
 public:
  explicit CoalescerFuzzer(fuzz::Input& input) : input_(input) {}

  void run() {
    use();
    for (int i = 0; i < kMaxSteps && !input_.is_empty(); ++i) {
      switch (input_.below(8)) {
        case 0:
          use();
          break;
        case 1:
          take(input_.below(4));
          break;
        case 2:
          begin();
          break;
        case 3:
          add(arbitrary());
          break;
        default:
          add(next_segment());
      }
    }
    take(kMaxSteps);
    VMM_CHECK(expected_.empty(), "frames are lost");
  }

 private:
  void use() {
    const uint8_t bits = input_.take<uint8_t>();
    coalescer_.set_use({.checksum = (bits & 1) == 0, .tcp4 = (bits & 2) == 0, .tcp6 = (bits & 4) == 0});
  }

  // Another connection.
  void begin() {
    is_v4_ = input_.chance();
    sequence_ = input_.take<uint32_t>();
    segment_bytes_ = input_.take<uint16_t>() % 1500;
  }

  Frame arbitrary() {
    const auto bytes = input_.take_bytes(input_.take<uint16_t>() % 2000);
    Frame frame(bytes.begin(), bytes.end());
    frame.resize(std::max(frame.size(), kEthernetHeaderBytes));
    return frame;
  }

  // The next one of the connection, perhaps with a mistake.
  Frame next_segment() {
    const uint8_t kind = input_.take<uint8_t>();
    const size_t length = kind % 8 == 0 ? input_.take<uint16_t>() % 1500U : segment_bytes_;
    Frame frame(kEthernetHeaderBytes + (is_v4_ ? kIp4HeaderBytes : kIp6HeaderBytes) + kTcpHeaderBytes);
    store_be<uint16_t>(&frame[kEtherTypeAt], is_v4_ ? kEtherTypeIp4 : kEtherTypeIp6);
    std::byte* const ip = &frame[TcpFrame::kIpAt];
    ip[0] = std::byte{is_v4_ ? uint8_t{0x45} : uint8_t{0x60}};
    ip[is_v4_ ? 9 : 6] = std::byte{6};
    std::byte* const tcp = ip + (is_v4_ ? kIp4HeaderBytes : kIp6HeaderBytes);
    store_be<uint32_t>(tcp + kTcpSequenceAt, sequence_);
    tcp[12] = std::byte{kTcpHeaderBytes / 4 << 4U};
    tcp[kTcpFlagsAt] = std::byte{kTcpAck};
    if (is_v4_) {
      store_be<uint16_t>(ip + kIp4IdAt, id_++);
    }
    if (kind >= 0xf0) {
      frame[input_.below(static_cast<unsigned>(frame.size()))] = std::byte{input_.take<uint8_t>()};
    }
    for (size_t i = 0; i < length; ++i) {
      frame.push_back(static_cast<std::byte>(sequence_ + i));
    }
    sequence_ += static_cast<uint32_t>(length);
    return frame;
  }

  void add(Frame frame) {
    // The coalescer is given frames with right lengths and checksums.
    if (const auto at = TcpFrame::parse(frame, TcpFrame::Length::kOfFrame)) {
      set_lengths(frame, *at);
      complete_checksum(frame, at->tcp_at, kTcpChecksumAt);
    }
    if (coalescer_.add(frame)) {
      expected_.push_back(std::move(frame));
    }
    VMM_CHECK(queue_.bytes() <= kQueueBytes, "more is kept than the queue may hold");
  }

  void take(int most) {
    std::vector<std::byte> room(kMaxPacketBytes);
    const iovec buffer{.iov_base = room.data(), .iov_len = room.size()};
    coalescer_.complete();
    for (int i = 0; i < most; ++i) {
      const size_t bytes = queue_.receive({&buffer, 1});
      if (bytes == 0) {
        return;
      }
      PacketHeaderBytes header{};
      std::copy_n(room.begin(), header.size(), header.begin());
      compare(PacketHeader::parse(header), std::span(room).first(bytes).subspan(kPacketHeaderBytes));
    }
  }

  void compare(const PacketHeader& header, std::span<const std::byte> frame) {
    if (header.segments == PacketHeader::kNone) {
      return compare(frame);
    }
    const auto at = TcpFrame::parse(frame);
    VMM_CHECK(at.has_value() && at->end == frame.size(), "a large packet is none of TCP");
    TcpCutter cutter(frame, *at, header.segment_bytes);
    for (auto segment = cutter.next(); !segment.empty(); segment = cutter.next()) {
      compare(segment);
    }
  }
  void compare(std::span<const std::byte> frame) {
    VMM_CHECK(!expected_.empty() && std::ranges::equal(frame, expected_.front()),
              "a frame came out as another");
    expected_.pop_front();
  }

  fuzz::Input& input_;
  PacketQueue queue_{kQueueBytes};
  Coalescer coalescer_{queue_};
  std::deque<Frame> expected_;
  bool is_v4_ = true;
  uint32_t sequence_ = 0;
  uint16_t id_ = 0xfff0;
  size_t segment_bytes_ = 1460;
};

}  // namespace
}  // namespace vmm::net

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::fuzz::Input input(data, size);
  vmm::net::CoalescerFuzzer(input).run();
  return 0;
}
