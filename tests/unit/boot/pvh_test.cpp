#include "boot/pvh.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/boot/boot_test_support.h"
#include "vmm/base/bytes.h"

namespace vmm::boot {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class PvhTest : public testing::Test {
 protected:
  Result<EntryState> load(const Guest& guest, const Bytes& kernel, DirectBoot boot = {},
                          std::optional<GuestAddress> rsdp = std::nullopt) {
    boot.kernel_path = folder_.write("program.elf", kernel);
    return load_direct(guest.memory, boot, guest.map, rsdp);
  }

  std::string refusal(const Bytes& kernel, uint64_t ram_bytes = 32 * kMiB) {
    const Guest guest(ram_bytes);
    const auto state = load(guest, kernel);
    EXPECT_FALSE(state);
    return state ? "" : state.error().message();
  }

  std::string refusal_of_segment(const ElfFile::Segment& segment) {
    ElfFile elf;
    elf.segments = {segment};
    return refusal(elf.build());
  }

  TempFolder folder_;
};

TEST_F(PvhTest, SegmentsAreLoadedAndEnteredAtTheNotesAddress) {
  const Guest guest(32 * kMiB);
  const auto state = load(guest, ElfFile().build());
  ASSERT_TRUE(state) << state.error().message();
  EXPECT_EQ(state->mode, EntryState::Mode::kProtected32);
  EXPECT_EQ(state->instruction_pointer, GuestAddress(0x100010));
  EXPECT_EQ(guest.bytes(0x100000, 0x800), pattern(0x800));
}

TEST_F(PvhTest, BssIsClearedUnlessMemoryIsNew) {
  const Guest guest(32 * kMiB);
  ASSERT_TRUE(guest.memory.fill(GuestAddress(0x100000), 0x3000, std::byte{0xcc}));
  ASSERT_TRUE(load(guest, ElfFile().build(), {.memory_is_zero = true}));
  EXPECT_EQ(guest.bytes(0x100800, 0x1800), Bytes(0x1800, std::byte{0xcc}));
  ASSERT_TRUE(load(guest, ElfFile().build()));
  EXPECT_EQ(guest.bytes(0x100800, 0x1800), Bytes(0x1800));
  EXPECT_EQ(guest.u8(0x102000), 0xcc);
}

TEST_F(PvhTest, Elf32WithA4ByteNoteIsAsGood) {
  const Guest guest(32 * kMiB);
  ElfFile elf;
  elf.is_64 = false;
  elf.machine = 3;
  elf.note = make_note("Xen", 18, u32_bytes(0x100020));
  const auto state = load(guest, elf.build());
  ASSERT_TRUE(state) << state.error().message();
  EXPECT_EQ(state->instruction_pointer, GuestAddress(0x100020));
  EXPECT_EQ(guest.bytes(0x100000, 0x800), pattern(0x800));
}

TEST_F(PvhTest, NoteIsFoundAmongOthers) {
  ElfFile elf;
  elf.note = make_note("GNU", 18, pattern(7));
  for (const Bytes& note : {make_note("Xen", 6, pattern(5)), make_note("Xen", 18, u64_bytes(0x100030))}) {
    elf.note.insert(elf.note.end(), note.begin(), note.end());
  }
  const Guest guest(32 * kMiB);
  const auto state = load(guest, elf.build());
  ASSERT_TRUE(state) << state.error().message();
  EXPECT_EQ(state->instruction_pointer, GuestAddress(0x100030));
}

TEST_F(PvhTest, SegmentAbove4GiBIsLoaded) {
  const Guest guest(4 * kGiB);
  ElfFile elf;
  elf.segments.push_back({.offset = 0x1800, .paddr = 4 * kGiB, .filesz = 16, .memsz = 16});
  ASSERT_TRUE(load(guest, elf.build()));
  const Bytes code = pattern(0x2000);
  EXPECT_EQ(guest.bytes(4 * kGiB, 16), Bytes(code.begin() + 0x800, code.begin() + 0x810));
}

TEST_F(PvhTest, StartInfoNamesCommandLineMemoryMapAndRsdp) {
  const Guest guest(5 * kGiB);
  const auto state =
      load(guest, ElfFile().build(), {.command_line = "depth=32 write"}, GuestAddress(0xe0000));
  ASSERT_TRUE(state);
  const uint64_t info = state->rbx;
  EXPECT_EQ(guest.u32(info), 0x336ec578U);
  EXPECT_EQ(guest.u32(info + 4), 1U);
  EXPECT_EQ(guest.u32(info + 8), 0U);
  EXPECT_EQ(guest.u32(info + 12), 0U);
  EXPECT_EQ(guest.u64(info + 16), 0U);
  EXPECT_EQ(guest.text(guest.u64(info + 24)), "depth=32 write");
  EXPECT_EQ(guest.u64(info + 32), 0xe0000U);
  ASSERT_EQ(guest.u32(info + 48), guest.map.size());
  uint64_t at = guest.u64(info + 40);
  for (const MemoryMapEntry& entry : guest.map) {
    EXPECT_EQ(guest.u64(at), entry.range.start.value());
    EXPECT_EQ(guest.u64(at + 8), entry.range.length_bytes);
    EXPECT_EQ(guest.u32(at + 16), static_cast<uint32_t>(entry.type));
    EXPECT_EQ(guest.u32(at + 20), 0U);
    at += 24;
  }
}

TEST_F(PvhTest, InitrdIsTheOneModule) {
  const Guest guest(32 * kMiB);
  const Bytes initrd = pattern(5000, 3);
  const auto state = load(guest, ElfFile().build(), {.initrd_path = folder_.write("initrd", initrd)});
  ASSERT_TRUE(state);
  EXPECT_EQ(guest.u32(state->rbx + 12), 1U);
  const uint64_t module = guest.u64(state->rbx + 16);
  EXPECT_EQ(guest.u64(module), 32 * kMiB - 8192);
  EXPECT_EQ(guest.u64(module + 8), initrd.size());
  EXPECT_EQ(guest.u64(module + 16), 0U);
  EXPECT_EQ(guest.bytes(32 * kMiB - 8192, initrd.size()), initrd);
}

TEST_F(PvhTest, InitrdKeepsClearOfTheProgram) {
  const Guest guest(4 * kMiB);
  ElfFile elf;
  elf.segments.push_back({.paddr = 3 * kMiB, .filesz = 0, .memsz = kMiB});
  const auto state = load(guest, elf.build(), {.initrd_path = folder_.write("initrd", pattern(4096))});
  ASSERT_TRUE(state) << state.error().message();
  EXPECT_EQ(guest.u64(guest.u64(state->rbx + 16)), 3 * kMiB - 4096);
  const auto full = load(guest, elf.build(), {.initrd_path = folder_.write("big", pattern(2 * kMiB))});
  ASSERT_FALSE(full);
  EXPECT_THAT(full.error().message(), HasSubstr("2097152 bytes long"));
}

TEST_F(PvhTest, CommandLineTooLongForItsRoomIsRefused) {
  const Guest guest(32 * kMiB);
  EXPECT_TRUE(load(guest, ElfFile().build(), {.command_line = std::string(65535, 'x')}));
  const auto state = load(guest, ElfFile().build(), {.command_line = std::string(65536, 'x')});
  ASSERT_FALSE(state);
  EXPECT_EQ(state.error().kind(), ErrorKind::kConfiguration);
  EXPECT_THAT(state.error().message(), AllOf(HasSubstr("65536 bytes"), HasSubstr("room for 65535")));
}

TEST_F(PvhTest, EveryTruncationIsRefused) {
  const Bytes whole = ElfFile().build();
  const size_t needed = 0x1800;  // the segment's end; what follows is not used
  for (size_t length = 1; length < needed; length += length < 0x100 ? 7 : 123) {
    EXPECT_NE(refusal(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length))), "") << length;
  }
  EXPECT_THAT(refusal(Bytes(whole.begin(), whole.begin() + 10)), HasSubstr("inside its header"));
  EXPECT_THAT(refusal(Bytes(whole.begin(), whole.begin() + 0x50)), HasSubstr("program headers lie at 0x40"));
  EXPECT_THAT(refusal(Bytes(whole.begin(), whole.begin() + 0x1000)),
              AllOf(HasSubstr("4096 bytes long"), HasSubstr("program header 0")));
}

TEST_F(PvhTest, ElfForOtherMachinesIsRefused) {
  ElfFile elf;
  elf.machine = 183;
  EXPECT_THAT(refusal(elf.build()), HasSubstr("machine 183"));
  elf = {};
  elf.data_encoding = 2;
  EXPECT_THAT(refusal(elf.build()), HasSubstr("data encoding 2"));
  Bytes file = ElfFile().build();
  put<uint8_t>(file, 4, 3);
  EXPECT_THAT(refusal(file), HasSubstr("class 3"));
}

TEST_F(PvhTest, ObjectFileIsRefused) {
  ElfFile elf;
  elf.type = 1;
  EXPECT_THAT(refusal(elf.build()), HasSubstr("type 1"));
}

TEST_F(PvhTest, AbsurdProgramHeaderTablesAreRefused) {
  ElfFile elf;
  elf.phnum = 257;
  EXPECT_THAT(refusal(elf.build()), HasSubstr("257 program headers"));
  elf.phnum = 0xffff;
  EXPECT_THAT(refusal(elf.build()), HasSubstr("65535 program headers"));
  elf = {};
  elf.phentsize = 32;
  EXPECT_THAT(refusal(elf.build()), HasSubstr("of 32 bytes"));
  elf = {};
  elf.phoff = UINT64_MAX - 8;
  EXPECT_THAT(refusal(elf.build()), HasSubstr("program headers lie at"));
  Bytes none = ElfFile().build();
  put<uint16_t>(none, 56, 0);
  EXPECT_THAT(refusal(none), HasSubstr("0 program headers"));
}

TEST_F(PvhTest, SegmentOutsideTheFileIsRefused) {
  EXPECT_THAT(refusal_of_segment({.offset = 0x3001, .filesz = 0x800}), HasSubstr("cut off"));
  EXPECT_THAT(refusal_of_segment({.offset = UINT64_MAX, .filesz = 2}), HasSubstr("cut off"));
  EXPECT_THAT(refusal_of_segment({.offset = 0, .filesz = UINT64_MAX, .memsz = UINT64_MAX}),
              HasSubstr("cut off"));
}

TEST_F(PvhTest, MoreBytesInTheFileThanInMemoryIsRefused) {
  EXPECT_THAT(refusal_of_segment({.filesz = 0x800, .memsz = 0x7ff}),
              HasSubstr("p_filesz 2048, p_memsz 2047"));
}

TEST_F(PvhTest, SegmentOutsideMemoryIsRefused) {
  // The entry stays in the first one.
  for (const ElfFile::Segment& segment :
       std::initializer_list<ElfFile::Segment>{{.paddr = 32 * kMiB - 0x1000},
                                               {.paddr = UINT64_MAX - 0x100},
                                               {.paddr = 64 * kMiB},
                                               {.paddr = 0xe0000},
                                               {.paddr = 0x9f000},
                                               {.paddr = 0x200000, .memsz = UINT64_MAX}}) {
    ElfFile elf;
    elf.segments.push_back(segment);
    EXPECT_THAT(refusal(elf.build()), HasSubstr("outside the guest's usable memory")) << segment.paddr;
  }
}

TEST_F(PvhTest, SegmentOverBootDataIsRefused) {
  ElfFile elf;
  elf.segments.push_back({.paddr = 0x1f000, .filesz = 16, .memsz = 4096});
  EXPECT_THAT(refusal(elf.build()), HasSubstr("link it at 1 MiB or above"));
}

TEST_F(PvhTest, LowMemoryAboveBootDataIsAllowed) {
  const Guest guest(32 * kMiB);
  ElfFile elf;
  elf.segments.push_back({.paddr = 0x20000, .filesz = 16, .memsz = 4096});
  EXPECT_TRUE(load(guest, elf.build()));
}

TEST_F(PvhTest, OverlappingSegmentsAreRefused) {
  ElfFile elf;
  elf.segments.push_back({.paddr = 0x101fff, .filesz = 1, .memsz = 1});
  EXPECT_THAT(refusal(elf.build()), HasSubstr("program header 1 overlaps"));
}

TEST_F(PvhTest, EmptySegmentsAreLeftOut) {
  const Guest guest(32 * kMiB);
  ElfFile elf;
  elf.segments.push_back({.paddr = UINT64_MAX, .filesz = 0, .memsz = 0});
  EXPECT_TRUE(load(guest, elf.build()));
}

TEST_F(PvhTest, WithoutANoteItIsRefused) {
  ElfFile elf;
  elf.note.clear();
  EXPECT_THAT(refusal(elf.build()), HasSubstr("without a PVH entry"));
  elf.note = make_note("Xen", 17, u64_bytes(0x100000));
  EXPECT_THAT(refusal(elf.build()), HasSubstr("without a PVH entry"));
  elf.note = make_note("Zen", 18, u64_bytes(0x100000));
  EXPECT_THAT(refusal(elf.build()), HasSubstr("without a PVH entry"));
}

TEST_F(PvhTest, NotesCutOffAreRefused) {
  ElfFile elf;
  elf.note = make_note("Xen", 18, u64_bytes(0x100010));
  elf.note.resize(elf.note.size() - 1);
  EXPECT_THAT(refusal(elf.build()), HasSubstr("note at offset 0x800 is cut off"));
  for (const size_t field : {size_t{0}, size_t{4}}) {
    elf.note = make_note("Xen", 18, u64_bytes(0x100010));
    put<uint32_t>(elf.note, field, UINT32_MAX);
    EXPECT_THAT(refusal(elf.build()), HasSubstr("cut off"));
  }
  elf.note.resize(11);
  EXPECT_THAT(refusal(elf.build()), HasSubstr("without a PVH entry"));
}

TEST_F(PvhTest, NoteOfOddWidthIsRefused) {
  ElfFile elf;
  elf.note = make_note("Xen", 18, pattern(2));
  EXPECT_THAT(refusal(elf.build()), HasSubstr("has 2 bytes, expected 4 or 8"));
}

TEST_F(PvhTest, HugeNoteSegmentIsRefusedUnread) {
  ElfFile elf;
  elf.note.clear();
  elf.segments.push_back({.type = 4, .offset = 0, .paddr = 0, .filesz = 0x100001, .memsz = 0, .align = 4});
  Bytes file = elf.build();
  file.resize(0x200000);
  EXPECT_THAT(refusal(file), HasSubstr("1048577 bytes of notes"));
}

TEST_F(PvhTest, EntryOutsideWhatIsLoadedIsRefused) {
  ElfFile elf;
  for (const uint64_t entry : {uint64_t{0xfffff}, uint64_t{0x100800}, uint64_t{0}, UINT64_MAX}) {
    elf.note = make_note("Xen", 18, u64_bytes(entry));
    EXPECT_THAT(refusal(elf.build()), HasSubstr("is not in what the file loads")) << entry;
  }
}

TEST_F(PvhTest, EntryAbove4GiBIsRefused) {
  ElfFile elf;
  elf.segments[0].paddr = 4 * kGiB;
  elf.note = make_note("Xen", 18, u64_bytes(4 * kGiB));
  EXPECT_THAT(refusal(elf.build(), 4 * kGiB), HasSubstr("below 4 GiB"));
}

TEST_F(PvhTest, NothingToLoadIsRefused) {
  ElfFile elf;
  elf.segments.clear();
  EXPECT_NE(refusal(elf.build()), "");
}

}  // namespace
}  // namespace vmm::boot
