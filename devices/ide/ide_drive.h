// IdeDrive: what hard disk and CD-ROM drive have in common: the task file, the phases of a data transfer by
// port and by DMA, and jobs for the disk (ATA/ATAPI-7 volume 2, section 11).
//
// Threads: none of its own; the channel's mutex guards every call. Nothing here calls out: what is to be done
// outside waits to be taken (take_job(), dma(), is_interrupting()).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "block/block_device.h"
#include "devices/ide/ata_registers.h"
#include "devices/ide/disk_job.h"

namespace vmm::ide {

// Which way the drive wants to move data by DMA.
enum class DmaWish : uint8_t { kNone, kToMemory, kFromMemory };

class IdeDrive {
 public:
  enum class Phase : uint8_t {
    kIdle,    // waits for a command
    kBusy,    // waits for its job
    kPioIn,   // the host reads the window from the data port
    kPioOut,  // the host writes the window to the data port
    kDmaIn,   // the window waits for the bus master to bring it to memory
    kDmaOut,  // the window waits for the bus master to fill it
  };
  struct State {
    TaskFile task;
    Phase phase = Phase::kIdle;
    bool is_interrupting = false;  // INTRQ, before nIEN and selection
    bool is_in_reset = false;      // while SRST is held
    uint64_t job_number = 0;       // of the job that is waited for; an older one's result is void
    // Places in the buffer: the window is [position, window_end), valid bytes end at `filled`.
    uint32_t position = 0;
    uint32_t window_end = 0;
    uint32_t filled = 0;
    // SET FEATURES, transfer mode: bits of IDENTIFY words 63 and 88, high byte.
    uint8_t multiword_dma = 0;
    uint8_t ultra_dma = 0;
    uint8_t power_mode = 0xff;  // what CHECK POWER MODE tells; FFh: active
  };

  virtual ~IdeDrive() = default;
  IdeDrive(const IdeDrive&) = delete;
  IdeDrive& operator=(const IdeDrive&) = delete;

  // Registers kError to kStatus; reading the status does not acknowledge. `previous`: HOB is set.
  uint8_t read_register(size_t offset, bool previous) const;
  // Registers kFeatures to kDevice. The channel gives every write to both of its drives.
  void write_register(size_t offset, uint8_t value);
  bool is_busy() const { return (state_.task.status & status_bit::kBusy) != 0; }
  bool wants_data() const { return (state_.task.status & status_bit::kDataRequest) != 0; }
  void start_command(uint8_t code);

  // The data port. Bytes beyond the window read as zero, or are lost. True: the window is done, and so the
  // drive's state is another.
  bool read_data(std::span<std::byte> data);
  bool write_data(std::span<const std::byte> data);

  bool is_interrupting() const { return state_.is_interrupting; }
  void acknowledge() { state_.is_interrupting = false; }
  void raise_interrupt() { state_.is_interrupting = true; }

  // As by the RESET- wire; everything that runs is void.
  void hardware_reset();
  // SRST set, and cleared.
  void hold_in_reset();
  void leave_reset();
  // EXECUTE DEVICE DIAGNOSTIC: passed.
  void diagnose();

  DmaWish dma() const;
  // REQUIRES for these: dma() is not kNone.
  std::span<std::byte> dma_window();
  void dma_moved(size_t bytes);  // from the window's beginning; at most its size
  void dma_failed();             // the bus master could not reach memory

  // A job that is to be started now.
  std::optional<DiskJob> take_job();
  void job_done(DiskJob job, block::IoStatus status);

  virtual bool is_packet_device() const = 0;
  const State& state() const { return state_; }

 protected:
  enum class ResetKind : uint8_t { kHardware, kSoftware, kDevice };

  IdeDrive() = default;

  virtual void execute(uint8_t code) = 0;
  virtual void window_done() = 0;
  virtual void job_finished(block::IoStatus status) = 0;
  virtual void dma_broken() = 0;
  // Forgets the command that runs; kHardware: everything that a driver set.
  virtual void reset_command(ResetKind kind) = 0;

  uint8_t task(size_t offset) const { return state_.task.current[offset]; }
  uint8_t task_before(size_t offset) const { return state_.task.previous[offset]; }
  void set_task(size_t offset, uint8_t value) { state_.task.current[offset] = value; }
  void set_task_before(size_t offset, uint8_t value) { state_.task.previous[offset] = value; }
  void put_signature();

  // The end of a command.
  void succeed();
  void succeed_silently();  // data that was read by port: no interrupt follows
  void fail(uint8_t error);
  void abort() { fail(error_bit::kAborted); }

  // Data. The buffer is kStepBytes long.
  std::span<std::byte> buffer();
  void fill_buffer(std::span<const std::byte> bytes);
  // Makes [begin, end) the window; sets DRQ.
  void open_window(Phase phase, size_t begin, size_t end);
  void go_busy();
  void post(block::BlockOp op, uint64_t offset_bytes, uint64_t length_bytes, bool force_unit_access = false);
  void drop_job();
  void reset_device(ResetKind kind);

  // Commands that all drives have. False: not one of them.
  bool run_power_command(uint8_t code);
  // SET FEATURES 03h. False: no such mode.
  bool set_transfer_mode(uint8_t mode);

  State state_;

 private:
  void stop_command(ResetKind kind);

  std::vector<std::byte> buffer_;
  std::optional<DiskJob> job_;
};

}  // namespace vmm::ide
