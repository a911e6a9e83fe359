// VirtioConsole: the console device (virtio 1.2, section 5.3) with one port and no more: neither
// VIRTIO_CONSOLE_F_MULTIPORT nor a size (there is no screen) nor an emergency write is offered. A guest has
// as many consoles as it has devices; Linux names them hvc0, hvc1, ….
//
// Flow control, both ways: output that the host's end has no room for waits in its request; input for which
// the driver has no buffers waits here, in kInputBytes, and then with the host's end.
//
// Threads: receive(), receive_break() and output_room() on the thread of the console's loop; the rest as
// VirtioDevice.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "devices/virtio/device.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/thread_annotations.h"
#include "vmm/core/byte_sink.h"

namespace vmm::virtio {

class VirtioConsole final : public VirtioDevice, public ByteReceiver {
 public:
  static constexpr size_t kInputBytes = 4096;

  // The loop is the device's own. Both outlive the device; the sink's loop turns no more when that goes.
  VirtioConsole(ByteSink& sink, EventLoop& loop) : sink_(sink), loop_(loop) {}

  std::string_view name() const override { return "console"; }
  uint32_t device_id() const override { return 3; }
  uint32_t pci_class_code() const override { return 0x07'80'00; }  // other communication controller
  uint64_t features() const override { return 0; }
  uint16_t queue_count() const override { return 2; }
  uint16_t queue_size_max() const override { return kQueueSize; }
  void read_config(uint32_t offset, std::span<std::byte> data) const override;
  void write_config(uint32_t /*offset*/, std::span<const std::byte> /*data*/) override {}
  void reset_config() override {}

  void start(ChainReturn& chains, uint64_t features, std::span<const uint16_t> queue_sizes) override;
  bool can_accept(uint16_t queue) const override VMM_EXCLUDES(mutex_);
  Handled handle(uint16_t queue, Chain& chain) override;
  void abandon() override { let_go(); }
  // Output that is not with the host's end yet is lost then.
  void let_go() override;

  size_t receive(std::span<const std::byte> bytes) override VMM_EXCLUDES(mutex_);
  void receive_break() override {}  // the device has none
  void output_room() override;

 private:
  static constexpr uint16_t kQueueSize = 64;
  static constexpr uint16_t kReceiveQueue = 0;
  static constexpr uint16_t kTransmitQueue = 1;
  // Copied out of guest memory at once, then offered to the host's end.
  static constexpr size_t kPieceBytes = 4096;
  // Of a request whose output is taken at once: a request may be gigabytes, and others have their turn
  // between.
  static constexpr size_t kPiecesOfTurn = 16;

  uint32_t give_input(Chain& chain) VMM_EXCLUDES(mutex_);
  bool send_piece();
  void send();
  void wake();
  void on_wake();

  ByteSink& sink_;
  EventLoop& loop_;
  std::atomic<bool> is_waking_{false};  // on_wake() is posted

  mutable Mutex mutex_;
  std::array<std::byte, kInputBytes> input_ VMM_GUARDED_BY(mutex_){};  // a ring
  size_t input_first_ VMM_GUARDED_BY(mutex_) = 0;
  size_t input_count_ VMM_GUARDED_BY(mutex_) = 0;
  bool owes_room_ VMM_GUARDED_BY(mutex_) = false;  // receive() came short

  // The I/O thread only.
  ChainReturn* chains_ = nullptr;
  Chain* sending_ = nullptr;  // the request whose output waits for the host's end
  std::array<std::byte, kPieceBytes> piece_{};
  std::span<const std::byte> piece_left_;
};

}  // namespace vmm::virtio
