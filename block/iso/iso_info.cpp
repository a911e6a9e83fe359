#include "block/iso/iso_info.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "block/iso/boot_catalogue.h"
#include "block/iso/rock_ridge.h"
#include "vmm/base/bytes.h"

namespace vmm::block {
namespace {

// ECMA-119, 6.2.1 and 8: the first 16 blocks are the system area, then descriptors of one block each.
constexpr uint64_t kFirstDescriptor = 16;
constexpr uint64_t kMaxDescriptors = 64;
constexpr size_t kTypeAt = 0;
constexpr size_t kIdentifierAt = 1;
constexpr size_t kIdentifierBytes = 5;
constexpr uint8_t kBootRecord = 0;
constexpr uint8_t kPrimary = 1;
constexpr uint8_t kSupplementary = 2;

// 8.4: of a primary or supplementary descriptor. Numbers stand there in both orders; the little-endian ones
// count, as for other readers.
constexpr size_t kVolumeIdAt = 40;
constexpr size_t kVolumeIdBytes = 32;
constexpr size_t kSpaceSizeAt = 80;
constexpr size_t kEscapeAt = 88;
constexpr size_t kBlockSizeAt = 128;
constexpr size_t kRootRecordAt = 156;
constexpr size_t kExtentAt = 2;

// El Torito 1.0, figure 7.
constexpr size_t kBootSystemAt = 7;
constexpr size_t kCatalogueAt = 0x47;

using Block = std::array<std::byte, kIsoBlockBytes>;

std::string trimmed(std::string text) {
  const size_t end = text.find_last_not_of(' ');
  text.erase(end == std::string::npos ? 0 : end + 1);
  return text;
}

// 7.4: a-characters; what is not printable ASCII becomes a question mark.
std::string plain_text(std::span<const std::byte> field) {
  std::string text;
  for (const std::byte byte : field) {
    const auto character = std::to_integer<unsigned char>(byte);
    if (character == 0) {
      break;
    }
    text.push_back(character >= 0x20 && character <= 0x7e ? static_cast<char>(character) : '?');
  }
  return trimmed(std::move(text));
}

// Joliet: UCS-2, big-endian. Surrogates and control characters become question marks.
std::string joliet_text(std::span<const std::byte> field) {
  std::string text;
  for (size_t at = 0; at + 1 < field.size(); at += 2) {
    const unsigned code = load_be<uint16_t>(field.data() + at);
    if (code == 0) {
      break;
    }
    if (code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0xd800 && code < 0xe000) || code >= 0xfffe) {
      text.push_back('?');
    } else if (code < 0x80) {
      text.push_back(static_cast<char>(code));
    } else if (code < 0x800) {
      text.push_back(static_cast<char>(0xc0U | (code >> 6U)));
      text.push_back(static_cast<char>(0x80U | (code & 0x3fU)));
    } else {
      text.push_back(static_cast<char>(0xe0U | (code >> 12U)));
      text.push_back(static_cast<char>(0x80U | ((code >> 6U) & 0x3fU)));
      text.push_back(static_cast<char>(0x80U | (code & 0x3fU)));
    }
  }
  return trimmed(std::move(text));
}

// Escape sequences of UCS-2 levels 1 to 3 (Joliet specification, "SVD Escape Sequences Field").
bool is_joliet(std::span<const std::byte> descriptor) {
  const auto escape = descriptor.subspan(kEscapeAt, 3);
  return escape[0] == std::byte{0x25} && escape[1] == std::byte{0x2f} &&
         (escape[2] == std::byte{0x40} || escape[2] == std::byte{0x43} || escape[2] == std::byte{0x45});
}

class Reader {
 public:
  Reader(SyncFile& file, uint64_t file_bytes) : file_(file), file_bytes_(file_bytes) {}

  Result<IsoInfo> run() {
    for (uint64_t i = 0; i < kMaxDescriptors; ++i) {
      const uint64_t offset = (kFirstDescriptor + i) * kIsoBlockBytes;
      if (offset + kIsoBlockBytes > file_bytes_) {
        break;
      }
      VMM_TRY(file_.read(FileOffset(offset), block_));
      VMM_ASSIGN_OR_RETURN(const bool is_known, take_descriptor());
      if (!is_known) {
        break;
      }
    }
    if (!has_primary_ && info_.udf_version.empty()) {
      return fail("{} is not an ISO image: it has neither an ISO 9660 nor a UDF volume descriptor",
                  file_.path());
    }
    if (info_.volume_bytes && *info_.volume_bytes > file_bytes_) {
      return fail("{} is truncated: its volume descriptor promises {} bytes, and it has {}; get it again",
                  file_.path(), *info_.volume_bytes, file_bytes_);
    }
    VMM_TRY(read_rock_ridge());
    VMM_TRY(read_partition_tables());
    if (catalogue_block_) {
      VMM_ASSIGN_OR_RETURN(info_.boot, read_boot_catalogue(file_, file_bytes_, *catalogue_block_));
    }
    return std::move(info_);
  }

 private:
  // False: not a volume descriptor; the sequence is over.
  Result<bool> take_descriptor() {
    std::string identifier;
    for (const std::byte byte : std::span(block_).subspan(kIdentifierAt, kIdentifierBytes)) {
      identifier.push_back(static_cast<char>(byte));
    }
    if (identifier == "CD001") {
      VMM_TRY(take_iso_descriptor());
      return true;
    }
    if (identifier == "NSR02" || identifier == "NSR03") {
      info_.udf_version = identifier;
      return true;
    }
    // ECMA-167, 2/9: what may stand between them.
    return identifier == "BEA01" || identifier == "TEA01" || identifier == "BOOT2" || identifier == "CDW02";
  }

  Status take_iso_descriptor() {
    const auto type = std::to_integer<uint8_t>(block_[kTypeAt]);
    if (type == kBootRecord && !catalogue_block_ &&
        plain_text(std::span(block_).subspan(kBootSystemAt, 32)) == "EL TORITO SPECIFICATION") {
      catalogue_block_ = load_le<uint32_t>(block_.data() + kCatalogueAt);
    }
    if (type == kPrimary && !has_primary_) {
      return take_primary();
    }
    if (type == kSupplementary && is_joliet(block_)) {
      info_.joliet_volume_id = joliet_text(std::span(block_).subspan(kVolumeIdAt, kVolumeIdBytes));
    }
    return {};
  }

  Status take_primary() {
    has_primary_ = true;
    block_bytes_ = load_le<uint16_t>(block_.data() + kBlockSizeAt);
    if (block_bytes_ != 512 && block_bytes_ != 1024 && block_bytes_ != 2048) {
      return fail("{}: the volume descriptor gives blocks of {} bytes; 512, 1024 and 2048 can be",
                  file_.path(), block_bytes_);
    }
    const auto blocks = load_le<uint32_t>(block_.data() + kSpaceSizeAt);
    if (blocks == 0) {
      return fail("{}: the volume descriptor describes an empty volume", file_.path());
    }
    info_.volume_bytes = uint64_t{blocks} * block_bytes_;
    info_.volume_id = plain_text(std::span(block_).subspan(kVolumeIdAt, kVolumeIdBytes));
    root_block_ = load_le<uint32_t>(block_.data() + kRootRecordAt + kExtentAt);
    return {};
  }

  Status read_rock_ridge() {
    if (!has_primary_) {
      return {};
    }
    VMM_TRY(file_.read(FileOffset(uint64_t{root_block_} * block_bytes_), block_));
    VMM_ASSIGN_OR_RETURN(info_.has_rock_ridge, has_rock_ridge(file_, block_, block_bytes_));
    return {};
  }

  // The system area of an image for optical media alone is empty.
  Status read_partition_tables() {
    constexpr size_t kEntriesAt = 446;
    constexpr size_t kEntryBytes = 16;
    constexpr size_t kTypeInEntry = 4;
    constexpr size_t kSignatureAt = 510;
    constexpr size_t kGptAt = 512;
    VMM_TRY(file_.read(FileOffset(0), block_));
    if (load_le<uint16_t>(block_.data() + kSignatureAt) != 0xaa55) {
      return {};
    }
    for (size_t i = 0; i < 4; ++i) {
      info_.has_mbr |= block_[kEntriesAt + i * kEntryBytes + kTypeInEntry] != std::byte{0};
    }
    info_.has_gpt = std::ranges::equal(std::span(block_).subspan(kGptAt, 8), as_bytes("EFI PART"));
    return {};
  }

  SyncFile& file_;
  uint64_t file_bytes_;
  Block block_{};
  IsoInfo info_;
  bool has_primary_ = false;
  uint32_t block_bytes_ = 0;
  uint32_t root_block_ = 0;
  std::optional<uint32_t> catalogue_block_;
};

}  // namespace

std::string boot_platform_name(uint8_t platform) {
  switch (platform) {
    case 0:
      return "x86";
    case 1:
      return "PowerPC";
    case 2:
      return "Mac";
    case 0xef:
      return "EFI";
    default:
      return fmt::format("{:#04x}", platform);
  }
}

std::string_view boot_emulation_name(BootEmulation emulation) {
  switch (emulation) {
    case BootEmulation::kNone:
      return "none";
    case BootEmulation::kFloppy12:
      return "1.2 MB floppy";
    case BootEmulation::kFloppy144:
      return "1.44 MB floppy";
    case BootEmulation::kFloppy288:
      return "2.88 MB floppy";
    case BootEmulation::kHardDisk:
      return "hard disk";
    case BootEmulation::kUnknown:
      break;
  }
  return "unknown";
}

Result<IsoInfo> read_iso_info(SyncFile& file) {
  VMM_ASSIGN_OR_RETURN(const uint64_t file_bytes, file.size());
  return Reader(file, file_bytes).run();
}

}  // namespace vmm::block
