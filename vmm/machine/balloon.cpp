#include "vmm/machine/balloon.h"

#include <future>
#include <utility>

#include "vmm/machine/memory_builder.h"

namespace vmm {
namespace {

virtio::VirtioBalloon::Options options_of(const domain::Domain& domain) {
  const uint64_t target_bytes = domain.memory_bytes - domain.current_memory_bytes;
  return {.target_pages = static_cast<uint32_t>(target_bytes / virtio::VirtioBalloon::kPageBytes),
          .deflates_on_oom = domain.balloon->deflates_on_oom,
          .reports_free_pages = domain.balloon->reports_free_pages};
}

}  // namespace

Result<std::unique_ptr<Balloon>> Balloon::create(const domain::Domain& domain, VirtioPlaces& places) {
  if (!domain.balloon) {
    return nullptr;
  }
  VMM_ASSIGN_OR_RETURN(auto thread, IoThread::create("balloon"));
  std::unique_ptr<Balloon> balloon(new Balloon(std::move(thread)));
  balloon->device_ = std::make_unique<virtio::VirtioBalloon>(
      places.world().memory, options_of(domain),
      [&backing = domain.memory_backing](const iovec& pages) { give_back_memory(backing, pages); });
  auto transport = places.attach(*balloon->device_, balloon->thread_->loop(),
                                 {.address = domain.balloon->address, .has_ioeventfd = true});
  if (!transport) {
    return std::unexpected(
        transport.error().within(fmt::format("{}: <memballoon>", domain.where(domain.balloon->line))));
  }
  balloon->transport_ = std::move(*transport);
  return balloon;
}

Balloon::~Balloon() { thread_->stop(); }

void Balloon::quiesce() {
  if (std::exchange(is_quiesced_, true)) {
    return;
  }
  std::promise<void> quiet;
  transport_.core().quiesce([&quiet] { quiet.set_value(); });
  quiet.get_future().wait();
}

void Balloon::resume() {
  if (std::exchange(is_quiesced_, false)) {
    transport_.core().resume();
  }
}

}  // namespace vmm
