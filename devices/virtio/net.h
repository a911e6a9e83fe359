// VirtioNet: the network device (virtio 1.2, section 5.1) over a NetEnd.
//
// Packets come straight into the driver's buffers where these have room for the longest one; else each waits
// in a buffer of the device's until it has. Buffers are taken from the ring ahead of packets, and put back
// when the device is held.
//
// Threads: as VirtioDevice; the NetEnd belongs to the same EventLoop.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "devices/virtio/device.h"
#include "devices/virtio/net_filter.h"
#include "vmm/base/thread_annotations.h"
#include "vmm/core/net_counters.h"
#include "vmm/core/net_end.h"
#include "vmm/core/ring_host.h"

namespace vmm::virtio {

class VirtioNet final : public VirtioDevice, private NetReceiver {
 public:
  static constexpr uint16_t kMaxPairs = 8;

  struct Options {
    std::string name = "net";  // for the log
    MacAddress mac{};
    uint16_t mtu = 0;           // what the driver is told; 0: nothing
    uint16_t queue_size = 256;  // a power of two, 4 to 1024
    bool is_link_up = true;
    bool offers_mergeable_buffers = true;
    bool offers_event_index = true;
    // What is offered of that which the end takes and can give.
    PacketOffloads host{.checksum = true, .tcp4 = true, .tcp6 = true, .ecn = true};
    PacketOffloads guest{.checksum = true, .tcp4 = true, .tcp6 = true, .ecn = true};
    // On the I/O thread: the driver has changed the filter, for the first time since watch_filter().
    std::function<void()> on_filter_change;
    // Who moves the packets between the rings of the pairs and the end's other side, as long as there is a
    // link; it outlives the device. Null: the device does.
    RingHost* host_of_rings = nullptr;
  };

  // The end outlives the device. REQUIRES: it has at most kMaxPairs pairs.
  VirtioNet(NetEnd& end, Options options);

  std::string_view name() const override { return options_.name; }
  uint32_t device_id() const override { return 1; }
  uint32_t pci_class_code() const override { return 0x02'00'00; }  // Ethernet controller
  uint64_t features() const override { return features_; }
  uint64_t withheld_features() const override {
    return options_.offers_event_index ? 0 : feature_mask(Feature::kEventIndex);
  }
  uint16_t queue_count() const override { return static_cast<uint16_t>(2 * pairs_ + 1); }
  uint16_t queue_size_max() const override { return options_.queue_size; }
  void read_config(uint32_t offset, std::span<std::byte> data) const override;
  void write_config(uint32_t /*offset*/, std::span<const std::byte> /*data*/) override {}
  void reset_config() override;

  void start(ChainReturn& chains, uint64_t features, std::span<const uint16_t> queue_sizes) override;
  bool can_accept(uint16_t queue) const override;
  Handled handle(uint16_t queue, Chain& chain) override;
  void abandon() override;
  void let_go() override;
  RingHost* ring_host() override { return options_.host_of_rings; }
  bool is_to_be_hosted(uint16_t queue) const override;

  // Any thread. The transport is to be told that the configuration has changed.
  void set_link(bool is_up) { is_link_up_ = is_up; }
  bool is_link_up() const { return is_link_up_; }
  // Any thread.
  NetFilter filter() const VMM_EXCLUDES(filter_mutex_);
  void watch_filter() { is_filter_watched_ = true; }  // at first it is
  const NetCounters& counters() const { return counters_; }
  const MacAddress& mac() const { return options_.mac; }

 private:
  // Buffers are taken ahead as long as there is not as much room, or are not as many.
  static constexpr size_t kRoomWanted = size_t{256} << 10U;
  static constexpr size_t kMostHeld = 256;

  // A buffer of the driver's that waits for a packet.
  struct Held {
    Chain* chain = nullptr;
    uint64_t bytes = 0;
  };
  struct Pair {
    std::deque<Held> held;
    uint64_t room = 0;  // of all that are held
    bool is_wanted = false;
    std::unique_ptr<std::array<std::byte, kMaxPacketBytes>> waiting_packet;  // made when first needed
    size_t waiting_bytes = 0;
    Chain* sending = nullptr;  // its packet waits for room at the host's end
    PacketHeader sending_header;
  };
  struct Place {
    enum class Kind : uint8_t { kReceive, kSend, kControl, kNone } kind = Kind::kNone;
    uint16_t pair = 0;
  };

  static uint64_t offered_features(const NetEnd& end, const Options& options);
  Place place_of(uint16_t queue) const;
  static uint16_t receive_queue(uint16_t pair) { return static_cast<uint16_t>(2 * pair); }
  static uint16_t send_queue(uint16_t pair) { return static_cast<uint16_t>(2 * pair + 1); }
  bool has(uint8_t feature) const { return (negotiated_ & feature_mask(feature)) != 0; }
  void use_end();

  // Sending.
  Handled take_packet(uint16_t pair, Chain& chain);
  void send(uint16_t pair);
  std::optional<PacketHeader> checked(const PacketHeader& header, size_t frame_bytes) const;

  // Receiving.
  Handled hold(uint16_t pair, Chain& chain);
  void packets_wait(uint16_t pair) override;
  void has_room(uint16_t pair) override;
  bool receive_one(uint16_t pair);
  bool receive_into_buffers(uint16_t pair);
  bool receive_aside(uint16_t pair);
  bool give_waiting(uint16_t pair);
  bool fits(const Pair& pair, size_t bytes) const;
  bool has_all_buffers(uint16_t pair) const;
  size_t most_packet_bytes() const;
  bool is_wanted(std::span<const std::byte> peek) const;
  void give(uint16_t pair, size_t packet_bytes, std::span<const std::byte> front);
  void update_wish(uint16_t pair);

  // The control queue.
  Handled control(uint16_t queue, Chain& chain);
  void tell_of_filter();
  bool carry_out(uint8_t kind, uint8_t command, ByteStream& data);
  bool set_receive_mode(uint8_t command, ByteStream& data);
  bool set_addresses(ByteStream& data);
  bool set_own_address(ByteStream& data);
  bool set_vlan(uint8_t command, ByteStream& data);
  bool set_pairs(ByteStream& data);
  bool set_guest_offloads(ByteStream& data);

  NetEnd& end_;
  const Options options_;
  const uint16_t pairs_;
  const uint64_t features_;
  std::atomic<bool> is_link_up_;
  NetCounters counters_;

  mutable Mutex filter_mutex_;
  NetFilter filter_;  // changed by the I/O thread, under the mutex
  std::atomic<bool> is_filter_watched_{true};

  // The I/O thread only.
  ChainReturn* chains_ = nullptr;
  uint64_t negotiated_ = 0;
  std::vector<uint16_t> queue_sizes_;
  uint16_t pairs_used_ = 0;
  PacketOffloads gives_;
  std::vector<Pair> state_;
  std::vector<iovec> vectors_;
};

}  // namespace vmm::virtio
