#include "vmm/net/limited_end.h"

#include <algorithm>
#include <utility>

namespace vmm::net {
namespace {

// What waits goes in bunches where it would go one by one more often than this.
constexpr std::chrono::nanoseconds kShortestSleep = std::chrono::microseconds(250);

std::chrono::nanoseconds steady_time() { return std::chrono::steady_clock::now().time_since_epoch(); }

TokenBucket bucket_of(const Bandwidth& bandwidth) {
  return TokenBucket({.per_second = static_cast<double>(bandwidth.average),
                      .burst = static_cast<double>(bandwidth.burst),
                      .burst_per_second = static_cast<double>(bandwidth.peak)});
}

}  // namespace

Result<std::unique_ptr<LimitedEnd>> LimitedEnd::create(EventLoop& loop, std::unique_ptr<NetEnd> end,
                                                       const BandwidthLimits& limits) {
  auto limited = std::make_unique<LimitedEnd>(std::move(end), limits, Time());
  LimitedEnd* const raw = limited.get();
  VMM_ASSIGN_OR_RETURN(raw->timer_, loop.make_timer([raw] { raw->on_due(); }));
  raw->time_ = {.now = steady_time, .wake_after = [raw](Duration delay) { raw->timer_.arm(delay); }};
  return limited;
}

LimitedEnd::LimitedEnd(std::unique_ptr<NetEnd> end, const BandwidthLimits& limits, Time time)
    : WrappedEnd(std::move(end)),
      time_(std::move(time)),
      to_guest_(bucket_of(limits.to_guest)),
      from_guest_(bucket_of(limits.from_guest)),
      pairs_(pairs()) {}

void LimitedEnd::set_limits(const BandwidthLimits& limits) {
  to_guest_ = bucket_of(limits.to_guest);
  from_guest_ = bucket_of(limits.from_guest);
  due_ = Duration(0);
  wake_after(Duration(0), time_.now());  // not at once: this may be a call of the device
}

void LimitedEnd::connect(NetReceiver& receiver) {
  receiver_ = &receiver;
  WrappedEnd::connect(*this);
}

void LimitedEnd::set_use(uint16_t pairs, const PacketOffloads& gives) {
  // A driver that has gone does not send again.
  for (size_t gone = pairs; gone < pairs_.size(); ++gone) {
    pairs_[gone].waits_to_send = false;
  }
  WrappedEnd::set_use(pairs, gives);
}

NetEnd::Sent LimitedEnd::send(uint16_t pair, const PacketHeader& header, std::span<const iovec> frame,
                              size_t frame_bytes) {
  const Duration now = time_.now();
  const Duration left = from_guest_.wait(now);
  if (left > Duration(0)) {
    pairs_[pair].waits_to_send = true;
    wake_after(left, now);
    return Sent::kFull;
  }
  const Sent sent = WrappedEnd::send(pair, header, frame, frame_bytes);
  if (sent == Sent::kDone) {
    from_guest_.take(static_cast<double>(frame_bytes), now);
  }
  return sent;
}

void LimitedEnd::has_room(uint16_t pair) { receiver_->has_room(pair); }

void LimitedEnd::want_packets(uint16_t pair, bool is_wanted) {
  pairs_[pair].is_wanted = is_wanted;
  WrappedEnd::want_packets(pair, is_wanted && !pairs_[pair].is_held);
}

void LimitedEnd::packets_wait(uint16_t pair) {
  if (!hold(pair)) {
    receiver_->packets_wait(pair);
  }
}

// Whether the network's packets have to wait: then it does not tell of them.
bool LimitedEnd::hold(uint16_t pair) {
  const Duration now = time_.now();
  const Duration left = to_guest_.wait(now);
  if (left <= Duration(0)) {
    return false;
  }
  if (!std::exchange(pairs_[pair].is_held, true)) {
    WrappedEnd::want_packets(pair, false);
  }
  wake_after(left, now);
  return true;
}

size_t LimitedEnd::receive(uint16_t pair, std::span<const iovec> room) {
  if (hold(pair)) {
    return 0;
  }
  const size_t bytes = WrappedEnd::receive(pair, room);
  if (bytes > kPacketHeaderBytes) {
    to_guest_.take(static_cast<double>(bytes - kPacketHeaderBytes), time_.now());
  }
  return bytes;
}

void LimitedEnd::wake_after(Duration delay, Duration now) {
  const Duration due = now + std::max(delay, kShortestSleep);
  const bool is_set = due_ > now && due_ <= due;
  if (!is_set) {
    due_ = due;
    time_.wake_after(due - now);
  }
}

void LimitedEnd::on_due() {
  const Duration now = time_.now();
  due_ = Duration(0);
  const bool may_receive = to_guest_.wait(now) <= Duration(0);
  for (uint16_t pair = 0; pair < pairs(); ++pair) {
    if (may_receive && std::exchange(pairs_[pair].is_held, false)) {
      WrappedEnd::want_packets(pair, pairs_[pair].is_wanted);
    }
    if (from_guest_.wait(now) <= Duration(0) && std::exchange(pairs_[pair].waits_to_send, false)) {
      receiver_->has_room(pair);
    }
  }
  // Both directions share the timer: the other's time may be ahead.
  for (const Pair& pair : pairs_) {
    if (pair.is_held) {
      wake_after(to_guest_.wait(now), now);
    }
    if (pair.waits_to_send) {
      wake_after(from_guest_.wait(now), now);
    }
  }
}

}  // namespace vmm::net
