#include "boot/bzimage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/unit/boot/boot_test_support.h"
#include "vmm/base/bytes.h"

namespace vmm::boot {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class BzImageTest : public testing::Test {
 protected:
  Result<EntryState> load(const Guest& guest, const Bytes& kernel, const std::string& command_line = "",
                          const Bytes& initrd = {}, std::optional<GuestAddress> rsdp = std::nullopt) {
    DirectBoot boot{.kernel_path = folder_.write("vmlinuz", kernel), .command_line = command_line};
    if (!initrd.empty()) {
      boot.initrd_path = folder_.write("initrd", initrd);
    }
    return load_direct(guest.memory, boot, guest.map, rsdp);
  }

  // What is said of a kernel that must be refused.
  std::string refusal(const Bytes& kernel, uint64_t ram_bytes = 64 * kMiB) {
    const Guest guest(ram_bytes);
    const auto state = load(guest, kernel);
    EXPECT_FALSE(state);
    return state ? "" : state.error().message();
  }

  TempFolder folder_;
};

TEST_F(BzImageTest, PayloadIsLoadedAtThePreferredAddressAndEntered512BytesIn) {
  const Guest guest(64 * kMiB);
  const auto state = load(guest, BzImageFile().build());
  ASSERT_TRUE(state) << state.error().message();
  EXPECT_EQ(state->mode, EntryState::Mode::kLong64);
  EXPECT_EQ(state->instruction_pointer, GuestAddress(0x1000200));
  EXPECT_EQ(guest.bytes(0x1000000, 0x1000), pattern(0x1000));
}

TEST_F(BzImageTest, ZeroSetupSectsMeansFour) {
  const Guest guest(64 * kMiB);
  BzImageFile image;
  image.setup_sects = 0;
  ASSERT_TRUE(load(guest, image.build()));
  EXPECT_EQ(guest.bytes(0x1000000, 0x1000), pattern(0x1000));
}

TEST_F(BzImageTest, RelocatableKernelIsAlignedUp) {
  const Guest guest(64 * kMiB);
  BzImageFile image;
  image.pref_address = 0x100000;
  image.kernel_alignment = 0x1000000;
  const auto state = load(guest, image.build());
  ASSERT_TRUE(state) << state.error().message();
  EXPECT_EQ(state->instruction_pointer, GuestAddress(0x1000200));
}

TEST_F(BzImageTest, FixedKernelIsLoadedWhereItWantsToBe) {
  const Guest guest(64 * kMiB);
  BzImageFile image;
  image.relocatable = 0;
  image.pref_address = 0x123000;
  image.kernel_alignment = 0;
  const auto state = load(guest, image.build());
  ASSERT_TRUE(state) << state.error().message();
  EXPECT_EQ(state->instruction_pointer, GuestAddress(0x123200));
}

TEST_F(BzImageTest, BootParamsHoldTheSetupHeaderAndNothingOfTheFileBeside) {
  const Guest guest(64 * kMiB);
  Bytes kernel = BzImageFile().build();
  std::fill_n(kernel.begin(), 0x1f1, std::byte{0xee});          // the boot sector's code
  std::fill_n(kernel.begin() + 0x26c, 0x100, std::byte{0xee});  // the code after the header
  const auto state = load(guest, kernel);
  ASSERT_TRUE(state);
  const uint64_t params = state->rsi;
  EXPECT_EQ(guest.u16(params + 0x1fe), 0xaa55);
  EXPECT_EQ(guest.u32(params + 0x202), 0x53726448U);
  EXPECT_EQ(guest.u32(params + 0x260), 0x400000U);
  EXPECT_EQ(guest.u8(params + 0x210), 0xff);  // type_of_loader
  EXPECT_EQ(guest.u8(params + 0x1ef), 0);     // sentinel
  EXPECT_EQ(guest.bytes(params, 0x1e8), Bytes(0x1e8));
  EXPECT_EQ(guest.bytes(params + 0x26c, 0x2d0 - 0x26c), Bytes(0x2d0 - 0x26c));
}

TEST_F(BzImageTest, BootParamsGiveTheMemoryMapAndTheRsdp) {
  const Guest guest(5 * kGiB);
  const auto state = load(guest, BzImageFile().build(), "", {}, GuestAddress(0xe0000));
  ASSERT_TRUE(state);
  EXPECT_EQ(guest.u64(state->rsi + 0x70), 0xe0000U);
  ASSERT_EQ(guest.u8(state->rsi + 0x1e8), guest.map.size());
  uint64_t at = state->rsi + 0x2d0;
  for (const MemoryMapEntry& entry : guest.map) {
    EXPECT_EQ(guest.u64(at), entry.range.start.value());
    EXPECT_EQ(guest.u64(at + 8), entry.range.length_bytes);
    EXPECT_EQ(guest.u32(at + 16), static_cast<uint32_t>(entry.type));
    at += 20;
  }
}

TEST_F(BzImageTest, WithoutAcpiTheRsdpIsZero) {
  const Guest guest(64 * kMiB);
  const auto state = load(guest, BzImageFile().build());
  ASSERT_TRUE(state);
  EXPECT_EQ(guest.u64(state->rsi + 0x70), 0U);
}

TEST_F(BzImageTest, CommandLineIsHandedOverWithItsNul) {
  const Guest guest(64 * kMiB);
  const auto state = load(guest, BzImageFile().build(), "console=ttyS0 root=/dev/vda");
  ASSERT_TRUE(state);
  EXPECT_EQ(guest.text(guest.u32(state->rsi + 0x228)), "console=ttyS0 root=/dev/vda");
  EXPECT_EQ(guest.u32(state->rsi + 0xc8), 0U);  // ext_cmd_line_ptr
}

TEST_F(BzImageTest, CommandLineMayBeAsLongAsTheHeaderSaysAndNoLonger) {
  const Guest guest(64 * kMiB);
  EXPECT_TRUE(load(guest, BzImageFile().build(), std::string(2047, 'x')));
  const auto state = load(guest, BzImageFile().build(), std::string(2048, 'x'));
  ASSERT_FALSE(state);
  EXPECT_EQ(state.error().kind(), ErrorKind::kConfiguration);
  EXPECT_THAT(state.error().message(), AllOf(HasSubstr("2048 bytes long"), HasSubstr("at most 2047")));
}

TEST_F(BzImageTest, HugeCmdlineSizeDoesNotOverrunTheRoomForIt) {
  const Guest guest(64 * kMiB);
  BzImageFile image;
  image.cmdline_size = UINT32_MAX;
  EXPECT_TRUE(load(guest, image.build(), std::string(0xffff, 'x')));
  EXPECT_FALSE(load(guest, image.build(), std::string(0x10000, 'x')));
}

TEST_F(BzImageTest, CommandLineWithNulIsRefused) {
  const Guest guest(64 * kMiB);
  const auto state = load(guest, BzImageFile().build(), std::string("quiet\0init=/bin/sh", 18));
  ASSERT_FALSE(state);
  EXPECT_EQ(state.error().kind(), ErrorKind::kConfiguration);
  EXPECT_THAT(state.error().message(), HasSubstr("NUL"));
}

TEST_F(BzImageTest, InitrdGoesToTheTopOfMemory) {
  const Guest guest(64 * kMiB);
  const Bytes initrd = pattern(10000, 9);
  const auto state = load(guest, BzImageFile().build(), "", initrd);
  ASSERT_TRUE(state);
  EXPECT_EQ(guest.u32(state->rsi + 0x218), 64 * kMiB - 12288);
  EXPECT_EQ(guest.u32(state->rsi + 0x21c), 10000U);
  EXPECT_EQ(guest.u32(state->rsi + 0xc0), 0U);
  EXPECT_EQ(guest.u32(state->rsi + 0xc4), 0U);
  EXPECT_EQ(guest.bytes(64 * kMiB - 12288, initrd.size()), initrd);
}

TEST_F(BzImageTest, InitrdStaysBelowInitrdAddrMax) {
  const Guest guest(4 * kGiB);
  BzImageFile image;
  image.xloadflags = 0x0001;
  image.initrd_addr_max = 0x37ffffff;
  const auto state = load(guest, image.build(), "", pattern(10000));
  ASSERT_TRUE(state);
  EXPECT_EQ(guest.u32(state->rsi + 0x218), 0x38000000U - 12288);
}

TEST_F(BzImageTest, KernelThatTakesItAbove4GiBHasNoSuchLimit) {
  const Guest guest(4 * kGiB);
  BzImageFile image;
  image.xloadflags = 0x0003;
  image.initrd_addr_max = 0x37ffffff;
  const auto state = load(guest, image.build(), "", pattern(10000));
  ASSERT_TRUE(state);
  EXPECT_EQ(guest.u32(state->rsi + 0x218), 0xc0000000U - 12288);
}

TEST_F(BzImageTest, InitrdAbove4GiBIsNamedByTheExtFields) {
  const Guest guest(5 * kGiB);
  BzImageFile image;
  image.init_size = 0xc0000000 - 0x1000000;
  image.pref_address = 0x1000000;
  const auto state = load(guest, image.build(), "", pattern(static_cast<size_t>(20 * kMiB)));
  ASSERT_TRUE(state) << state.error().message();
  EXPECT_EQ(guest.u32(state->rsi + 0xc0), 1U);
  EXPECT_EQ(guest.u32(state->rsi + 0x218), 0x80000000U - 20 * kMiB);
}

TEST_F(BzImageTest, InitrdNeverOverlapsWhatTheKernelNeeds) {
  const Guest guest(24 * kMiB);
  BzImageFile image;
  image.init_size = static_cast<uint32_t>(8 * kMiB - 4096);  // leaves one page at the top
  auto state = load(guest, image.build(), "", pattern(4096));
  ASSERT_TRUE(state);
  EXPECT_EQ(guest.u32(state->rsi + 0x218), 24 * kMiB - 4096);
  state = load(guest, image.build(), "", pattern(4097));
  ASSERT_TRUE(state);
  EXPECT_EQ(guest.u32(state->rsi + 0x218), 16 * kMiB - 8192);
}

TEST_F(BzImageTest, InitrdThatDoesNotFitIsRefusedWithItsSize) {
  const Guest guest(24 * kMiB);
  const auto state = load(guest, BzImageFile().build(), "", pattern(static_cast<size_t>(16 * kMiB)));
  ASSERT_FALSE(state);
  EXPECT_THAT(state.error().message(),
              AllOf(HasSubstr("initrd is 16777216 bytes"), HasSubstr("15728640 bytes")));
}

TEST_F(BzImageTest, MissingEmptyOrFolderAsInitrdIsRefused) {
  const Guest guest(64 * kMiB);
  DirectBoot boot{.kernel_path = folder_.write("vmlinuz", BzImageFile().build())};
  for (const std::string& path : {folder_.file("missing"), folder_.write("empty", {}), folder_.path()}) {
    boot.initrd_path = path;
    const auto state = load_direct(guest.memory, boot, guest.map, std::nullopt);
    ASSERT_FALSE(state) << path;
    EXPECT_THAT(state.error().message(), AllOf(HasSubstr(path), HasSubstr("initrd")));
  }
}

TEST_F(BzImageTest, MissingKernelIsNamed) {
  const Guest guest(64 * kMiB);
  const auto state =
      load_direct(guest.memory, {.kernel_path = folder_.file("missing")}, guest.map, std::nullopt);
  ASSERT_FALSE(state);
  EXPECT_EQ(state.error().kind(), ErrorKind::kHost);
  EXPECT_EQ(state.error().message(),
            "cannot open the kernel " + folder_.file("missing") + ": No such file or directory");
}

TEST_F(BzImageTest, FolderAsKernelIsRefused) {
  const Guest guest(64 * kMiB);
  const auto state = load_direct(guest.memory, {.kernel_path = folder_.path()}, guest.map, std::nullopt);
  ASSERT_FALSE(state);
  EXPECT_THAT(state.error().message(), HasSubstr("is a folder"));
}

TEST_F(BzImageTest, FifoAsKernelIsRefusedAtOnce) {
  const Guest guest(64 * kMiB);
  const std::string path = folder_.file("fifo");
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const auto state = load_direct(guest.memory, {.kernel_path = path}, guest.map, std::nullopt);
  ASSERT_FALSE(state);
  EXPECT_THAT(state.error().message(), HasSubstr("not a regular file"));
}

TEST_F(BzImageTest, EmptyFileIsRefused) { EXPECT_THAT(refusal({}), HasSubstr("is empty")); }

TEST_F(BzImageTest, OtherFilesAreNoKernels) {
  EXPECT_THAT(refusal(pattern(1)), HasSubstr("is not a kernel"));
  EXPECT_THAT(refusal(pattern(100000)), HasSubstr("is not a kernel"));
  Bytes compressed = pattern(1000);
  put<uint16_t>(compressed, 0, 0x8b1f);
  EXPECT_THAT(refusal(compressed), HasSubstr("compressed"));
  Bytes archive = pattern(1000);
  put<uint64_t>(archive, 0, 0x313037303730);
  EXPECT_THAT(refusal(archive), HasSubstr("initrd"));
}

TEST_F(BzImageTest, BothMagicsAreNeeded) {
  BzImageFile image;
  image.boot_flag = 0xaa54;
  EXPECT_THAT(refusal(image.build()), HasSubstr("is not a kernel"));
  image = {};
  image.magic = 0x53726449;
  EXPECT_THAT(refusal(image.build()), HasSubstr("is not a kernel"));
}

TEST_F(BzImageTest, EveryTruncationIsRefused) {
  const Bytes whole = BzImageFile().build();
  for (size_t length = 0; length <= whole.size() - 16; length += length < 0x400 ? 13 : 509) {
    EXPECT_NE(refusal(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length))), "") << length;
  }
  EXPECT_THAT(refusal(Bytes(whole.begin(), whole.begin() + 0x240)),
              HasSubstr("cut off inside its setup header"));
  EXPECT_THAT(refusal(Bytes(whole.begin(), whole.end() - 16)),
              AllOf(HasSubstr("cut off: 6128 bytes long"), HasSubstr("promises 6144")));
}

TEST_F(BzImageTest, OldProtocolIsRefused) {
  BzImageFile image;
  image.version = 0x020b;
  EXPECT_THAT(refusal(image.build()), HasSubstr("2.11"));
}

TEST_F(BzImageTest, KernelWithoutA64BitEntryIsRefused) {
  BzImageFile image;
  image.xloadflags = 0x0002;
  EXPECT_THAT(refusal(image.build()), HasSubstr("32-bit kernel"));
}

TEST_F(BzImageTest, ZImageIsRefused) {
  BzImageFile image;
  image.loadflags = 0;
  EXPECT_THAT(refusal(image.build()), HasSubstr("zImage"));
}

TEST_F(BzImageTest, HeaderThatEndsBeforeInitSizeIsRefused) {
  BzImageFile image;
  image.jump = 0x61;
  EXPECT_THAT(refusal(image.build()), HasSubstr("setup header ends at 0x263"));
}

TEST_F(BzImageTest, TheLastUnitOfSysSizeMayBeCut) {
  const Guest guest(64 * kMiB);
  const Bytes whole = BzImageFile().build();
  const auto state = load(guest, Bytes(whole.begin(), whole.end() - 15));
  ASSERT_TRUE(state);
  const uint64_t last = BzImageFile().pref_address + size_t{BzImageFile().syssize} * 16 - 16;
  EXPECT_EQ(guest.u8(last), std::to_integer<uint8_t>(whole[whole.size() - 16]));
  EXPECT_EQ(guest.u8(last + 1), 0);
}

TEST_F(BzImageTest, HeaderLongerThanBootParamsHasRoomForIsCut) {
  const Guest guest(64 * kMiB);
  BzImageFile image;
  image.jump = 0xff;
  Bytes kernel = image.build();
  std::fill_n(kernel.begin() + 0x264, 0x100, std::byte{0xee});
  const auto state = load(guest, kernel);
  ASSERT_TRUE(state);
  EXPECT_EQ(guest.u8(state->rsi + 0x28f), 0xee);
  EXPECT_EQ(guest.u8(state->rsi + 0x290), 0);
  EXPECT_EQ(guest.u64(state->rsi + 0x2d0), 0U);
}

TEST_F(BzImageTest, PayloadTooSmallForTheEntryIsRefused) {
  BzImageFile image;
  for (const uint32_t syssize : {0U, 32U}) {
    image.syssize = syssize;
    EXPECT_THAT(refusal(image.build()), HasSubstr("too few for a 64-bit entry"));
  }
}

TEST_F(BzImageTest, SysSizeBeyondTheFileIsRefused) {
  Bytes kernel = BzImageFile().build();
  put<uint32_t>(kernel, 0x1f4, UINT32_MAX);
  EXPECT_THAT(refusal(kernel), HasSubstr("cut off"));
}

TEST_F(BzImageTest, AlignmentThatIsNoneIsRefused) {
  BzImageFile image;
  for (const uint32_t alignment : {0U, 3U, 0xffffffffU}) {
    image.kernel_alignment = alignment;
    EXPECT_THAT(refusal(image.build()), HasSubstr("kernel_alignment"));
  }
}

TEST_F(BzImageTest, PreferredAddressOutOfReachIsRefused) {
  BzImageFile image;
  for (const uint64_t address : {UINT64_MAX, uint64_t{1} << 32, uint64_t{1} << 63}) {
    image.pref_address = address;
    EXPECT_THAT(refusal(image.build()), HasSubstr("pref_address"));
  }
}

TEST_F(BzImageTest, FixedKernelOverBootDataIsRefused) {
  BzImageFile image;
  image.relocatable = 0;
  image.pref_address = 0xa000;
  image.init_size = 0x1000;
  EXPECT_THAT(refusal(image.build()), HasSubstr("needs guest memory from 0xa000"));
}

TEST_F(BzImageTest, KernelThatDoesNotFitNamesTheMemoryItNeeds) {
  EXPECT_THAT(
      refusal(BzImageFile().build(), 16 * kMiB),
      AllOf(HasSubstr("from 0x1000000 to 0x1400000"), HasSubstr("has 16 MiB"), HasSubstr("at least 20 MiB")));
  EXPECT_NE(refusal(BzImageFile().build(), 20 * kMiB - 4096), "");
  BzImageFile image;
  image.init_size = UINT32_MAX;
  EXPECT_THAT(refusal(image.build(), 5 * kGiB), HasSubstr("needs guest memory"));
}

TEST_F(BzImageTest, FitsExactly) {
  const Guest guest(20 * kMiB);
  EXPECT_TRUE(load(guest, BzImageFile().build()));
}

TEST_F(BzImageTest, PayloadLargerThanInitSizeCountsToo) {
  BzImageFile image;
  image.init_size = 0;
  image.syssize = 0x20000;  // 2 MiB
  EXPECT_THAT(refusal(image.build(), 17 * kMiB), HasSubstr("0x1200000"));
}

}  // namespace
}  // namespace vmm::boot
