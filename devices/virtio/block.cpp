#include "devices/virtio/block.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::virtio {
namespace {

// Section 5.2.3.
constexpr uint8_t kFeatureSegMax = 2;
constexpr uint8_t kFeatureGeometry = 4;
constexpr uint8_t kFeatureReadOnly = 5;
constexpr uint8_t kFeatureBlockSize = 6;
constexpr uint8_t kFeatureFlush = 9;
constexpr uint8_t kFeatureTopology = 10;
constexpr uint8_t kFeatureConfigWce = 11;
constexpr uint8_t kFeatureMultiQueue = 12;
constexpr uint8_t kFeatureDiscard = 13;
constexpr uint8_t kFeatureWriteZeroes = 14;

// Section 5.2.6.
constexpr uint32_t kTypeIn = 0;
constexpr uint32_t kTypeOut = 1;
constexpr uint32_t kTypeFlush = 4;
constexpr uint32_t kTypeGetId = 8;
constexpr uint32_t kTypeDiscard = 11;
constexpr uint32_t kTypeWriteZeroes = 13;
constexpr size_t kHeaderBytes = 16;
constexpr size_t kRangeBytes = 16;
constexpr uint32_t kRangeUnmap = 1;

constexpr uint64_t kSectorBytes = 512;
// Limits of one discard or write-zeroes request: 1 GiB in each of 32 ranges.
constexpr uint32_t kMaxRangeSectors = 1U << 21;
constexpr uint32_t kMaxRanges = 32;

// Section 5.2.4: the configuration space, by offset.
constexpr size_t kConfigBytes = 60;
constexpr size_t kConfigWriteback = 32;

constexpr bool covers(uint64_t capacity_sectors, uint64_t sector, uint64_t count) {
  return sector <= capacity_sectors && count <= capacity_sectors - sector;
}

uint64_t offered_features(const block::BlockDevice& disk, const VirtioBlock::Options& options) {
  uint64_t features =
      feature_mask(kFeatureSegMax) | feature_mask(kFeatureBlockSize) | feature_mask(kFeatureTopology);
  if (!options.is_cache_unsafe) {
    features |= feature_mask(kFeatureFlush) | feature_mask(kFeatureConfigWce);
  }
  if (options.geometry) {
    features |= feature_mask(kFeatureGeometry);
  }
  if (options.queue_count > 1) {
    features |= feature_mask(kFeatureMultiQueue);
  }
  if (disk.is_read_only()) {
    return features | feature_mask(kFeatureReadOnly);
  }
  if (options.offers_discard && disk.limits().discard_alignment_bytes > 0) {
    features |= feature_mask(kFeatureDiscard);
  }
  if (disk.limits().can_write_zeroes) {
    features |= feature_mask(kFeatureWriteZeroes);
  }
  return features;
}

uint16_t saturated16(uint32_t value) { return static_cast<uint16_t>(std::min(value, uint32_t{UINT16_MAX})); }

}  // namespace

VirtioBlock::VirtioBlock(block::BlockDevice& disk, Options options)
    : disk_(disk),
      options_(std::move(options)),
      features_(offered_features(disk, options_)),
      is_writeback_(options_.has_write_cache) {
  VMM_CHECK(options_.queue_count > 0, "a disk has a queue");
  VMM_CHECK(options_.queue_size >= 4, "seg_max needs a queue of more than two entries");
}

void VirtioBlock::read_config(uint32_t offset, std::span<std::byte> data) const {
  const block::BlockLimits limits = disk_.limits();
  const uint32_t logical =
      options_.logical_block_bytes != 0 ? options_.logical_block_bytes : limits.logical_block_bytes;
  const uint32_t physical = std::max(
      options_.physical_block_bytes != 0 ? options_.physical_block_bytes : limits.physical_block_bytes,
      logical);
  const bool is_discardable = (features_ & feature_mask(kFeatureDiscard)) != 0;
  const bool is_zeroable = (features_ & feature_mask(kFeatureWriteZeroes)) != 0;
  std::array<std::byte, kConfigBytes> config{};
  store_le<uint64_t>(&config[0], disk_.size_bytes() / kSectorBytes);
  store_le<uint32_t>(&config[12], options_.queue_size - 2U);  // seg_max: all but header and status
  if (options_.geometry) {
    store_le<uint16_t>(&config[16], options_.geometry->cylinders);
    store_le<uint8_t>(&config[18], options_.geometry->heads);
    store_le<uint8_t>(&config[19], options_.geometry->sectors_per_track);
  }
  store_le<uint32_t>(&config[20], logical);
  store_le<uint8_t>(&config[24], static_cast<uint8_t>(std::bit_width(physical / logical) - 1));
  store_le<uint16_t>(&config[26], saturated16(physical / logical));
  store_le<uint32_t>(&config[28], limits.optimal_io_bytes / logical);
  store_le<uint8_t>(&config[kConfigWriteback], is_writeback_ ? 1 : 0);
  store_le<uint16_t>(&config[34], options_.queue_count);
  if (is_discardable) {
    store_le<uint32_t>(&config[36], kMaxRangeSectors);
    store_le<uint32_t>(&config[40], kMaxRanges);
    store_le<uint32_t>(&config[44], std::max(limits.discard_alignment_bytes / uint32_t{kSectorBytes}, 1U));
  }
  if (is_zeroable) {
    store_le<uint32_t>(&config[48], kMaxRangeSectors);
    store_le<uint32_t>(&config[52], kMaxRanges);
    store_le<uint8_t>(&config[56], 1);  // write_zeroes_may_unmap
  }
  for (size_t i = 0; i < data.size(); ++i) {
    data[i] = offset + i < kConfigBytes ? config[offset + i] : std::byte{0};
  }
}

void VirtioBlock::write_config(uint32_t offset, std::span<const std::byte> data) {
  const bool has_switch = (features_ & feature_mask(kFeatureConfigWce)) != 0;
  if (has_switch && offset <= kConfigWriteback && kConfigWriteback - offset < data.size()) {
    is_writeback_ = data[kConfigWriteback - offset] != std::byte{0};
  }
}

void VirtioBlock::start(ChainReturn& chains, uint64_t features, std::span<const uint16_t> queue_sizes) {
  chains_ = &chains;
  negotiated_ = features;
  ++generation_;
  is_abandoned_ = false;
  slots_.resize(queue_sizes.size());
  for (size_t i = 0; i < queue_sizes.size(); ++i) {
    slots_[i].resize(queue_sizes[i]);
  }
}

void VirtioBlock::abandon() {
  is_abandoned_ = true;
  disk_.drop_waiting();
}

VirtioDevice::Handled VirtioBlock::handle(uint16_t queue, Chain& chain) {
  const std::optional<iovec> status = chain.writable.take_last_byte();
  if (!status || chain.has_bad_end) {
    return Handled::kNowhereToSay;
  }
  Slot& slot = slots_[queue][chain.head];
  slot.status = *status;
  slot.data_bytes = 0;
  slot.ranges.clear();
  slot.next_range = 0;
  const std::optional<Answer> answer = chain.has_bad_buffer ? Answer::kIoError : begin(queue, chain, slot);
  if (answer) {
    finish(queue, chain.head, slot, *answer);
  }
  return Handled::kTaken;
}

std::optional<VirtioBlock::Answer> VirtioBlock::begin(uint16_t queue, Chain& chain, Slot& slot) {
  std::array<std::byte, kHeaderBytes> header{};
  if (!chain.readable.read(header)) {
    return Answer::kIoError;
  }
  const auto sector = load_le<uint64_t>(&header[8]);
  switch (load_le<uint32_t>(&header[0])) {
    case kTypeIn:
      return transfer(queue, chain, slot, sector, false);
    case kTypeOut:
      return transfer(queue, chain, slot, sector, true);
    case kTypeFlush:
      return flush(queue, chain, slot);
    case kTypeGetId:
      return get_id(chain, slot);
    case kTypeDiscard:
      return change_ranges(queue, chain, slot, true);
    case kTypeWriteZeroes:
      return change_ranges(queue, chain, slot, false);
    default:
      return Answer::kUnsupported;
  }
}

std::optional<VirtioBlock::Answer> VirtioBlock::transfer(uint16_t queue, Chain& chain, Slot& slot,
                                                         uint64_t sector, bool is_write) {
  const ByteStream& data = is_write ? chain.readable : chain.writable;
  const bool is_valid = !(is_write && disk_.is_read_only()) && data.size() % kSectorBytes == 0 &&
                        covers(disk_.size_bytes() / kSectorBytes, sector, data.size() / kSectorBytes);
  if (!is_valid) {
    count_invalid(is_write ? block::DiskCounters::kWrite : block::DiskCounters::kRead);
    return Answer::kIoError;
  }
  if (data.size() == 0) {
    return Answer::kOk;
  }
  slot.op = is_write ? block::BlockOp::kWrite : block::BlockOp::kRead;
  slot.data_bytes = is_write ? 0 : static_cast<uint32_t>(data.size());
  count_begin(slot, data.size(), is_write ? sector * kSectorBytes + data.size() : 0);
  disk_.submit({.op = slot.op,
                .offset = block::DiskOffset(sector * kSectorBytes),
                .length_bytes = data.size(),
                .buffers = data.buffers(),
                .may_unmap = false,
                .force_unit_access = is_write && must_write_through(),
                .completion = completion(queue, chain.head)});
  return std::nullopt;
}

std::optional<VirtioBlock::Answer> VirtioBlock::flush(uint16_t queue, Chain& chain, Slot& slot) {
  if (!has(kFeatureFlush)) {
    return Answer::kUnsupported;
  }
  slot.op = block::BlockOp::kFlush;
  count_begin(slot, 0, 0);
  disk_.submit({.op = slot.op, .offset = {}, .buffers = {}, .completion = completion(queue, chain.head)});
  return std::nullopt;
}

VirtioBlock::Answer VirtioBlock::get_id(Chain& chain, Slot& slot) const {
  std::array<std::byte, kSerialBytes> id{};
  const size_t length = std::min(options_.serial.size(), id.size());
  std::ranges::copy(as_bytes(std::string_view(options_.serial).substr(0, length)), id.begin());
  const auto part = std::span(id).first(std::min<uint64_t>(id.size(), chain.writable.size()));
  static_cast<void>(chain.writable.write(part));
  slot.data_bytes = static_cast<uint32_t>(part.size());
  return Answer::kOk;
}

std::optional<VirtioBlock::Answer> VirtioBlock::parse_ranges(Chain& chain, Slot& slot,
                                                             bool is_discard) const {
  const uint64_t count = chain.readable.size() / kRangeBytes;
  if (chain.readable.size() % kRangeBytes != 0 || count == 0 || count > kMaxRanges) {
    return Answer::kIoError;
  }
  for (uint64_t i = 0; i < count; ++i) {
    std::array<std::byte, kRangeBytes> bytes{};
    static_cast<void>(chain.readable.read(bytes));
    const auto sector = load_le<uint64_t>(&bytes[0]);
    const auto sectors = load_le<uint32_t>(&bytes[8]);
    const auto flags = load_le<uint32_t>(&bytes[12]);
    // Section 5.2.6.2: unknown flags, and unmap with discard, are "unsupported".
    if ((flags & ~kRangeUnmap) != 0 || (is_discard && flags != 0)) {
      return Answer::kUnsupported;
    }
    if (sectors > kMaxRangeSectors || !covers(disk_.size_bytes() / kSectorBytes, sector, sectors)) {
      return Answer::kIoError;
    }
    if (sectors > 0) {
      slot.ranges.push_back({.offset = block::DiskOffset(sector * kSectorBytes),
                             .length_bytes = sectors * kSectorBytes,
                             .may_unmap = (flags & kRangeUnmap) != 0});
    }
  }
  return std::nullopt;
}

std::optional<VirtioBlock::Answer> VirtioBlock::change_ranges(uint16_t queue, Chain& chain, Slot& slot,
                                                              bool is_discard) {
  if (!has(is_discard ? kFeatureDiscard : kFeatureWriteZeroes)) {
    return disk_.is_read_only() ? Answer::kIoError : Answer::kUnsupported;
  }
  // All ranges are checked before the first is touched.
  if (const std::optional<Answer> fault = parse_ranges(chain, slot, is_discard); fault) {
    count_invalid(is_discard ? block::DiskCounters::kUnmap : block::DiskCounters::kWrite);
    return fault;
  }
  if (slot.ranges.empty()) {
    return Answer::kOk;
  }
  slot.op = is_discard ? block::BlockOp::kDiscard : block::BlockOp::kWriteZeroes;
  uint64_t bytes = 0;
  uint64_t end = 0;
  for (const Range& range : slot.ranges) {
    bytes += range.length_bytes;
    end = std::max(end, range.offset.bytes() + range.length_bytes);
  }
  count_begin(slot, bytes, is_discard ? 0 : end);
  submit_range(queue, chain.head, slot);
  return std::nullopt;
}

void VirtioBlock::count_begin(Slot& slot, uint64_t bytes, uint64_t write_end) const {
  if (options_.counters != nullptr) {
    slot.moved_bytes = bytes;
    slot.write_end = write_end;
    slot.begun_ns = options_.counters->begin();
  }
}

void VirtioBlock::count_end(const Slot& slot, bool has_failed) const {
  if (options_.counters == nullptr) {
    return;
  }
  options_.counters->end(block::DiskCounters::kind_of(slot.op), slot.begun_ns, slot.moved_bytes, has_failed);
  if (!has_failed) {
    options_.counters->note_written(slot.write_end);
  }
}

void VirtioBlock::count_invalid(block::DiskCounters::Kind kind) const {
  if (options_.counters != nullptr) {
    options_.counters->count_invalid(kind);
  }
}

void VirtioBlock::submit_range(uint16_t queue, uint16_t head, Slot& slot) {
  const Range& range = slot.ranges[slot.next_range++];
  disk_.submit({.op = slot.op,
                .offset = range.offset,
                .length_bytes = range.length_bytes,
                .buffers = {},
                .may_unmap = range.may_unmap,
                .force_unit_access = slot.op == block::BlockOp::kWriteZeroes && must_write_through(),
                .completion = completion(queue, head)});
}

bool VirtioBlock::must_write_through() const {
  // Section 5.2.6.2: without FLUSH, or with the writeback field at 0, what is completed is on the medium.
  return !options_.is_cache_unsafe && (!has(kFeatureFlush) || !is_writeback_);
}

block::Completion VirtioBlock::completion(uint16_t queue, uint16_t head) {
  const uint64_t cookie = (uint64_t{generation_} << 32) | (uint64_t{queue} << 16) | head;
  return {[](void* context, uint64_t done, block::IoStatus status) {
            static_cast<VirtioBlock*>(context)->completed(done, status);
          },
          this, cookie};
}

void VirtioBlock::completed(uint64_t cookie, block::IoStatus status) {
  VMM_CHECK((cookie >> 32) == generation_, "a disk request outlived the reset that waits for it");
  const auto queue = static_cast<uint16_t>((cookie >> 16) & 0xffff);
  const auto head = static_cast<uint16_t>(cookie & 0xffff);
  Slot& slot = slots_[queue][head];
  if (is_abandoned_) {
    if (options_.counters != nullptr) {
      options_.counters->drop();
    }
    chains_->give_back(queue, head, 0);
    return;
  }
  switch (status) {
    case block::IoStatus::kOk:
      if (slot.next_range < slot.ranges.size()) {
        submit_range(queue, head, slot);
      } else {
        count_end(slot, false);
        finish(queue, head, slot, Answer::kOk);
      }
      return;
    case block::IoStatus::kUnsupported:
      count_end(slot, true);
      finish(queue, head, slot, Answer::kUnsupported);
      return;
    case block::IoStatus::kIoError:
    case block::IoStatus::kNoSpace:
    case block::IoStatus::kOutOfRange:
    case block::IoStatus::kReadOnly:
      count_end(slot, true);
      finish(queue, head, slot, Answer::kIoError);
      return;
  }
}

void VirtioBlock::finish(uint16_t queue, uint16_t head, Slot& slot, Answer answer) {
  *static_cast<std::byte*>(slot.status.iov_base) = static_cast<std::byte>(answer);
  const uint32_t written_bytes = answer == Answer::kOk ? slot.data_bytes + 1 : 1;
  chains_->give_back(queue, head, written_bytes);
}

}  // namespace vmm::virtio
