#include "devices/virtio/rng.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "vmm/base/check.h"

namespace vmm::virtio {

VirtioRng::VirtioRng(Source source, std::optional<Rate> rate, Alarm& alarm)
    : source_(std::move(source)), rate_(rate), alarm_(alarm) {
  VMM_CHECK(!rate_ || (rate_->bytes > 0 && rate_->period.count() > 0), "a rate of nothing");
  allowance_ = rate_ ? rate_->bytes : std::numeric_limits<uint64_t>::max();
  alarm_.set_handler([this] { on_alarm(); });
}

void VirtioRng::read_config(uint32_t /*offset*/, std::span<std::byte> data) const {
  std::ranges::fill(data, std::byte{0});  // there is none (section 5.4.4)
}

void VirtioRng::start(ChainReturn& chains, uint64_t /*features*/, std::span<const uint16_t> /*queue_sizes*/) {
  chains_ = &chains;
  // Not before a driver is there. Where the alarm is armed, it will do it: else a guest that resets its
  // device would hurry the source, or the period.
  if (!is_armed_) {
    refill();
  }
}

VirtioDevice::Handled VirtioRng::handle(uint16_t queue, Chain& chain) {
  // A request without room is answered with nothing.
  uint64_t given = 0;
  if (!chain.has_bad_buffer) {
    given = std::min({chain.writable.size(), uint64_t{pool_left_}, allowance_});
    const auto bytes = std::span(pool_).last(pool_left_).first(given);
    VMM_CHECK(chain.writable.write(bytes), "less room than the chain said");
    take(given);
  }
  chains_->give_back(queue, chain.head, static_cast<uint32_t>(given));
  return Handled::kTaken;
}

// What was given is nobody else's.
void VirtioRng::take(size_t bytes) {
  std::ranges::fill(std::span(pool_).last(pool_left_).first(bytes), std::byte{0});
  pool_left_ -= bytes;
  if (rate_ && bytes > 0) {
    allowance_ -= bytes;
    arm(rate_->period);
  }
  if (pool_left_ == 0) {
    refill();
  }
}

void VirtioRng::refill() {
  if (pool_left_ > 0) {
    return;
  }
  const size_t count = std::min(source_(pool_), pool_.size());
  if (count == 0) {
    if (log_limit_.allows()) {
      log::warning("rng: the host's source has no random numbers at present; the guest waits");
    }
    arm(kRetryTime);
    return;
  }
  std::ranges::copy_backward(std::span(pool_).first(count), pool_.end());
  pool_left_ = count;
}

// A period begins with its first byte. While the source is waited for, none is given.
void VirtioRng::arm(std::chrono::nanoseconds delay) {
  if (!std::exchange(is_armed_, true)) {
    alarm_.arm(delay);
  }
}

void VirtioRng::on_alarm() {
  is_armed_ = false;
  if (rate_) {
    allowance_ = rate_->bytes;
  }
  if (chains_ != nullptr) {
    refill();
  }
}

}  // namespace vmm::virtio
