// A guest behind a filter against false addresses, which it tries to get past: frames at random, behind tags
// and SNAP, cut off, with checksums whose places it chooses. What gets through is read as a receiver reads
// it.
//
// Input: rules, then frames (see run()).
#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "tests/fuzz/input.h"
#include "vmm/net/checksum.h"
#include "vmm/net/filtered_end.h"
#include "vmm/net/packet_queue.h"

namespace vmm::net {
namespace {

constexpr int kMaxFrames = 500;
constexpr std::array<std::byte, 6> kOwnMac = {std::byte{2}, std::byte{0}, std::byte{0},
                                              std::byte{0}, std::byte{0}, std::byte{7}};
constexpr SpoofRules::Ip4 kOwnIp = {std::byte{10}, std::byte{0}, std::byte{0}, std::byte{7}};

// Fills in checksums, as the host does, and then looks whose the frame is.
class Receiver final : public NetEnd {
 public:
  explicit Receiver(const SpoofRules& rules) : rules_(rules) {}

  uint16_t pairs() const override { return 1; }
  PacketOffloads takes() const override { return {.checksum = true}; }
  PacketOffloads can_give() const override { return {}; }
  void connect(NetReceiver& /*receiver*/) override {}
  void set_use(uint16_t /*pairs*/, const PacketOffloads& /*gives*/) override {}
  void want_packets(uint16_t /*pair*/, bool /*is_wanted*/) override {}
  size_t receive(uint16_t /*pair*/, std::span<const iovec> /*room*/) override { return 0; }
  Sent send(uint16_t /*pair*/, const PacketHeader& header, std::span<const iovec> frame,
            size_t frame_bytes) override {
    std::vector<std::byte> bytes(frame_bytes);
    VMM_CHECK(gather(frame, bytes) == frame_bytes, "a frame has lost some of its bytes");
    if ((header.flags & PacketHeader::kNeedsChecksum) != 0) {
      complete_checksum(bytes, header.checksum_start, header.checksum_offset);
    }
    look_at(bytes);
    return Sent::kDone;
  }

 private:
  // Byte by byte, and as deep as anybody would.
  void look_at(const std::vector<std::byte>& frame) const {
    const auto has = [&](size_t at, std::span<const std::byte> value) {
      return at + value.size() <= frame.size() &&
             std::equal(value.begin(), value.end(), frame.begin() + static_cast<ptrdiff_t>(at));
    };
    VMM_CHECK(!rules_.own_mac || has(6, kOwnMac), "sent from another MAC address");
    size_t at = 12;
    const auto type = [&] { return at + 2 <= frame.size() ? load_be<uint16_t>(&frame[at]) : 0; };
    while (type() == 0x8100 || type() == 0x88a8 || type() == 0x9100) {
      at += 4;
      VMM_CHECK(!rules_.only_ip4_and_arp, "a tag got through");
    }
    constexpr std::array<std::byte, 6> kSnap = {std::byte{0xaa}, std::byte{0xaa}, std::byte{3}};
    if (type() < 0x600 && has(at + 2, kSnap)) {
      at += 8;
    }
    const size_t packet = at + 2;
    if (type() == 0x0800 && rules_.own_ip) {
      const SpoofRules::Ip4 unknown{};
      VMM_CHECK(has(packet + 12, kOwnIp) || (has(packet + 12, unknown) && frame[packet + 9] == std::byte{17}),
                "sent from another IPv4 address");
    } else if (type() == 0x0806) {
      VMM_CHECK(!rules_.own_mac_in_arp || has(packet + 8, kOwnMac), "ARP with another MAC address");
      VMM_CHECK(!rules_.own_ip_in_arp || has(packet + 14, kOwnIp), "ARP with another IPv4 address");
    } else {
      VMM_CHECK(!rules_.only_ip4_and_arp || type() == 0x0800, "neither IPv4 nor ARP");
    }
  }

  const SpoofRules rules_;
};

class SpoofFuzzer {
 public:
  explicit SpoofFuzzer(fuzz::Input& input) : input_(input) {}

  void run() {
    const SpoofRules rules = take_rules();
    FilteredEnd end(std::make_unique<Receiver>(rules), rules, "net0");
    for (int i = 0; i < kMaxFrames && !input_.is_empty(); ++i) {
      std::vector<std::byte> frame = take_frame();
      const PacketHeader header{
          .flags = static_cast<uint8_t>(input_.below(2)),
          .checksum_start = static_cast<uint16_t>(kEthernetHeaderBytes + input_.below(64)),
          .checksum_offset = input_.below(64)};
      if (size_t{header.checksum_start} + header.checksum_offset + 2 > frame.size()) {
        continue;
      }
      const size_t cut = input_.below(static_cast<unsigned>(std::min<size_t>(frame.size(), 256)));
      const std::array<iovec, 2> pieces{{{.iov_base = frame.data(), .iov_len = cut},
                                         {.iov_base = frame.data() + cut, .iov_len = frame.size() - cut}}};
      end.send(0, header, pieces, frame.size());
    }
  }

 private:
  SpoofRules take_rules() {
    const uint8_t bits = input_.take<uint8_t>();
    return {.own_mac = (bits & 1) != 0,
            .own_ip = (bits & 2) != 0,
            .own_mac_in_arp = (bits & 4) != 0,
            .own_ip_in_arp = (bits & 8) != 0,
            .only_ip4_and_arp = (bits & 16) != 0,
            .mac = kOwnMac,
            .addresses = {kOwnIp}};
  }

  // With what a filter looks for more often than chance would have it.
  std::vector<std::byte> take_frame() {
    std::vector<std::byte> frame(6, std::byte{0xff});
    const auto add = [&](std::span<const std::byte> bytes) {
      frame.insert(frame.end(), bytes.begin(), bytes.end());
    };
    const auto add_word = [&](uint16_t value) {
      std::array<std::byte, 2> bytes{};
      store_be<uint16_t>(bytes.data(), value);
      add(bytes);
    };
    add(input_.chance() ? std::span<const std::byte>(kOwnMac) : input_.take_bytes(6));
    for (unsigned tags = input_.below(4); tags > 0; --tags) {
      add_word(std::array<uint16_t, 3>{0x8100, 0x88a8, 0x9100}.at(input_.below(3)));
      add_word(1);
    }
    if (input_.below(4) == 0) {
      constexpr std::array<std::byte, 6> kSnap = {std::byte{0xaa}, std::byte{0xaa}, std::byte{3}};
      add_word(100);
      add(kSnap);
    }
    const unsigned kind = input_.below(4);
    add_word(kind == 0 ? 0x0800 : kind == 1 ? 0x0806 : kind == 2 ? 0x86dd : input_.take<uint16_t>());
    if (kind == 0) {
      add(std::array{std::byte{0x45}});
      add(input_.take_bytes(11));
      add(input_.chance() ? std::span<const std::byte>(kOwnIp) : input_.take_bytes(4));
    } else if (kind == 1) {
      constexpr std::array<std::byte, 8> kArp = {std::byte{0}, std::byte{1}, std::byte{8}, std::byte{0},
                                                 std::byte{6}, std::byte{4}, std::byte{0}, std::byte{1}};
      add(kArp);
      add(input_.chance() ? std::span<const std::byte>(kOwnMac) : input_.take_bytes(6));
      add(input_.chance() ? std::span<const std::byte>(kOwnIp) : input_.take_bytes(4));
    }
    add(input_.take_bytes(input_.take<uint8_t>()));
    frame.resize(std::max(frame.size(), kEthernetHeaderBytes));
    return frame;
  }

  fuzz::Input& input_;
};

}  // namespace
}  // namespace vmm::net

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::fuzz::silence_log();
  vmm::fuzz::Input input(data, size);
  vmm::net::SpoofFuzzer(input).run();
  return 0;
}
