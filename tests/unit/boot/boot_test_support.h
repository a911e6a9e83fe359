// Guests of any size, and kernels made to measure: what the tests of boot/ play with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "boot/boot_plan.h"
#include "boot/memory_map.h"
#include "vmm/core/guest_memory.h"

namespace vmm::boot {

using Bytes = std::vector<std::byte>;

// A folder for one test's files, removed with them.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string file(std::string_view name) const;
  std::string write(std::string_view name, std::span<const std::byte> bytes) const;

 private:
  std::string path_;
};

// RAM as ram_layout() says, with the memory map that belongs to it.
struct Guest {
  explicit Guest(uint64_t ram_bytes);

  // What lies at an address. REQUIRES: RAM.
  uint64_t u64(uint64_t address) const;
  uint32_t u32(uint64_t address) const;
  uint16_t u16(uint64_t address) const;
  uint8_t u8(uint64_t address) const;
  Bytes bytes(uint64_t address, size_t length) const;
  std::string text(uint64_t address) const;  // up to the NUL

  GuestMemory memory;
  MemoryMap map;
};

template <typename T>
void put(Bytes& to, size_t offset, T value) {
  if (to.size() < offset + sizeof value) {
    to.resize(offset + sizeof value);
  }
  for (size_t i = 0; i < sizeof value; ++i) {
    to[offset + i] = static_cast<std::byte>((static_cast<uint64_t>(value) >> (8 * i)) & 0xff);
  }
}

// `length` bytes that differ from their neighbours and from zero.
Bytes pattern(size_t length, uint8_t seed = 1);

// A bzImage like today's: protocol 2.15, relocatable, 16 MiB preferred address, 64-bit entry. Change the
// fields, or the bytes that build() gives.
struct BzImageFile {
  uint8_t setup_sects = 3;
  uint16_t version = 0x020f;
  uint16_t boot_flag = 0xaa55;
  uint32_t magic = 0x53726448;
  uint8_t jump = 0x6a;
  uint8_t loadflags = 0x01;
  uint16_t xloadflags = 0x0003;
  uint32_t initrd_addr_max = 0x7fffffff;
  uint32_t kernel_alignment = 0x200000;
  uint8_t relocatable = 1;
  uint32_t cmdline_size = 2047;
  uint64_t pref_address = 0x1000000;
  uint32_t init_size = 0x400000;
  uint32_t syssize = 0x100;  // in 16 bytes
  Bytes build() const;
};

// An ELF executable with one loaded segment and a PVH note.
struct ElfFile {
  struct Segment {
    uint32_t type = 1;
    uint64_t offset = 0x1000;
    uint64_t paddr = 0x100000;
    uint64_t filesz = 0x800;
    uint64_t memsz = 0x2000;
    uint64_t align = 0x1000;
  };
  bool is_64 = true;
  uint8_t data_encoding = 1;
  uint16_t type = 2;
  uint16_t machine = 62;
  uint16_t phentsize = 0;  // 0: the right one
  uint16_t phnum = 0;      // 0: the right one
  uint64_t phoff = 0;      // 0: the right one
  std::vector<Segment> segments;
  Bytes note;  // placed at 0x800

  ElfFile();
  Bytes build() const;
};

// One ELF note, padded.
Bytes make_note(std::string_view name, uint32_t type, std::span<const std::byte> descriptor);
Bytes u32_bytes(uint32_t value);
Bytes u64_bytes(uint64_t value);

}  // namespace vmm::boot
