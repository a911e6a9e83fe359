#include "devices/ide/atapi_drive.h"

#include <algorithm>
#include <variant>

#include "devices/ide/identify.h"

namespace vmm::ide {
namespace {

constexpr uint32_t kStepBlocks = kStepBytes / kCdBlockBytes;
constexpr uint8_t kDmaFeature = 0x01;

// ATA/ATAPI-7, section 6.25.4: a block is shorter than the limit rather than odd.
uint32_t block_length(uint32_t limit, size_t available) {
  return static_cast<uint32_t>(std::min<size_t>(available, limit > 1 ? limit & ~1U : limit));
}

}  // namespace

void AtapiDrive::reset_command(ResetKind kind) {
  packet_ = PacketState{};
  if (kind == ResetKind::kHardware) {
    reset_mmc(mmc_);
  } else {
    // The tray stays locked: a driver that resets a drive which does not answer has not let go of its disc.
    mmc_.has_reset_attention = true;
    mmc_.sense = sense::kNone;
  }
}

void AtapiDrive::execute(uint8_t code) {
  switch (code) {
    case command::kPacket:
      return await_packet();
    case command::kIdentifyPacketDevice:
      return identify();
    case command::kDeviceReset:
      // Section 6.10: the device register keeps its device, and no interrupt follows.
      return reset_device(ResetKind::kDevice);
    case command::kIdentifyDevice:
    case command::kReadSectors:
      put_signature();  // section 6.17.5: so that hosts find out what this is
      return abort();
    case command::kSetFeatures:
      return set_features();
    default:
      if (!run_power_command(code)) {
        abort();
      }
  }
}

void AtapiDrive::identify() {
  IdentifyData data;
  data.set(0, 0x85c0);  // CD-ROM, removable, DRQ within 50 us of PACKET, packets of 12 bytes
  data.set_text(10, 10, options_.serial);
  data.set_text(23, 4, "1.0");
  data.set_text(27, 20, options_.model);
  data.set(49, 0x0f00);  // IORDY, LBA, DMA
  data.set(50, 0x4000);
  data.set(53, 0x0006);  // words 64 to 70 and 88 are valid
  data.set_transfer_modes(state_.multiword_dma, state_.ultra_dma);
  data.set(71, 30);      // microseconds from PACKET to the bus's release: there is none
  data.set(72, 30);      // and from SERVICE
  data.set(80, 0x00f0);  // ATA/ATAPI-4 to 7
  data.set(82, 0x0218);  // DEVICE RESET, PACKET, power management
  data.set(83, 0x4000);
  data.set(84, 0x4000);
  data.set(85, 0x0218);
  data.set(87, 0x4000);
  data.set_reset_result(options_.is_device_1);
  if (options_.world_wide_name) {
    data.set_world_wide_name(*options_.world_wide_name);
  }
  data.seal();
  fill_buffer(data.bytes());
  packet_ = PacketState{};
  open_window(Phase::kPioIn, 0, state_.filled);
  raise_interrupt();
}

void AtapiDrive::set_features() {
  constexpr uint8_t kTransferMode = 0x03;
  if (task(reg::kFeatures) == kTransferMode && set_transfer_mode(task(reg::kCount))) {
    succeed();
  } else {
    abort();
  }
}

void AtapiDrive::await_packet() {
  packet_ = PacketState{};
  packet_.is_dma = (task(reg::kFeatures) & kDmaFeature) != 0;
  packet_.byte_limit = static_cast<uint16_t>(task(reg::kLbaHigh) << 8 | task(reg::kLbaMid));
  packet_.awaits_packet = true;
  open_window(Phase::kPioOut, 0, kCdbBytes);
  set_task(reg::kCount, reason_bit::kCommand);
}

void AtapiDrive::window_done() {
  if (packet_.awaits_packet) {
    packet_.awaits_packet = false;
    run_packet();
  } else if (packet_.awaits_list) {
    take_list();
  } else {
    data_sent();
  }
}

void AtapiDrive::run_packet() {
  const Cdb cdb(buffer().first(kCdbBytes));
  const Outcome outcome = ide::execute(cdb, mmc_);
  if (const auto* fault = std::get_if<Sense>(&outcome)) {
    check_condition(*fault);
  } else if (const auto* reply = std::get_if<Reply>(&outcome)) {
    begin_reply(reply->bytes);
  } else if (const auto* plan = std::get_if<ReadPlan>(&outcome)) {
    begin_read(*plan);
  } else if (const auto* list = std::get_if<ParameterList>(&outcome)) {
    begin_list(list->length_bytes);
  } else {
    good();
  }
}

// ATA/ATAPI-7, section 6.25.4: a byte count limit of 0 is no place for data (IDENTIFY word 125 is 0).
void AtapiDrive::begin_list(uint32_t length_bytes) {
  if (!packet_.is_dma && packet_.byte_limit == 0) {
    return abort();
  }
  packet_.awaits_list = true;
  packet_.list_bytes = length_bytes;
  if (packet_.is_dma) {
    return open_window(Phase::kDmaOut, 0, length_bytes);
  }
  open_block(Phase::kPioOut, 0, length_bytes, 0);
}

void AtapiDrive::take_list() {
  if (state_.window_end < packet_.list_bytes) {
    return open_block(Phase::kPioOut, state_.window_end, packet_.list_bytes - state_.window_end, 0);
  }
  packet_.awaits_list = false;
  const Outcome outcome = accept_parameters(buffer().first(packet_.list_bytes), mmc_);
  if (const auto* fault = std::get_if<Sense>(&outcome)) {
    return check_condition(*fault);
  }
  good();
}

void AtapiDrive::begin_reply(std::span<const std::byte> bytes) {
  if (bytes.empty()) {
    return good();
  }
  if (!packet_.is_dma && packet_.byte_limit == 0) {
    return abort();
  }
  fill_buffer(bytes);
  send_buffer();
}

void AtapiDrive::begin_read(const ReadPlan& plan) {
  if (!packet_.is_dma && packet_.byte_limit == 0) {
    return abort();
  }
  packet_.next_lba = plan.lba;
  packet_.left_blocks = plan.blocks;
  packet_.is_medium_gone = false;
  read_step();
}

void AtapiDrive::read_step() {
  if (packet_.is_medium_gone) {
    const Sense why = mmc_.is_open ? sense::kNoMediumTrayOpen : sense::kNoMediumTrayClosed;
    return check_condition(mmc_.is_loaded() ? sense::kMediumChanged : why);
  }
  const uint32_t blocks = std::min(packet_.left_blocks, kStepBlocks);
  post(block::BlockOp::kRead, uint64_t{packet_.next_lba} * kCdBlockBytes, uint64_t{blocks} * kCdBlockBytes);
}

void AtapiDrive::job_finished(block::IoStatus status) {
  if (status != block::IoStatus::kOk) {
    return check_condition(sense::kUnrecoveredReadError);
  }
  const uint32_t blocks = std::min(packet_.left_blocks, kStepBlocks);
  packet_.next_lba += blocks;
  packet_.left_blocks -= blocks;
  state_.filled = blocks * kCdBlockBytes;
  send_buffer();
}

void AtapiDrive::send_buffer() {
  if (packet_.is_dma) {
    return open_window(Phase::kDmaIn, 0, state_.filled);
  }
  open_block(Phase::kPioIn, 0, state_.filled, reason_bit::kToHost);
}

void AtapiDrive::open_block(Phase phase, size_t begin, size_t available, uint8_t reason) {
  const uint32_t length = block_length(packet_.byte_limit, available);
  open_window(phase, begin, begin + length);
  set_task(reg::kCount, reason);
  set_task(reg::kLbaMid, static_cast<uint8_t>(length & 0xff));
  set_task(reg::kLbaHigh, static_cast<uint8_t>((length >> 8) & 0xff));
  raise_interrupt();
}

// A block of data has reached the host.
void AtapiDrive::data_sent() {
  if (state_.window_end < state_.filled) {
    return open_block(Phase::kPioIn, state_.window_end, state_.filled - state_.window_end,
                      reason_bit::kToHost);
  }
  if (packet_.left_blocks > 0) {
    return read_step();
  }
  if (packet_.byte_limit == 0 && !packet_.is_dma) {
    return succeed_silently();  // IDENTIFY PACKET DEVICE, which is not a packet
  }
  good();
}

void AtapiDrive::interrupt_reads() {
  packet_.is_medium_gone = true;
  if (state_.phase == Phase::kBusy) {
    drop_job();
    read_step();
  }
}

void AtapiDrive::dma_broken() {
  packet_.awaits_list = false;
  check_condition(sense::kCommunicationFailure);
}

void AtapiDrive::good() {
  set_task(reg::kCount, reason_bit::kCommand | reason_bit::kToHost);
  succeed();
}

// Section 6.25.6: the error register has the sense key in its high half.
void AtapiDrive::check_condition(const Sense& sense) {
  mmc_.sense = sense;
  packet_.left_blocks = 0;
  set_task(reg::kCount, reason_bit::kCommand | reason_bit::kToHost);
  fail(static_cast<uint8_t>(static_cast<uint8_t>(sense.sense_key) << 4));
}

}  // namespace vmm::ide
