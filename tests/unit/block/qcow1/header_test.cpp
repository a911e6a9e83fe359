// Headers and L2 entries of qcow version 1: every field out of range is refused in words.
#include "block/qcow1/header.h"

#include <gmock/gmock.h>

#include <array>
#include <string>
#include <vector>

#include "block/qcow1/image.h"
#include "tests/unit/block/memory_file.h"
#include "vmm/base/bytes.h"

namespace vmm::block::qcow1 {
namespace {

using testing::HasSubstr;

// 10 MiB in clusters of 4 KiB with 512 entries to an L2 table, as qemu-img makes it.
struct Fields {
  uint32_t magic = 0x514649fb;
  uint32_t version = 1;
  uint64_t backing_at = 0;
  uint32_t backing_bytes = 0;
  uint64_t size = 10U << 20U;
  uint8_t cluster_bits = 12;
  uint8_t l2_bits = 9;
  uint32_t crypt = 0;
  uint64_t l1_at = 48;
};

std::vector<std::byte> file_of(const Fields& fields) {
  std::vector<std::byte> bytes(560);
  store_be(bytes.data(), fields.magic);
  store_be(bytes.data() + 4, fields.version);
  store_be(bytes.data() + 8, fields.backing_at);
  store_be(bytes.data() + 16, fields.backing_bytes);
  store_be(bytes.data() + 24, fields.size);
  bytes[32] = std::byte{fields.cluster_bits};
  bytes[33] = std::byte{fields.l2_bits};
  store_be(bytes.data() + 36, fields.crypt);
  store_be(bytes.data() + 40, fields.l1_at);
  return bytes;
}

std::string refusal(const Fields& fields) {
  MemoryFile file(file_of(fields));
  const auto header = read_header(file);
  return header ? "taken" : header.error().message();
}

TEST(Qcow1Header, IsReadAsQemuImgWritesIt) {
  MemoryFile file(file_of({}));
  const auto header = read_header(file);
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_EQ(header->size_bytes, 10U << 20U);
  EXPECT_EQ(header->cluster_bytes(), 4096U);
  EXPECT_EQ(header->l2_table_bytes(), 4096U);
  EXPECT_EQ(header->l1_offset, 48U);
  EXPECT_EQ(header->l1_entries, 5U);
  EXPECT_FALSE(header->is_encrypted);
  EXPECT_FALSE(header->backing_file);
}

TEST(Qcow1Header, OtherFilesAreRefusedByName) {
  EXPECT_EQ(refusal({.magic = 0x514649fa}), "image: there is no qcow header of version 1");
  EXPECT_EQ(refusal({.version = 2}), "image: there is no qcow header of version 1");
  MemoryFile empty;
  EXPECT_FALSE(read_header(empty));
  EXPECT_FALSE(has_magic({}));
  EXPECT_TRUE(has_magic(file_of({})));
}

TEST(Qcow1Header, FieldsOutOfRangeAreRefused) {
  for (const uint8_t bits : std::to_array<uint8_t>({0, 8, 17, 63, 64, 255})) {
    EXPECT_THAT(refusal({.cluster_bits = bits}), HasSubstr("clusters of 2^" + std::to_string(bits)));
  }
  for (const uint8_t bits : std::to_array<uint8_t>({0, 5, 14, 255})) {
    EXPECT_THAT(refusal({.l2_bits = bits}), HasSubstr("L2 tables of 2^" + std::to_string(bits)));
  }
  EXPECT_THAT(refusal({.size = 0}), HasSubstr("a disk of 0 bytes"));
  EXPECT_THAT(refusal({.size = UINT64_MAX}), HasSubstr("a disk of 18446744073709551615 bytes"));
  EXPECT_THAT(refusal({.crypt = 2}), HasSubstr("encryption method 2"));
}

TEST(Qcow1Header, TheL1TableMustLieInTheFileAndBeOfBoundedSize) {
  EXPECT_THAT(refusal({.l1_at = 0}), HasSubstr("does not lie in the file"));
  EXPECT_THAT(refusal({.l1_at = 560 - 39}), HasSubstr("does not lie in the file"));
  EXPECT_EQ(refusal({.l1_at = 560 - 40}), "taken");
  EXPECT_THAT(refusal({.l1_at = UINT64_MAX}), HasSubstr("does not lie in the file"));
  EXPECT_THAT(refusal({.size = INT64_MAX}), HasSubstr("entries, more than"));
  EXPECT_THAT(refusal({.size = INT64_MAX, .cluster_bits = 9, .l2_bits = 6}), HasSubstr("entries, more than"));
}

TEST(Qcow1Header, TheNameOfTheBackingFileMustLieInTheFile) {
  std::vector<std::byte> bytes = file_of({.backing_at = 100, .backing_bytes = 8});
  std::ranges::copy(as_bytes("base.raw"), bytes.begin() + 100);
  MemoryFile file(bytes);
  EXPECT_EQ(read_header(file)->backing_file, "base.raw");
  EXPECT_THAT(refusal({.backing_at = 553, .backing_bytes = 8}), HasSubstr("name of the backing file"));
  EXPECT_THAT(refusal({.backing_at = UINT64_MAX, .backing_bytes = 8}), HasSubstr("name of the backing file"));
  EXPECT_THAT(refusal({.backing_at = 48, .backing_bytes = UINT32_MAX}),
              HasSubstr("name of the backing file"));
  EXPECT_THAT(refusal({.backing_at = 48, .backing_bytes = 8}), HasSubstr("control characters"));
}

TEST(Qcow1Entry, IsACompressedClusterByItsHighestBit) {
  const Header header{.cluster_bits = 12};
  EXPECT_EQ(decode_entry(header, 0).kind, Cluster::Kind::kBacking);
  EXPECT_EQ(decode_entry(header, 0x5000).kind, Cluster::Kind::kData);
  EXPECT_EQ(decode_entry(header, 0x5000).offset, 0x5000U);
  const Cluster compressed = decode_entry(header, (UINT64_C(1) << 63U) | (UINT64_C(0x123) << 51U) | 0x4567);
  EXPECT_EQ(compressed.kind, Cluster::Kind::kCompressed);
  EXPECT_EQ(compressed.offset, 0x4567U);
  EXPECT_EQ(compressed.stored_bytes, 0x123U);
}

TEST(Qcow1Entry, ThatCannotBeIsInvalid) {
  const Header header{.cluster_bits = 12};
  EXPECT_EQ(decode_entry(header, 0x5001).kind, Cluster::Kind::kInvalid) << "not aligned to sectors";
  EXPECT_EQ(decode_entry(header, (UINT64_C(1) << 63U) - 512).kind, Cluster::Kind::kInvalid) << "past off_t";
  EXPECT_EQ(decode_entry(header, UINT64_C(1) << 63U).kind, Cluster::Kind::kInvalid) << "no bytes";
}

}  // namespace
}  // namespace vmm::block::qcow1
