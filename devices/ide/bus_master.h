// BusMaster: the DMA engine of one IDE channel, with its eight registers ("Programming Interface for Bus
// Master IDE Controller", revision 1.0; Intel 290550, section 2.7).
//
// Whatever a table in guest memory says, a transfer ends: every entry moves at least two bytes, and no more
// entries are followed than fit into the 64 KiB in which a table must lie.
//
// Threads: none of its own; the channel's mutex guards every call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "vmm/core/guest_memory.h"

namespace vmm::ide {

class BusMaster {
 public:
  static constexpr size_t kPorts = 8;
  static constexpr uint32_t kMaxEntries = 0x1'0000 / 8;

  struct State {
    uint8_t command = 0;
    uint8_t status = 0;
    uint32_t table = 0;  // guest-physical, a multiple of 4
    // Where the transfer is: the next entry of the table, and what is left of the present one.
    uint32_t next_entry = 0;
    uint32_t address = 0;
    uint32_t left_bytes = 0;
    bool is_last_entry = false;
  };

  explicit BusMaster(const GuestMemory& memory) : memory_(memory) {}

  uint8_t read(size_t offset) const;
  void write(size_t offset, uint8_t value);
  void reset() { state_ = State{}; }

  // The drive has raised its interrupt: all its data are in memory by then.
  void note_interrupt();

  bool is_active() const;
  struct Moved {
    size_t bytes = 0;  // fewer than there were where the table ended, or has_failed
    bool has_failed = false;
  };
  // Move bytes between the drive and memory, as the table says. may_master: the function's bus master enable.
  // REQUIRES: is_active().
  Moved to_memory(std::span<const std::byte> from_drive, bool may_master);
  Moved from_memory(std::span<std::byte> to_drive, bool may_master);

  const State& state() const { return state_; }

 private:
  // Finds the next piece of memory, at most `most` bytes; 0: there is none.
  size_t next_piece(size_t most);
  bool load_entry();
  void consume(size_t bytes);
  Moved fail(size_t moved);
  template <typename Byte, typename Copy>
  Moved move(std::span<Byte> data, bool wants_write, bool may_master, Copy copy);

  const GuestMemory& memory_;
  State state_;
};

}  // namespace vmm::ide
