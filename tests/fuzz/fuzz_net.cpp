// A network device, packets from the host that come at any time, a host that has room or not, and a driver
// that does what it likes. What goes to the host hangs together; what comes from it lies in the driver's
// buffers.
//
// Input: options, then operations (see run() and queue_driver.h).
#include "devices/virtio/net.h"

#include <vector>

#include "tests/fuzz/input.h"
#include "tests/fuzz/queue_driver.h"
#include "tests/unit/fakes/fake_net_end.h"

namespace vmm::virtio {
namespace {

constexpr int kMaxSteps = 1000;

class NetFuzzer {
 public:
  explicit NetFuzzer(fuzz::Input& input) : input_(input) {}

  void run() {
    for (int i = 0; i < kMaxSteps && !input_.is_empty(); ++i) {
      const uint8_t operation = input_.take<uint8_t>();
      switch (operation) {
        case 0xff:
          come();
          break;
        case 0xfe:
          end_.is_full = true;
          break;
        case 0xfd:
          for (uint16_t pair = 0; pair < end_.pairs(); ++pair) {
            end_.make_room(pair);
          }
          break;
        case 0xfc:
          device_.set_link(input_.chance());
          break;
        default:
          driver_.step(operation);
      }
      check_sent();
    }
    driver_.stop();
  }

 private:
  void come() {
    const auto pair = static_cast<uint16_t>(input_.below(end_.pairs()));
    std::vector<std::byte> frame(input_.take<uint16_t>());
    for (size_t i = 0; i < frame.size() && i < NetFilter::kPeekBytes; ++i) {
      frame[i] = std::byte{input_.take<uint8_t>()};
    }
    if (frame.size() <= kMaxFrameBytes) {
      end_.put(frame, pair);
    }
    end_.tell(pair);
    driver_.serve();
  }

  void check_sent() {
    VMM_CHECK(end_.is_length_right, "a frame is as long as it is said to be");
    for (const FakeNetEnd::Packet& packet : end_.sent) {
      const size_t length = packet.frame.size();
      const PacketHeader& header = packet.header;
      VMM_CHECK(length >= kEthernetHeaderBytes && length <= kMaxFrameBytes, "no frame is as long");
      VMM_CHECK(packet.pair < end_.pairs(), "there is no such pair");
      VMM_CHECK((header.flags & PacketHeader::kNeedsChecksum) == 0 ||
                    size_t{header.checksum_start} + header.checksum_offset + 2 <= length,
                "a checksum lies outside of its frame");
      VMM_CHECK(header.segments == PacketHeader::kNone || (header.segment_bytes > 0 && header.flags != 0),
                "segments without a length");
      VMM_CHECK(header.header_bytes <= length, "a header is longer than its frame");
    }
    end_.sent.clear();
  }

  fuzz::Input& input_;
  FakeNetEnd end_{static_cast<uint16_t>(1 + input_.below(3))};
  VirtioNet device_{end_, {.mac = {0x52, 0x54, 0, 0, 0, 1}, .offers_mergeable_buffers = input_.chance()}};
  fuzzing::QueueDriver driver_{
      input_, device_, {.has_configuration = true, .may_refuse = true, .picks_features = true}};
};

}  // namespace
}  // namespace vmm::virtio

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::fuzz::silence_log();
  vmm::virtio::fuzzing::ram().clear();
  vmm::fuzz::Input input(data, size);
  vmm::virtio::NetFuzzer(input).run();
  return 0;
}
