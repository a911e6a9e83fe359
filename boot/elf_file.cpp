#include "boot/elf_file.h"

#include <elf.h>

#include <algorithm>
#include <array>

#include "vmm/base/bytes.h"

namespace vmm::boot {

namespace {

constexpr size_t kIdentBytes = 16;
// Kernels have fewer than ten; more is a file that wants to keep us busy.
constexpr uint16_t kMaximumProgramHeaders = 256;

// Offsets that differ between the classes (gABI, "ELF Header" and "Program Header").
struct ClassLayout {
  size_t address_bytes;
  size_t header_bytes;
  size_t phoff;
  size_t phentsize;
  size_t phnum;
  size_t entry_bytes;
  size_t offset;
  size_t paddr;
  size_t filesz;
  size_t memsz;
  size_t align;
};
constexpr ClassLayout kClass32{.address_bytes = 4,
                               .header_bytes = 52,
                               .phoff = 28,
                               .phentsize = 42,
                               .phnum = 44,
                               .entry_bytes = 32,
                               .offset = 4,
                               .paddr = 12,
                               .filesz = 16,
                               .memsz = 20,
                               .align = 28};
constexpr ClassLayout kClass64{.address_bytes = 8,
                               .header_bytes = 64,
                               .phoff = 32,
                               .phentsize = 54,
                               .phnum = 56,
                               .entry_bytes = 56,
                               .offset = 8,
                               .paddr = 24,
                               .filesz = 32,
                               .memsz = 40,
                               .align = 48};
constexpr size_t kTypeOffset = 16;     // e_type
constexpr size_t kMachineOffset = 18;  // e_machine

uint64_t address_at(const ClassLayout& layout, const std::byte* place) {
  return layout.address_bytes == 4 ? load_le<uint32_t>(place) : load_le<uint64_t>(place);
}

struct ProgramTable {
  ClassLayout layout = kClass64;
  uint64_t file_offset = 0;
  uint16_t count = 0;
};

Result<ProgramTable> check_header(const InputFile& file, std::span<const std::byte> header) {
  const auto elf_class = std::to_integer<uint8_t>(header[EI_CLASS]);
  if ((elf_class != ELFCLASS32 && elf_class != ELFCLASS64) || header[EI_DATA] != std::byte{ELFDATA2LSB}) {
    return fail(
        "{}: not an ELF file for x86: class {} and data encoding {} (offsets 4 and 5); use a little-endian "
        "one",
        file.path(), elf_class, std::to_integer<uint8_t>(header[EI_DATA]));
  }
  const ClassLayout& layout = elf_class == ELFCLASS32 ? kClass32 : kClass64;
  if (file.size_bytes() < layout.header_bytes) {
    return fail("{}: the ELF file is cut off inside its header ({} bytes); fetch or build it again",
                file.path(), file.size_bytes());
  }
  const auto machine = load_le<uint16_t>(header.data() + kMachineOffset);
  if (machine != EM_386 && machine != EM_X86_64) {
    return fail("{}: an ELF file for machine {} (e_machine), not for x86; use a kernel built for x86",
                file.path(), machine);
  }
  const auto type = load_le<uint16_t>(header.data() + kTypeOffset);
  if (type != ET_EXEC && type != ET_DYN) {
    return fail("{}: an ELF file of type {} (e_type), not an executable; link it", file.path(), type);
  }
  const ProgramTable table{.layout = layout,
                           .file_offset = address_at(layout, header.data() + layout.phoff),
                           .count = load_le<uint16_t>(header.data() + layout.phnum)};
  const auto entry_bytes = load_le<uint16_t>(header.data() + layout.phentsize);
  if (table.count == 0 || table.count > kMaximumProgramHeaders || entry_bytes != layout.entry_bytes) {
    return fail(
        "{}: {} program headers of {} bytes (e_phnum, e_phentsize), expected 1 to {} of {}; fetch or build "
        "the "
        "file again",
        file.path(), table.count, entry_bytes, kMaximumProgramHeaders, layout.entry_bytes);
  }
  if (!file.contains(table.file_offset, uint64_t{table.count} * layout.entry_bytes)) {
    return fail(
        "{}: the file is cut off: {} bytes long, its program headers lie at {:#x} (e_phoff); fetch or build "
        "it "
        "again",
        file.path(), file.size_bytes(), table.file_offset);
  }
  return table;
}

ElfSegment parse_entry(const ClassLayout& layout, const std::byte* entry, size_t index) {
  return {.index = index,
          .type = load_le<uint32_t>(entry),
          .file_offset = address_at(layout, entry + layout.offset),
          .physical_address = address_at(layout, entry + layout.paddr),
          .file_bytes = address_at(layout, entry + layout.filesz),
          .memory_bytes = address_at(layout, entry + layout.memsz),
          .alignment = address_at(layout, entry + layout.align)};
}

Status check_segment(const InputFile& file, const ElfSegment& segment) {
  if (!file.contains(segment.file_offset, segment.file_bytes)) {
    return fail(
        "{}: the file is cut off: {} bytes long, program header {} has {} bytes at offset {:#x}; fetch or "
        "build "
        "it again",
        file.path(), file.size_bytes(), segment.index, segment.file_bytes, segment.file_offset);
  }
  if (segment.type == kSegmentLoad && segment.file_bytes > segment.memory_bytes) {
    return fail(
        "{}: program header {} has more bytes in the file than in memory (p_filesz {}, p_memsz {}); fetch or "
        "build the file again",
        file.path(), segment.index, segment.file_bytes, segment.memory_bytes);
  }
  return {};
}

}  // namespace

Result<bool> is_elf(const InputFile& file) {
  std::array<std::byte, SELFMAG> magic{};
  if (file.size_bytes() < magic.size()) {
    return false;
  }
  VMM_TRY(file.read(0, magic));
  return std::ranges::equal(magic, as_bytes({ELFMAG, SELFMAG}));
}

Result<std::vector<ElfSegment>> read_elf_segments(const InputFile& file) {
  std::array<std::byte, kClass64.header_bytes> header{};
  const uint64_t length = std::min<uint64_t>(file.size_bytes(), header.size());
  if (length < kIdentBytes) {
    return fail("{}: the ELF file is cut off inside its header ({} bytes); fetch or build it again",
                file.path(), length);
  }
  VMM_TRY(file.read(0, std::span(header).first(length)));
  VMM_ASSIGN_OR_RETURN(const ProgramTable table, check_header(file, header));

  std::vector<std::byte> entries(table.count * table.layout.entry_bytes);
  VMM_TRY(file.read(table.file_offset, entries));
  std::vector<ElfSegment> segments;
  for (size_t i = 0; i < table.count; ++i) {
    const ElfSegment segment = parse_entry(table.layout, entries.data() + i * table.layout.entry_bytes, i);
    if (segment.type == kSegmentLoad || segment.type == kSegmentNote) {
      VMM_TRY(check_segment(file, segment));
      segments.push_back(segment);
    }
  }
  return segments;
}

}  // namespace vmm::boot
