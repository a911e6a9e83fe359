// A network interface between a guest's device and the host: NetEnd is the host's end (a tap, a user-mode
// network), NetReceiver the device's end.
//
// A packet is an Ethernet frame without its check sequence, behind a PacketHeader that says what is still to
// be done to it: a checksum to be filled in, segments to be cut (virtio 1.2, section 5.1.6; Linux's taps use
// the same). Packets are pulled by the device, so that whoever makes them waits while the guest has no room.
//
// Threads: all of it on the interface's loop, but for what says otherwise. No method blocks.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "vmm/base/bytes.h"

namespace vmm {

// In the byte order of virtio 1.x; with its count of buffers, which is the device's affair.
inline constexpr size_t kPacketHeaderBytes = 12;
using PacketHeaderBytes = std::array<std::byte, kPacketHeaderBytes>;

struct PacketHeader {
  enum Flag : uint8_t { kNeedsChecksum = 1, kChecksumIsValid = 2 };
  // What segments are to be cut from the packet.
  enum Segments : uint8_t { kNone = 0, kTcp4 = 1, kUdp = 3, kTcp6 = 4 };
  static constexpr uint8_t kHasEcn = 0x80;  // beside the kind of segments

  uint8_t flags = 0;
  uint8_t segments = kNone;
  uint16_t header_bytes = 0;     // of Ethernet, IP and TCP together; a hint
  uint16_t segment_bytes = 0;    // of payload in each segment
  uint16_t checksum_start = 0;   // the sum begins here, counted from the frame's first byte
  uint16_t checksum_offset = 0;  // and has its place here, counted from checksum_start

  static PacketHeader parse(const PacketHeaderBytes& bytes) {
    return {.flags = static_cast<uint8_t>(bytes[0]),
            .segments = static_cast<uint8_t>(bytes[1]),
            .header_bytes = load_le<uint16_t>(&bytes[2]),
            .segment_bytes = load_le<uint16_t>(&bytes[4]),
            .checksum_start = load_le<uint16_t>(&bytes[6]),
            .checksum_offset = load_le<uint16_t>(&bytes[8])};
  }
  PacketHeaderBytes bytes() const {
    PacketHeaderBytes to{};
    to[0] = std::byte{flags};
    to[1] = std::byte{segments};
    store_le<uint16_t>(&to[2], header_bytes);
    store_le<uint16_t>(&to[4], segment_bytes);
    store_le<uint16_t>(&to[6], checksum_start);
    store_le<uint16_t>(&to[8], checksum_offset);
    return to;
  }
};

// What may be left to do to packets of one direction.
struct PacketOffloads {
  bool checksum = false;
  bool tcp4 = false;  // segments; each of these needs checksum
  bool tcp6 = false;
  bool ecn = false;  // segments of connections that use ECN

  bool operator==(const PacketOffloads&) const = default;
};

// The longest packet: an IP packet of 65535 bytes behind an Ethernet header with a VLAN tag.
inline constexpr size_t kEthernetHeaderBytes = 14;
inline constexpr size_t kVlanTagBytes = 4;
inline constexpr size_t kMaxFrameBytes = 65535 + kEthernetHeaderBytes + kVlanTagBytes;
inline constexpr size_t kMaxPacketBytes = kPacketHeaderBytes + kMaxFrameBytes;

// The device's end. Never called from within a call of the device.
class NetReceiver {
 public:
  // Packets wait: receive() has some. Comes again as long as it is so, and they are wanted.
  virtual void packets_wait(uint16_t pair) = 0;
  // After a send() that did not take its packet.
  virtual void has_room(uint16_t pair) = 0;

 protected:
  ~NetReceiver() = default;
};

// The host's end, of one or several pairs of queues.
class NetEnd {
 public:
  enum class Sent : uint8_t {
    kDone,     // taken; the network may drop it yet
    kDropped,  // gone
    kFull,     // not taken: has_room() follows
  };

  virtual ~NetEnd() = default;

  // Constant; any thread.
  virtual uint16_t pairs() const = 0;  // at least 1
  virtual PacketOffloads takes() const = 0;
  virtual PacketOffloads can_give() const = 0;

  // Once, before anything else; the receiver outlives the end's last turn of the loop.
  virtual void connect(NetReceiver& receiver) = 0;
  // A driver is there that uses the first `pairs` of the pairs, and receives packets with these offloads,
  // which are out of can_give(). Also when it changes its mind. With 0 pairs nobody is there: what comes is
  // dropped.
  virtual void set_use(uint16_t pairs, const PacketOffloads& gives) = 0;

  // The frame's bytes belong to a running guest, and are to be read once. The header is within takes(), and
  // what it says lies within the frame. REQUIRES: kEthernetHeaderBytes <= frame_bytes <= kMaxFrameBytes.
  virtual Sent send(uint16_t pair, const PacketHeader& header, std::span<const iovec> frame,
                    size_t frame_bytes) = 0;

  // Whether packets_wait() is to be called for this pair. At first: no.
  virtual void want_packets(uint16_t pair, bool is_wanted) = 0;
  // The next packet, its header first; how many bytes it has. 0: none waits. One that is longer than the room
  // is dropped, and the next one looked at. REQUIRES: room for kPacketHeaderBytes at least.
  virtual size_t receive(uint16_t pair, std::span<const iovec> room) = 0;
};

}  // namespace vmm
