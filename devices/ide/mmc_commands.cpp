#include "devices/ide/mmc_commands.h"

#include <algorithm>
#include <optional>

#include "devices/ide/mmc_replies.h"
#include "vmm/base/bytes.h"

namespace vmm::ide {
namespace {

// MMC-6, table 239, and SFF-8020i.
enum Opcode : uint8_t {
  kTestUnitReady = 0x00,
  kRequestSense = 0x03,
  kInquiry = 0x12,
  kStartStopUnit = 0x1b,
  kPreventAllowMediumRemoval = 0x1e,
  kReadFormatCapacities = 0x23,
  kReadCapacity = 0x25,
  kRead10 = 0x28,
  kSeek10 = 0x2b,
  kVerify10 = 0x2f,
  kSynchronizeCache = 0x35,
  kReadSubChannel = 0x42,
  kReadToc = 0x43,
  kReadHeader = 0x44,
  kGetConfiguration = 0x46,
  kGetEventStatus = 0x4a,
  kReadDiscInformation = 0x51,
  kReadTrackInformation = 0x52,
  kModeSelect10 = 0x55,
  kModeSense10 = 0x5a,
  kReadBufferCapacity = 0x5c,
  kRead12 = 0xa8,
  kGetPerformance = 0xac,
  kReadDvdStructure = 0xad,
  kReadCdMsf = 0xb9,
  kSetCdSpeed = 0xbb,
  kMechanismStatus = 0xbd,
  kReadCd = 0xbe,
};

constexpr uint8_t kRelativeAddress = 0x01;  // byte 1 of the reads: not for CD-ROM
constexpr uint8_t kLoadEject = 0x02;        // byte 4 of START STOP UNIT
constexpr uint8_t kStart = 0x01;
constexpr uint8_t kPowerConditions = 0xf0;
constexpr uint8_t kPageFormat = 0x10;  // byte 1 of MODE SELECT
constexpr uint8_t kSavePages = 0x01;

std::optional<Sense> take_attention(MmcState& state) {
  if (state.has_reset_attention) {
    state.has_reset_attention = false;
    return sense::kReset;
  }
  if (state.has_medium_attention) {
    state.has_medium_attention = false;
    return sense::kMediumChanged;
  }
  return std::nullopt;
}

std::optional<Sense> why_not_ready(const MmcState& state) {
  if (state.is_open) {
    return sense::kNoMediumTrayOpen;
  }
  if (!state.has_medium) {
    return sense::kNoMediumTrayClosed;
  }
  if (state.blocks == 0) {
    return sense::kCannotReadMedium;
  }
  return std::nullopt;
}

bool covers(const MmcState& state, uint32_t lba, uint32_t blocks) {
  return lba <= state.blocks && blocks <= state.blocks - lba;
}

Outcome plan_read(const MmcState& state, uint32_t lba, uint32_t blocks) {
  if (!covers(state, lba, blocks)) {
    return sense::kOutOfRange;
  }
  if (blocks == 0) {
    return Done{};
  }
  return ReadPlan{.lba = lba, .blocks = blocks};
}

Outcome read(const Cdb& cdb, const MmcState& state) {
  if (cdb.has(1, kRelativeAddress)) {
    return sense::kInvalidFieldInCdb;
  }
  const uint32_t blocks = cdb.opcode() == kRead10 ? cdb.u16(7) : cdb.u32(6);
  return plan_read(state, cdb.u32(2), blocks);
}

// MMC-6, section 6.17: which parts of a sector are wanted. Only user data of 2048 bytes, or nothing at all.
Outcome read_cd_blocks(const Cdb& cdb, const MmcState& state, uint32_t lba, uint32_t blocks) {
  constexpr uint8_t kExpectedSectorType = 0x1c;
  constexpr uint8_t kMode1 = 2U << 2;
  constexpr uint8_t kUserData = 0x10;
  constexpr uint8_t kReserved = 0x01;
  const auto wanted = static_cast<uint8_t>(cdb.byte(9) & ~kReserved);
  const auto type = static_cast<uint8_t>(cdb.byte(1) & kExpectedSectorType);
  if (cdb.has(1, kRelativeAddress) || (wanted != 0 && wanted != kUserData) || (cdb.byte(10) & 0x07) != 0) {
    return sense::kInvalidFieldInCdb;
  }
  if (type != 0 && type != kMode1) {
    return sense::kIllegalModeForTrack;
  }
  const Outcome plan = plan_read(state, lba, blocks);
  return wanted == 0 && std::holds_alternative<ReadPlan>(plan) ? Outcome(Done{}) : plan;
}

// The block at minute, second and frame; nothing in front of block 0.
std::optional<uint32_t> block_at(const Cdb& cdb, size_t offset) {
  constexpr uint32_t kPregap = 150;
  if (cdb.byte(offset + 1) >= 60 || cdb.byte(offset + 2) >= 75) {
    return std::nullopt;
  }
  const uint32_t frames =
      (cdb.byte(offset) * 60U + cdb.byte(offset + 1)) * 75U + uint32_t{cdb.byte(offset + 2)};
  return frames >= kPregap ? std::optional(frames - kPregap) : std::nullopt;
}

Outcome read_cd_msf(const Cdb& cdb, const MmcState& state) {
  const std::optional<uint32_t> first = block_at(cdb, 3);
  const std::optional<uint32_t> end = block_at(cdb, 6);
  if (!first || !end || *end < *first) {
    return sense::kInvalidFieldInCdb;
  }
  return read_cd_blocks(cdb, state, *first, *end - *first);
}

Outcome verify(const Cdb& cdb, const MmcState& state) {
  return covers(state, cdb.u32(2), cdb.u16(7)) ? Outcome(Done{}) : sense::kOutOfRange;
}

Outcome seek(const Cdb& cdb, const MmcState& state) {
  return cdb.u32(2) < state.blocks ? Outcome(Done{}) : sense::kOutOfRange;
}

// MMC-6, section 6.42.
Outcome start_stop(const Cdb& cdb, MmcState& state) {
  const uint8_t wish = cdb.byte(4);
  if ((wish & kPowerConditions) != 0 || (wish & (kLoadEject | kStart)) == 0) {
    return Done{};  // the drive always has its full power, and never spins
  }
  if ((wish & kLoadEject) == 0) {
    const std::optional<Sense> fault = why_not_ready(state);
    return fault ? Outcome(*fault) : Done{};
  }
  if ((wish & kStart) != 0) {
    close_tray(state);
    return Done{};
  }
  if (state.is_locked) {
    return sense::kRemovalPrevented;
  }
  open_tray(state);
  return Done{};
}

Outcome mode_select(const Cdb& cdb) {
  if (!cdb.has(1, kPageFormat) || cdb.has(1, kSavePages)) {
    return sense::kInvalidFieldInCdb;
  }
  const uint16_t length = cdb.u16(7);
  return length == 0 ? Outcome(Done{}) : ParameterList{.length_bytes = length};
}

Outcome set_speed(const Cdb& cdb, MmcState& state) {
  state.read_speed_kbytes = cdb.u16(2);
  return Done{};
}

Outcome report_sense(MmcState& state) {
  Sense told = state.sense;
  if (told == sense::kNone) {
    // SPC-3, section 4.5.8: what is pending is reported here, and so has been reported.
    told = take_attention(state).value_or(sense::kNone);
  }
  state.sense = sense::kNone;
  return request_sense(told);
}

// MMC-6, section 4.1.6.1: these are carried out whatever has happened, and leave it to be told by others.
bool ignores_attention(uint8_t opcode) {
  return opcode == kInquiry || opcode == kRequestSense || opcode == kGetConfiguration ||
         opcode == kGetEventStatus;
}

bool needs_medium(uint8_t opcode) {
  switch (opcode) {
    case kTestUnitReady:
    case kReadCapacity:
    case kRead10:
    case kSeek10:
    case kVerify10:
    case kReadSubChannel:
    case kReadToc:
    case kReadHeader:
    case kReadDiscInformation:
    case kReadTrackInformation:
    case kRead12:
    case kGetPerformance:
    case kReadDvdStructure:
    case kReadCdMsf:
    case kReadCd:
      return true;
    default:
      return false;
  }
}

// Commands that act, or move data of the medium.
std::optional<Outcome> perform(const Cdb& cdb, MmcState& state) {
  switch (cdb.opcode()) {
    case kTestUnitReady:
    case kSynchronizeCache:
      return Done{};
    case kRead10:
    case kRead12:
      return read(cdb, state);
    case kReadCd:
      return read_cd_blocks(cdb, state, cdb.u32(2), cdb.u24(6));
    case kReadCdMsf:
      return read_cd_msf(cdb, state);
    case kVerify10:
      return verify(cdb, state);
    case kSeek10:
      return seek(cdb, state);
    case kStartStopUnit:
      return start_stop(cdb, state);
    case kPreventAllowMediumRemoval:
      state.is_locked = cdb.has(4, 0x01);
      return Done{};
    case kSetCdSpeed:
      return set_speed(cdb, state);
    case kModeSelect10:
      return mode_select(cdb);
    default:
      return std::nullopt;
  }
}

// Commands that describe.
Outcome describe(const Cdb& cdb, MmcState& state) {
  switch (cdb.opcode()) {
    case kRequestSense:
      return report_sense(state);
    case kInquiry:
      return inquiry(cdb);
    case kReadFormatCapacities:
      return read_format_capacities(state);
    case kReadCapacity:
      return read_capacity(state);
    case kReadSubChannel:
      return read_sub_channel(cdb);
    case kReadToc:
      return read_toc(cdb, state);
    case kReadHeader:
      return read_header(cdb, state);
    case kGetConfiguration:
      return get_configuration(cdb, state);
    case kGetEventStatus:
      return get_event_status(cdb, state);
    case kReadDiscInformation:
      return read_disc_information(cdb);
    case kReadTrackInformation:
      return read_track_information(cdb, state);
    case kModeSense10:
      return mode_sense(cdb, state);
    case kReadBufferCapacity:
      return read_buffer_capacity(cdb);
    case kGetPerformance:
      return get_performance(cdb, state);
    case kReadDvdStructure:
      return read_dvd_structure(cdb, state);
    case kMechanismStatus:
      return mechanism_status(state);
    default:
      return sense::kInvalidOperationCode;
  }
}

Outcome run(const Cdb& cdb, MmcState& state) {
  if (!ignores_attention(cdb.opcode())) {
    if (const std::optional<Sense> attention = take_attention(state)) {
      return *attention;
    }
  }
  if (needs_medium(cdb.opcode())) {
    if (const std::optional<Sense> fault = why_not_ready(state)) {
      return *fault;
    }
  }
  std::optional<Outcome> outcome = perform(cdb, state);
  return outcome ? *std::move(outcome) : describe(cdb, state);
}

// Where a command keeps the number of bytes that the host has room for.
size_t allocation_length(const Cdb& cdb) {
  switch (cdb.opcode()) {
    case kRequestSense:
      return cdb.byte(4);
    case kInquiry:
      return cdb.u16(3);
    case kReadCapacity:
      return 8;
    case kReadDvdStructure:
    case kMechanismStatus:
      return cdb.u16(8);
    case kGetPerformance:
      return 8U + 16U * cdb.u16(8);  // in descriptors, beside the header
    default:
      return cdb.u16(7);
  }
}

}  // namespace

Cdb::Cdb(std::span<const std::byte> bytes) {
  for (size_t i = 0; i < std::min(bytes.size(), bytes_.size()); ++i) {
    bytes_[i] = std::to_integer<uint8_t>(bytes[i]);
  }
}

uint16_t Cdb::u16(size_t offset) const { return static_cast<uint16_t>(byte(offset) << 8 | byte(offset + 1)); }

uint32_t Cdb::u24(size_t offset) const { return uint32_t{u16(offset)} << 8 | byte(offset + 2); }

uint32_t Cdb::u32(size_t offset) const { return uint32_t{u16(offset)} << 16 | u16(offset + 2); }

Outcome execute(const Cdb& cdb, MmcState& state) {
  if (cdb.opcode() != kRequestSense) {
    state.sense = sense::kNone;
  }
  Outcome outcome = run(cdb, state);
  if (auto* reply = std::get_if<Reply>(&outcome)) {
    reply->bytes.resize(std::min(reply->bytes.size(), allocation_length(cdb)));
  } else if (const auto* fault = std::get_if<Sense>(&outcome)) {
    state.sense = *fault;
  }
  return outcome;
}

}  // namespace vmm::ide
