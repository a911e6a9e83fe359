// Kernel files: bzImage and ELF, with an initrd, into a small guest. What is not refused lies in usable
// memory, byte for byte, and nothing overlaps.
//
// Input: the kernel file; its last four bytes choose the guest: memory, initrd (2 bytes), command line.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "boot/boot_plan.h"
#include "boot/bzimage.h"
#include "boot/elf_file.h"
#include "boot/memory_map.h"
#include "boot/placement.h"
#include "tests/fuzz/guarded_ram.h"
#include "tests/fuzz/input.h"
#include "vmm/base/bytes.h"
#include "vmm/base/unique_fd.h"
#include "vmm/core/layout.h"

namespace vmm::boot {
namespace {

constexpr size_t kChoiceBytes = 4;
constexpr size_t kMaxErrorBytes = 4096;
constexpr uint64_t kBootParams = 0xa000;
constexpr uint64_t kStartInfo = 0xa000;

class MemoryFile {
 public:
  explicit MemoryFile(const char* name) : fd_(::memfd_create(name, MFD_CLOEXEC)) {
    VMM_CHECK(fd_, "no memory for a file");
    path_ = "/proc/self/fd/" + std::to_string(fd_.get());
  }
  const std::string& path() const { return path_; }

  void clear(uint64_t length) const {
    VMM_CHECK(::ftruncate(fd_.get(), 0) == 0 && ::ftruncate(fd_.get(), static_cast<off_t>(length)) == 0,
              "a file in memory cannot be cut");
  }
  void write(std::span<const std::byte> bytes, uint64_t offset) const {
    VMM_CHECK(::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)) ==
                  static_cast<ssize_t>(bytes.size()),
              "a file in memory cannot be written");
  }

 private:
  UniqueFd fd_;
  std::string path_;
};

struct SmallGuest {
  fuzz::GuardedRam ram;
  MemoryMap map;

  explicit SmallGuest(uint64_t ram_bytes) : ram({{0, ram_bytes}}), map(make_memory_map(ram_bytes).value()) {}
  // As a guest with more than 3 GiB, without its size.
  SmallGuest(uint64_t low_bytes, uint64_t high_bytes)
      : ram({{0, low_bytes}, {layout::kFourGiB, high_bytes}}), map(make_memory_map(low_bytes).value()) {
    map.push_back({.range = {.start = GuestAddress(layout::kFourGiB), .length_bytes = high_bytes},
                   .type = MemoryType::kUsable});
  }
};

const SmallGuest& guest_of(uint8_t choice) {
  static const std::array<SmallGuest, 3> guests = {SmallGuest(2 << 20), SmallGuest(8 << 20),
                                                   SmallGuest(4 << 20, 2 << 20)};
  return guests[choice % guests.size()];
}

// An initrd: its ends are marked, all between them is zero.
constexpr std::array<std::byte, 8> kMark = {std::byte{'i'}, std::byte{'n'}, std::byte{'i'}, std::byte{'t'},
                                            std::byte{'r'}, std::byte{'d'}, std::byte{'!'}, std::byte{'.'}};

struct Outcome {
  const GuestMemory& memory;
  const MemoryMap& map;
  std::span<const std::byte> kernel;
  uint64_t initrd_bytes = 0;

  bool holds(uint64_t address, std::span<const std::byte> bytes) const {
    std::vector<std::byte> found(bytes.size());
    return memory.read_bytes(GuestAddress(address), found) && std::ranges::equal(found, bytes);
  }
  uint64_t read64(uint64_t address) const { return memory.read<uint64_t>(GuestAddress(address)).value(); }
  uint32_t read32(uint64_t address) const { return memory.read<uint32_t>(GuestAddress(address)).value(); }
};

void check_initrd(const Outcome& outcome, GuestRange initrd, std::span<const GuestRange> kernel) {
  VMM_CHECK(initrd.length_bytes == outcome.initrd_bytes, "the guest is told the initrd's length");
  if (outcome.initrd_bytes == 0) {
    return;
  }
  VMM_CHECK(is_usable(outcome.map, initrd), "the initrd lies in usable memory");
  const uint64_t end = initrd.start.value() + initrd.length_bytes;
  VMM_CHECK(outcome.holds(initrd.start.value(), kMark) && outcome.holds(end - kMark.size(), kMark),
            "the initrd is there");
  VMM_CHECK(std::ranges::none_of(kernel, [&](const GuestRange& range) { return overlap(initrd, range); }),
            "the initrd and the kernel do not overlap");
}

void check_bzimage(const Outcome& outcome, const InputFile& file) {
  const BzImage image = BzImage::parse(file).value();
  const GuestRange kernel{.start = GuestAddress(image.load_address), .length_bytes = image.footprint_bytes};
  VMM_CHECK(is_usable(outcome.map, kernel), "the kernel lies in usable memory");
  VMM_CHECK(
      outcome.holds(image.load_address, outcome.kernel.subspan(image.payload_offset, image.payload_bytes)),
      "the kernel is there");
  const uint64_t start =
      outcome.read32(kBootParams + 0x218) | (uint64_t{outcome.read32(kBootParams + 0xc0)} << 32);
  const uint64_t size =
      outcome.read32(kBootParams + 0x21c) | (uint64_t{outcome.read32(kBootParams + 0xc4)} << 32);
  if (outcome.initrd_bytes != 0) {
    check_initrd(outcome, {.start = GuestAddress(start), .length_bytes = size}, std::span(&kernel, 1));
    VMM_CHECK(start + size - 1 < image.initrd_limit, "the initrd lies where the kernel looks for it");
  }
}

void check_elf(const Outcome& outcome, const InputFile& file) {
  std::vector<GuestRange> kernel;
  const std::vector<ElfSegment> segments = read_elf_segments(file).value();
  for (const ElfSegment& segment : segments) {
    if (segment.type != kSegmentLoad || segment.memory_bytes == 0) {
      continue;
    }
    const GuestRange range{.start = GuestAddress(segment.physical_address),
                           .length_bytes = segment.memory_bytes};
    VMM_CHECK(is_usable(outcome.map, range), "a segment lies in usable memory");
    VMM_CHECK(outcome.holds(segment.physical_address,
                            outcome.kernel.subspan(segment.file_offset, segment.file_bytes)),
              "a segment is there");
    kernel.push_back(range);
  }
  if (outcome.initrd_bytes == 0) {
    VMM_CHECK(outcome.read32(kStartInfo + 12) == 0, "the guest is told of no initrd");
    return;
  }
  const uint64_t module = outcome.read64(kStartInfo + 16);
  check_initrd(outcome,
               {.start = GuestAddress(outcome.read64(module)), .length_bytes = outcome.read64(module + 8)},
               kernel);
}

// The EBDA, the video memory and the ROMs: nothing of a kernel's goes there. Where whole pages of them have
// no memory, nobody has written to them since they were cleared.
void check_hole(const Outcome& outcome) {
  constexpr uint64_t kPagesStart = 0xa0000;
  constexpr std::array<std::byte, kPagesStart - layout::kEbdaStart> kZeroes{};
  VMM_CHECK(outcome.holds(layout::kEbdaStart, kZeroes), "the EBDA is untouched");
  std::array<unsigned char, (layout::kOneMiB - kPagesStart) / kPageBytes> pages{};
  std::byte* start = outcome.memory.regions().front().mapping.data() + kPagesStart;
  VMM_CHECK(::mincore(start, layout::kOneMiB - kPagesStart, pages.data()) == 0,
            "mincore refused its arguments");
  VMM_CHECK(std::ranges::none_of(pages, [](unsigned char page) { return (page & 1) != 0; }),
            "the PC's hole is untouched");
}

void check_error(const Error& error) {
  VMM_CHECK(!error.message().empty() && error.message().size() <= kMaxErrorBytes, "an error has some length");
  VMM_CHECK(
      std::ranges::none_of(error.message(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }),
      "an error has one line, without control characters");
}

void load(std::span<const std::byte> kernel, fuzz::Input& choice) {
  static const MemoryFile kernel_file("kernel");
  static const MemoryFile initrd_file("initrd");
  const SmallGuest& guest = guest_of(choice.take<uint8_t>());
  const uint64_t initrd_bytes = uint64_t{16} * choice.take<uint16_t>();
  const uint8_t rest = choice.take<uint8_t>();
  guest.ram.clear();
  kernel_file.clear(0);
  kernel_file.write(kernel, 0);
  initrd_file.clear(initrd_bytes);
  if (initrd_bytes != 0) {
    initrd_file.write(kMark, 0);
    initrd_file.write(kMark, initrd_bytes - kMark.size());
  }
  const DirectBoot boot{.kernel_path = kernel_file.path(),
                        .initrd_path = initrd_bytes == 0 ? "" : initrd_file.path(),
                        .command_line = std::string(size_t{rest & 0x7fU} * 32, 'x'),
                        .memory_is_zero = (rest & 0x80) != 0};
  const Outcome outcome{
      .memory = guest.ram.memory(), .map = guest.map, .kernel = kernel, .initrd_bytes = initrd_bytes};
  const auto entry = load_direct(outcome.memory, boot, guest.map, GuestAddress(layout::kHighBiosStart));
  check_hole(outcome);
  if (!entry) {
    check_error(entry.error());
    return;
  }
  VMM_CHECK(outcome.memory.contains(entry->instruction_pointer, 1), "the guest begins in its memory");
  const InputFile file = InputFile::open(kernel_file.path(), "kernel").value();
  if (is_elf(file).value()) {
    check_elf(outcome, file);
  } else {
    check_bzimage(outcome, file);
  }
}

}  // namespace
}  // namespace vmm::boot

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const size_t choice_bytes = std::min(size, vmm::boot::kChoiceBytes);
  vmm::fuzz::Input choice(data + size - choice_bytes, choice_bytes);
  vmm::boot::load(std::as_bytes(std::span(data, size - choice_bytes)), choice);
  return 0;
}
