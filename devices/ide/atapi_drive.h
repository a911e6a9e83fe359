// AtapiDrive: a CD/DVD reader behind the PACKET command (ATA/ATAPI-7 volume 2, sections 11.7 and 11.8;
// SFF-8020i). What packets mean is in mmc_commands.h; this moves their bytes.
//
// Threads: none of its own; the channel's mutex guards every call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "devices/ide/ide_drive.h"
#include "devices/ide/mmc_commands.h"

namespace vmm::ide {

class AtapiDrive final : public IdeDrive {
 public:
  struct Options {
    std::string serial;  // 20 characters of ASCII are shown
    std::string model = "VMM CD/DVD-ROM";
    bool is_device_1 = false;
    std::optional<uint64_t> world_wide_name = std::nullopt;
  };
  struct PacketState {
    bool is_dma = false;         // bit 0 of the features register
    uint16_t byte_limit = 0;     // of one data block by port
    bool awaits_packet = false;  // the window is the packet's 12 bytes
    bool awaits_list = false;    // the window is a part of a parameter list
    uint32_t list_bytes = 0;     // the whole list's
    uint32_t next_lba = 0;       // reads: what is still to be read
    uint32_t left_blocks = 0;
    bool is_medium_gone = false;  // the tray was opened since the read began
  };

  // No medium; put_medium() (with mmc_state()) brings one.
  explicit AtapiDrive(Options options) : options_(std::move(options)) {}

  MmcState& mmc_state() { return mmc_; }
  const MmcState& mmc_state() const { return mmc_; }
  // The tray was opened, or its medium changed: a read that is under way fails.
  void interrupt_reads();

  bool is_packet_device() const override { return true; }

 private:
  void execute(uint8_t code) override;
  void window_done() override;
  void job_finished(block::IoStatus status) override;
  void dma_broken() override;
  void reset_command(ResetKind kind) override;

  void identify();
  void set_features();
  void await_packet();
  void run_packet();
  void take_list();
  void begin_list(uint32_t length_bytes);
  void begin_reply(std::span<const std::byte> bytes);
  void begin_read(const ReadPlan& plan);
  void read_step();
  void send_buffer();
  void open_block(Phase phase, size_t begin, size_t available, uint8_t reason);
  void data_sent();
  void good();
  void check_condition(const Sense& sense);

  const Options options_;
  MmcState mmc_;
  PacketState packet_;
};

}  // namespace vmm::ide
