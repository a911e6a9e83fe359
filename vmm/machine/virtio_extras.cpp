#include "vmm/machine/virtio_extras.h"

#include <chrono>
#include <future>
#include <optional>
#include <utility>

#include "vmm/machine/entropy.h"
#include "vmm/machine/open_console.h"

namespace vmm {
namespace {

std::optional<virtio::VirtioRng::Rate> rate_of(const domain::Rng& rng) {
  if (rng.rate_bytes == 0) {
    return std::nullopt;
  }
  return virtio::VirtioRng::Rate{.bytes = rng.rate_bytes,
                                 .period = std::chrono::milliseconds(rng.rate_period_ms)};
}

}  // namespace

Result<std::unique_ptr<VirtioExtras>> VirtioExtras::create(const domain::Domain& domain, VirtioPlaces& places,
                                                           EventLoop& main_loop,
                                                           const std::function<void()>& on_quit) {
  if (domain.rngs.empty() && domain.virtio_consoles.empty()) {
    return nullptr;
  }
  VMM_ASSIGN_OR_RETURN(auto thread, IoThread::create("virtio"));
  std::unique_ptr<VirtioExtras> extras(new VirtioExtras(std::move(thread)));
  for (const domain::Rng& rng : domain.rngs) {
    if (const Status added = extras->add_rng(rng, places); !added) {
      return std::unexpected(added.error().within(fmt::format("{}: <rng>", domain.where(rng.line))));
    }
  }
  for (const domain::Serial& end : domain.virtio_consoles) {
    if (const Status added = extras->add_console(domain, end, places, main_loop, on_quit); !added) {
      return std::unexpected(added.error().within(fmt::format("{}: <console>", domain.where(end.line))));
    }
  }
  return extras;
}

VirtioExtras::~VirtioExtras() { thread_->stop(); }

Status VirtioExtras::add_rng(const domain::Rng& rng, VirtioPlaces& places) {
  Rng added;
  VMM_ASSIGN_OR_RETURN(virtio::VirtioRng::Source source, open_entropy(rng.source));
  VMM_ASSIGN_OR_RETURN(added.period, make_loop_alarm(thread_->loop()));
  VMM_ASSIGN_OR_RETURN(added.retry, make_loop_alarm(thread_->loop()));
  added.device = std::make_unique<virtio::VirtioRng>(
      std::move(source), rate_of(rng),
      virtio::VirtioRng::Alarms{.period = *added.period, .retry = *added.retry});
  VMM_ASSIGN_OR_RETURN(added.transport,
                       places.attach(*added.device, thread_->loop(), {.address = rng.address}));
  rngs_.push_back(std::move(added));
  return {};
}

Status VirtioExtras::add_console(const domain::Domain& domain, const domain::Serial& end,
                                 VirtioPlaces& places, EventLoop& main_loop,
                                 const std::function<void()>& on_quit) {
  GuestConsole added;
  VMM_ASSIGN_OR_RETURN(
      added.end, open_console(domain, end, main_loop, on_quit, fmt::format("virtio console {}", end.port)));
  added.device = std::make_unique<virtio::VirtioConsole>(*added.end, thread_->loop());
  VMM_ASSIGN_OR_RETURN(added.transport, places.attach(*added.device, thread_->loop(), {}));
  added.end->connect(*added.device);
  consoles_.push_back(std::move(added));
  return {};
}

Status VirtioExtras::begin() {
  for (const GuestConsole& console : consoles_) {
    VMM_TRY(console.end->begin());
  }
  return {};
}

void VirtioExtras::flush_consoles() {
  for (const GuestConsole& console : consoles_) {
    console.end->flush();
  }
}

// By their ports, which count from 0.
std::vector<ConsoleInfo> VirtioExtras::consoles() const {
  std::vector<ConsoleInfo> infos;
  infos.reserve(consoles_.size());
  for (const GuestConsole& console : consoles_) {
    infos.push_back({.label = fmt::format("console{}", infos.size()), .host_end = console.end->host_end()});
  }
  return infos;
}

template <typename Action>
void VirtioExtras::for_each_core(const Action& action) const {
  for (const Rng& rng : rngs_) {
    action(rng.transport.core());
  }
  for (const GuestConsole& console : consoles_) {
    action(console.transport.core());
  }
}

void VirtioExtras::quiesce() {
  if (std::exchange(is_quiesced_, true)) {
    return;
  }
  for_each_core([](virtio::VirtioCore& core) {
    std::promise<void> quiet;
    core.quiesce([&quiet] { quiet.set_value(); });
    quiet.get_future().wait();
  });
}

void VirtioExtras::resume() {
  if (std::exchange(is_quiesced_, false)) {
    for_each_core([](virtio::VirtioCore& core) { core.resume(); });
  }
}

void VirtioExtras::reset() const {
  for (const Rng& rng : rngs_) {
    rng.transport.reset();
  }
  for (const GuestConsole& console : consoles_) {
    console.transport.reset();
  }
}

}  // namespace vmm
