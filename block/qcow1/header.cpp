#include "block/qcow1/header.h"

#include <algorithm>
#include <array>
#include <utility>

#include "vmm/base/bytes.h"

namespace vmm::block::qcow1 {
namespace {

constexpr uint32_t kMagic = 0x514649fb;  // "QFI\xfb"
constexpr size_t kVersionAt = 4;
constexpr size_t kBackingOffsetAt = 8;
constexpr size_t kBackingBytesAt = 16;
constexpr size_t kSizeAt = 24;
constexpr size_t kClusterBitsAt = 32;
constexpr size_t kL2BitsAt = 33;
constexpr size_t kCryptMethodAt = 36;
constexpr size_t kL1OffsetAt = 40;

template <typename T>
T field(std::span<const std::byte> start, size_t at) {
  return load_be<T>(start.data() + at);
}

Status check_shape(std::span<const std::byte> start, Header& header) {
  header.cluster_bits = field<uint8_t>(start, kClusterBitsAt);
  header.l2_bits = field<uint8_t>(start, kL2BitsAt);
  header.size_bytes = field<uint64_t>(start, kSizeAt);
  if (header.cluster_bits < 9 || header.cluster_bits > 16) {
    return fail("clusters of 2^{} bytes (header offset {}); 2^9 to 2^16 can be", header.cluster_bits,
                kClusterBitsAt);
  }
  if (header.l2_bits < 6 || header.l2_bits > 13) {
    return fail("L2 tables of 2^{} entries (header offset {}); 2^6 to 2^13 can be", header.l2_bits,
                kL2BitsAt);
  }
  if (header.size_bytes == 0 || header.size_bytes > INT64_MAX) {
    return fail("a disk of {} bytes (header offset {})", header.size_bytes, kSizeAt);
  }
  const auto crypt_method = field<uint32_t>(start, kCryptMethodAt);
  if (crypt_method > 1) {
    return fail("encryption method {} is not known (header offset {})", crypt_method, kCryptMethodAt);
  }
  header.is_encrypted = crypt_method == 1;
  return {};
}

Status check_l1(std::span<const std::byte> start, uint64_t file_bytes, Header& header) {
  header.l1_offset = field<uint64_t>(start, kL1OffsetAt);
  const uint32_t bits = header.cluster_bits + header.l2_bits;
  header.l1_entries = ((header.size_bytes - 1) >> bits) + 1;
  if (header.l1_entries > kMaxL1Bytes / 8) {
    return fail("a disk of {} bytes in clusters of {} bytes needs an L1 table of {} entries, more than {}",
                header.size_bytes, header.cluster_bytes(), header.l1_entries, kMaxL1Bytes / 8);
  }
  if (header.l1_offset < kHeaderBytes || header.l1_offset > file_bytes ||
      file_bytes - header.l1_offset < header.l1_entries * 8) {
    return fail("the L1 table ({} entries at {:#x}) does not lie in the file of {} bytes (header offset {})",
                header.l1_entries, header.l1_offset, file_bytes, kL1OffsetAt);
  }
  return {};
}

Result<std::string> read_backing_name(SyncFile& file, uint64_t file_bytes, uint64_t offset, uint32_t bytes) {
  if (bytes > kMaxBackingNameBytes || offset > file_bytes || file_bytes - offset < bytes) {
    return fail("the name of the backing file ({} bytes at {:#x}) does not lie in the file, or is too long",
                bytes, offset);
  }
  std::string name(bytes, '\0');
  VMM_TRY(file.read(FileOffset(offset), std::as_writable_bytes(std::span(name))));
  if (std::ranges::any_of(name, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
    return fail("the name of the backing file has control characters");
  }
  return name;
}

Result<Header> read_all(SyncFile& file) {
  VMM_ASSIGN_OR_RETURN(const uint64_t file_bytes, file.size());
  std::array<std::byte, kHeaderBytes> start{};
  VMM_TRY(file.read(FileOffset(0), start));
  VMM_ASSIGN_OR_RETURN(Header header, parse_header(start, file_bytes));
  const auto name_at = field<uint64_t>(start, kBackingOffsetAt);
  const auto name_bytes = field<uint32_t>(start, kBackingBytesAt);
  if (name_at != 0 && name_bytes != 0) {
    VMM_ASSIGN_OR_RETURN(header.backing_file, read_backing_name(file, file_bytes, name_at, name_bytes));
  }
  return header;
}

}  // namespace

bool has_magic(std::span<const std::byte> start) {
  return read_be_at<uint32_t>(start, 0) == kMagic && read_be_at<uint32_t>(start, kVersionAt) == 1U;
}

Result<Header> parse_header(std::span<const std::byte> start, uint64_t file_bytes) {
  if (start.size() < kHeaderBytes || file_bytes < kHeaderBytes || !has_magic(start)) {
    return fail("there is no qcow header of version 1");
  }
  Header header;
  VMM_TRY(check_shape(start, header));
  VMM_TRY(check_l1(start, file_bytes, header));
  return header;
}

Result<Header> read_header(SyncFile& file) {
  auto header = read_all(file);
  if (!header) {
    return std::unexpected(header.error().within(file.path()));
  }
  return header;
}

}  // namespace vmm::block::qcow1
