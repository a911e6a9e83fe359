#include "vmm/net/window_refresh.h"

#include "vmm/base/bytes.h"
#include "vmm/net/checksum.h"

namespace vmm::net {
namespace {

constexpr uint32_t kPeriodBytes = uint32_t{1} << 28U;
// Longer than two windows: a segment falls into it, whatever its length.
constexpr uint32_t kRefreshBytes = uint32_t{1} << 17U;
constexpr size_t kTcpAckAt = 8;

bool is_due(uint32_t number) { return number % kPeriodBytes < kRefreshBytes; }

}  // namespace

void refresh_window(std::span<std::byte> frame, const TcpFrame& at, bool is_sum_partial) {
  std::byte* const tcp = &frame[at.tcp_at];
  const auto window = load_be<uint16_t>(tcp + kTcpWindowAt);
  constexpr auto kPlainFlags = std::byte{kTcpAck | kTcpPush};
  // One of both: where one number stays as it is, the other tells.
  const bool is_wanted =
      is_due(load_be<uint32_t>(tcp + kTcpSequenceAt)) != is_due(load_be<uint32_t>(tcp + kTcpAckAt));
  if (!is_wanted || window < 2 || (tcp[kTcpFlagsAt] & ~kPlainFlags) != std::byte{0}) {
    return;
  }
  const uint16_t old_window = load_sum(tcp + kTcpWindowAt);
  store_be<uint16_t>(tcp + kTcpWindowAt, static_cast<uint16_t>(window - 1));
  if (!is_sum_partial) {
    // RFC 1624, equation 3: the sum without the old, and with the new.
    const std::byte* const sum = tcp + kTcpChecksumAt;
    const uint16_t words[] = {static_cast<uint16_t>(~load_sum(sum)), static_cast<uint16_t>(~old_window),
                              load_sum(tcp + kTcpWindowAt)};
    store_sum(tcp + kTcpChecksumAt, static_cast<uint16_t>(~sum_words(std::as_bytes(std::span(words)))));
  }
}

}  // namespace vmm::net
