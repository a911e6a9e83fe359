#include "devices/ide/bus_master.h"

#include <algorithm>

namespace vmm::ide {
namespace {

constexpr size_t kCommand = 0;
constexpr size_t kStatus = 2;
constexpr size_t kTable = 4;

constexpr uint8_t kStart = 1U << 0;
constexpr uint8_t kToMemory = 1U << 3;

constexpr uint8_t kActive = 1U << 0;
constexpr uint8_t kError = 1U << 1;
constexpr uint8_t kInterrupt = 1U << 2;
constexpr uint8_t kDmaCapable = 3U << 5;  // drives 0 and 1: software's note to itself

constexpr uint32_t kEntryBytes = 8;
constexpr uint32_t kEndOfTable = 1U << 31;

}  // namespace

uint8_t BusMaster::read(size_t offset) const {
  switch (offset) {
    case kCommand:
      return state_.command;
    case kStatus:
      return state_.status;
    default:
      if (offset < kTable) {
        return 0;
      }
      return static_cast<uint8_t>((state_.table >> (8 * (offset - kTable))) & 0xff);
  }
}

void BusMaster::write(size_t offset, uint8_t value) {
  if (offset == kCommand) {
    const bool was_started = (state_.command & kStart) != 0;
    state_.command = value & (kStart | kToMemory);
    if ((value & kStart) == 0) {
      state_.status &= static_cast<uint8_t>(~kActive);
    } else if (!was_started) {
      state_.status |= kActive;
      state_.next_entry = 0;
      state_.left_bytes = 0;
      state_.is_last_entry = false;
    }
  } else if (offset == kStatus) {
    const auto cleared = static_cast<uint8_t>(value & (kError | kInterrupt));
    state_.status = static_cast<uint8_t>((state_.status & ~cleared & ~kDmaCapable) | (value & kDmaCapable));
  } else if (offset >= kTable) {
    const size_t shift = 8 * (offset - kTable);
    state_.table = (state_.table & ~(uint32_t{0xff} << shift)) | uint32_t{value} << shift;
    state_.table &= ~uint32_t{3};
  }
}

void BusMaster::note_interrupt() { state_.status |= kInterrupt; }

bool BusMaster::is_active() const { return (state_.status & kActive) != 0; }

// Section 1.2: an entry is an address, a count of bytes (0: 64 KiB; both even) and the mark of the last one.
bool BusMaster::load_entry() {
  if (state_.next_entry >= kMaxEntries) {
    return false;
  }
  const GuestAddress place(uint64_t{state_.table} + uint64_t{state_.next_entry} * kEntryBytes);
  const auto entry = memory_.read<uint64_t>(place);
  if (!entry) {
    return false;
  }
  const auto count = static_cast<uint32_t>((*entry >> 32) & 0xfffe);
  state_.address = static_cast<uint32_t>(*entry & 0xffff'fffe);
  state_.left_bytes = count == 0 ? 0x1'0000 : count;
  state_.is_last_entry = ((*entry >> 32) & kEndOfTable) != 0;
  ++state_.next_entry;
  return true;
}

size_t BusMaster::next_piece(size_t most) {
  if (state_.left_bytes == 0 && !load_entry()) {
    return 0;
  }
  return std::min<size_t>(most, state_.left_bytes);
}

void BusMaster::consume(size_t bytes) {
  state_.address += static_cast<uint32_t>(bytes);
  state_.left_bytes -= static_cast<uint32_t>(bytes);
  if (state_.left_bytes == 0 && state_.is_last_entry) {
    state_.status &= static_cast<uint8_t>(~kActive);
  }
}

BusMaster::Moved BusMaster::fail(size_t moved) {
  state_.status = static_cast<uint8_t>((state_.status & ~kActive) | kError);
  return {.bytes = moved, .has_failed = true};
}

template <typename Byte, typename Copy>
BusMaster::Moved BusMaster::move(std::span<Byte> data, bool wants_write, bool may_master, Copy copy) {
  if (!may_master || wants_write != ((state_.command & kToMemory) != 0)) {
    return fail(0);
  }
  size_t moved = 0;
  while (moved < data.size() && is_active()) {
    const size_t piece = next_piece(data.size() - moved);
    if (piece == 0 || !copy(GuestAddress(state_.address), data.subspan(moved, piece))) {
      return fail(moved);
    }
    moved += piece;
    consume(piece);
  }
  return {.bytes = moved, .has_failed = false};
}

BusMaster::Moved BusMaster::to_memory(std::span<const std::byte> from_drive, bool may_master) {
  return move(from_drive, true, may_master, [this](GuestAddress place, std::span<const std::byte> bytes) {
    return memory_.write_bytes(place, bytes);
  });
}

BusMaster::Moved BusMaster::from_memory(std::span<std::byte> to_drive, bool may_master) {
  return move(to_drive, false, may_master, [this](GuestAddress place, std::span<std::byte> bytes) {
    return memory_.read_bytes(place, bytes);
  });
}

}  // namespace vmm::ide
