// DmaController: the two 8237 DMA controllers of a PC and their page registers (Intel 8237A; PIIX3, Intel
// 290550, section 2.5.1), as systems set them up at their start. Nothing on the board asks for DMA, so
// nothing is ever transferred: registers keep what is written to them.
//
// Threads: all methods from any thread.
#pragma once

#include <array>
#include <cstdint>

#include "devices/byte_device.h"
#include "vmm/base/thread_annotations.h"

namespace vmm {

class DmaController {
 public:
  static constexpr uint64_t kMasterPorts = 16;  // at 00h: channels 0 to 3
  static constexpr uint64_t kSlavePorts = 32;   // at C0h: channels 4 to 7, at even ports
  static constexpr uint64_t kPagePorts = 15;    // at 81h

  BusDevice& master_ports() { return master_ports_; }
  BusDevice& slave_ports() { return slave_ports_; }
  BusDevice& page_ports() { return page_ports_; }
  void reset() VMM_EXCLUDES(mutex_);

 private:
  struct Chip {
    std::array<uint16_t, 8> addresses_and_counts{};  // of channel n: 2n and 2n + 1
    bool is_high_byte = false;                       // the flip-flop
  };

  uint8_t read_master(uint64_t offset) { return read(0, offset); }
  void write_master(uint64_t offset, uint8_t value) { write(0, offset, value); }
  uint8_t read_slave(uint64_t offset) { return read(1, offset / 2); }
  void write_slave(uint64_t offset, uint8_t value) { write(1, offset / 2, value); }
  uint8_t read_page(uint64_t offset) VMM_EXCLUDES(mutex_);
  void write_page(uint64_t offset, uint8_t value) VMM_EXCLUDES(mutex_);
  uint8_t read(size_t chip, uint64_t number) VMM_EXCLUDES(mutex_);
  void write(size_t chip, uint64_t number, uint8_t value) VMM_EXCLUDES(mutex_);

  ByteWindow<DmaController, &DmaController::read_master, &DmaController::write_master> master_ports_{*this};
  ByteWindow<DmaController, &DmaController::read_slave, &DmaController::write_slave> slave_ports_{*this};
  ByteWindow<DmaController, &DmaController::read_page, &DmaController::write_page> page_ports_{*this};

  Mutex mutex_;
  std::array<Chip, 2> chips_ VMM_GUARDED_BY(mutex_);
  std::array<uint8_t, kPagePorts> pages_ VMM_GUARDED_BY(mutex_){};
};

}  // namespace vmm
