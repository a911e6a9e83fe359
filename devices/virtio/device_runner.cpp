#include "devices/virtio/device_runner.h"

#include <utility>

#include "vmm/base/check.h"

namespace vmm::virtio {

DeviceRunner::DeviceRunner(VirtioDevice& device, EventLoop& loop, const GuestMemory& memory,
                           const std::vector<EventFd>& doorbells, RunnerEvents& events)
    : device_(device), loop_(loop), memory_(memory), doorbells_(doorbells), events_(events) {
  unpublished_.reserve(doorbells_.size());
}

DeviceRunner::~DeviceRunner() {
  phase_ = Phase::kIdle;
  for (uint16_t i = 0; i < queue_count(); ++i) {
    take_back(i);
  }
  remove_from_loop();
}

void DeviceRunner::remove_from_loop() {
  if (std::exchange(is_poller_, false)) {
    loop_.remove_poller(*this);
  }
}

void DeviceRunner::activate(Activation activation) {
  if (phase_ == Phase::kDraining) {
    next_activation_ = std::move(activation);
    return;
  }
  VMM_CHECK(phase_ == Phase::kIdle, "a device was activated twice");
  start(activation);
}

void DeviceRunner::start(const Activation& activation) {
  phase_ = Phase::kActive;
  activation_number_ = activation.number;
  features_ = activation.features;
  has_failed_ = false;
  loop_.add_poller(*this);
  is_poller_ = true;
  const SplitQueue::Options options{
      .has_indirect = (activation.features & feature_mask(Feature::kIndirectDescriptors)) != 0,
      .has_event_index = (activation.features & feature_mask(Feature::kEventIndex)) != 0,
      .max_chain_descriptors = device_.queue_size_max()};
  std::vector<uint16_t> sizes(activation.queues.size(), 0);
  queues_.resize(activation.queues.size());
  for (size_t i = 0; i < queues_.size(); ++i) {
    if (activation.queues[i]) {
      queues_[i].ring = std::make_unique<SplitQueue>(memory_, *activation.queues[i], options);
      sizes[i] = activation.queues[i]->size;
    }
  }
  device_.start(*this, activation.features, sizes);
  for (uint16_t i = 0; i < queue_count(); ++i) {
    watch_doorbell(i);
  }
  update_hosting();
  process_all();
}

void DeviceRunner::watch_doorbell(uint16_t queue) {
  if (queues_[queue].ring == nullptr) {
    return;
  }
  // Edge-triggered, an eventfd reports every signal: the counter need not be read.
  Result<EventLoop::Watch> watch =
      loop_.watch(doorbells_[queue].fd(), EPOLLIN | EPOLLET, [this, queue](uint32_t) { process(queue); });
  if (!watch) {
    log::error("{}: queue {} does not work: {}", device_.name(), queue, watch.error().message());
    report_failure();
    return;
  }
  queues_[queue].watch = *std::move(watch);
}

void DeviceRunner::reset() {
  next_activation_.reset();
  if (phase_ == Phase::kActive) {
    phase_ = Phase::kDraining;
    for (uint16_t i = 0; i < queue_count(); ++i) {
      take_back(i);
      queues_[i].watch.reset();
    }
    device_.abandon();
  }
  if (phase_ == Phase::kIdle || in_flight_ == 0) {
    finish_reset();
  }
}

void DeviceRunner::finish_reset() {
  phase_ = Phase::kIdle;
  unpublished_.clear();
  queues_.clear();
  remove_from_loop();
  events_.reset_finished();
  if (next_activation_) {
    const Activation next = *std::exchange(next_activation_, std::nullopt);
    start(next);
  }
}

void DeviceRunner::quiesce(std::function<void()> on_quiet) {
  VMM_CHECK(!is_quiesced_, "a device was quiesced twice");
  is_quiesced_ = true;
  on_quiet_ = std::move(on_quiet);
  update_hosting();
  device_.let_go();
  publish_all();
  report_quiet();
}

void DeviceRunner::resume() {
  is_quiesced_ = false;
  on_quiet_ = nullptr;
  update_hosting();
  process_all();
}

bool DeviceRunner::report_quiet() {
  if (!on_quiet_ || in_flight_ != 0) {
    return false;
  }
  std::exchange(on_quiet_, nullptr)();
  return true;
}

void DeviceRunner::process_all() {
  for (uint16_t i = 0; i < queue_count(); ++i) {
    process(i);
  }
}

void DeviceRunner::process(uint16_t queue) {
  if (!takes_requests() || queues_[queue].ring == nullptr || queues_[queue].hosting != nullptr) {
    return;
  }
  switch (take_requests(queue)) {
    case Taken::kAll:
      return;
    case Taken::kSome:
      // A driver that adds as fast as we take must not keep the loop from its other work.
      doorbells_[queue].signal();
      return;
    case Taken::kDeviceFull:
      queues_[queue].is_waiting_for_device = true;
      has_work_ = true;
      return;
    case Taken::kBroken:
      complain(queue);
      return;
  }
}

DeviceRunner::Taken DeviceRunner::take_requests(uint16_t queue) {
  SplitQueue& ring = *queues_[queue].ring;
  ring.disable_notifications();
  for (uint32_t budget = ring.size(); budget > 0;) {
    if (!device_.can_accept(queue)) {
      return Taken::kDeviceFull;
    }
    switch (ring.pop()) {
      case SplitQueue::Pop::kBroken:
        return Taken::kBroken;
      case SplitQueue::Pop::kEmpty:
        if (!ring.enable_notifications()) {
          return Taken::kAll;
        }
        ring.disable_notifications();
        break;
      case SplitQueue::Pop::kChain:
        --budget;
        ++in_flight_;
        if (device_.handle(queue, ring.popped()) == VirtioDevice::Handled::kNowhereToSay) {
          --in_flight_;
          ring.mark_broken("a request has no place for its answer");
          return Taken::kBroken;
        }
        break;
    }
  }
  return Taken::kSome;
}

void DeviceRunner::complain(uint16_t queue) {
  if (log_limit_.allows()) {
    log::warning("{}: queue {} is stopped until the guest resets the device: {}", device_.name(), queue,
                 queues_[queue].ring->fault());
  }
  report_failure();
}

void DeviceRunner::report_failure() {
  if (!std::exchange(has_failed_, true)) {
    events_.device_failed(activation_number_);
  }
}

void DeviceRunner::give_back(uint16_t queue, uint16_t head, uint32_t written_bytes) {
  VMM_CHECK(in_flight_ > 0, "a chain was given back that was not taken");
  --in_flight_;
  has_work_ = true;
  if (phase_ != Phase::kActive) {
    return;
  }
  Queue& target = queues_[queue];
  target.ring->add_used(head, written_bytes);
  if (!std::exchange(target.is_unpublished, true)) {
    unpublished_.push_back(queue);
  }
}

void DeviceRunner::put_back(uint16_t queue, uint16_t head) {
  VMM_CHECK(in_flight_ > 0, "a chain was put back that was not taken");
  --in_flight_;
  has_work_ = true;
  if (phase_ == Phase::kActive) {
    queues_[queue].ring->put_back(head);
    queues_[queue].is_waiting_for_device = true;
  }
}

bool DeviceRunner::poll() {
  if (!std::exchange(has_work_, false)) {
    return false;
  }
  if (std::exchange(has_hosting_changed_, false)) {
    update_hosting();
  }
  bool did_something = retry_waiting();
  did_something = publish_all() || did_something;
  if (phase_ == Phase::kDraining && in_flight_ == 0) {
    finish_reset();
    did_something = true;
  }
  return report_quiet() || did_something;
}

bool DeviceRunner::retry_waiting() {
  bool did_something = false;
  for (uint16_t i = 0; i < queue_count(); ++i) {
    if (!queues_[i].is_waiting_for_device) {
      continue;
    }
    if (!device_.can_accept(i)) {
      // What it waits for may be in the hands of another device on this loop, or of the host.
      has_work_ = true;
      continue;
    }
    queues_[i].is_waiting_for_device = false;
    process(i);
    did_something = true;
  }
  return did_something;
}

bool DeviceRunner::publish_all() {
  const bool has_any = !unpublished_.empty();
  for (const uint16_t index : unpublished_) {
    queues_[index].is_unpublished = false;
    if (queues_[index].ring->publish()) {
      events_.queue_wants_interrupt(index);
    }
  }
  unpublished_.clear();
  return has_any;
}

// --- Queues that somebody else serves ---

void DeviceRunner::hosting_changed() {
  has_hosting_changed_ = true;
  has_work_ = true;
}

bool DeviceRunner::is_to_be_hosted(uint16_t queue) const {
  const SplitQueue* const ring = queues_[queue].ring.get();
  return takes_requests() && !has_host_failed_ && ring != nullptr && !ring->state().is_broken &&
         device_.is_to_be_hosted(queue);
}

void DeviceRunner::update_hosting() {
  if (phase_ != Phase::kActive || device_.ring_host() == nullptr) {
    return;
  }
  bool is_any_new = false;
  for (uint16_t i = 0; i < queue_count(); ++i) {
    const bool is_wanted = is_to_be_hosted(i);
    if (!is_wanted && queues_[i].hosting != nullptr) {
      take_back(i);
      process(i);
    }
    is_any_new = is_any_new || (is_wanted && queues_[i].hosting == nullptr);
  }
  if (is_any_new) {
    device_.let_go();
    publish_all();
    hand_over_all();
  }
}

// All that are to be, or none.
void DeviceRunner::hand_over_all() {
  for (uint16_t i = 0; i < queue_count() && !has_host_failed_; ++i) {
    if (!is_to_be_hosted(i) || queues_[i].hosting != nullptr) {
      continue;
    }
    if (const Status done = hand_over(i); !done) {
      log::warning("{}: {}; vmm moves the packets itself", device_.name(), done.error().message());
      has_host_failed_ = true;
    }
  }
  for (uint16_t i = 0; i < queue_count() && has_host_failed_; ++i) {
    take_back(i);
    process(i);
  }
}

Status DeviceRunner::hand_over(uint16_t queue) {
  Queue& target = queues_[queue];
  VMM_CHECK(target.ring->is_at_rest(), "a ring was handed over with requests in flight");
  VMM_ASSIGN_OR_RETURN(EventFd call, EventFd::create());
  VMM_ASSIGN_OR_RETURN(EventFd error, EventFd::create());
  auto hosting = std::make_unique<Hosting>(std::move(call), std::move(error));
  VMM_ASSIGN_OR_RETURN(hosting->call_watch, loop_.watch(hosting->call.fd(), EPOLLIN,
                                                        [this, queue](uint32_t) { hosted_calls(queue); }));
  VMM_ASSIGN_OR_RETURN(
      hosting->error_watch,
      loop_.watch(hosting->error.fd(), EPOLLIN, [this, queue](uint32_t) { hosted_is_broken(queue); }));
  const EventFd* const direct = events_.direct_interrupt(queue);
  hosting->called = direct != nullptr ? direct : &hosting->call;
  const QueueLayout& layout = target.ring->layout();
  VMM_TRY(device_.ring_host()->take(queue,
                                    {.size = layout.size,
                                     .descriptors = layout.descriptors,
                                     .available = layout.available,
                                     .used = layout.used,
                                     .next_available = target.ring->state().next_available,
                                     .kick = doorbells_[queue],
                                     .call = *hosting->called,
                                     .error = hosting->error},
                                    features_));
  target.watch.reset();
  target.is_waiting_for_device = false;
  target.hosting = std::move(hosting);
  // What came before it looked.
  doorbells_[queue].signal();
  return {};
}

void DeviceRunner::take_back(uint16_t queue) {
  Queue& target = queues_[queue];
  if (target.hosting == nullptr) {
    return;
  }
  const Result<uint16_t> next = device_.ring_host()->give_back(queue);
  const auto hosting = std::exchange(target.hosting, nullptr);
  if (phase_ != Phase::kActive) {
    return;
  }
  if (hosting->call.drain() != 0) {
    events_.queue_wants_interrupt(queue);
  }
  watch_doorbell(queue);
  if (next) {
    target.ring->continue_at(*next);
    return;
  }
  log::error("{}: {}", device_.name(), next.error().message());
  target.ring->mark_broken("the host does not say where it is");
  complain(queue);
}

void DeviceRunner::hosted_calls(uint16_t queue) {
  Hosting* const hosting = queues_[queue].hosting.get();
  if (hosting != nullptr && hosting->call.drain() != 0) {
    events_.queue_wants_interrupt(queue);
  }
}

void DeviceRunner::hosted_is_broken(uint16_t queue) {
  Hosting* const hosting = queues_[queue].hosting.get();
  if (hosting == nullptr || hosting->error.drain() == 0) {
    return;
  }
  take_back(queue);
  queues_[queue].ring->mark_broken("the host's kernel finds an impossible request in it");
  complain(queue);
}

// What was signalled at the event before comes as an interrupt yet.
void DeviceRunner::interrupts_changed() {
  for (uint16_t i = 0; i < queue_count(); ++i) {
    Hosting* const hosting = queues_[i].hosting.get();
    if (hosting == nullptr) {
      continue;
    }
    const EventFd* const direct = events_.direct_interrupt(i);
    const EventFd* const wanted = direct != nullptr ? direct : &hosting->call;
    if (wanted == hosting->called) {
      continue;
    }
    if (const Status done = device_.ring_host()->set_call(i, *wanted); !done) {
      log::warning("{}: {}; vmm moves the packets itself", device_.name(), done.error().message());
      has_host_failed_ = true;
      hosting_changed();
      return;
    }
    hosting->called = wanted;
  }
}

DeviceRunner::State DeviceRunner::state() const {
  State state{.is_quiesced = is_quiesced_, .queues = {}};
  for (const Queue& queue : queues_) {
    state.queues.push_back(queue.ring != nullptr ? queue.ring->state() : SplitQueue::State{});
  }
  return state;
}

}  // namespace vmm::virtio
