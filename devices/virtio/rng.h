// VirtioRng: the entropy device (virtio 1.2, section 5.4): random bytes of the host for the guest.
//
// A request gets at most kPoolBytes, whatever its size: a device may give less than is asked for (section
// 5.4.6.1). With a rate, no more than so many bytes are given in a period; requests wait in their ring
// meanwhile.
//
// Threads: as VirtioDevice; the source is read on the device's I/O thread, where the alarm goes off too.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

#include "devices/virtio/device.h"
#include "vmm/base/log.h"
#include "vmm/core/alarm.h"

namespace vmm::virtio {

class VirtioRng final : public VirtioDevice {
 public:
  // What is read from the source at once, and the most that one request gets.
  static constexpr size_t kPoolBytes = 4096;
  // A source that has nothing, or fails, is asked again after this time.
  static constexpr std::chrono::milliseconds kRetryTime{100};

  struct Rate {
    uint64_t bytes = 0;  // at least 1
    std::chrono::milliseconds period{1000};
  };
  // Fills the front of `to` and returns how many bytes; 0: there is nothing at present. It should not
  // wait.
  using Source = std::function<size_t(std::span<std::byte> to)>;

  // These go off on the thread of the loop that the device belongs to, and outlive the device.
  struct Alarms {
    Alarm& period;  // a period of the rate is over
    Alarm& retry;   // the source is asked again
  };
  VirtioRng(Source source, std::optional<Rate> rate, const Alarms& alarms);

  std::string_view name() const override { return "rng"; }
  uint32_t device_id() const override { return 4; }
  uint32_t pci_class_code() const override { return 0xff'00'00; }  // none that is defined
  uint64_t features() const override { return 0; }
  uint16_t queue_count() const override { return 1; }
  uint16_t queue_size_max() const override { return kQueueSize; }
  void read_config(uint32_t offset, std::span<std::byte> data) const override;
  void write_config(uint32_t /*offset*/, std::span<const std::byte> /*data*/) override {}
  void reset_config() override {}

  void start(ChainReturn& chains, uint64_t features, std::span<const uint16_t> queue_sizes) override;
  bool can_accept(uint16_t /*queue*/) const override { return pool_left_ > 0 && allowance_ > 0; }
  Handled handle(uint16_t queue, Chain& chain) override;
  void abandon() override {}  // nothing is ever in flight

 private:
  static constexpr uint16_t kQueueSize = 64;

  void refill();
  void take(size_t bytes);
  void begin_period();
  void on_period();
  void on_retry();

  const Source source_;
  const std::optional<Rate> rate_;
  const Alarms alarms_;

  // The I/O thread only.
  ChainReturn* chains_ = nullptr;
  std::array<std::byte, kPoolBytes> pool_{};
  size_t pool_left_ = 0;    // at its end
  uint64_t allowance_ = 0;  // of this period
  bool is_in_period_ = false;
  bool waits_for_source_ = false;
  log::RateLimit log_limit_;
};

}  // namespace vmm::virtio
