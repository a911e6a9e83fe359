#include "block/iso/boot_catalogue.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "vmm/base/bytes.h"

namespace vmm::block {
namespace {

constexpr uint64_t kMaxCatalogueBytes = 16 * kIsoBlockBytes;
constexpr size_t kCatalogueEntryBytes = 32;

// El Torito 1.0, figures 2 to 6.
constexpr uint8_t kValidationHeader = 1;
constexpr uint8_t kBootable = 0x88;
constexpr uint8_t kNotBootable = 0;
constexpr uint8_t kSectionHeader = 0x90;
constexpr uint8_t kFinalSectionHeader = 0x91;
constexpr uint8_t kExtension = 0x44;
constexpr size_t kKeyAt = 30;
constexpr uint16_t kKey = 0xaa55;

using Entry = std::span<const std::byte>;

uint8_t byte_of(Entry entry, size_t at) { return std::to_integer<uint8_t>(entry[at]); }

bool is_empty(Entry entry) {
  return std::ranges::all_of(entry, [](std::byte byte) { return byte == std::byte{0}; });
}

// Section 2.1: the sum of all 16-bit words is 0.
bool has_valid_checksum(Entry entry) {
  uint32_t sum = 0;
  for (size_t at = 0; at < kCatalogueEntryBytes; at += 2) {
    sum += load_le<uint16_t>(entry.data() + at);
  }
  return (sum & 0xffffU) == 0;
}

// Bits 0 to 3 of the media type; the others are flags of section entries.
BootEmulation emulation_of(uint8_t media) {
  constexpr std::array kKinds = {BootEmulation::kNone, BootEmulation::kFloppy12, BootEmulation::kFloppy144,
                                 BootEmulation::kFloppy288, BootEmulation::kHardDisk};
  const size_t kind = media & 0x0fU;
  return kind < kKinds.size() ? kKinds.at(kind) : BootEmulation::kUnknown;
}

class Walk {
 public:
  Walk(std::span<const std::byte> bytes, uint64_t file_bytes, IsoBootCatalogue& catalogue)
      : bytes_(bytes), file_bytes_(file_bytes), catalogue_(catalogue) {}

  void run() {
    const auto validation = next();
    if (!validation || byte_of(*validation, 0) != kValidationHeader ||
        load_le<uint16_t>(validation->data() + kKeyAt) != kKey || !has_valid_checksum(*validation)) {
      catalogue_.problem = "it does not begin with a validation entry";
      return;
    }
    platform_ = byte_of(*validation, 1);
    const auto first = next();
    if (!first || !take_boot_entry(*first)) {
      catalogue_.problem = "its initial entry is malformed";
      return;
    }
    sections();
  }

 private:
  std::optional<Entry> next() {
    if (bytes_.size() < kCatalogueEntryBytes) {
      return std::nullopt;
    }
    const Entry entry = bytes_.first(kCatalogueEntryBytes);
    bytes_ = bytes_.subspan(kCatalogueEntryBytes);
    return entry;
  }

  bool take_boot_entry(Entry entry) {
    const uint8_t indicator = byte_of(entry, 0);
    if (indicator != kBootable && indicator != kNotBootable) {
      return false;
    }
    IsoBootEntry boot;
    boot.platform = platform_;
    boot.is_bootable = indicator == kBootable;
    boot.emulation = emulation_of(byte_of(entry, 1));
    boot.load_segment = load_le<uint16_t>(entry.data() + 2);
    boot.system_type = byte_of(entry, 4);
    boot.sector_count = load_le<uint16_t>(entry.data() + 6);
    boot.block = load_le<uint32_t>(entry.data() + 8);
    boot.lies_in_image = boot.block > 0 && uint64_t{boot.block} * kIsoBlockBytes < file_bytes_;
    catalogue_.entries.push_back(boot);
    return true;
  }

  void sections() {
    while (const auto header = next()) {
      const uint8_t id = byte_of(*header, 0);
      if (id != kSectionHeader && id != kFinalSectionHeader) {
        // No more sections; some writers leave entries of the first section without a header.
        if (!is_empty(*header)) {
          catalogue_.problem = "what follows its entries is no section header";
        }
        return;
      }
      platform_ = byte_of(*header, 1);
      if (!section_entries(load_le<uint16_t>(header->data() + 2)) || id == kFinalSectionHeader) {
        return;
      }
    }
  }

  bool section_entries(uint16_t count) {
    while (count > 0) {
      const auto entry = next();
      if (!entry) {
        catalogue_.problem = "it goes on longer than 32 KiB";
        return false;
      }
      if (byte_of(*entry, 0) == kExtension) {
        continue;  // selection criteria of the entry before
      }
      if (!take_boot_entry(*entry)) {
        catalogue_.problem = "a section's entry is malformed";
        return false;
      }
      --count;
    }
    return true;
  }

  std::span<const std::byte> bytes_;
  uint64_t file_bytes_;
  IsoBootCatalogue& catalogue_;
  uint8_t platform_ = 0;
};

}  // namespace

Result<IsoBootCatalogue> read_boot_catalogue(SyncFile& file, uint64_t file_bytes, uint32_t block) {
  IsoBootCatalogue catalogue{.block = block};
  const uint64_t offset = uint64_t{block} * kIsoBlockBytes;
  if (offset >= file_bytes) {
    catalogue.problem = "it lies outside the image";
    return catalogue;
  }
  std::vector<std::byte> bytes(std::min(kMaxCatalogueBytes, file_bytes - offset));
  VMM_TRY(file.read(FileOffset(offset), bytes));
  Walk(bytes, file_bytes, catalogue).run();
  return catalogue;
}

}  // namespace vmm::block
