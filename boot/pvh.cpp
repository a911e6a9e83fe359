#include "boot/pvh.h"

#include <algorithm>
#include <array>

#include "boot/entry_state.h"
#include "boot/low_memory.h"
#include "boot/placement.h"
#include "vmm/base/bytes.h"
#include "vmm/base/check.h"
#include "vmm/core/layout.h"

namespace vmm::boot {

namespace {

constexpr uint32_t kNotePhys32Entry = 18;
constexpr std::string_view kNoteName{"Xen\0", 4};
constexpr size_t kNoteHeaderBytes = 12;
constexpr uint64_t kMaximumNoteBytes = 1 << 20;

// hvm_start_info, hvm_modlist_entry, hvm_memmap_table_entry: start_info.h.
constexpr uint32_t kStartInfoMagic = 0x336e'c578;
constexpr uint32_t kStartInfoVersion = 1;
constexpr size_t kStartInfoBytes = 56;
constexpr size_t kModuleBytes = 32;
constexpr size_t kMemoryMapEntryBytes = 24;

Result<uint64_t> entry_in_descriptor(const InputFile& file, std::span<const std::byte> descriptor) {
  // The width is that of the kernel's own addresses.
  if (descriptor.size() == 4) {
    return load_le<uint32_t>(descriptor.data());
  }
  if (descriptor.size() == 8) {
    return load_le<uint64_t>(descriptor.data());
  }
  return fail("{}: the PVH note (Xen, type 18) has {} bytes, expected 4 or 8; build the file again",
              file.path(), descriptor.size());
}

// gABI, "Note Section": namesz, descsz, type, then name and descriptor, each padded to the alignment.
Result<std::optional<uint64_t>> find_entry_in_notes(const InputFile& file, const ElfSegment& segment,
                                                    std::span<const std::byte> notes) {
  const uint64_t alignment = segment.alignment == 8 ? 8 : 4;
  uint64_t at = 0;
  while (notes.size() - at >= kNoteHeaderBytes) {
    const uint64_t name_bytes = load_le<uint32_t>(notes.data() + at);
    const uint64_t descriptor_bytes = load_le<uint32_t>(notes.data() + at + 4);
    const auto type = load_le<uint32_t>(notes.data() + at + 8);
    const uint64_t name_at = at + kNoteHeaderBytes;
    const uint64_t descriptor_at = align_up(name_at + name_bytes, alignment);
    if (descriptor_at + descriptor_bytes > notes.size()) {
      return fail("{}: the note at offset {:#x} is cut off; build the file again", file.path(),
                  segment.file_offset + at);
    }
    if (type == kNotePhys32Entry &&
        std::ranges::equal(notes.subspan(name_at, name_bytes), as_bytes(kNoteName))) {
      VMM_ASSIGN_OR_RETURN(const uint64_t entry,
                           entry_in_descriptor(file, notes.subspan(descriptor_at, descriptor_bytes)));
      return entry;
    }
    at = std::min<uint64_t>(align_up(descriptor_at + descriptor_bytes, alignment), notes.size());
  }
  return std::nullopt;
}

GuestRange memory_of(const ElfSegment& segment) {
  return {.start = GuestAddress(segment.physical_address), .length_bytes = segment.memory_bytes};
}

Status check_segment_place(const InputFile& file, const GuestMemory& memory, const MemoryMap& map,
                           const ElfSegment& segment, std::span<const GuestRange> taken) {
  const GuestRange range = memory_of(segment);
  if (!is_usable(map, range)) {
    return fail(
        "{}: program header {} wants {} bytes at guest address {:#x}, outside the guest's usable memory ({} "
        "MiB, "
        "with the PC's hole from 0x9fc00 to 0x100000); link it elsewhere or give the guest more <memory>",
        file.path(), segment.index, segment.memory_bytes, segment.physical_address,
        memory.size_bytes() >> 20);
  }
  const GuestRange low_area{.start = GuestAddress(low::kStart), .length_bytes = low::kEnd - low::kStart};
  if (overlap(range, low_area)) {
    return fail(
        "{}: program header {} wants guest address {:#x}, but {:#x} to {:#x} hold what direct boot hands "
        "over; "
        "link it at 1 MiB or above",
        file.path(), segment.index, segment.physical_address, low::kStart, low::kEnd);
  }
  if (std::ranges::any_of(taken, [&](const GuestRange& other) { return overlap(range, other); })) {
    return fail(
        "{}: program header {} overlaps another one in memory at {:#x} (p_paddr); build the file again",
        file.path(), segment.index, segment.physical_address);
  }
  return {};
}

// Loads what is in the file and clears the rest. Returns the memory used.
Result<std::vector<GuestRange>> load_segments(const GuestMemory& memory, const MemoryMap& map,
                                              const InputFile& file, const std::vector<ElfSegment>& segments,
                                              bool memory_is_zero) {
  std::vector<GuestRange> taken;
  for (const ElfSegment& segment : segments) {
    if (segment.type != kSegmentLoad || segment.memory_bytes == 0) {
      continue;
    }
    VMM_TRY(check_segment_place(file, memory, map, segment, taken));
    taken.push_back(memory_of(segment));
    const GuestAddress start(segment.physical_address);
    VMM_TRY(file.load(segment.file_offset, memory, {.start = start, .length_bytes = segment.file_bytes}));
    if (!memory_is_zero && !memory.fill(GuestAddress(start.value() + segment.file_bytes),
                                        segment.memory_bytes - segment.file_bytes, std::byte{0})) {
      return fail("{}: program header {} does not fit into the guest's memory; give it more <memory>",
                  file.path(), segment.index);
    }
  }
  if (taken.empty()) {
    return fail("{}: the ELF file has nothing to load (no PT_LOAD program header); link it as an executable",
                file.path());
  }
  return taken;
}

Status check_entry(const InputFile& file, const std::vector<ElfSegment>& segments, GuestAddress entry) {
  const bool loaded = std::ranges::any_of(segments, [&](const ElfSegment& segment) {
    return segment.type == kSegmentLoad && entry.value() >= segment.physical_address &&
           entry.value() - segment.physical_address < segment.file_bytes;
  });
  if (!loaded || entry.value() >= layout::kFourGiB) {
    return fail(
        "{}: the PVH note's entry {:#x} is not in what the file loads below 4 GiB; build the file again",
        file.path(), entry.value());
  }
  return {};
}

Status write_command_line(const GuestMemory& memory, const std::string& text) {
  if (text.size() >= low::kCommandLineRoom) {
    return fail_configuration(
        "<cmdline>: the command line is {} bytes long, and there is room for {}; shorten it", text.size(),
        low::kCommandLineRoom - 1);
  }
  return put(memory, low::kCommandLine, std::as_bytes(std::span(text.c_str(), text.size() + 1)));
}

Status write_memory_map(const GuestMemory& memory, const MemoryMap& map) {
  VMM_CHECK(map.size() * kMemoryMapEntryBytes <= low::kPvhMemoryMapEnd - low::kPvhMemoryMap,
            "the memory map has more entries than there is room for");
  std::vector<std::byte> table(map.size() * kMemoryMapEntryBytes);
  std::byte* place = table.data();
  for (const MemoryMapEntry& entry : map) {
    store_le<uint64_t>(place, entry.range.start.value());
    store_le<uint64_t>(place + 8, entry.range.length_bytes);
    store_le<uint32_t>(place + 16, static_cast<uint32_t>(entry.type));
    place += kMemoryMapEntryBytes;
  }
  return put(memory, low::kPvhMemoryMap, table);
}

Status write_module(const GuestMemory& memory, const GuestRange& initrd) {
  std::array<std::byte, kModuleBytes> module{};
  store_le<uint64_t>(module.data(), initrd.start.value());
  store_le<uint64_t>(module.data() + 8, initrd.length_bytes);
  return put(memory, low::kPvhModules, module);
}

Status write_start_info(const GuestMemory& memory, const MemoryMap& map, bool has_initrd,
                        std::optional<GuestAddress> rsdp) {
  std::array<std::byte, kStartInfoBytes> info{};
  store_le<uint32_t>(info.data(), kStartInfoMagic);
  store_le<uint32_t>(info.data() + 4, kStartInfoVersion);
  store_le<uint32_t>(info.data() + 12, has_initrd ? 1 : 0);
  store_le<uint64_t>(info.data() + 16, has_initrd ? low::kPvhModules : 0);
  store_le<uint64_t>(info.data() + 24, low::kCommandLine);
  store_le<uint64_t>(info.data() + 32, rsdp ? rsdp->value() : 0);
  store_le<uint64_t>(info.data() + 40, low::kPvhMemoryMap);
  store_le<uint32_t>(info.data() + 48, static_cast<uint32_t>(map.size()));
  return put(memory, low::kStartInfo, info);
}

}  // namespace

Result<GuestAddress> find_pvh_entry(const InputFile& file, const std::vector<ElfSegment>& segments) {
  for (const ElfSegment& segment : segments) {
    if (segment.type != kSegmentNote) {
      continue;
    }
    if (segment.file_bytes > kMaximumNoteBytes) {
      return fail("{}: program header {} has {} bytes of notes, at most {} are read; build the file again",
                  file.path(), segment.index, segment.file_bytes, kMaximumNoteBytes);
    }
    std::vector<std::byte> notes(segment.file_bytes);
    VMM_TRY(file.read(segment.file_offset, notes));
    VMM_ASSIGN_OR_RETURN(const std::optional<uint64_t> entry, find_entry_in_notes(file, segment, notes));
    if (entry) {
      return GuestAddress(*entry);
    }
  }
  return fail(
      "{}: an ELF file without a PVH entry (no note Xen of type 18); for Linux build with CONFIG_PVH or name "
      "its bzImage",
      file.path());
}

Result<EntryState> load_pvh(const GuestMemory& memory, const InputFile& file, const DirectBoot& boot,
                            const MemoryMap& map, std::optional<GuestAddress> rsdp) {
  VMM_ASSIGN_OR_RETURN(const std::vector<ElfSegment> segments, read_elf_segments(file));
  VMM_ASSIGN_OR_RETURN(const GuestAddress entry, find_pvh_entry(file, segments));
  VMM_TRY(check_entry(file, segments, entry));
  VMM_TRY(write_command_line(memory, boot.command_line));
  VMM_ASSIGN_OR_RETURN(const std::vector<GuestRange> taken,
                       load_segments(memory, map, file, segments, boot.memory_is_zero));
  const bool has_initrd = !boot.initrd_path.empty();
  if (has_initrd) {
    VMM_ASSIGN_OR_RETURN(const InputFile initrd, InputFile::open(boot.initrd_path, "initrd"));
    // The start info is 64 bits wide, but the 32-bit entry sees 4 GiB.
    VMM_ASSIGN_OR_RETURN(const GuestRange range, place_initrd(memory, map, initrd, taken, layout::kFourGiB));
    VMM_TRY(write_module(memory, range));
  }
  VMM_TRY(write_memory_map(memory, map));
  VMM_TRY(write_start_info(memory, map, has_initrd, rsdp));
  return enter_protected32(memory, entry, GuestAddress(low::kStartInfo));
}

}  // namespace vmm::boot
