#include "tests/unit/boot/boot_test_support.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::boot {

namespace {

GuestMemory make_memory(uint64_t ram_bytes) {
  auto ranges = ram_layout(ram_bytes);
  VMM_CHECK(ranges.has_value(), "a test wants an impossible guest");
  std::vector<GuestMemory::Region> regions;
  for (const GuestRange& range : *ranges) {
    auto mapping = Mapping::map("test RAM", range.length_bytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    VMM_CHECK(mapping.has_value(), "no address space for a test's guest");
    regions.push_back({.start = range.start, .mapping = std::move(*mapping)});
  }
  return GuestMemory(std::move(regions));
}

}  // namespace

TempFolder::TempFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "vmm-boot-XXXXXX").string();
  VMM_CHECK(::mkdtemp(name.data()) != nullptr, "cannot make a temporary folder");
  path_ = name;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempFolder::file(std::string_view name) const { return path_ + "/" + std::string(name); }

std::string TempFolder::write(std::string_view name, std::span<const std::byte> bytes) const {
  const std::string path = file(name);
  std::ofstream stream(path, std::ios::binary);
  stream.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  stream.close();
  VMM_CHECK(stream.good(), "cannot write a temporary file");
  return path;
}

Guest::Guest(uint64_t ram_bytes) : memory(make_memory(ram_bytes)), map(make_memory_map(ram_bytes).value()) {}

uint64_t Guest::u64(uint64_t address) const { return memory.read<uint64_t>(GuestAddress(address)).value(); }
uint32_t Guest::u32(uint64_t address) const { return memory.read<uint32_t>(GuestAddress(address)).value(); }
uint16_t Guest::u16(uint64_t address) const { return memory.read<uint16_t>(GuestAddress(address)).value(); }
uint8_t Guest::u8(uint64_t address) const { return memory.read<uint8_t>(GuestAddress(address)).value(); }

Bytes Guest::bytes(uint64_t address, size_t length) const {
  Bytes bytes(length);
  VMM_CHECK(memory.read_bytes(GuestAddress(address), bytes), "a test reads outside of RAM");
  return bytes;
}

std::string Guest::text(uint64_t address) const {
  std::string text;
  for (char c = static_cast<char>(u8(address)); c != '\0'; c = static_cast<char>(u8(++address))) {
    text += c;
  }
  return text;
}

Bytes pattern(size_t length, uint8_t seed) {
  Bytes bytes(length);
  for (size_t i = 0; i < length; ++i) {
    bytes[i] = static_cast<std::byte>(1 + (i * 7 + i / 256 + seed) % 255);
  }
  return bytes;
}

Bytes BzImageFile::build() const {
  Bytes file((size_t{setup_sects == 0 ? uint8_t{4} : setup_sects} + 1) * 512);
  put(file, 0x1f1, setup_sects);
  put(file, 0x1f4, syssize);
  put(file, 0x1fe, boot_flag);
  put<uint8_t>(file, 0x200, 0xeb);
  put(file, 0x201, jump);
  put(file, 0x202, magic);
  put(file, 0x206, version);
  put(file, 0x211, loadflags);
  put(file, 0x22c, initrd_addr_max);
  put(file, 0x230, kernel_alignment);
  put(file, 0x234, relocatable);
  put(file, 0x236, xloadflags);
  put(file, 0x238, cmdline_size);
  put(file, 0x258, pref_address);
  put(file, 0x260, init_size);
  const Bytes payload = pattern(size_t{syssize} * 16);
  file.insert(file.end(), payload.begin(), payload.end());
  return file;
}

Bytes u32_bytes(uint32_t value) {
  Bytes bytes;
  put(bytes, 0, value);
  return bytes;
}

Bytes u64_bytes(uint64_t value) {
  Bytes bytes;
  put(bytes, 0, value);
  return bytes;
}

Bytes make_note(std::string_view name, uint32_t type, std::span<const std::byte> descriptor) {
  Bytes note;
  put(note, 0, static_cast<uint32_t>(name.size() + 1));
  put(note, 4, static_cast<uint32_t>(descriptor.size()));
  put(note, 8, type);
  const auto text = as_bytes(name);
  note.insert(note.end(), text.begin(), text.end());
  note.resize(align_up(note.size() + 1, 4));
  note.insert(note.end(), descriptor.begin(), descriptor.end());
  note.resize(align_up(note.size(), 4));
  return note;
}

ElfFile::ElfFile() : segments{Segment{}}, note(make_note("Xen", 18, u64_bytes(0x100010))) {}

Bytes ElfFile::build() const {
  std::vector<Segment> all = segments;
  if (!note.empty()) {
    all.push_back({.type = 4, .offset = 0x800, .paddr = 0, .filesz = note.size(), .memsz = 0, .align = 4});
  }
  Bytes file;
  put<uint32_t>(file, 0, 0x464c457f);
  put<uint8_t>(file, 4, is_64 ? 2 : 1);
  put(file, 5, data_encoding);
  put<uint8_t>(file, 6, 1);
  put(file, 16, type);
  put(file, 18, machine);
  const size_t entry_bytes = is_64 ? 56 : 32;
  const uint64_t table = phoff != 0 ? phoff : 0x40;
  const uint16_t entry_field = phentsize != 0 ? phentsize : static_cast<uint16_t>(entry_bytes);
  const uint16_t count = phnum != 0 ? phnum : static_cast<uint16_t>(all.size());
  put<uint64_t>(file, 56, 0);
  if (is_64) {
    put(file, 32, table);
    put(file, 54, entry_field);
    put(file, 56, count);
  } else {
    put(file, 28, static_cast<uint32_t>(table));
    put(file, 42, entry_field);
    put(file, 44, count);
  }
  size_t at = 0x40;
  for (const Segment& segment : all) {
    put(file, at, segment.type);
    const uint64_t fields[] = {segment.offset, segment.paddr, segment.filesz, segment.memsz, segment.align};
    const size_t places64[] = {8, 24, 32, 40, 48};
    const size_t places32[] = {4, 12, 16, 20, 28};
    for (size_t i = 0; i < std::size(fields); ++i) {
      if (is_64) {
        put(file, at + places64[i], fields[i]);
      } else {
        put(file, at + places32[i], static_cast<uint32_t>(fields[i]));
      }
    }
    at += entry_bytes;
  }
  VMM_CHECK(at <= 0x800, "too many program headers for the test's ELF file");
  file.resize(0x800);
  file.insert(file.end(), note.begin(), note.end());
  file.resize(std::max<size_t>(file.size(), 0x1000));
  const Bytes code = pattern(0x2000);
  file.insert(file.end(), code.begin(), code.end());
  return file;
}

}  // namespace vmm::boot
