// The header: what is read from it, and what is refused, in words that name the field.
#include "block/qcow2/header.h"

#include <gmock/gmock.h>

#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {
namespace {

using testing::HasSubstr;

constexpr size_t kClusterBytes = 65536;

Header plain() {
  Header header;
  header.size_bytes = uint64_t{1} << 30U;
  header.l1_entries = 2;
  header.l1_offset = 3 * kClusterBytes;
  header.refcount_table_offset = kClusterBytes;
  header.refcount_table_clusters = 1;
  header.feature_names = known_feature_names();
  return header;
}

std::vector<std::byte> area_of(const Header& header) {
  auto bytes = serialise_header(header, "a.qcow2").value();
  bytes.resize(kClusterBytes);
  return bytes;
}

std::string refusal(const std::vector<std::byte>& area) {
  const auto header = parse_header(area, "a.qcow2");
  return header ? "accepted" : header.error().message();
}

template <typename T>
std::string refusal_with(size_t offset, T value) {
  auto area = area_of(plain());
  store_be<T>(area.data() + offset, value);
  return refusal(area);
}

TEST(Qcow2Header, WhatIsWrittenIsRead) {
  Header header = plain();
  header.backing_file = "base.raw";
  header.backing_format = "raw";
  header.refcount_order = 5;
  header.incompatible = kIncompatibleExtendedL2 | kIncompatibleCompressionType;
  header.compression = CompressionType::kZstd;
  header.l1_entries = 4;
  header.unknown_extensions.push_back(
      {.type = 0x12345678, .bytes = {std::byte{1}, std::byte{2}, std::byte{3}}});
  const auto read = parse_header(area_of(header), "a.qcow2");
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->size_bytes, header.size_bytes);
  EXPECT_EQ(read->backing_file, "base.raw");
  EXPECT_EQ(read->backing_format, "raw");
  EXPECT_EQ(read->refcount_order, 5U);
  EXPECT_EQ(read->compression, CompressionType::kZstd);
  EXPECT_EQ(read->incompatible, header.incompatible);
  ASSERT_EQ(read->unknown_extensions.size(), 1U);
  EXPECT_EQ(read->unknown_extensions[0].bytes, header.unknown_extensions[0].bytes);
  EXPECT_EQ(read->feature_names.size(), header.feature_names.size());
}

TEST(Qcow2Header, Version2HasRefcountsOf16Bits) {
  Header header = plain();
  header.version = 2;
  const auto read = parse_header(area_of(header), "a.qcow2");
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->refcount_order, 4U);
  EXPECT_EQ(read->incompatible, 0U);
}

TEST(Qcow2Header, UnknownIncompatibleBitsAreRefusedByTheirNames) {
  Header header = plain();
  header.incompatible = uint64_t{1} << 40U;
  header.feature_names.push_back({.type = 0, .bit = 40, .name = "holographic clusters"});
  EXPECT_THAT(refusal(area_of(header)), HasSubstr("'holographic clusters' (bit 40)"));
  header.feature_names.clear();
  EXPECT_THAT(refusal(area_of(header)), HasSubstr("bit 40"));
}

TEST(Qcow2Header, FieldsOutOfRangeAreRefusedByName) {
  EXPECT_THAT(refusal_with<uint32_t>(0, 0), HasSubstr("no qcow2 image"));
  EXPECT_THAT(refusal_with<uint32_t>(4, 4), HasSubstr("version 4"));
  EXPECT_THAT(refusal_with<uint32_t>(20, 8), HasSubstr("cluster_bits 8"));
  EXPECT_THAT(refusal_with<uint32_t>(20, 63), HasSubstr("cluster_bits 63"));
  EXPECT_THAT(refusal_with<uint64_t>(24, UINT64_MAX), HasSubstr("size"));
  EXPECT_THAT(refusal_with<uint32_t>(32, 3), HasSubstr("crypt_method 3"));
  EXPECT_THAT(refusal_with<uint32_t>(32, 2), HasSubstr("encryption header pointer"));
  EXPECT_THAT(refusal_with<uint32_t>(36, UINT32_MAX), HasSubstr("l1_size"));
  EXPECT_THAT(refusal_with<uint32_t>(36, 1), HasSubstr("l1_size 1"));
  EXPECT_THAT(refusal_with<uint64_t>(40, 512), HasSubstr("l1_table_offset"));
  EXPECT_THAT(refusal_with<uint64_t>(48, 0), HasSubstr("refcount_table_offset"));
  EXPECT_THAT(refusal_with<uint32_t>(56, 0), HasSubstr("refcount_table_clusters"));
  EXPECT_THAT(refusal_with<uint32_t>(56, UINT32_MAX), HasSubstr("refcount_table_clusters"));
  EXPECT_THAT(refusal_with<uint32_t>(60, UINT32_MAX), HasSubstr("nb_snapshots"));
  EXPECT_THAT(refusal_with<uint32_t>(96, 7), HasSubstr("refcount_order 7"));
  EXPECT_THAT(refusal_with<uint32_t>(100, 90), HasSubstr("header_length 90"));
  EXPECT_THAT(refusal_with<uint8_t>(104, 1), HasSubstr("compression_type 1"));
}

TEST(Qcow2Header, ABackingNameOutsideTheHeaderClusterIsRefused) {
  EXPECT_THAT(refusal_with<uint64_t>(8, kClusterBytes - 4), HasSubstr("backing file"));
  auto area = area_of(plain());
  store_be<uint64_t>(area.data() + 8, kClusterBytes - 4);
  store_be<uint32_t>(area.data() + 16, 8);
  EXPECT_THAT(refusal(area), HasSubstr("backing file"));
}

TEST(Qcow2Header, AnExtensionLongerThanTheClusterIsRefused) {
  auto area = area_of(plain());
  store_be<uint32_t>(area.data() + 112, 0x11111111);
  store_be<uint32_t>(area.data() + 116, 0xfffffff0);
  EXPECT_THAT(refusal(area), HasSubstr("header extension 0x11111111"));
}

TEST(Qcow2Header, EveryTruncationIsRefusedOrRead) {
  const auto area = area_of(plain());
  for (size_t length = 0; length < 200; ++length) {
    const auto header = parse_header(std::span(area).first(length), "a.qcow2");
    EXPECT_EQ(header && header->size_bytes != plain().size_bytes, false) << length;
    EXPECT_FALSE(header && length < 112) << length;
  }
  EXPECT_THAT(refusal(std::vector<std::byte>(area.begin(), area.begin() + 90)), HasSubstr("truncated"));
}

}  // namespace
}  // namespace vmm::block::qcow2
