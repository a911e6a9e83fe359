// VirtioCore: the registers that every virtio device has, whatever the transport (virtio 1.2, chapters 2 and
// 3): status, feature negotiation, queue set-up, configuration generation, interrupt status. It crosses from
// the vCPU threads, which touch registers, to the I/O thread, which owns the queues.
//
// Threads: any, unless a method says otherwise; no vCPU ever waits for the I/O thread.
//
// A reset is asynchronous (sections 2.4.2 and 4.1.4.3.2): registers are cleared at once, but the status reads
// as ACKNOWLEDGE until nothing is in flight; then as 0. A driver that does not wait (virtio-mmio drivers do
// not) may set the device up again meanwhile: that activation is queued behind the reset.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "devices/virtio/device.h"
#include "devices/virtio/device_runner.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/log.h"
#include "vmm/base/thread_annotations.h"
#include "vmm/base/unique_fd.h"

namespace vmm::virtio {

// Device status bits (section 2.1).
inline constexpr uint8_t kStatusAcknowledge = 1;
inline constexpr uint8_t kStatusDriver = 2;
inline constexpr uint8_t kStatusDriverOk = 4;
inline constexpr uint8_t kStatusFeaturesOk = 8;
inline constexpr uint8_t kStatusNeedsReset = 64;
inline constexpr uint8_t kStatusFailed = 128;

// Interrupt status bits (sections 4.1.4.5 and 4.2.2).
inline constexpr uint8_t kInterruptQueue = 1;
inline constexpr uint8_t kInterruptConfig = 2;

enum class QueueArea : uint8_t { kDescriptors, kDriver, kDevice };

// What the transport does for the core. Called with no lock held.
class TransportEvents {
 public:
  virtual void interrupt_queue(uint16_t queue) = 0;  // any thread
  virtual void interrupt_config() = 0;               // any thread
  // DRIVER_OK was set: doorbells of enabled queues should be attached. vCPU thread.
  virtual void device_activated() = 0;
  // What makes an interrupt of this queue when it is signalled, until VirtioCore::interrupts_changed(); any
  // thread. Null: only interrupt_queue() does.
  virtual const EventFd* direct_interrupt(uint16_t /*queue*/) { return nullptr; }

 protected:
  ~TransportEvents() = default;
};

class VirtioCore final : private RunnerEvents {
 public:
  // Plain values; what a saved machine must hold, beside DeviceRunner::State.
  struct Queue {
    uint16_t size = 0;
    bool is_enabled = false;
    std::array<uint64_t, 3> areas{};  // by QueueArea
  };
  struct State {
    uint8_t status = 0;
    uint8_t interrupt_status = 0;
    uint8_t config_generation = 0;
    uint32_t device_feature_select = 0;
    uint32_t driver_feature_select = 0;
    uint64_t driver_features = 0;
    uint16_t queue_select = 0;
    uint64_t activation_number = 0;
    std::vector<Queue> queues;
  };

  // One doorbell for each queue of the device. The core must outlive the last turn of the loop; the others
  // outlive the core.
  VirtioCore(VirtioDevice& device, EventLoop& loop, const GuestMemory& memory, std::vector<EventFd> doorbells,
             TransportEvents& transport);
  // REQUIRES: the loop does not run.
  ~VirtioCore() = default;
  VirtioCore(const VirtioCore&) = delete;
  VirtioCore& operator=(const VirtioCore&) = delete;

  static Result<std::vector<EventFd>> make_doorbells(const VirtioDevice& device);

  VirtioDevice& device() { return device_; }
  uint16_t queue_count() const { return static_cast<uint16_t>(doorbells_.size()); }
  const EventFd& doorbell(uint16_t queue) const { return doorbells_[queue]; }

  // Features, 32 bits at a time.
  void select_device_features(uint32_t select);
  uint32_t device_feature_select() const;
  uint32_t device_features() const;
  void select_driver_features(uint32_t select);
  uint32_t driver_feature_select() const;
  uint32_t driver_features() const;
  void set_driver_features(uint32_t bits);

  uint8_t status() const;
  void set_status(uint8_t value);
  uint8_t config_generation() const;

  // The selected queue; one that does not exist reads as zero and takes nothing.
  void select_queue(uint16_t queue);
  uint16_t queue_select() const;
  uint16_t queue_size_max() const;
  uint16_t queue_size() const;
  void set_queue_size(uint16_t size);
  uint32_t queue_area(QueueArea area, bool high_half) const;
  void set_queue_area(QueueArea area, bool high_half, uint32_t bits);
  bool is_queue_enabled() const;
  void enable_queue();
  void disable_queue();  // virtio-mmio, before DRIVER_OK
  bool is_queue_enabled(uint16_t queue) const;

  // A notification that did not come by the doorbell.
  void notify(uint32_t queue);

  uint8_t interrupt_status() const;
  uint8_t take_interrupt_status();  // reads and clears
  void acknowledge_interrupts(uint8_t bits);
  // Sets bits, where a driver is there; false where there is none and the transport should keep quiet.
  bool raise_interrupt_status(uint8_t bits);

  // The device's configuration has changed (a disk grew): new generation, and an interrupt.
  void config_changed();
  // TransportEvents::direct_interrupt() has other answers.
  void interrupts_changed();

  // To the power-on state. REQUIRES: no vCPU runs, and quiesce() has called back, else requests in flight may
  // still write to guest memory.
  void power_on_reset();

  // Stops the device from taking requests; on_quiet runs on the loop's thread when none is in flight and the
  // driver's rings show it. Doorbells that ring meanwhile are seen at resume(). REQUIRES: in turns.
  void quiesce(std::function<void()> on_quiet);
  void resume();

  State state() const;
  DeviceRunner::State runner_state() const { return runner_.state(); }  // REQUIRES: quiesced

 private:
  // What the I/O thread has still to be told. A later reset outdates an earlier activation, so this does not
  // grow, however fast a guest resets.
  struct Orders {
    bool must_reset = false;
    std::optional<Activation> activation;  // after the reset, if both
    bool is_posted = false;
  };

  void clear_registers() VMM_REQUIRES(mutex_);
  void start_reset() VMM_EXCLUDES(mutex_);
  void post_orders() VMM_EXCLUDES(mutex_);
  void carry_out_orders() VMM_EXCLUDES(mutex_);
  bool accepts_features() const VMM_REQUIRES(mutex_);
  uint8_t status_after(uint8_t value) VMM_REQUIRES(mutex_);
  Activation make_activation() VMM_REQUIRES(mutex_);
  Queue* selected() VMM_REQUIRES(mutex_);
  const Queue* selected() const VMM_REQUIRES(mutex_);
  Queue* selected_for_change(std::string_view what) VMM_REQUIRES(mutex_);
  void complain(std::string_view what) const;

  void queue_wants_interrupt(uint16_t queue) override;
  const EventFd* direct_interrupt(uint16_t queue) override { return transport_.direct_interrupt(queue); }
  void device_failed(uint64_t activation) override VMM_EXCLUDES(mutex_);
  void reset_finished() override VMM_EXCLUDES(mutex_);

  VirtioDevice& device_;
  EventLoop& loop_;
  const GuestMemory& memory_;
  TransportEvents& transport_;
  const uint64_t offered_features_;
  const std::vector<EventFd> doorbells_;
  mutable log::RateLimit log_limit_;

  mutable Mutex mutex_;
  State state_ VMM_GUARDED_BY(mutex_);
  bool is_resetting_ VMM_GUARDED_BY(mutex_) = false;
  Orders orders_ VMM_GUARDED_BY(mutex_);
  std::atomic<bool> has_told_interrupts_{false};  // posted, and not yet carried out

  DeviceRunner runner_;  // the loop's thread
};

}  // namespace vmm::virtio
