// Feature bits of the network device, by number (virtio 1.2, section 5.1.3).
//
// Threads: constants.
#pragma once

#include <cstdint>

namespace vmm::virtio::net {

inline constexpr uint8_t kHostChecksum = 0;          // VIRTIO_NET_F_CSUM
inline constexpr uint8_t kGuestChecksum = 1;         // VIRTIO_NET_F_GUEST_CSUM
inline constexpr uint8_t kControlGuestOffloads = 2;  // VIRTIO_NET_F_CTRL_GUEST_OFFLOADS
inline constexpr uint8_t kMtu = 3;
inline constexpr uint8_t kMac = 5;
inline constexpr uint8_t kGuestTcp4 = 7;  // VIRTIO_NET_F_GUEST_TSO4
inline constexpr uint8_t kGuestTcp6 = 8;
inline constexpr uint8_t kGuestEcn = 9;
inline constexpr uint8_t kHostTcp4 = 11;  // VIRTIO_NET_F_HOST_TSO4
inline constexpr uint8_t kHostTcp6 = 12;
inline constexpr uint8_t kHostEcn = 13;
inline constexpr uint8_t kMergeableBuffers = 15;  // VIRTIO_NET_F_MRG_RXBUF
inline constexpr uint8_t kStatus = 16;
inline constexpr uint8_t kControlQueue = 17;         // VIRTIO_NET_F_CTRL_VQ
inline constexpr uint8_t kControlReceive = 18;       // VIRTIO_NET_F_CTRL_RX
inline constexpr uint8_t kControlVlan = 19;          // VIRTIO_NET_F_CTRL_VLAN
inline constexpr uint8_t kControlReceiveExtra = 20;  // VIRTIO_NET_F_CTRL_RX_EXTRA
inline constexpr uint8_t kGuestAnnounce = 21;
inline constexpr uint8_t kMultiqueue = 22;  // VIRTIO_NET_F_MQ
inline constexpr uint8_t kControlMac = 23;  // VIRTIO_NET_F_CTRL_MAC_ADDR

}  // namespace vmm::virtio::net
