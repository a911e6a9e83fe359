#include "devices/ide/ata_disk.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace vmm::ide {
namespace {

using Kind = AtaDisk::DiskState::Kind;

constexpr uint64_t kMaxShortSectors = 0x0fff'ffff;  // what 28 bits can name, as word 60 tells it
constexpr uint64_t kMaxSectors = (uint64_t{1} << 48) - 1;
constexpr uint32_t kStepSectors = kStepBytes / kSectorBytes;
constexpr uint8_t kDefaultHeads = 16;
constexpr uint8_t kDefaultSectorsPerTrack = 63;
constexpr uint64_t kMaxCylinders = 16'383;

}  // namespace

AtaDisk::AtaDisk(const block::BlockDevice& disk, Options options)
    : options_(std::move(options)),
      sectors_(std::min(disk.size_bytes() / kSectorBytes, kMaxSectors)),
      is_read_only_(disk.is_read_only()),
      physical_block_bytes_(std::max(options_.physical_block_bytes != 0 ? options_.physical_block_bytes
                                                                        : disk.limits().physical_block_bytes,
                                     kSectorBytes)),
      has_trim_(options_.offers_discard && !is_read_only_ && disk.limits().discard_alignment_bytes > 0) {}

void AtaDisk::reset_command(ResetKind kind) {
  disk_.kind = Kind::kNone;
  disk_.ranges.clear();
  if (kind == ResetKind::kHardware) {
    disk_.multiple = kMaxMultiple;
    disk_.is_write_cached = options_.has_write_cache;
    disk_.looks_ahead = true;
    default_translation();
  }
}

void AtaDisk::execute(uint8_t code) {
  disk_.kind = Kind::kNone;
  if (!run_transfer(code) && !run_other(code) && !run_power_command(code)) {
    abort();  // section 6.1: what is not supported; SMART, security, PACKET and the like
  }
}

bool AtaDisk::run_transfer(uint8_t code) {
  switch (code) {
    case command::kReadSectors:
    case command::kReadSectorsNoRetry:
      read(Addressing::kShort, false, 1);
      return true;
    case command::kReadSectorsExt:
      read(Addressing::kExtended, false, 1);
      return true;
    case command::kReadMultiple:
      read(Addressing::kShort, false, disk_.multiple);
      return true;
    case command::kReadMultipleExt:
      read(Addressing::kExtended, false, disk_.multiple);
      return true;
    case command::kReadDma:
    case command::kReadDmaNoRetry:
      read(Addressing::kShort, true, 1);
      return true;
    case command::kReadDmaExt:
      read(Addressing::kExtended, true, 1);
      return true;
    case command::kWriteSectors:
    case command::kWriteSectorsNoRetry:
      write(Addressing::kShort, false, 1);
      return true;
    case command::kWriteSectorsExt:
      write(Addressing::kExtended, false, 1);
      return true;
    case command::kWriteMultiple:
      write(Addressing::kShort, false, disk_.multiple);
      return true;
    case command::kWriteMultipleExt:
      write(Addressing::kExtended, false, disk_.multiple);
      return true;
    case command::kWriteMultipleFuaExt:
      write(Addressing::kExtended, false, disk_.multiple, true);
      return true;
    case command::kWriteDma:
    case command::kWriteDmaNoRetry:
      write(Addressing::kShort, true, 1);
      return true;
    case command::kWriteDmaExt:
      write(Addressing::kExtended, true, 1);
      return true;
    case command::kWriteDmaFuaExt:
      write(Addressing::kExtended, true, 1, true);
      return true;
    default:
      return false;
  }
}

bool AtaDisk::run_other(uint8_t code) {
  if ((code & 0xf0) == command::kRecalibrate) {
    succeed();
    return true;
  }
  if ((code & 0xf0) == command::kSeek) {
    verify(Addressing::kShort);
    return true;
  }
  switch (code) {
    case command::kReadVerify:
    case command::kReadVerifyNoRetry:
      verify(Addressing::kShort);
      return true;
    case command::kReadVerifyExt:
      verify(Addressing::kExtended);
      return true;
    case command::kIdentifyDevice:
      identify();
      return true;
    case command::kSetFeatures:
      set_features();
      return true;
    case command::kSetMultipleMode:
      set_multiple_mode();
      return true;
    case command::kInitializeDeviceParameters:
      set_translation();
      return true;
    case command::kFlushCache:
    case command::kFlushCacheExt:
      flush();
      return true;
    case command::kReadNativeMax:
      read_native_max(Addressing::kShort);
      return true;
    case command::kReadNativeMaxExt:
      read_native_max(Addressing::kExtended);
      return true;
    case command::kDataSetManagement:
      begin_trim();
      return true;
    default:
      return false;
  }
}

// Nothing where the address is a place that the present translation does not have.
std::optional<uint64_t> AtaDisk::sector_of_short() const {
  const uint32_t low = task(reg::kLbaLow);
  const uint32_t middle = uint32_t{task(reg::kLbaHigh)} << 8 | task(reg::kLbaMid);
  const uint32_t high = task(reg::kDevice) & device_bit::kHeads;
  if ((task(reg::kDevice) & device_bit::kLba) != 0) {
    return uint64_t{high << 24 | middle << 8 | low};
  }
  if (low == 0 || low > disk_.sectors_per_track || high >= disk_.heads || middle >= disk_.cylinders) {
    return std::nullopt;
  }
  return (uint64_t{middle} * disk_.heads + high) * disk_.sectors_per_track + low - 1;
}

AtaDisk::Extent AtaDisk::extent(Addressing addressing) const {
  Extent result;
  if (addressing == Addressing::kShort) {
    const std::optional<uint64_t> sector = sector_of_short();
    if (!sector) {
      return result;
    }
    result.sector = *sector;
    result.count = task(reg::kCount) == 0 ? 0x100 : task(reg::kCount);
  } else {
    for (const size_t offset : {reg::kLbaHigh, reg::kLbaMid, reg::kLbaLow}) {
      result.sector |= uint64_t{task_before(offset)} << (8 * (offset - reg::kLbaLow) + 24) |
                       uint64_t{task(offset)} << (8 * (offset - reg::kLbaLow));
    }
    const uint32_t count = uint32_t{task_before(reg::kCount)} << 8 | task(reg::kCount);
    result.count = count == 0 ? 0x1'0000 : count;
  }
  result.is_valid = result.sector <= sectors_ && result.count <= sectors_ - result.sector;
  return result;
}

// As the command addressed it.
void AtaDisk::put_sector(uint64_t sector) {
  const auto byte = [](uint64_t value, unsigned shift) {
    return static_cast<uint8_t>((value >> shift) & 0xff);
  };
  const bool is_chs = !disk_.is_extended && (task(reg::kDevice) & device_bit::kLba) == 0;
  uint64_t shown = sector;
  if (is_chs && disk_.heads > 0 && disk_.sectors_per_track > 0) {
    const uint64_t track = sector / disk_.sectors_per_track;
    shown = (sector % disk_.sectors_per_track + 1) | (track / disk_.heads & 0xffff) << 8 |
            (track % disk_.heads) << 24;
  }
  set_task(reg::kLbaLow, byte(shown, 0));
  set_task(reg::kLbaMid, byte(shown, 8));
  set_task(reg::kLbaHigh, byte(shown, 16));
  if (disk_.is_extended) {
    set_task_before(reg::kLbaLow, byte(shown, 24));
    set_task_before(reg::kLbaMid, byte(shown, 32));
    set_task_before(reg::kLbaHigh, byte(shown, 40));
  } else {
    const auto upper = static_cast<uint8_t>(task(reg::kDevice) & ~device_bit::kHeads);
    set_task(reg::kDevice, static_cast<uint8_t>(upper | (byte(shown, 24) & device_bit::kHeads)));
  }
}

void AtaDisk::count_invalid(Kind kind) const {
  if (options_.counters != nullptr) {
    options_.counters->count_invalid(kind == Kind::kTrim    ? block::DiskCounters::kUnmap
                                     : kind == Kind::kWrite ? block::DiskCounters::kWrite
                                                            : block::DiskCounters::kRead);
  }
}

void AtaDisk::begin(Kind kind, Addressing addressing, bool is_dma, uint32_t sectors_per_block) {
  disk_.is_extended = addressing == Addressing::kExtended;
  if (sectors_per_block == 0) {
    return abort();  // READ MULTIPLE while SET MULTIPLE MODE is off
  }
  const Extent where = extent(addressing);
  if (!where.is_valid) {
    count_invalid(kind);
    return fail(error_bit::kIdNotFound);
  }
  disk_.kind = kind;
  disk_.is_dma = is_dma;
  disk_.is_first_block = true;
  disk_.sector = where.sector;
  disk_.left = where.count;
  disk_.block_bytes = sectors_per_block * kSectorBytes;
}

void AtaDisk::read(Addressing addressing, bool is_dma, uint32_t sectors_per_block) {
  begin(Kind::kRead, addressing, is_dma, sectors_per_block);
  if (disk_.kind == Kind::kRead) {
    read_step();
  }
}

void AtaDisk::write(Addressing addressing, bool is_dma, uint32_t sectors_per_block, bool force_unit_access) {
  if (is_read_only_) {
    count_invalid(Kind::kWrite);
    return abort();
  }
  begin(Kind::kWrite, addressing, is_dma, sectors_per_block);
  if (disk_.kind == Kind::kWrite) {
    disk_.force_unit_access = !options_.is_cache_unsafe && (force_unit_access || !disk_.is_write_cached);
    write_step();
  }
}

uint32_t AtaDisk::step_sectors() const { return std::min(disk_.left, kStepSectors); }

void AtaDisk::read_step() {
  post(block::BlockOp::kRead, disk_.sector * kSectorBytes, uint64_t{step_sectors()} * kSectorBytes);
}

// The host brings the data of the next step.
void AtaDisk::write_step() {
  state_.filled = step_sectors() * kSectorBytes;
  if (disk_.is_dma) {
    return open_window(Phase::kDmaOut, 0, state_.filled);
  }
  open_block(Phase::kPioOut, 0, state_.filled);
}

// ATA/ATAPI-7 volume 2, sections 11.5 and 11.6: an interrupt for each block, but for the first of a write.
void AtaDisk::open_block(Phase phase, size_t begin, size_t end) {
  open_window(phase, begin, std::min<size_t>(end, begin + disk_.block_bytes));
  if (phase == Phase::kPioIn || !disk_.is_first_block) {
    raise_interrupt();
  }
  disk_.is_first_block = false;
}

void AtaDisk::transferred(uint32_t sectors) {
  disk_.sector += sectors;
  disk_.left -= sectors;
}

void AtaDisk::window_done() {
  const bool is_read = disk_.kind == Kind::kRead;
  if (state_.window_end < state_.filled) {
    return open_block(is_read ? Phase::kPioIn : Phase::kPioOut, state_.window_end, state_.filled);
  }
  switch (disk_.kind) {
    case Kind::kRead:
      if (disk_.left > 0) {
        return read_step();
      }
      return disk_.is_dma ? succeed() : succeed_silently();
    case Kind::kWrite:
      return post(block::BlockOp::kWrite, disk_.sector * kSectorBytes, state_.filled,
                  disk_.force_unit_access);
    case Kind::kTrim:
      return parse_trim();
    case Kind::kNone:  // IDENTIFY DEVICE
    case Kind::kFlush:
      return succeed_silently();
  }
}

void AtaDisk::job_finished(block::IoStatus status) {
  if (status != block::IoStatus::kOk) {
    if (disk_.kind == Kind::kRead || disk_.kind == Kind::kWrite) {
      put_sector(disk_.sector);
    }
    return fail(disk_.kind == Kind::kRead ? error_bit::kUncorrectable : error_bit::kAborted);
  }
  switch (disk_.kind) {
    case Kind::kRead:
      state_.filled = step_sectors() * kSectorBytes;
      transferred(step_sectors());
      if (disk_.is_dma) {
        return open_window(Phase::kDmaIn, 0, state_.filled);
      }
      return open_block(Phase::kPioIn, 0, state_.filled);
    case Kind::kWrite:
      transferred(step_sectors());
      return disk_.left > 0 ? write_step() : succeed();
    case Kind::kTrim:
      return disk_.next_range < disk_.ranges.size() ? trim_step() : succeed();
    case Kind::kFlush:
    case Kind::kNone:
      return succeed();
  }
}

void AtaDisk::dma_broken() { abort(); }

void AtaDisk::verify(Addressing addressing) {
  disk_.is_extended = addressing == Addressing::kExtended;
  Extent where = extent(addressing);
  if (where.is_valid) {
    succeed();
  } else {
    fail(error_bit::kIdNotFound);
  }
}

void AtaDisk::flush() {
  if (is_read_only_ || options_.is_cache_unsafe) {
    return succeed();
  }
  disk_.kind = Kind::kFlush;
  post(block::BlockOp::kFlush, 0, 0);
}

void AtaDisk::read_native_max(Addressing addressing) {
  disk_.is_extended = addressing == Addressing::kExtended;
  const uint64_t most = disk_.is_extended ? sectors_ : std::min(sectors_, kMaxShortSectors + 1);
  put_sector(most - std::min<uint64_t>(most, 1));
  succeed();
}

void AtaDisk::set_multiple_mode() {
  const uint8_t sectors = task(reg::kCount);
  if (sectors > kMaxMultiple || (sectors != 0 && !std::has_single_bit(sectors))) {
    return abort();
  }
  disk_.multiple = sectors;
  succeed();
}

AtaDisk::Geometry AtaDisk::geometry() const {
  const uint64_t cylinders = sectors_ / (uint64_t{kDefaultHeads} * kDefaultSectorsPerTrack);
  return options_.geometry.value_or(
      Geometry{.cylinders = static_cast<uint16_t>(std::min(cylinders, kMaxCylinders)),
               .heads = kDefaultHeads,
               .sectors_per_track = kDefaultSectorsPerTrack});
}

void AtaDisk::default_translation() {
  const Geometry own = geometry();
  disk_.heads = own.heads;
  disk_.sectors_per_track = own.sectors_per_track;
  disk_.cylinders = own.cylinders;
}

// INITIALIZE DEVICE PARAMETERS (ATA/ATAPI-5, section 8.16): what old firmware wants CHS to mean.
void AtaDisk::set_translation() {
  constexpr uint64_t kMost = 0xffff;
  const uint8_t sectors_per_track = task(reg::kCount);
  const auto heads = static_cast<uint8_t>((task(reg::kDevice) & device_bit::kHeads) + 1);
  if (sectors_per_track == 0) {
    return abort();
  }
  disk_.heads = heads;
  disk_.sectors_per_track = sectors_per_track;
  disk_.cylinders = static_cast<uint16_t>(std::min(sectors_ / (uint64_t{heads} * sectors_per_track), kMost));
  succeed();
}

void AtaDisk::set_features() {
  switch (task(reg::kFeatures)) {
    case 0x02:
      disk_.is_write_cached = true;
      return succeed();
    case 0x82:
      disk_.is_write_cached = false;
      return succeed();
    case 0x03:
      return set_transfer_mode(task(reg::kCount)) ? succeed() : abort();
    case 0xaa:
      disk_.looks_ahead = true;
      return succeed();
    case 0x55:
      disk_.looks_ahead = false;
      return succeed();
    case 0x66:  // whether a reset keeps what was set: SRST always does
    case 0xcc:
      return succeed();
    default:
      return abort();
  }
}

// ACS-2, section 7.10: TRIM, with its ranges in blocks of 512 bytes.
void AtaDisk::begin_trim() {
  constexpr uint8_t kTrim = 0x01;
  const uint32_t blocks = uint32_t{task_before(reg::kCount)} << 8 | task(reg::kCount);
  if (!has_trim_ || task(reg::kFeatures) != kTrim || blocks == 0 || blocks > kMaxTrimBlocks) {
    return abort();
  }
  disk_.kind = Kind::kTrim;
  disk_.is_extended = true;
  state_.filled = blocks * kSectorBytes;
  open_window(Phase::kDmaOut, 0, state_.filled);
}

// All ranges are checked before the first is touched.
void AtaDisk::parse_trim() {
  constexpr size_t kEntryBytes = 8;
  disk_.ranges.clear();
  disk_.next_range = 0;
  const std::span<const std::byte> entries = buffer().first(state_.filled);
  for (size_t place = 0; place < entries.size(); place += kEntryBytes) {
    const auto entry = load_le<uint64_t>(&entries[place]);
    const uint64_t sector = entry & kMaxSectors;
    const auto count = static_cast<uint32_t>(entry >> 48);
    if (count == 0) {
      continue;
    }
    if (sector > sectors_ || count > sectors_ - sector) {
      put_sector(sector);
      count_invalid(Kind::kTrim);
      return fail(error_bit::kIdNotFound);
    }
    disk_.ranges.push_back({.sector = sector, .count = count});
  }
  if (disk_.ranges.empty()) {
    return succeed();
  }
  trim_step();
}

void AtaDisk::trim_step() {
  const Range& range = disk_.ranges[disk_.next_range++];
  post(block::BlockOp::kDiscard, range.sector * kSectorBytes, uint64_t{range.count} * kSectorBytes);
}

void AtaDisk::identify() {
  IdentifyData data;
  data.set(0, 0x0040);  // fixed
  data.set_text(10, 10, options_.serial);
  data.set_text(23, 4, "1.0");
  data.set_text(27, 20, options_.model);
  data.set(47, 0x8000 | kMaxMultiple);
  data.set(49, 0x0f00);  // IORDY, LBA, DMA
  data.set(50, 0x4000);
  data.set(53, 0x0007);  // words 54 to 58, 64 to 70 and 88 are valid
  data.set(59, disk_.multiple == 0 ? 0 : 0x0100 | disk_.multiple);
  put_capacity(data);
  data.set_transfer_modes(state_.multiword_dma, state_.ultra_dma);
  data.set_reset_result(options_.is_device_1);
  put_features(data);
  if (options_.world_wide_name) {
    data.set_world_wide_name(*options_.world_wide_name);
  }
  data.set(217, options_.rotation_rate);
  data.seal();
  fill_buffer(data.bytes());
  disk_.block_bytes = IdentifyData::kBytes;
  open_block(Phase::kPioIn, 0, state_.filled);
}

void AtaDisk::put_capacity(IdentifyData& data) const {
  const Geometry own = geometry();
  data.set(1, own.cylinders);
  data.set(3, own.heads);
  data.set(6, own.sectors_per_track);
  data.set(54, disk_.cylinders);
  data.set(55, disk_.heads);
  data.set(56, disk_.sectors_per_track);
  // No more than there are, whatever the domain file says.
  const uint64_t translated = uint64_t{disk_.cylinders} * disk_.heads * disk_.sectors_per_track;
  data.set_u32(57, static_cast<uint32_t>(std::min(translated, sectors_)));
  data.set_u32(60, static_cast<uint32_t>(std::min(sectors_, kMaxShortSectors)));
  data.set_u64(100, sectors_);
  const auto sectors_per_block = static_cast<uint32_t>(physical_block_bytes_ / kSectorBytes);
  const auto exponent = static_cast<uint32_t>(std::bit_width(sectors_per_block) - 1);
  data.set(106, exponent == 0 ? 0x4000 : 0x6000 | (exponent & 0x0f));
}

void AtaDisk::put_features(IdentifyData& data) const {
  const uint32_t caches = (disk_.is_write_cached ? 0x0020U : 0U) | (disk_.looks_ahead ? 0x0040U : 0U);
  data.set(80, 0x00f0);           // ATA/ATAPI-4 to 7
  data.set(82, 0x0068);           // look-ahead, write cache, power management
  data.set(83, 0x7400);           // FLUSH CACHE (EXT), 48-bit addresses
  data.set(84, 0x4040);           // forced unit access
  data.set(85, 0x0008 | caches);  // and what of these is on
  data.set(86, 0x3400);
  data.set(87, 0x4040);
  data.set(119, 0x4000);
  data.set(120, 0x4000);
  if (has_trim_) {
    data.set(105, kMaxTrimBlocks);
    data.set(169, 0x0001);
  }
}

}  // namespace vmm::ide
