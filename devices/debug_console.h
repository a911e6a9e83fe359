// DebugConsole: one port to which firmware and kernels print, as QEMU's isa-debugcon has it. Every byte goes
// to the host's end as it is. The port has no flow control: what that has no room for is lost.
//
// Threads: registers from any vCPU thread; the receiver's methods as ByteReceiver says.
#pragma once

#include <cstdint>
#include <span>

#include "devices/byte_device.h"
#include "vmm/base/log.h"
#include "vmm/core/byte_sink.h"

namespace vmm {

class DebugConsole final : public ByteDevice, public ByteReceiver {
 public:
  static constexpr uint64_t kPorts = 1;
  static constexpr uint8_t kPresent = 0xe9;  // what reading gives: the port is there

  // The sink outlives it.
  explicit DebugConsole(ByteSink& sink) : sink_(sink) {}

  // There is no input: it is taken and dropped.
  size_t receive(std::span<const std::byte> bytes) override { return bytes.size(); }
  void receive_break() override {}
  void output_room() override {}

 private:
  uint8_t read_byte(uint64_t offset) override;
  void write_byte(uint64_t offset, uint8_t value) override;

  ByteSink& sink_;
  log::RateLimit log_limit_;
};

}  // namespace vmm
