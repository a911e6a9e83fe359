// AtaDisk: a hard disk with the General feature set, 28- and 48-bit addresses, CHS for old boot sectors, and
// TRIM (ATA/ATAPI-7 volume 1, section 6; ACS-2, section 7.10 for DATA SET MANAGEMENT).
//
// Threads: none of its own; the channel's mutex guards every call.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "block/disk_counters.h"
#include "devices/ide/ide_drive.h"
#include "devices/ide/identify.h"

namespace vmm::ide {

inline constexpr uint32_t kSectorBytes = 512;

class AtaDisk final : public IdeDrive {
 public:
  // Blocks of a DATA SET MANAGEMENT, each with 64 ranges (word 105).
  static constexpr uint32_t kMaxTrimBlocks = 8;
  static constexpr uint8_t kMaxMultiple = 16;  // sectors in a block of READ MULTIPLE

  // What the disk says of its cylinders, and how CHS is read until a driver changes that.
  struct Geometry {
    uint16_t cylinders = 0;         // from 1
    uint8_t heads = 0;              // 1 to 16
    uint8_t sectors_per_track = 0;  // from 1
  };
  struct Options {
    std::string serial;  // 20 characters of ASCII are shown
    std::optional<uint64_t> world_wide_name = std::nullopt;
    std::optional<Geometry> geometry = std::nullopt;  // absent: after the disk's size
    std::string model = "VMM HARDDISK";
    bool is_device_1 = false;
    bool has_write_cache = true;   // at power-on; the driver may change it
    bool is_cache_unsafe = false;  // nothing is ever forced onto the medium
    bool offers_discard = false;
    uint16_t rotation_rate = 0;               // in a minute; 1: nothing turns; 0: not said (word 217)
    uint32_t physical_block_bytes = 0;        // 0: what the image says
    block::DiskCounters* counters = nullptr;  // of what is invalid; null: nobody counts
  };

  // A range of sectors, inside the disk.
  struct Range {
    uint64_t sector = 0;
    uint32_t count = 0;
  };
  struct DiskState {
    // The command that runs.
    enum class Kind : uint8_t { kNone, kRead, kWrite, kFlush, kTrim };
    Kind kind = Kind::kNone;
    bool is_dma = false;
    bool is_first_block = false;  // of a write by port: no interrupt asks for it
    bool force_unit_access = false;
    uint64_t sector = 0;
    uint32_t left = 0;          // sectors
    uint32_t block_bytes = 0;   // between two interrupts, by port
    bool is_extended = false;   // a 48-bit command
    std::vector<Range> ranges;  // kTrim
    size_t next_range = 0;
    // What drivers set.
    uint8_t multiple = kMaxMultiple;  // sectors; 0: off
    bool is_write_cached = true;
    bool looks_ahead = true;
    uint16_t cylinders = 0;  // the current translation
    uint8_t heads = 0;
    uint8_t sectors_per_track = 0;
  };

  // Takes the disk's size and limits; the disk itself is the DriveIo's.
  AtaDisk(const block::BlockDevice& disk, Options options);

  const DiskState& disk_state() const { return disk_; }
  bool is_packet_device() const override { return false; }

 private:
  enum class Addressing : uint8_t { kShort, kExtended };
  // What a command says of sectors.
  struct Extent {
    uint64_t sector = 0;
    uint32_t count = 0;
    bool is_valid = false;  // inside the disk
  };

  void execute(uint8_t code) override;
  void window_done() override;
  void job_finished(block::IoStatus status) override;
  void dma_broken() override;
  void reset_command(ResetKind kind) override;

  bool run_transfer(uint8_t code);
  bool run_other(uint8_t code);

  Extent extent(Addressing addressing) const;
  std::optional<uint64_t> sector_of_short() const;
  void put_sector(uint64_t sector);
  void not_found(uint64_t sector);

  void count_invalid(DiskState::Kind kind) const;
  void begin(DiskState::Kind kind, Addressing addressing, bool is_dma, uint32_t sectors_per_block);
  void read(Addressing addressing, bool is_dma, uint32_t sectors_per_block);
  void write(Addressing addressing, bool is_dma, uint32_t sectors_per_block, bool force_unit_access = false);
  void read_step();
  void write_step();
  void open_block(Phase phase, size_t begin, size_t end);
  void transferred(uint32_t sectors);
  uint32_t step_sectors() const;

  void identify();
  void put_capacity(IdentifyData& data) const;
  void put_features(IdentifyData& data) const;
  void set_features();
  void set_multiple_mode();
  void set_translation();
  Geometry geometry() const;
  void default_translation();
  void verify(Addressing addressing);
  void flush();
  void read_native_max(Addressing addressing);
  void begin_trim();
  void parse_trim();
  void trim_step();

  const Options options_;
  const uint64_t sectors_;
  const bool is_read_only_;
  const uint32_t physical_block_bytes_;
  const bool has_trim_;
  DiskState disk_;
};

}  // namespace vmm::ide
