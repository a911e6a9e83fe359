// DeviceRunner: the I/O thread's half of a virtio device: its queues, from activation to reset. Takes
// requests when doorbells ring, hands them to the device, and once per turn of the loop shows the driver what
// is done.
//
// Threads: the loop's thread only, but for the constructor and the destructor (the loop does not run then).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "devices/virtio/device.h"
#include "devices/virtio/split_queue.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/log.h"
#include "vmm/base/unique_fd.h"
#include "vmm/core/guest_memory.h"

namespace vmm::virtio {

// What the driver had set up when it wrote DRIVER_OK.
struct Activation {
  uint64_t number = 0;  // counts activations of one device
  uint64_t features = 0;
  std::vector<std::optional<QueueLayout>> queues;  // nothing: not enabled. Checked by SplitQueue::is_valid.
};

// What the runner reports, on the loop's thread.
class RunnerEvents {
 public:
  virtual void queue_wants_interrupt(uint16_t queue) = 0;
  virtual void device_failed(uint64_t activation) = 0;  // a queue is broken, or the host is out of resources
  virtual void reset_finished() = 0;                    // once for all reset() before it
  // What makes an interrupt of this queue when it is signalled, until interrupts_changed(). Null: nothing
  // does.
  virtual const EventFd* direct_interrupt(uint16_t /*queue*/) { return nullptr; }

 protected:
  ~RunnerEvents() = default;
};

class DeviceRunner final : private ChainReturn, private EventLoop::Poller {
 public:
  struct State {
    bool is_quiesced = false;
    std::vector<SplitQueue::State> queues;
  };

  // doorbells[q] is signalled when queue q is to be looked at.
  DeviceRunner(VirtioDevice& device, EventLoop& loop, const GuestMemory& memory,
               const std::vector<EventFd>& doorbells, RunnerEvents& events);
  ~DeviceRunner();
  DeviceRunner(const DeviceRunner&) = delete;
  DeviceRunner& operator=(const DeviceRunner&) = delete;

  // Waits, where a reset is still draining, until that is over.
  void activate(Activation activation);
  // Stops taking requests; what is in flight is let run out and forgotten; then reset_finished().
  void reset();

  // Stops taking requests and calls back when none is in flight and all is shown to the driver.
  // REQUIRES: not quiescing or quiesced already.
  void quiesce(std::function<void()> on_quiet);
  void resume();

  // The device wants other queues to be served by its RingHost.
  void update_hosting();
  // direct_interrupt() has other answers.
  void interrupts_changed();

  State state() const;

 private:
  enum class Phase : uint8_t { kIdle, kActive, kDraining };
  // A queue that the device's RingHost serves.
  struct Hosting {
    EventFd call;  // where no interrupt can be made directly
    EventFd error;
    const EventFd* called = nullptr;
    EventLoop::Watch call_watch{};
    EventLoop::Watch error_watch{};
  };
  struct Queue {
    std::unique_ptr<SplitQueue> ring;  // null: not enabled
    EventLoop::Watch watch;
    std::unique_ptr<Hosting> hosting;    // null: it is served here
    bool is_waiting_for_device = false;  // the device was full
    bool is_unpublished = false;
  };

  enum class Taken : uint8_t { kAll, kSome, kDeviceFull, kBroken };

  void start(const Activation& activation);
  void watch_doorbell(uint16_t queue);
  void finish_reset();
  void remove_from_loop();
  void process_all();
  void process(uint16_t queue);
  Taken take_requests(uint16_t queue);
  bool poll() override;
  bool retry_waiting();
  bool publish_all();
  bool report_quiet();
  bool is_to_be_hosted(uint16_t queue) const;
  Status hand_over(uint16_t queue);
  void hand_over_all();
  void take_back(uint16_t queue);
  void hosted_calls(uint16_t queue);
  void hosted_is_broken(uint16_t queue);
  void complain(uint16_t queue);
  void report_failure();
  uint16_t queue_count() const { return static_cast<uint16_t>(queues_.size()); }
  bool takes_requests() const { return phase_ == Phase::kActive && !is_quiesced_; }

  void give_back(uint16_t queue, uint16_t head, uint32_t written_bytes) override;
  void put_back(uint16_t queue, uint16_t head) override;
  void hosting_changed() override;

  VirtioDevice& device_;
  EventLoop& loop_;
  const GuestMemory& memory_;
  const std::vector<EventFd>& doorbells_;
  RunnerEvents& events_;

  Phase phase_ = Phase::kIdle;
  uint64_t activation_number_ = 0;
  uint64_t features_ = 0;
  uint32_t in_flight_ = 0;  // chains taken and not given back
  std::vector<Queue> queues_;
  std::vector<uint16_t> unpublished_;
  std::optional<Activation> next_activation_;
  bool has_failed_ = false;  // reported already
  bool is_quiesced_ = false;
  std::function<void()> on_quiet_;
  bool has_work_ = false;  // something for poll() to do
  bool has_hosting_changed_ = false;
  bool has_host_failed_ = false;  // it is not asked again
  bool is_poller_ = false;
  log::RateLimit log_limit_;
};

}  // namespace vmm::virtio
