#include "block/qcow2/header_switch.h"

#include <algorithm>
#include <utility>

#include "block/qcow2/image.h"
#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {
namespace {

constexpr uint64_t kAtomicBytes = 512;  // a sector: written whole or not at all

// Zeroes behind it: an extension area ends with them.
std::vector<std::byte> sector_of(const Header& header, uint64_t name_offset) {
  std::vector<std::byte> bytes = serialise_short_header(header, name_offset);
  bytes.resize(std::max<size_t>(bytes.size(), kAtomicBytes));
  return bytes;
}

}  // namespace

Result<HeaderSwitch> HeaderSwitch::prepare(SyncFile& file, const Header& header) {
  if (serialise_short_header(header, 0).size() > kAtomicBytes) {
    return fail("{}: its header with its extensions is too long to be changed safely; convert the image",
                file.path());
  }
  std::vector<std::byte> area(static_cast<size_t>(header.cluster_bytes()));
  VMM_TRY(file.read(FileOffset(0), area));
  HeaderSwitch made(file, std::move(area));
  VMM_TRY(made.place_name(header));
  if (made.name_offset_ >= kAtomicBytes) {
    VMM_TRY(made.write_name(header));
  }
  return made;
}

// --- What lies where now ---

HeaderSwitch::Range HeaderSwitch::old_name() const {
  const auto begin = load_be<uint64_t>(area_.data() + 8);
  return {.begin = begin, .end = begin == 0 ? 0 : begin + load_be<uint32_t>(area_.data() + 16)};
}

// As a reader goes through it.
uint64_t HeaderSwitch::old_list_end() const {
  constexpr uint64_t kHeadBytes = 8;
  constexpr uint64_t kVersion2Bytes = 72;
  uint64_t at =
      load_be<uint32_t>(area_.data() + 4) < 3 ? kVersion2Bytes : load_be<uint32_t>(area_.data() + 100);
  while (at + kHeadBytes <= area_.size()) {
    const auto type = load_be<uint32_t>(area_.data() + at);
    const auto bytes = load_be<uint32_t>(area_.data() + at + 4);
    at += kHeadBytes;
    if (type == kExtensionEnd) {
      break;
    }
    at += align_up(bytes, 8);
  }
  return std::min<uint64_t>(at, area_.size());
}

// --- The name of the backing file ---

// From there on in the cluster, and not over what is taken.
bool HeaderSwitch::find_gap(uint64_t from, uint64_t bytes, Range taken, uint64_t& place) const {
  place = from;
  if (taken.begin < place + bytes && place < taken.end) {
    place = align_up(taken.end, 8);
  }
  return place + bytes <= area_.size();
}

Status HeaderSwitch::place_name(const Header& header) {
  const uint64_t bytes = header.backing_file.size();
  const uint64_t list_end = serialise_short_header(header, 0).size();
  if (bytes == 0) {
    return {};
  }
  if (list_end + bytes <= kAtomicBytes) {
    name_offset_ = list_end;
    return {};
  }
  const Range old = old_name();
  if (old.begin >= list_end && old.end <= area_.size() &&
      std::ranges::equal(std::span(area_).subspan(old.begin, old.end - old.begin),
                         as_bytes(header.backing_file))) {
    name_offset_ = old.begin;
    return {};
  }
  if (bytes > kMaxBackingNameBytes ||
      !find_gap(std::max(kAtomicBytes, align_up(old_list_end(), 8)), bytes, old, name_offset_)) {
    return fail("{}: there is no room for a name of {} bytes in its header; use a shorter name",
                file_->path(), bytes);
  }
  return {};
}

Status HeaderSwitch::write_name(const Header& header) {
  return file_->write(FileOffset(name_offset_), as_bytes(header.backing_file));
}

// --- Taking it into use ---

Status HeaderSwitch::run(const Header& header) {
  std::vector<std::byte> sector = sector_of(header, name_offset_);
  if (name_offset_ != 0 && name_offset_ < kAtomicBytes) {
    const auto name = as_bytes(header.backing_file);
    std::ranges::copy(name.first(std::min<size_t>(name.size(), kAtomicBytes - name_offset_)),
                      sector.begin() + static_cast<ptrdiff_t>(name_offset_));
  }
  VMM_TRY(file_->write(FileOffset(0), sector));
  return file_->sync();
}

void HeaderSwitch::finish(const Header& header) { static_cast<void>(!spread_out(header)); }

Status HeaderSwitch::spread_out(const Header& header) {
  VMM_ASSIGN_OR_RETURN(const std::vector<std::byte> whole, serialise_header(header, file_->path()));
  if (whole.size() > kAtomicBytes) {
    const Range name{.begin = name_offset_, .end = name_offset_ + header.backing_file.size()};
    if (name.end > kAtomicBytes && name.begin < whole.size()) {
      if (!find_gap(whole.size(), header.backing_file.size(), name, name_offset_)) {
        return {};
      }
      VMM_TRY(write_name(header));
      VMM_TRY(file_->sync());
      VMM_TRY(run(header));
    }
    VMM_TRY(file_->write(FileOffset(kAtomicBytes), std::span(whole).subspan(kAtomicBytes)));
    VMM_TRY(file_->sync());
  }
  VMM_TRY(file_->write(FileOffset(0), std::span(whole).first(std::min<size_t>(whole.size(), kAtomicBytes))));
  return file_->sync();
}

Status switch_header(SyncFile& file, Header& header) {
  VMM_ASSIGN_OR_RETURN(HeaderSwitch change, HeaderSwitch::prepare(file, header));
  VMM_TRY(file.sync());
  VMM_TRY(change.run(header));
  change.finish(header);
  VMM_ASSIGN_OR_RETURN(header, read_header(file));
  return {};
}

}  // namespace vmm::block::qcow2
