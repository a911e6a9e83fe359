// What keeps libslirp's view of a guest's TCP window from growing too old.
//
// It notes at which sequence number and acknowledgement it last took over the window (RFC 9293, section
// 3.10.7.4: SND.WL1, SND.WL2), but not on its quick path, for segments that follow one another with the
// window unchanged. After 2 GiB on that path what comes next looks older than what was noted, no window is
// taken over any more, and the connection stands still, sooner or later (libslirp 4.7 to 4.9). So every 256
// MiB of either direction the window is said to be one byte smaller for a while, which is off that path.
//
// Threads: any.
#pragma once

#include <cstddef>
#include <span>

#include "vmm/net/tcp_frame.h"

namespace vmm::net {

// Makes the window of some segments smaller by a byte. is_sum_partial: the checksum is still to be filled in;
// else it is changed, too. REQUIRES: `at` is of this frame.
void refresh_window(std::span<std::byte> frame, const TcpFrame& at, bool is_sum_partial);

}  // namespace vmm::net
