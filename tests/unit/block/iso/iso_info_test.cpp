// What is told about ISO images: those of xorriso, and malformed ones.
#include "block/iso/iso_info.h"

#include <gmock/gmock.h>

#include <array>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/unit/block/disk_harness.h"
#include "tests/unit/block/memory_file.h"
#include "tests/unit/block/qemu_tools.h"
#include "vmm/base/bytes.h"

namespace vmm::block {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr size_t kBlock = kIsoBlockBytes;
constexpr size_t kBlocks = 40;

// --- Images made here ---

class IsoBuilder {
 public:
  IsoBuilder() : bytes_(kBlocks * kBlock) {
    descriptor(16, 1, "CD001");
    text(16, 40, "TEST VOLUME" + std::string(21, ' '));
    put32(16, 80, kBlocks);
    put16(16, 128, kBlock);
    put32(16, 156 + 2, 30);
    descriptor(17, 255, "CD001");
  }

  IsoBuilder& descriptor(size_t block, uint8_t type, std::string_view identifier) {
    put8(block, 0, type);
    text(block, 1, identifier);
    return put8(block, 6, 1);
  }
  IsoBuilder& text(size_t block, size_t at, std::string_view value) {
    std::ranges::copy(as_bytes(value), bytes_.begin() + static_cast<ptrdiff_t>(block * kBlock + at));
    return *this;
  }
  IsoBuilder& put8(size_t block, size_t at, uint8_t value) {
    bytes_[block * kBlock + at] = static_cast<std::byte>(value);
    return *this;
  }
  IsoBuilder& put16(size_t block, size_t at, uint16_t value) {
    store_le(bytes_.data() + block * kBlock + at, value);
    return *this;
  }
  IsoBuilder& put32(size_t block, size_t at, uint32_t value) {
    store_le(bytes_.data() + block * kBlock + at, value);
    return *this;
  }
  // A boot record at block 18 that points at a catalogue.
  IsoBuilder& boot(uint32_t catalogue) {
    descriptor(17, 0, "CD001").text(17, 7, "EL TORITO SPECIFICATION").put32(17, 0x47, catalogue);
    return descriptor(18, 255, "CD001");
  }
  // A valid validation entry for x86, and an initial entry.
  IsoBuilder& catalogue(size_t block) {
    put8(block, 0, 1).put16(block, 30, 0xaa55).put16(block, 28, static_cast<uint16_t>(0x10000 - 0xaa55 - 1));
    return put8(block, 32, 0x88).put16(block, 32 + 6, 4).put32(block, 32 + 8, 25);
  }
  // The record of "." in the root directory at block 30, with `area` for its system use.
  IsoBuilder& root(std::string_view area) {
    put8(30, 0, static_cast<uint8_t>(34 + area.size())).put8(30, 32, 1);
    return text(30, 34, area);
  }
  IsoBuilder& cut(size_t size) {
    bytes_.resize(size);
    return *this;
  }

  Result<IsoInfo> read() const {
    MemoryFile file(bytes_);
    auto info = read_iso_info(file);
    EXPECT_LE(file.bytes_read, 256U << 10U) << "reads are bounded";
    return info;
  }
  std::string refusal() const {
    const auto info = read();
    return info ? "taken" : info.error().message();
  }
  IsoInfo info() const {
    auto info = read();
    EXPECT_TRUE(info) << info.error().message();
    return info ? *std::move(info) : IsoInfo();
  }

 private:
  std::vector<std::byte> bytes_;
};

TEST(IsoInfo, APlainVolumeHasANameAndASizeAndNothingElse) {
  const IsoInfo info = IsoBuilder().info();
  EXPECT_EQ(info.volume_id, "TEST VOLUME");
  EXPECT_EQ(info.volume_bytes, kBlocks * kBlock);
  EXPECT_FALSE(info.joliet_volume_id);
  EXPECT_FALSE(info.has_rock_ridge);
  EXPECT_THAT(info.udf_version, IsEmpty());
  EXPECT_FALSE(info.boot);
  EXPECT_FALSE(info.has_mbr || info.has_gpt);
}

TEST(IsoInfo, WhatIsNoIsoIsRefused) {
  for (const size_t size : {size_t{0}, size_t{1}, 16 * kBlock, 17 * kBlock - 1}) {
    EXPECT_EQ(IsoBuilder().cut(size).refusal(),
              "image is not an ISO image: it has neither an ISO 9660 nor a UDF volume descriptor");
  }
  EXPECT_THAT(IsoBuilder().text(16, 1, "XD001").refusal(), HasSubstr("is not an ISO image"));
}

TEST(IsoInfo, ATruncatedImageIsRefusedWithTheSizeItsDescriptorPromises) {
  EXPECT_EQ(IsoBuilder().cut(kBlocks * kBlock - 1).refusal(),
            "image is truncated: its volume descriptor promises 81920 bytes, and it has 81919; get it again");
  EXPECT_THAT(IsoBuilder().put32(16, 80, 0xffffffff).refusal(), HasSubstr("promises 8796093020160 bytes"));
  EXPECT_EQ(IsoBuilder().cut(kBlocks * kBlock + 300 * kBlock).refusal(), "taken") << "padding is no fault";
}

TEST(IsoInfo, ImpossibleBlockSizesAndEmptyVolumesAreRefused) {
  for (const uint16_t size : std::to_array<uint16_t>({0, 1, 256, 2049, 4096, 65535})) {
    EXPECT_THAT(IsoBuilder().put16(16, 128, size).refusal(),
                HasSubstr("gives blocks of " + std::to_string(size)));
  }
  EXPECT_THAT(IsoBuilder().put32(16, 80, 0).refusal(), HasSubstr("empty volume"));
}

TEST(IsoInfo, NamesAreMadePrintable) {
  EXPECT_EQ(IsoBuilder().text(16, 40, "A\x1b[2J\xff\n").info().volume_id, "A?[2J??LUME");
}

TEST(IsoInfo, JolietNamesAreUcs2) {
  IsoBuilder builder;
  builder.descriptor(17, 2, "CD001").text(17, 88, "%/E").descriptor(18, 255, "CD001");
  builder.text(17, 40, std::string_view("\0a\0\xe9\x20\xac\xd8\0\0\x07\0 ", 12));
  EXPECT_EQ(builder.info().joliet_volume_id, "a\xc3\xa9\xe2\x82\xac??");
}

TEST(IsoInfo, ASupplementaryDescriptorOfAnotherKindIsNotJoliet) {
  EXPECT_FALSE(IsoBuilder().descriptor(17, 2, "CD001").text(17, 88, "%/A").info().joliet_volume_id);
}

TEST(IsoInfo, AUdfBridgeIsSeenBehindTheTerminator) {
  IsoBuilder builder;
  builder.text(18, 1, "BEA01").text(19, 1, "NSR03").text(20, 1, "TEA01");
  EXPECT_EQ(builder.info().udf_version, "NSR03");
  EXPECT_EQ(builder.info().volume_id, "TEST VOLUME");
}

TEST(IsoInfo, UdfAloneHasNoVolumeSize) {
  IsoBuilder builder;
  builder.text(16, 1, "BEA01").text(17, 1, "NSR02").text(18, 1, "TEA01");
  EXPECT_EQ(builder.info().udf_version, "NSR02");
  EXPECT_FALSE(builder.info().volume_bytes);
}

TEST(IsoInfo, DescriptorsWithoutEndAreNotFollowedForEver) {
  IsoBuilder builder;
  for (size_t block = 17; block < kBlocks; ++block) {
    builder.descriptor(block, 3, "CD001");
  }
  EXPECT_EQ(builder.refusal(), "taken");
}

constexpr std::string_view kSp("SP\x07\x01\xbe\xef\0", 7);

TEST(RockRidge, IsSeenByTheEntriesThatItDefines) {
  const std::string sp(kSp);
  EXPECT_TRUE(IsoBuilder().root(sp + "RR\x05\x01\x81").info().has_rock_ridge);
  EXPECT_TRUE(IsoBuilder().root(sp + "PX\x04\x01").info().has_rock_ridge);
  EXPECT_TRUE(
      IsoBuilder().root(sp + std::string("ER\x12\x01\x0a\0\0\1RRIP_1991A", 18)).info().has_rock_ridge);
  EXPECT_FALSE(IsoBuilder().root(sp).info().has_rock_ridge);
  EXPECT_FALSE(IsoBuilder().root("RR\x05\x01\x81").info().has_rock_ridge) << "no SP, no protocol";
  EXPECT_FALSE(IsoBuilder().root(sp + "ST\x04\x01PX\x04\x01").info().has_rock_ridge)
      << "behind the terminator";
}

std::string continuation(uint32_t block, uint32_t offset, uint32_t length) {
  std::string entry = std::string("CE\x1c\x01", 4) + std::string(24, '\0');
  store_le(reinterpret_cast<std::byte*>(entry.data() + 4), block);
  store_le(reinterpret_cast<std::byte*>(entry.data() + 12), offset);
  store_le(reinterpret_cast<std::byte*>(entry.data() + 20), length);
  return entry;
}

TEST(RockRidge, ContinuationsAreFollowed) {
  IsoBuilder builder;
  builder.root(std::string(kSp) + continuation(31, 100, 5)).text(31, 100, "RR\x05\x01\x81");
  EXPECT_TRUE(builder.info().has_rock_ridge);
}

TEST(RockRidge, ContinuationsInACircleOrOutsideTheImageEnd) {
  IsoBuilder circle;
  circle.root(std::string(kSp) + continuation(31, 0, 28)).text(31, 0, continuation(31, 0, 28));
  EXPECT_FALSE(circle.info().has_rock_ridge);
  IsoBuilder outside;
  outside.root(std::string(kSp) + continuation(0xffffffff, 0xffffffff, 0xffffffff));
  EXPECT_FALSE(outside.info().has_rock_ridge);
}

TEST(RockRidge, EntriesAndRecordsThatReachTooFarAreIgnored) {
  const std::string sp(kSp);
  EXPECT_FALSE(IsoBuilder().root(sp + std::string("RR\0\x01\x81", 5)).info().has_rock_ridge);
  EXPECT_FALSE(IsoBuilder().root(sp + "RR\xff\x01\x81").info().has_rock_ridge);
  EXPECT_FALSE(IsoBuilder().root(sp + "CE\x05\x01\x81").info().has_rock_ridge);
  EXPECT_FALSE(IsoBuilder().root(sp).put8(30, 32, 255).info().has_rock_ridge);
  EXPECT_FALSE(IsoBuilder().put32(16, 158, 0xffffffff).info().has_rock_ridge);
}

TEST(BootCatalogue, InitialEntryAndSectionsAreTold) {
  IsoBuilder builder;
  builder.boot(20).catalogue(20);
  builder.put8(20, 64, 0x91).put8(20, 65, 0xef).put16(20, 66, 1);
  builder.put8(20, 96, 0x88).put16(20, 98, 0x1000).put8(20, 100, 6).put16(20, 102, 9).put32(20, 104, 39);
  const IsoInfo info = builder.info();
  ASSERT_TRUE(info.boot);
  EXPECT_EQ(info.boot->block, 20U);
  EXPECT_THAT(info.boot->problem, IsEmpty());
  ASSERT_EQ(info.boot->entries.size(), 2U);
  const IsoBootEntry& bios = info.boot->entries[0];
  EXPECT_EQ(boot_platform_name(bios.platform), "x86");
  EXPECT_TRUE(bios.is_bootable);
  EXPECT_EQ(bios.emulation, BootEmulation::kNone);
  EXPECT_EQ(bios.sector_count, 4U);
  EXPECT_EQ(bios.block, 25U);
  EXPECT_TRUE(bios.lies_in_image);
  const IsoBootEntry& efi = info.boot->entries[1];
  EXPECT_EQ(boot_platform_name(efi.platform), "EFI");
  EXPECT_EQ(efi.load_segment, 0x1000);
  EXPECT_EQ(efi.system_type, 6);
  EXPECT_EQ(efi.sector_count, 9U);
  EXPECT_EQ(efi.block, 39U);
}

TEST(BootCatalogue, EveryEmulationHasAName) {
  const std::vector<std::string> names = {"none",           "1.2 MB floppy", "1.44 MB floppy",
                                          "2.88 MB floppy", "hard disk",     "unknown"};
  for (size_t kind = 0; kind < names.size(); ++kind) {
    const IsoInfo info =
        IsoBuilder().boot(20).catalogue(20).put8(20, 33, static_cast<uint8_t>(kind | 0x20U)).info();
    ASSERT_EQ(info.boot->entries.size(), 1U);
    EXPECT_EQ(boot_emulation_name(info.boot->entries[0].emulation), names[kind]);
  }
}

TEST(BootCatalogue, AnEntryThatPointsOutsideTheImageIsMarked) {
  for (const uint32_t block : {uint32_t{0}, uint32_t{kBlocks}, UINT32_MAX}) {
    const IsoInfo info = IsoBuilder().boot(20).catalogue(20).put32(20, 32 + 8, block).info();
    EXPECT_FALSE(info.boot->entries[0].lies_in_image);
  }
}

TEST(BootCatalogue, WhatIsMalformedIsToldAndTheRestIsKept) {
  const auto problem = [](const std::function<void(IsoBuilder&)>& change) {
    IsoBuilder builder;
    builder.boot(20).catalogue(20);
    change(builder);
    return builder.info().boot->problem;
  };
  EXPECT_THAT(problem([](IsoBuilder& iso) { iso.put8(20, 5, 1); }), HasSubstr("validation entry"));
  EXPECT_THAT(problem([](IsoBuilder& iso) { iso.put16(20, 30, 0); }), HasSubstr("validation entry"));
  EXPECT_THAT(problem([](IsoBuilder& iso) { iso.put8(20, 32, 0x77); }), HasSubstr("initial entry"));
  EXPECT_THAT(problem([](IsoBuilder& iso) { iso.put8(20, 64, 0x77); }), HasSubstr("no section header"));
  EXPECT_THAT(problem([](IsoBuilder& iso) { iso.put8(20, 64, 0x91).put16(20, 66, 1).put8(20, 96, 1); }),
              HasSubstr("section's entry"));
  EXPECT_THAT(problem([](IsoBuilder& iso) { iso.put32(17, 0x47, 0xffffffff); }),
              HasSubstr("outside the image"));
  EXPECT_THAT(problem([](IsoBuilder& iso) { iso.put8(20, 64, 0x90).put16(20, 66, 0xffff); }),
              HasSubstr("longer than 32 KiB"));
}

TEST(PartitionTables, OfIsohybridImagesAreSeen) {
  IsoBuilder builder;
  builder.put16(0, 510, 0xaa55);
  EXPECT_FALSE(builder.info().has_mbr) << "a signature without a partition";
  builder.put8(0, 446 + 16 + 4, 0xef);
  EXPECT_TRUE(builder.info().has_mbr);
  EXPECT_FALSE(builder.info().has_gpt);
  EXPECT_TRUE(builder.text(0, 512, "EFI PART").info().has_gpt);
}

// --- Images of xorriso ---

class Xorriso : public testing::Test {
 protected:
  Xorriso() {
    std::filesystem::create_directory(folder_.file("tree"));
    write_file(folder_.file("tree/bios.img"), std::vector<std::byte>(4096, std::byte{0x90}));
    write_file(folder_.file("tree/efi.img"), std::vector<std::byte>(1474560, std::byte{0x11}));
  }
  Result<IsoInfo> make(std::vector<std::string> options) const {
    std::vector<std::string> command = {"xorriso", "-as",  "mkisofs", "-quiet",
                                        "-o",      image_, "-V",      "REAL_VOLUME"};
    command.insert(command.end(), options.begin(), options.end());
    command.push_back(folder_.file("tree"));
    must_run(command);
    MemoryFile file(read_file(image_));
    return read_iso_info(file);
  }

  TemporaryFolder folder_;
  std::string image_ = folder_.file("image.iso");
};

TEST_F(Xorriso, PlainImage) {
  const auto info = make({"--norock"});
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_EQ(info->volume_id, "REAL_VOLUME");
  EXPECT_LE(info->volume_bytes, std::filesystem::file_size(image_));
  EXPECT_FALSE(info->has_rock_ridge);
  EXPECT_FALSE(info->joliet_volume_id);
  EXPECT_FALSE(info->boot);
  EXPECT_FALSE(info->has_mbr || info->has_gpt);
}

TEST_F(Xorriso, RockRidgeAndJoliet) {
  const auto info = make({"-R", "-J"});
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_TRUE(info->has_rock_ridge);
  EXPECT_EQ(info->joliet_volume_id, "REAL_VOLUME");
}

TEST_F(Xorriso, BootImagesOfBiosAndEfi) {
  const auto info = make({"-R", "-b", "bios.img", "-no-emul-boot", "-boot-load-size", "4",
                          "-eltorito-alt-boot", "-e", "efi.img", "-no-emul-boot"});
  ASSERT_TRUE(info) << info.error().message();
  ASSERT_TRUE(info->boot);
  EXPECT_THAT(info->boot->problem, IsEmpty());
  ASSERT_EQ(info->boot->entries.size(), 2U);
  EXPECT_EQ(info->boot->entries[0].platform, 0);
  EXPECT_EQ(info->boot->entries[0].sector_count, 4);
  EXPECT_EQ(info->boot->entries[1].platform, 0xef);
  EXPECT_EQ(info->boot->entries[1].emulation, BootEmulation::kNone);
  const auto bytes = read_file(image_);
  EXPECT_EQ(bytes.at(info->boot->entries[0].block * kBlock), std::byte{0x90});
  EXPECT_EQ(bytes.at(info->boot->entries[1].block * kBlock), std::byte{0x11});
}

TEST_F(Xorriso, FloppyEmulation) {
  const auto info = make({"-b", "efi.img"});
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_EQ(info->boot->entries.at(0).emulation, BootEmulation::kFloppy144);
}

TEST_F(Xorriso, PartitionsForUsbSticks) {
  const auto mbr = make({"-R", "-append_partition", "2", "0xef", folder_.file("tree/efi.img")});
  ASSERT_TRUE(mbr) << mbr.error().message();
  EXPECT_TRUE(mbr->has_mbr);
  EXPECT_FALSE(mbr->has_gpt);
  const auto gpt =
      make({"-R", "-append_partition", "2", "0xef", folder_.file("tree/efi.img"), "-appended_part_as_gpt"});
  ASSERT_TRUE(gpt) << gpt.error().message();
  EXPECT_TRUE(gpt->has_gpt);
}

}  // namespace
}  // namespace vmm::block
