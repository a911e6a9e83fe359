#include "devices/virtio/core.h"

#include <utility>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::virtio {
namespace {

constexpr uint8_t kDriverStatusBits =
    kStatusAcknowledge | kStatusDriver | kStatusDriverOk | kStatusFeaturesOk | kStatusFailed;
constexpr uint64_t kCommonFeatures = feature_mask(Feature::kIndirectDescriptors) |
                                     feature_mask(Feature::kEventIndex) | feature_mask(Feature::kVersion1);

uint32_t half_of(uint64_t value, uint32_t select) {
  // Selecting other than 0 and 1 shows no features (section 4.2.2.1, 4.1.4.3.1).
  return select > 1 ? 0 : static_cast<uint32_t>((value >> (32 * select)) & 0xffff'ffff);
}

uint64_t with_half(uint64_t value, uint32_t select, uint32_t bits) {
  const uint32_t shift = 32 * select;
  return (value & ~(uint64_t{0xffff'ffff} << shift)) | (uint64_t{bits} << shift);
}

}  // namespace

VirtioCore::VirtioCore(VirtioDevice& device, EventLoop& loop, const GuestMemory& memory,
                       std::vector<EventFd> doorbells, TransportEvents& transport)
    : device_(device),
      loop_(loop),
      memory_(memory),
      transport_(transport),
      offered_features_(device.features() | (kCommonFeatures & ~device.withheld_features())),
      doorbells_(std::move(doorbells)),
      runner_(device, loop, memory, doorbells_, *this) {
  VMM_CHECK(doorbells_.size() == device.queue_count(), "one doorbell for each queue");
  VMM_CHECK(is_power_of_two(device.queue_size_max()) && device.queue_size_max() <= kQueueSizeLimit,
            "a queue size is a power of two");
  const MutexLock lock(mutex_);
  clear_registers();
}

Result<std::vector<EventFd>> VirtioCore::make_doorbells(const VirtioDevice& device) {
  std::vector<EventFd> doorbells;
  doorbells.reserve(device.queue_count());
  for (uint16_t i = 0; i < device.queue_count(); ++i) {
    VMM_ASSIGN_OR_RETURN(EventFd doorbell, EventFd::create());
    doorbells.push_back(std::move(doorbell));
  }
  return doorbells;
}

void VirtioCore::clear_registers() {
  const uint64_t activation_number = state_.activation_number;
  state_ = State{};
  state_.activation_number = activation_number;
  state_.queues.assign(doorbells_.size(), Queue{.size = device_.queue_size_max()});
}

void VirtioCore::complain(std::string_view what) const {
  if (log_limit_.allows()) {
    log::warning("{}: the guest's driver {}; ignored", device_.name(), what);
  }
}

void VirtioCore::select_device_features(uint32_t select) {
  const MutexLock lock(mutex_);
  state_.device_feature_select = select;
}

uint32_t VirtioCore::device_feature_select() const {
  const MutexLock lock(mutex_);
  return state_.device_feature_select;
}

uint32_t VirtioCore::device_features() const {
  const MutexLock lock(mutex_);
  return half_of(offered_features_, state_.device_feature_select);
}

void VirtioCore::select_driver_features(uint32_t select) {
  const MutexLock lock(mutex_);
  state_.driver_feature_select = select;
}

uint32_t VirtioCore::driver_feature_select() const {
  const MutexLock lock(mutex_);
  return state_.driver_feature_select;
}

uint32_t VirtioCore::driver_features() const {
  const MutexLock lock(mutex_);
  return half_of(state_.driver_features, state_.driver_feature_select);
}

void VirtioCore::set_driver_features(uint32_t bits) {
  const MutexLock lock(mutex_);
  if ((state_.status & kStatusFeaturesOk) != 0) {
    complain("changes features after FEATURES_OK");
  } else if (state_.driver_feature_select <= 1) {
    state_.driver_features = with_half(state_.driver_features, state_.driver_feature_select, bits);
  }
}

uint8_t VirtioCore::status() const {
  const MutexLock lock(mutex_);
  return state_.status == 0 && is_resetting_ ? kStatusAcknowledge : state_.status;
}

uint8_t VirtioCore::config_generation() const {
  const MutexLock lock(mutex_);
  return state_.config_generation;
}

bool VirtioCore::accepts_features() const {
  // Section 6.2: a device need not work with drivers older than VIRTIO_F_VERSION_1.
  const bool is_modern = (state_.driver_features & feature_mask(Feature::kVersion1)) != 0;
  return is_modern && (state_.driver_features & ~offered_features_) == 0;
}

uint8_t VirtioCore::status_after(uint8_t value) {
  // Section 2.1.1: the driver sets bits one after the other and clears none, but by a reset.
  auto wanted = static_cast<uint8_t>((value & kDriverStatusBits) & ~state_.status);
  if ((wanted & kStatusFeaturesOk) != 0 && !accepts_features()) {
    complain("wants features that are not offered");
    wanted &= static_cast<uint8_t>(~kStatusFeaturesOk);
  }
  const auto status = static_cast<uint8_t>(state_.status | wanted);
  if ((wanted & kStatusDriverOk) != 0 && (status & kStatusFeaturesOk) == 0) {
    complain("sets DRIVER_OK before FEATURES_OK");
    return static_cast<uint8_t>(status & ~kStatusDriverOk);
  }
  return status;
}

Activation VirtioCore::make_activation() {
  Activation activation{
      .number = ++state_.activation_number, .features = state_.driver_features, .queues = {}};
  for (const Queue& queue : state_.queues) {
    std::optional<QueueLayout>& layout = activation.queues.emplace_back();
    if (!queue.is_enabled) {
      continue;
    }
    layout = QueueLayout{.size = queue.size,
                         .descriptors = GuestAddress(queue.areas[0]),
                         .available = GuestAddress(queue.areas[1]),
                         .used = GuestAddress(queue.areas[2])};
    if (!SplitQueue::is_valid(*layout, memory_)) {
      complain("put a queue outside of its memory");
      state_.status |= kStatusNeedsReset;
      layout.reset();
    }
  }
  return activation;
}

void VirtioCore::set_status(uint8_t value) {
  if (value == 0) {
    start_reset();
    return;
  }
  bool needs_reset = false;
  {
    const MutexLock lock(mutex_);
    const uint8_t before = state_.status;
    state_.status = status_after(value);
    if ((state_.status & ~before & kStatusDriverOk) == 0) {
      return;
    }
    orders_.activation = make_activation();
    needs_reset = (state_.status & kStatusNeedsReset) != 0;
  }
  transport_.device_activated();
  post_orders();
  if (needs_reset) {
    transport_.interrupt_config();
  }
}

void VirtioCore::start_reset() {
  device_.reset_config();
  {
    const MutexLock lock(mutex_);
    const bool was_active = (state_.status & kStatusDriverOk) != 0;
    clear_registers();
    if (!was_active) {
      return;
    }
    is_resetting_ = true;
    orders_.must_reset = true;
    orders_.activation.reset();
  }
  post_orders();
}

void VirtioCore::post_orders() {
  {
    const MutexLock lock(mutex_);
    if (std::exchange(orders_.is_posted, true)) {
      return;
    }
  }
  loop_.post([this] { carry_out_orders(); });
}

void VirtioCore::carry_out_orders() {
  Orders orders;
  {
    const MutexLock lock(mutex_);
    orders = std::exchange(orders_, Orders{});
  }
  if (orders.must_reset) {
    runner_.reset();
  }
  if (orders.activation) {
    runner_.activate(*std::move(orders.activation));
  }
}

VirtioCore::Queue* VirtioCore::selected() {
  return state_.queue_select < state_.queues.size() ? &state_.queues[state_.queue_select] : nullptr;
}

const VirtioCore::Queue* VirtioCore::selected() const {
  return state_.queue_select < state_.queues.size() ? &state_.queues[state_.queue_select] : nullptr;
}

VirtioCore::Queue* VirtioCore::selected_for_change(std::string_view what) {
  Queue* queue = selected();
  if (queue == nullptr || queue->is_enabled || (state_.status & kStatusDriverOk) != 0) {
    complain(what);
    return nullptr;
  }
  return queue;
}

void VirtioCore::select_queue(uint16_t queue) {
  const MutexLock lock(mutex_);
  state_.queue_select = queue;
}

uint16_t VirtioCore::queue_select() const {
  const MutexLock lock(mutex_);
  return state_.queue_select;
}

uint16_t VirtioCore::queue_size_max() const {
  const MutexLock lock(mutex_);
  return selected() != nullptr ? device_.queue_size_max() : uint16_t{0};
}

uint16_t VirtioCore::queue_size() const {
  const MutexLock lock(mutex_);
  return selected() != nullptr ? selected()->size : uint16_t{0};
}

void VirtioCore::set_queue_size(uint16_t size) {
  const MutexLock lock(mutex_);
  Queue* queue = selected_for_change("changes the size of a queue in use");
  if (queue == nullptr) {
    return;
  }
  if (!is_power_of_two(size) || size > device_.queue_size_max()) {
    complain("wants a queue of an impossible size");
    return;
  }
  queue->size = size;
}

uint32_t VirtioCore::queue_area(QueueArea area, bool high_half) const {
  const MutexLock lock(mutex_);
  return selected() != nullptr ? half_of(selected()->areas[static_cast<size_t>(area)], high_half ? 1 : 0) : 0;
}

void VirtioCore::set_queue_area(QueueArea area, bool high_half, uint32_t bits) {
  const MutexLock lock(mutex_);
  if (Queue* queue = selected_for_change("moves a queue in use"); queue != nullptr) {
    uint64_t& address = queue->areas[static_cast<size_t>(area)];
    address = with_half(address, high_half ? 1 : 0, bits);
  }
}

bool VirtioCore::is_queue_enabled() const {
  const MutexLock lock(mutex_);
  return selected() != nullptr && selected()->is_enabled;
}

bool VirtioCore::is_queue_enabled(uint16_t queue) const {
  const MutexLock lock(mutex_);
  return queue < state_.queues.size() && state_.queues[queue].is_enabled;
}

void VirtioCore::enable_queue() {
  const MutexLock lock(mutex_);
  if (Queue* queue = selected_for_change("enables a queue twice or too late"); queue != nullptr) {
    queue->is_enabled = true;
  }
}

void VirtioCore::disable_queue() {
  const MutexLock lock(mutex_);
  Queue* queue = selected();
  if (queue == nullptr || !queue->is_enabled) {
    return;
  }
  if ((state_.status & kStatusDriverOk) != 0) {
    complain("disables a queue in use");
    return;
  }
  queue->is_enabled = false;
}

void VirtioCore::notify(uint32_t queue) {
  if (queue < doorbells_.size()) {
    doorbells_[queue].signal();
  }
}

uint8_t VirtioCore::interrupt_status() const {
  const MutexLock lock(mutex_);
  return state_.interrupt_status;
}

uint8_t VirtioCore::take_interrupt_status() {
  const MutexLock lock(mutex_);
  return std::exchange(state_.interrupt_status, uint8_t{0});
}

void VirtioCore::acknowledge_interrupts(uint8_t bits) {
  const MutexLock lock(mutex_);
  state_.interrupt_status &= static_cast<uint8_t>(~bits);
}

bool VirtioCore::raise_interrupt_status(uint8_t bits) {
  const MutexLock lock(mutex_);
  if ((state_.status & kStatusDriverOk) == 0) {
    return false;
  }
  state_.interrupt_status |= bits;
  return true;
}

void VirtioCore::config_changed() {
  {
    const MutexLock lock(mutex_);
    ++state_.config_generation;
  }
  transport_.interrupt_config();
  if (device_.ring_host() != nullptr) {
    loop_.post([this] { runner_.update_hosting(); });
  }
}

// A guest that masks and unmasks all the time posts one task at a time.
void VirtioCore::interrupts_changed() {
  if (device_.ring_host() == nullptr || has_told_interrupts_.exchange(true)) {
    return;
  }
  loop_.post([this] {
    has_told_interrupts_ = false;
    runner_.interrupts_changed();
  });
}

void VirtioCore::power_on_reset() { start_reset(); }

void VirtioCore::quiesce(std::function<void()> on_quiet) {
  loop_.post([this, on_quiet = std::move(on_quiet)]() mutable { runner_.quiesce(std::move(on_quiet)); });
}

void VirtioCore::resume() {
  loop_.post([this] { runner_.resume(); });
}

VirtioCore::State VirtioCore::state() const {
  const MutexLock lock(mutex_);
  return state_;
}

void VirtioCore::queue_wants_interrupt(uint16_t queue) { transport_.interrupt_queue(queue); }

void VirtioCore::device_failed(uint64_t activation) {
  {
    const MutexLock lock(mutex_);
    const bool is_present = activation == state_.activation_number && (state_.status & kStatusDriverOk) != 0;
    if (!is_present || (state_.status & kStatusNeedsReset) != 0) {
      return;
    }
    state_.status |= kStatusNeedsReset;
  }
  transport_.interrupt_config();
}

void VirtioCore::reset_finished() {
  const MutexLock lock(mutex_);
  is_resetting_ = orders_.must_reset;
}

}  // namespace vmm::virtio
