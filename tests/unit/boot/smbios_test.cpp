#include "boot/smbios.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <string>

#include "tests/unit/boot/boot_test_support.h"
#include "vmm/base/bytes.h"

namespace vmm::boot {
namespace {

using testing::ElementsAre;

// A structure as a reader walks to it (DSP0134, section 6.1).
struct Found {
  Bytes formatted;
  std::vector<std::string> strings;

  std::string text(size_t offset) const {
    const auto number = std::to_integer<size_t>(formatted.at(offset));
    return number == 0 ? "" : strings.at(number - 1);
  }
};

std::vector<Found> walk(const Bytes& tables) {
  std::vector<Found> found;
  size_t at = 0;
  while (at < tables.size()) {
    const auto length = std::to_integer<size_t>(tables[at + 1]);
    Found each{.formatted = Bytes(tables.begin() + static_cast<std::ptrdiff_t>(at),
                                  tables.begin() + static_cast<std::ptrdiff_t>(at + length))};
    at += length;
    while (tables.at(at) != std::byte{0}) {
      each.strings.emplace_back(reinterpret_cast<const char*>(tables.data() + at));
      at += each.strings.back().size() + 1;
    }
    at += each.strings.empty() ? 2 : 1;
    found.push_back(std::move(each));
  }
  return found;
}

SmbiosConfig config() {
  SmbiosConfig config;
  config.system = {.manufacturer = "maker", .product = "thing", .serial = "S1", .family = "kin"};
  config.low_memory_bytes = 0xc000'0000;
  config.high_memory_bytes = 0x4000'0000;
  config.sockets = 2;
  config.cores_per_socket = 3;
  config.threads_per_socket = 6;
  return config;
}

std::map<unsigned, std::vector<Found>> by_type(const SmbiosConfig& config) {
  std::map<unsigned, std::vector<Found>> types;
  for (Found& each : walk(build_smbios(config).tables)) {
    types[std::to_integer<unsigned>(each.formatted[0])].push_back(std::move(each));
  }
  return types;
}

TEST(Smbios, TheAnchorTellsLengthLongestAndCountAndLeavesAddressAndChecksums) {
  const SmbiosTables smbios = build_smbios(config());
  ASSERT_EQ(smbios.anchor.size(), 31U);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(smbios.anchor.data()), 4), "_SM_");
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(smbios.anchor.data() + 16), 5), "_DMI_");
  EXPECT_EQ(load_le<uint16_t>(smbios.anchor.data() + 22), smbios.tables.size());
  EXPECT_EQ(load_le<uint32_t>(smbios.anchor.data() + 24), 0U);
  EXPECT_EQ(load_le<uint16_t>(smbios.anchor.data() + 28), walk(smbios.tables).size());
  EXPECT_EQ(smbios.anchor[4], std::byte{0});
  EXPECT_EQ(smbios.anchor[21], std::byte{0});
}

TEST(Smbios, EveryStructureHasTheLengthOfItsVersion) {
  constexpr std::pair<unsigned, size_t> kLengths[] = {{1, 27},  {3, 22},  {4, 42},  {16, 23},
                                                      {17, 40}, {19, 31}, {32, 11}, {127, 4}};
  const auto types = by_type(config());
  for (const auto& [type, length] : kLengths) {
    ASSERT_TRUE(types.contains(type)) << type;
    EXPECT_EQ(types.at(type).front().formatted.size(), length) << type;
  }
  EXPECT_EQ(types.at(4).size(), 2U);
  EXPECT_FALSE(types.contains(0));  // firmware's own
}

TEST(Smbios, TheUuidsFirstThreeFieldsAreLittleEndian) {
  SmbiosConfig with_uuid = config();
  with_uuid.uuid = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const Found system = by_type(with_uuid).at(1).front();
  const std::vector<uint8_t> wanted = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
  for (size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_EQ(std::to_integer<uint8_t>(system.formatted[8 + i]), wanted[i]) << i;
  }
  EXPECT_EQ(system.text(4), "maker");
  EXPECT_EQ(system.text(5), "thing");
  EXPECT_EQ(system.text(6), "");
  EXPECT_EQ(system.text(7), "S1");
  EXPECT_EQ(system.text(26), "kin");
}

TEST(Smbios, MemoryIsToldInKiBAndMiBAndByRanges) {
  const auto types = by_type(config());
  EXPECT_EQ(load_le<uint32_t>(types.at(16).front().formatted.data() + 7), 4U << 20U);
  EXPECT_EQ(load_le<uint16_t>(types.at(17).front().formatted.data() + 12), 4096U);
  const auto& ranges = types.at(19);
  ASSERT_EQ(ranges.size(), 2U);
  EXPECT_EQ(load_le<uint32_t>(ranges[0].formatted.data() + 4), 0U);
  EXPECT_EQ(load_le<uint32_t>(ranges[0].formatted.data() + 8), 0xc000'0000U / 1024 - 1);
  EXPECT_EQ(load_le<uint32_t>(ranges[1].formatted.data() + 4), 4U << 20U);
  EXPECT_EQ(load_le<uint32_t>(ranges[1].formatted.data() + 8), (5U << 20U) - 1);
}

TEST(Smbios, ALotOfMemoryIsToldInTheExtendedFields) {
  SmbiosConfig large = config();
  large.high_memory_bytes = 8ULL << 40U;
  const auto types = by_type(large);
  EXPECT_EQ(load_le<uint16_t>(types.at(17).front().formatted.data() + 12), 0x7fffU);
  EXPECT_EQ(load_le<uint32_t>(types.at(17).front().formatted.data() + 28), (8U << 20U) + 3072);
  EXPECT_EQ(load_le<uint32_t>(types.at(16).front().formatted.data() + 7), 0x8000'0000U);
  EXPECT_EQ(load_le<uint64_t>(types.at(16).front().formatted.data() + 15), (8ULL << 40U) + 0xc000'0000);
  EXPECT_EQ(load_le<uint32_t>(types.at(19)[1].formatted.data() + 4), 0xffff'ffffU);
  EXPECT_EQ(load_le<uint64_t>(types.at(19)[1].formatted.data() + 15), 1ULL << 32U);
}

TEST(Smbios, ProcessorsTellTheirCoresAndThreads) {
  const auto types = by_type(config());
  const Found& second = types.at(4).at(1);
  EXPECT_EQ(second.text(4), "CPU 1");
  EXPECT_EQ(second.formatted[35], std::byte{3});
  EXPECT_EQ(second.formatted[36], std::byte{3});
  EXPECT_EQ(second.formatted[37], std::byte{6});
}

TEST(Smbios, WhatTheDomainSaysOfBiosBoardAndOemIsThere) {
  SmbiosConfig full = config();
  full.bios = SmbiosConfig::Bios{.vendor = "V", .version = "1", .date = "01/02/2026", .release = "4.11"};
  full.board = SmbiosConfig::Board{.manufacturer = "B", .asset = "A", .location = "L"};
  full.oem_strings = {"first", "second"};
  const auto types = by_type(full);
  const Found& bios = types.at(0).front();
  EXPECT_EQ(bios.formatted.size(), 24U);
  EXPECT_EQ(bios.text(8), "01/02/2026");
  EXPECT_EQ(bios.formatted[20], std::byte{4});
  EXPECT_EQ(bios.formatted[21], std::byte{11});
  EXPECT_EQ(types.at(2).front().formatted.size(), 15U);
  EXPECT_EQ(types.at(2).front().text(8), "A");
  EXPECT_EQ(types.at(2).front().text(10), "L");
  EXPECT_THAT(types.at(11).front().strings, ElementsAre("first", "second"));
  EXPECT_EQ(types.at(11).front().formatted[4], std::byte{2});
}

// As long as a domain file can make them.
SmbiosConfig longest_config() {
  const std::string text(64, 'x');
  SmbiosConfig config;
  config.bios = SmbiosConfig::Bios{.vendor = text, .version = text, .date = text, .release = text};
  config.system = {text, text, text, text, text, text};
  config.board = SmbiosConfig::Board{text, text, text, text, text, text};
  config.chassis = {text, text, text, text, text};
  config.oem_strings.assign(255, text);
  config.low_memory_bytes = 0xc000'0000;
  config.high_memory_bytes = 4ULL << 40U;
  config.sockets = 255;
  return config;
}

unsigned sum(const Bytes& bytes) {
  return std::accumulate(
             bytes.begin(), bytes.end(), 0U,
             [](unsigned total, std::byte byte) { return total + std::to_integer<unsigned>(byte); }) &
         0xff;
}

// The address of the entry point, found as a system finds it (section 5.2.1).
std::optional<uint64_t> find_entry_point(const Guest& guest) {
  for (uint64_t at = 0xf0000; at < 0x100000; at += 16) {
    const bool is_named = guest.u32(at) == 0x5f4d'535f;  // "_SM_"
    if (is_named && sum(guest.bytes(at, guest.u8(at + 5))) == 0 && sum(guest.bytes(at + 16, 15)) == 0) {
      return at;
    }
  }
  return std::nullopt;
}

TEST(InstalledSmbios, IsFoundWhereSystemsLookAndReadAsItWasBuilt) {
  const Guest guest(2 * kMiB);
  ASSERT_TRUE(install_smbios(guest.memory, config()));
  const auto entry_point = find_entry_point(guest);
  ASSERT_TRUE(entry_point);
  const Bytes tables = guest.bytes(guest.u32(*entry_point + 24), guest.u16(*entry_point + 22));
  EXPECT_EQ(tables, build_smbios(config()).tables);
  const auto found = walk(tables);
  EXPECT_EQ(found.size(), guest.u16(*entry_point + 28));
  EXPECT_EQ(found.front().text(7), "S1");
}

TEST(InstalledSmbios, AsLongAsItCanBeLiesInMemoryThatSystemsLeaveAloneBesideTheAcpiTables) {
  const Guest guest(2 * kMiB);
  ASSERT_TRUE(install_smbios(guest.memory, longest_config()));
  EXPECT_EQ(walk(build_smbios(longest_config()).tables).size(), guest.u16(0xf0000 + 28));
  EXPECT_EQ(guest.bytes(0, 0xf0000), Bytes(0xf0000));  // where the ACPI tables are, too
  EXPECT_EQ(guest.bytes(kMiB, kMiB), Bytes(kMiB));
  const bool is_reserved = std::ranges::any_of(guest.map, [](const MemoryMapEntry& entry) {
    return entry.type == MemoryType::kReserved && entry.range.start.value() <= 0xf0000 &&
           entry.range.start.value() + entry.range.length_bytes >= 0x100000;
  });
  EXPECT_TRUE(is_reserved);
}

}  // namespace
}  // namespace vmm::boot
