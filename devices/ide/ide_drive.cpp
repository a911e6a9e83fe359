#include "devices/ide/ide_drive.h"

#include <algorithm>
#include <utility>

#include "vmm/base/check.h"

namespace vmm::ide {
namespace {

constexpr uint8_t kReadyStatus = status_bit::kReady | status_bit::kSeekComplete;
constexpr uint8_t kDiagnosticPassed = 0x01;

constexpr uint8_t kPowerActive = 0xff;
constexpr uint8_t kStandbyMode = 0x00;

}  // namespace

uint8_t IdeDrive::read_register(size_t offset, bool previous) const {
  switch (offset) {
    case reg::kError:
      return state_.task.error;
    case reg::kDevice:
      return state_.task.current[reg::kDevice];
    case reg::kStatus:
      return state_.task.status;
    default:
      return previous ? task_before(offset) : task(offset);
  }
}

void IdeDrive::write_register(size_t offset, uint8_t value) {
  if (is_busy()) {
    return;
  }
  if (offset != reg::kDevice) {
    set_task_before(offset, task(offset));
  }
  set_task(offset, value);
}

void IdeDrive::start_command(uint8_t code) {
  state_.task.error = 0;
  execute(code);
}

bool IdeDrive::read_data(std::span<std::byte> data) {
  std::ranges::fill(data, std::byte{0});
  if (state_.phase != Phase::kPioIn) {
    return false;
  }
  const size_t count = std::min<size_t>(data.size(), state_.window_end - state_.position);
  std::copy_n(buffer_.begin() + state_.position, count, data.begin());
  state_.position += static_cast<uint32_t>(count);
  if (state_.position < state_.window_end) {
    return false;
  }
  window_done();
  return true;
}

bool IdeDrive::write_data(std::span<const std::byte> data) {
  if (state_.phase != Phase::kPioOut) {
    return false;
  }
  const size_t count = std::min<size_t>(data.size(), state_.window_end - state_.position);
  std::copy_n(data.begin(), count, buffer_.begin() + state_.position);
  state_.position += static_cast<uint32_t>(count);
  if (state_.position < state_.window_end) {
    return false;
  }
  window_done();
  return true;
}

// ATA/ATAPI-7 volume 1, table 25.
void IdeDrive::put_signature() {
  set_task(reg::kCount, 0x01);
  set_task(reg::kLbaLow, 0x01);
  set_task(reg::kLbaMid, is_packet_device() ? 0x14 : 0x00);
  set_task(reg::kLbaHigh, is_packet_device() ? 0xeb : 0x00);
}

void IdeDrive::stop_command(ResetKind kind) {
  drop_job();
  state_.phase = Phase::kIdle;
  state_.is_interrupting = false;
  state_.position = 0;
  state_.window_end = 0;
  state_.filled = 0;
  state_.power_mode = kPowerActive;
  if (kind == ResetKind::kHardware) {
    state_.multiword_dma = 0;
    state_.ultra_dma = 0;
  }
  reset_command(kind);
}

void IdeDrive::reset_device(ResetKind kind) {
  stop_command(kind);
  put_signature();
  state_.task.error = kDiagnosticPassed;
  state_.task.status = is_packet_device() ? 0 : kReadyStatus;
  state_.is_in_reset = false;
}

void IdeDrive::hardware_reset() {
  state_.task = TaskFile{};
  reset_device(ResetKind::kHardware);
}

void IdeDrive::hold_in_reset() {
  stop_command(ResetKind::kSoftware);
  state_.is_in_reset = true;
  state_.task.status = status_bit::kBusy;
}

void IdeDrive::leave_reset() {
  set_task(reg::kDevice, 0);
  reset_device(ResetKind::kSoftware);
}

void IdeDrive::diagnose() {
  set_task(reg::kDevice, 0);
  put_signature();
  state_.task.error = kDiagnosticPassed;
  state_.task.status = is_packet_device() ? 0 : kReadyStatus;
}

void IdeDrive::succeed_silently() {
  state_.phase = Phase::kIdle;
  state_.task.status = kReadyStatus;
}

void IdeDrive::succeed() {
  succeed_silently();
  raise_interrupt();
}

void IdeDrive::fail(uint8_t error) {
  state_.phase = Phase::kIdle;
  state_.task.error = error;
  state_.task.status = kReadyStatus | status_bit::kError;
  raise_interrupt();
}

std::span<std::byte> IdeDrive::buffer() {
  buffer_.resize(kStepBytes);  // it may be away, with a job that is void
  return buffer_;
}

void IdeDrive::fill_buffer(std::span<const std::byte> bytes) {
  VMM_CHECK(bytes.size() <= kStepBytes, "an IDE drive tells more than its buffer holds");
  std::ranges::copy(bytes, buffer().begin());
  state_.filled = static_cast<uint32_t>(bytes.size());
}

void IdeDrive::open_window(Phase phase, size_t begin, size_t end) {
  VMM_CHECK(begin < end && end <= buffer().size(), "a window outside of the buffer");
  state_.phase = phase;
  state_.position = static_cast<uint32_t>(begin);
  state_.window_end = static_cast<uint32_t>(end);
  state_.task.status = kReadyStatus | status_bit::kDataRequest;
}

void IdeDrive::go_busy() {
  state_.phase = Phase::kBusy;
  state_.task.status = status_bit::kBusy | kReadyStatus;
}

void IdeDrive::post(block::BlockOp op, uint64_t offset_bytes, uint64_t length_bytes, bool force_unit_access) {
  go_busy();
  static_cast<void>(buffer());
  job_ = DiskJob{.number = ++state_.job_number,
                 .op = op,
                 .offset = block::DiskOffset(offset_bytes),
                 .length_bytes = length_bytes,
                 .force_unit_access = force_unit_access,
                 .buffer = std::exchange(buffer_, {})};
}

void IdeDrive::drop_job() {
  ++state_.job_number;
  if (job_) {
    buffer_ = std::move(job_->buffer);
    job_.reset();
  }
}

std::optional<DiskJob> IdeDrive::take_job() { return std::exchange(job_, std::nullopt); }

void IdeDrive::job_done(DiskJob job, block::IoStatus status) {
  if (job.number != state_.job_number) {
    return;
  }
  ++state_.job_number;
  buffer_ = std::move(job.buffer);
  job_finished(status);
}

DmaWish IdeDrive::dma() const {
  switch (state_.phase) {
    case Phase::kDmaIn:
      return DmaWish::kToMemory;
    case Phase::kDmaOut:
      return DmaWish::kFromMemory;
    case Phase::kIdle:
    case Phase::kBusy:
    case Phase::kPioIn:
    case Phase::kPioOut:
      return DmaWish::kNone;
  }
  return DmaWish::kNone;
}

std::span<std::byte> IdeDrive::dma_window() {
  return std::span(buffer_).subspan(state_.position, state_.window_end - state_.position);
}

void IdeDrive::dma_moved(size_t bytes) {
  VMM_CHECK(bytes <= state_.window_end - state_.position, "more was moved than was there");
  state_.position += static_cast<uint32_t>(bytes);
  if (state_.position == state_.window_end) {
    window_done();
  }
}

void IdeDrive::dma_failed() { dma_broken(); }

bool IdeDrive::run_power_command(uint8_t code) {
  constexpr uint8_t kOldStandbyImmediate = 0x94;  // 94h to 99h of ATA-1 to ATA-3, in the order of E0h to E6h
  constexpr uint8_t kOldIdle = 0x97;
  constexpr uint8_t kOldCheckPowerMode = 0x98;
  constexpr uint8_t kOldSleep = 0x99;
  switch (code) {
    case command::kStandbyImmediate:
    case command::kStandby:
    case command::kSleep:
    case kOldStandbyImmediate:
    case kOldStandbyImmediate + 2:
    case kOldSleep:
      state_.power_mode = kStandbyMode;
      succeed();
      return true;
    case command::kIdleImmediate:
    case command::kIdle:
    case kOldStandbyImmediate + 1:
    case kOldIdle:
      state_.power_mode = kPowerActive;
      succeed();
      return true;
    case command::kCheckPowerMode:
    case kOldCheckPowerMode:
      set_task(reg::kCount, state_.power_mode);
      succeed();
      return true;
    default:
      return false;
  }
}

bool IdeDrive::set_transfer_mode(uint8_t mode) {
  constexpr uint8_t kMaxPio = 4;
  constexpr uint8_t kMaxMultiword = 2;
  constexpr uint8_t kMaxUltra = 5;
  const auto number = static_cast<uint8_t>(mode & 0x07);
  switch (mode >> 3) {
    case 0:  // PIO default, and without IORDY
      return number <= 1;
    case 1:
      return number <= kMaxPio;
    case 4:
      if (number > kMaxMultiword) {
        return false;
      }
      state_.multiword_dma = static_cast<uint8_t>(1U << number);
      state_.ultra_dma = 0;
      return true;
    case 8:
      if (number > kMaxUltra) {
        return false;
      }
      state_.ultra_dma = static_cast<uint8_t>(1U << number);
      state_.multiword_dma = 0;
      return true;
    default:
      return false;
  }
}

}  // namespace vmm::ide
