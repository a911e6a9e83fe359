// FakeAtaDriver: talks to an IDE channel as drivers do: selects, writes the task file, waits by polling or by
// interrupt, moves data through the port or lets the bus master do it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <vector>

#include "devices/ide/ide_controller.h"
#include "tests/unit/fakes/fake_interrupts.h"
#include "tests/unit/fakes/port_access.h"
#include "vmm/core/guest_memory.h"

namespace vmm::ide {

using Bytes = std::vector<uint8_t>;

inline constexpr uint8_t kLba = 0xe0;  // the device register: LBA, drive 0

struct Prd {
  uint32_t address = 0;
  uint32_t count = 0;  // 0: 64 KiB
  bool is_last = false;
};

class FakeAtaDriver {
 public:
  enum class Waits : uint8_t { kPolling, kInterrupt };

  // Registers before the command; 48-bit commands write the upper halves first.
  struct Command {
    uint8_t code = 0;
    uint8_t device = 0xa0;
    uint16_t features = 0;
    uint16_t count = 0;
    uint64_t lba = 0;
    bool is_extended = false;
  };
  struct Result {
    uint8_t status = 0;
    uint8_t error = 0;
    Bytes data;
    std::vector<size_t> blocks;  // bytes of each DRQ block
    bool has_timed_out = false;
    bool is_good() const { return !has_timed_out && (status & 0x89) == 0; }
  };
  struct DmaResult {
    uint8_t status = 0;  // of the drive
    uint8_t error = 0;
    uint8_t bus_master = 0;  // status register when the driver stopped the engine
    bool is_good() const { return (status & 0xa9) == 0 && (bus_master & 0x07) == 0x04; }
  };

  // turn: lets the disk's loop do what it has to do.
  FakeAtaDriver(IdeController& controller, size_t channel, FakeLine& line, const GuestMemory& memory,
                std::function<void()> turn)
      : controller_(controller), channel_(channel), line_(line), memory_(memory), turn_(std::move(turn)) {}

  Waits waits = Waits::kPolling;
  uint32_t table = 0x1000;  // where PRD tables are built

  BusDevice& command_block() { return controller_.channel(channel_).command_block(); }
  BusDevice& control_block() { return controller_.channel(channel_).control_block(); }
  BusDevice& bus_master() { return *controller_.bars()[IdeController::kBusMasterBar].device; }

  uint8_t get(size_t offset) { return in(command_block(), offset); }
  void put(size_t offset, uint8_t value) { out8(command_block(), offset, value); }
  uint8_t alternate_status() { return in(control_block(), 0); }
  void set_control(uint8_t value) { out8(control_block(), 0, value); }
  uint8_t bus_master_get(size_t offset) { return in(bus_master(), channel_ * 8 + offset); }
  void bus_master_put(size_t offset, uint8_t value) { out8(bus_master(), channel_ * 8 + offset, value); }
  bool line() const { return line_.level; }
  int rises() const { return line_.rises; }

  void select(uint8_t drive) { put(reg::kDevice, drive == 0 ? 0xa0 : 0xb0); }
  void software_reset() {
    set_control(0x0c);
    set_control(0x08);
  }

  // Bounded. True: not busy.
  bool wait_not_busy() {
    for (int i = 0; i < kPatience; ++i) {
      if ((alternate_status() & 0x80) == 0) {
        return true;
      }
      turn_();
    }
    return false;
  }
  // Waits as the driver does, and acknowledges. Nothing where time runs out.
  std::optional<uint8_t> next_status() {
    for (int i = 0; i < kPatience; ++i) {
      if (waits == Waits::kInterrupt ? line() : (alternate_status() & 0x80) == 0) {
        return get(reg::kStatus);
      }
      turn_();
    }
    return std::nullopt;
  }

  void issue(const Command& command) {
    put(reg::kDevice, command.device);
    if (command.is_extended) {
      put(reg::kFeatures, static_cast<uint8_t>(command.features >> 8));
      put(reg::kCount, static_cast<uint8_t>(command.count >> 8));
      put(reg::kLbaLow, static_cast<uint8_t>((command.lba >> 24) & 0xff));
      put(reg::kLbaMid, static_cast<uint8_t>((command.lba >> 32) & 0xff));
      put(reg::kLbaHigh, static_cast<uint8_t>((command.lba >> 40) & 0xff));
    }
    put(reg::kFeatures, static_cast<uint8_t>(command.features & 0xff));
    put(reg::kCount, static_cast<uint8_t>(command.count & 0xff));
    put(reg::kLbaLow, static_cast<uint8_t>(command.lba & 0xff));
    put(reg::kLbaMid, static_cast<uint8_t>((command.lba >> 8) & 0xff));
    put(reg::kLbaHigh, static_cast<uint8_t>((command.lba >> 16) & 0xff));
    put(reg::kCommand, command.code);
  }

  Result no_data(const Command& command) {
    issue(command);
    return end_of({});
  }

  // `bytes` in blocks of block_bytes.
  Result pio_in(const Command& command, size_t bytes, size_t block_bytes = 512) {
    Result result;
    issue(command);
    while (result.data.size() < bytes) {
      if (!take_status(result) || (result.status & 0x09) != 0x08) {
        return result;
      }
      const size_t block = std::min(block_bytes, bytes - result.data.size());
      read_block(result, block);
    }
    result.has_timed_out = !wait_not_busy();
    result.status = alternate_status();
    return result;
  }

  Result pio_out(const Command& command, const Bytes& data, size_t block_bytes = 512) {
    Result result;
    issue(command);
    for (size_t place = 0; place < data.size(); place += block_bytes) {
      // The first block is not announced by an interrupt.
      if (place == 0 ? !poll_status(result) : !take_status(result)) {
        return result;
      }
      if ((result.status & 0x09) != 0x08) {
        return result;
      }
      const size_t block = std::min(block_bytes, data.size() - place);
      result.blocks.push_back(block);
      write_words(std::span(data).subspan(place, block));
    }
    return end_of(std::move(result));
  }

  // A packet whose data, if any, come through the port.
  Result packet(std::initializer_list<uint8_t> cdb, uint16_t byte_limit = 0xfffe, uint8_t device = 0xa0) {
    Result result;
    if (!send_packet(result, cdb, byte_limit, 0, device)) {
      return result;
    }
    while (take_status(result) && (result.status & 0x09) == 0x08) {
      read_block(result, byte_count());
      if (result.blocks.size() > kMaxBlocks) {
        result.has_timed_out = true;
        return result;
      }
    }
    result.error = get(reg::kError);
    return result;
  }
  // The same with data for the drive.
  Result packet_out(std::initializer_list<uint8_t> cdb, const Bytes& data, uint16_t byte_limit = 0xfffe) {
    Result result;
    if (!send_packet(result, cdb, byte_limit, 0, 0xa0)) {
      return result;
    }
    size_t place = 0;
    while (take_status(result) && (result.status & 0x09) == 0x08 && place < data.size()) {
      const size_t block = std::min(byte_count(), data.size() - place);
      result.blocks.push_back(block);
      write_words(std::span(data).subspan(place, block));
      place += block;
    }
    result.error = get(reg::kError);
    return result;
  }
  // Only the task file and the packet; what follows is the test's.
  bool send_packet(Result& result, std::initializer_list<uint8_t> cdb, uint16_t byte_limit, uint8_t features,
                   uint8_t device = 0xa0) {
    issue({.code = 0xa0, .device = device, .features = features, .lba = uint64_t{byte_limit} << 8});
    if (!poll_status(result) || (result.status & 0x09) != 0x08) {
      return false;
    }
    Bytes bytes(cdb);
    bytes.resize(12);
    write_words(bytes);
    return true;
  }

  // --- Bus master ---

  void build_table(const std::vector<Prd>& entries) {
    for (size_t i = 0; i < entries.size(); ++i) {
      const GuestAddress place(table + 8 * i);
      const uint32_t flags = entries[i].is_last ? 1U << 31 : 0;
      const uint64_t entry = uint64_t{flags | entries[i].count} << 32 | entries[i].address;
      static_cast<void>(memory_.write<uint64_t>(place, entry));
    }
  }
  void prepare_dma(bool to_memory) {
    bus_master_put(0, 0);
    bus_master_put(2, 0x06);
    for (size_t i = 0; i < 4; ++i) {
      bus_master_put(4 + i, static_cast<uint8_t>((table >> (8 * i)) & 0xff));
    }
    bus_master_put(0, to_memory ? 0x08 : 0x00);
  }
  void start_dma(bool to_memory) { bus_master_put(0, to_memory ? 0x09 : 0x01); }
  // As libata and SeaBIOS wait: for the bus master's interrupt bit.
  bool wait_dma() {
    for (int i = 0; i < kPatience; ++i) {
      if ((bus_master_get(2) & 0x04) != 0) {
        return true;
      }
      turn_();
    }
    return false;
  }
  DmaResult end_dma() {
    static_cast<void>(wait_dma());
    DmaResult result;
    result.bus_master = bus_master_get(2);
    bus_master_put(0, static_cast<uint8_t>(bus_master_get(0) & ~1));
    result.status = get(reg::kStatus);
    result.error = get(reg::kError);
    bus_master_put(2, 0x06);
    return result;
  }
  DmaResult dma(const Command& command, bool to_memory, const std::vector<Prd>& entries) {
    build_table(entries);
    prepare_dma(to_memory);
    issue(command);
    start_dma(to_memory);
    return end_dma();
  }
  DmaResult packet_dma(std::initializer_list<uint8_t> cdb, bool to_memory, const std::vector<Prd>& entries) {
    build_table(entries);
    prepare_dma(to_memory);
    Result sent;
    if (!send_packet(sent, cdb, 0, 1)) {
      return {.status = 0xff, .error = 0, .bus_master = 0};
    }
    start_dma(to_memory);
    return end_dma();
  }

  // The key, ASC and ASCQ that REQUEST SENSE tells.
  std::array<uint8_t, 3> request_sense() {
    const Result result = packet({0x03, 0, 0, 0, 18});
    if (result.data.size() != 18) {
      return {0xff, 0xff, 0xff};
    }
    return {result.data[2], result.data[12], result.data[13]};
  }
  // Until the drive has told all that happened before.
  void clear_attention() {
    for (int i = 0; i < 4 && !packet({0x00}).is_good(); ++i) {
    }
  }

  size_t byte_count() { return size_t{get(reg::kLbaHigh)} << 8 | get(reg::kLbaMid); }
  void read_block(Result& result, size_t bytes) {
    result.blocks.push_back(bytes);
    for (size_t i = 0; i < bytes; i += 2) {
      const auto word = in<uint16_t>(command_block(), reg::kData);
      result.data.push_back(static_cast<uint8_t>(word & 0xff));
      if (i + 1 < bytes) {
        result.data.push_back(static_cast<uint8_t>(word >> 8));
      }
    }
  }
  void write_words(std::span<const uint8_t> bytes) {
    for (size_t i = 0; i < bytes.size(); i += 2) {
      const auto high = static_cast<uint16_t>(i + 1 < bytes.size() ? bytes[i + 1] << 8 : 0);
      out<uint16_t>(command_block(), reg::kData, static_cast<uint16_t>(high | bytes[i]));
    }
  }

 private:
  static constexpr int kPatience = 2000;
  static constexpr size_t kMaxBlocks = 100'000;

  bool take_status(Result& result) {
    const std::optional<uint8_t> status = next_status();
    result.has_timed_out = !status;
    result.status = status.value_or(0x80);
    return status.has_value();
  }
  bool poll_status(Result& result) {
    result.has_timed_out = !wait_not_busy();
    result.status = alternate_status();
    return !result.has_timed_out;
  }
  Result end_of(Result result) {
    take_status(result);
    result.error = get(reg::kError);
    return result;
  }

  IdeController& controller_;
  size_t channel_;
  FakeLine& line_;
  const GuestMemory& memory_;
  std::function<void()> turn_;
};

}  // namespace vmm::ide
