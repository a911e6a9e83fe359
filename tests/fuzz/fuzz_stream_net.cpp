// Two that do not keep to the protocol at the sides of a network's stream socket: a peer (passt's place) that
// says what it likes, in pieces, and a guest that sends, takes, goes and comes. What the peer hears are whole
// frames of lengths that passt takes.
//
// Input: operations (see run()).
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include "tests/fuzz/input.h"
#include "vmm/net/child_program.h"
#include "vmm/net/stream_socket_end.h"

namespace vmm::net {
namespace {

constexpr int kMaxSteps = 500;

// One for all inputs: it costs descriptors.
EventLoop& loop_of_all() {
  static const std::unique_ptr<EventLoop> loop = *EventLoop::create();
  return *loop;
}

class StreamNetFuzzer final : private NetReceiver {
 public:
  explicit StreamNetFuzzer(fuzz::Input& input)
      : input_(input), room_(kMaxPacketBytes), buffer_(size_t{256} * 1024) {}
  StreamNetFuzzer(const StreamNetFuzzer&) = delete;
  StreamNetFuzzer& operator=(const StreamNetFuzzer&) = delete;

  void run() {
    auto sockets = make_socket_pair();
    VMM_CHECK(sockets.has_value(), "no sockets");
    peer_ = std::move(sockets->second);
    end_ = *StreamSocketEnd::create(loop_of_all(), std::move(sockets->first), "peer");
    end_->connect(*this);
    end_->set_use(1, {.checksum = true, .tcp4 = true, .tcp6 = true});
    for (int i = 0; i < kMaxSteps && !input_.is_empty(); ++i) {
      step();
      loop_of_all().run_once(std::chrono::nanoseconds(0));
      hear();
    }
    VMM_CHECK(!has_peer_ || !end_->is_open() || heard_.size() <= 4 + StreamSocketEnd::kMostSentBytes,
              "a frame without an end");
  }

 private:
  void step() {
    switch (input_.below(8)) {
      case 0:
        end_->set_use(input_.chance() ? 1 : 0, {.checksum = true, .tcp4 = input_.chance(), .tcp6 = true});
        break;
      case 1:
        end_->want_packets(0, input_.chance());
        break;
      case 2:
        if (input_.below(16) == 0) {
          peer_.reset();
          has_peer_ = false;
        }
        break;
      case 3:
      case 4:
        send();
        break;
      case 5:
        say(input_.take_bytes(input_.take<uint8_t>()));
        break;
      default:
        say_frame();
    }
  }

  void say(std::span<const std::byte> bytes) {
    if (has_peer_) {
      ::send(peer_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
  }
  void say_frame() {
    const size_t bytes = input_.take<uint16_t>() + size_t{input_.below(32)};
    std::vector<std::byte> frame(4 + bytes);
    store_be<uint32_t>(frame.data(), static_cast<uint32_t>(bytes));
    const auto front = input_.take_bytes(std::min<size_t>(bytes, 64));
    std::ranges::copy(front, frame.begin() + 4);
    say(frame);
  }

  void send() {
    const size_t bytes = std::clamp<size_t>(input_.take<uint16_t>() + size_t{input_.below(32)},
                                            kEthernetHeaderBytes, kMaxFrameBytes);
    std::vector<std::byte> frame(bytes);
    std::ranges::copy(input_.take_bytes(std::min<size_t>(bytes, 64)), frame.begin());
    PacketHeader header{
        .flags = static_cast<uint8_t>(input_.below(2)),
        .segments = std::array<uint8_t, 3>{0, PacketHeader::kTcp4, PacketHeader::kTcp6}.at(input_.below(3)),
        .segment_bytes = static_cast<uint16_t>(1 + input_.below(200)),
        .checksum_start = input_.take<uint16_t>(),
        .checksum_offset = input_.below(64)};
    const iovec piece{.iov_base = frame.data(), .iov_len = frame.size()};
    end_->send(0, header, {&piece, 1}, frame.size());
  }

  void hear() {
    if (!has_peer_) {
      return;
    }
    const ssize_t count = ::recv(peer_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    heard_.insert(heard_.end(), buffer_.begin(), buffer_.begin() + std::max<ssize_t>(count, 0));
    while (heard_.size() >= 4) {
      const size_t length = load_be<uint32_t>(heard_.data());
      VMM_CHECK(length >= kEthernetHeaderBytes && length <= StreamSocketEnd::kMostSentBytes,
                "a frame of a wrong length was sent");
      if (heard_.size() < 4 + length) {
        return;
      }
      heard_.erase(heard_.begin(), heard_.begin() + static_cast<ptrdiff_t>(4 + length));
    }
  }

  void packets_wait(uint16_t pair) override {
    const iovec room{.iov_base = room_.data(), .iov_len = room_.size()};
    const size_t bytes = end_->receive(pair, {&room, 1});
    VMM_CHECK(bytes == 0 || (bytes >= kPacketHeaderBytes + kEthernetHeaderBytes && bytes <= kMaxPacketBytes),
              "a packet of a wrong length");
  }
  void has_room(uint16_t /*pair*/) override {}

  fuzz::Input& input_;
  UniqueFd peer_;
  bool has_peer_ = true;
  std::unique_ptr<StreamSocketEnd> end_;
  std::vector<std::byte> room_;
  std::vector<std::byte> buffer_;
  std::vector<std::byte> heard_;
};

}  // namespace
}  // namespace vmm::net

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::fuzz::silence_log();
  vmm::fuzz::Input input(data, size);
  vmm::net::StreamNetFuzzer(input).run();
  return 0;
}
