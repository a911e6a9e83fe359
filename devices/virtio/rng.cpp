#include "devices/virtio/rng.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "vmm/base/check.h"

namespace vmm::virtio {

VirtioRng::VirtioRng(Source source, std::optional<Rate> rate, const Alarms& alarms)
    : source_(std::move(source)), rate_(rate), alarms_(alarms) {
  VMM_CHECK(!rate_ || (rate_->bytes > 0 && rate_->period.count() > 0), "a rate of nothing");
  allowance_ = rate_ ? rate_->bytes : std::numeric_limits<uint64_t>::max();
  alarms_.period.set_handler([this] { on_period(); });
  alarms_.retry.set_handler([this] { on_retry(); });
}

void VirtioRng::read_config(uint32_t /*offset*/, std::span<std::byte> data) const {
  std::ranges::fill(data, std::byte{0});  // there is none (section 5.4.4)
}

void VirtioRng::start(ChainReturn& chains, uint64_t /*features*/, std::span<const uint16_t> /*queue_sizes*/) {
  chains_ = &chains;
  // Not before a driver is there; nor does one that resets its device hurry the source.
  if (!waits_for_source_) {
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
    begin_period();
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
    waits_for_source_ = true;
    alarms_.retry.arm(kRetryTime);
    return;
  }
  std::ranges::copy_backward(std::span(pool_).first(count), pool_.end());
  pool_left_ = count;
}

// One begins with its first byte.
void VirtioRng::begin_period() {
  if (!std::exchange(is_in_period_, true)) {
    alarms_.period.arm(rate_->period);
  }
}

void VirtioRng::on_period() {
  is_in_period_ = false;
  allowance_ = rate_->bytes;
}

void VirtioRng::on_retry() {
  waits_for_source_ = false;
  if (chains_ != nullptr) {
    refill();
  }
}

}  // namespace vmm::virtio
