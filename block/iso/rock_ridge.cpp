#include "block/iso/rock_ridge.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "vmm/base/bytes.h"

namespace vmm::block {
namespace {

constexpr int kMaxContinuations = 8;
constexpr uint32_t kMaxContinuationBytes = 2048;

// ECMA-119, 9.1: the directory record up to the name.
constexpr size_t kNameLengthAt = 32;
constexpr size_t kNameAt = 33;

struct Area {
  uint64_t offset = 0;
  uint32_t length = 0;
};

bool begins_with(std::span<const std::byte> bytes, std::string_view text) {
  return bytes.size() >= text.size() && std::ranges::equal(bytes.first(text.size()), as_bytes(text));
}

// SUSP 4: the system use area of the record of "." (the first one).
std::span<const std::byte> system_use_area(std::span<const std::byte> root) {
  if (root.size() < kNameAt) {
    return {};
  }
  const size_t record = std::to_integer<size_t>(root[0]);
  const size_t name = std::to_integer<size_t>(root[kNameLengthAt]);
  const size_t begin = kNameAt + name + (name % 2 == 0 ? 1 : 0);
  return record > root.size() || begin >= record ? std::span<const std::byte>()
                                                 : root.subspan(begin, record - begin);
}

struct Findings {
  bool is_rock_ridge = false;
  std::optional<Area> continuation;
};

bool is_rock_ridge_extension(std::span<const std::byte> entry) {
  constexpr size_t kExtensionIdentifierAt = 8;
  if (entry.size() < kExtensionIdentifierAt) {
    return false;
  }
  const auto identifier = entry.subspan(kExtensionIdentifierAt);
  return begins_with(identifier, "RRIP_1991A") || begins_with(identifier, "IEEE_P1282") ||
         begins_with(identifier, "IEEE_1282");
}

// SUSP 5.1: CE, with both-endian numbers.
std::optional<Area> continuation_of(std::span<const std::byte> entry, uint32_t block_bytes) {
  constexpr size_t kBytes = 28;
  if (entry.size() < kBytes) {
    return std::nullopt;
  }
  const uint64_t block = load_le<uint32_t>(entry.data() + 4);
  const uint64_t offset = load_le<uint32_t>(entry.data() + 12);
  const auto length = load_le<uint32_t>(entry.data() + 20);
  return Area{.offset = block * block_bytes + offset, .length = std::min(length, kMaxContinuationBytes)};
}

// SUSP 4.1: entries of two letters, a length of at least 4, a version.
Findings walk(std::span<const std::byte> area, uint32_t block_bytes) {
  constexpr size_t kHeaderBytes = 4;
  Findings found;
  while (area.size() >= kHeaderBytes) {
    const size_t length = std::to_integer<size_t>(area[2]);
    if (length < kHeaderBytes || length > area.size() || begins_with(area, "ST")) {
      break;
    }
    const auto entry = area.first(length);
    if (begins_with(entry, "RR") || begins_with(entry, "PX") ||
        (begins_with(entry, "ER") && is_rock_ridge_extension(entry))) {
      found.is_rock_ridge = true;
    } else if (begins_with(entry, "CE")) {
      found.continuation = continuation_of(entry, block_bytes);
    }
    area = area.subspan(length);
  }
  return found;
}

// SUSP 5.3: SP is the first entry of the first record, and shows that the protocol is used at all.
bool uses_protocol(std::span<const std::byte> area) {
  return area.size() >= 7 && begins_with(area, "SP") && area[4] == std::byte{0xbe} &&
         area[5] == std::byte{0xef};
}

}  // namespace

Result<bool> has_rock_ridge(SyncFile& file, std::span<const std::byte> root, uint32_t block_bytes) {
  const auto area = system_use_area(root);
  if (!uses_protocol(area)) {
    return false;
  }
  Findings found = walk(area, block_bytes);
  std::vector<std::byte> bytes;
  for (int i = 0; i < kMaxContinuations && !found.is_rock_ridge && found.continuation; ++i) {
    bytes.resize(found.continuation->length);
    VMM_TRY(file.read(FileOffset(found.continuation->offset), bytes));
    found = walk(bytes, block_bytes);
  }
  return found.is_rock_ridge;
}

}  // namespace vmm::block
