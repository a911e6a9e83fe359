// VirtioBalloon: the traditional memory balloon device (virtio 1.2, section 5.5): pages that the guest puts
// into it, and free pages that it reports, go back to the host. What the guest takes out again the host gives
// when it is touched; nothing has to be done for it.
//
// No statistics and no free page hints are offered.
//
// Threads: as VirtioDevice; the memory is given back on the device's I/O thread.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "devices/virtio/device.h"
#include "vmm/core/guest_memory.h"

namespace vmm::virtio {

class VirtioBalloon final : public VirtioDevice {
 public:
  static constexpr uint64_t kPageBytes = 4096;  // whatever the pages of guest and host are (section 5.5.6)
  // Of one request; what is beyond stays with the guest's balloon and is not given back. Drivers send 256 to
  // 1024.
  static constexpr size_t kMaxPagesOfRequest = 1024;

  struct Options {
    uint32_t target_pages = 0;  // how many are to be in the balloon
    bool deflates_on_oom = false;
    bool reports_free_pages = false;
  };
  // What a saved machine must hold, beside queues and registers.
  struct State {
    uint32_t actual_pages = 0;
  };
  // Whole pages of guest memory, in the host's addresses, for the kernel: what they hold is of no use any
  // more.
  using GiveBack = std::function<void(const iovec& pages)>;

  // The memory outlives the device.
  VirtioBalloon(const GuestMemory& memory, Options options, GiveBack give_back);

  std::string_view name() const override { return "balloon"; }
  uint32_t device_id() const override { return 5; }
  uint32_t pci_class_code() const override { return 0x05'00'00; }  // RAM controller
  uint64_t features() const override;
  uint16_t queue_count() const override;
  uint16_t queue_size_max() const override { return kQueueSize; }
  void read_config(uint32_t offset, std::span<std::byte> data) const override;
  void write_config(uint32_t offset, std::span<const std::byte> data) override;
  void reset_config() override { actual_pages_ = 0; }

  void start(ChainReturn& chains, uint64_t features, std::span<const uint16_t> queue_sizes) override;
  bool can_accept(uint16_t /*queue*/) const override { return true; }
  Handled handle(uint16_t queue, Chain& chain) override;
  void abandon() override {}  // nothing is ever in flight

  State state() const { return {.actual_pages = actual_pages_}; }

 private:
  static constexpr uint16_t kQueueSize = 64;  // Linux reports 32 ranges at once

  void inflate(Chain& chain) const;
  void report(const Chain& chain) const;
  void give_back_pages(uint64_t first_page, uint64_t count) const;

  const GuestMemory& memory_;
  const Options options_;
  const GiveBack give_back_;
  std::atomic<uint32_t> actual_pages_{0};

  // The I/O thread only.
  ChainReturn* chains_ = nullptr;
  bool takes_reports_ = false;
};

}  // namespace vmm::virtio
