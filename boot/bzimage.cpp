#include "boot/bzimage.h"

#include <algorithm>
#include <array>

#include "boot/entry_state.h"
#include "boot/low_memory.h"
#include "boot/memory_map.h"
#include "boot/placement.h"
#include "vmm/base/bytes.h"
#include "vmm/base/check.h"
#include "vmm/core/layout.h"

namespace vmm::boot {

namespace {

// Fields of the setup header (boot.rst, "The Real-Mode Kernel Header"): offsets in the file, and in
// boot_params.
enum SetupField : uint16_t {
  kSetupSects = 0x1f1,
  kSysSize = 0x1f4,
  kBootFlag = 0x1fe,
  kJumpLength = 0x201,
  kHeader = 0x202,
  kVersion = 0x206,
  kTypeOfLoader = 0x210,
  kLoadFlags = 0x211,
  kCode32Start = 0x214,
  kRamdiskImage = 0x218,
  kRamdiskSize = 0x21c,
  kCmdLinePtr = 0x228,
  kInitrdAddrMax = 0x22c,
  kKernelAlignment = 0x230,
  kRelocatableKernel = 0x234,
  kXLoadFlags = 0x236,
  kCmdlineSize = 0x238,
  kPrefAddress = 0x258,
  kInitSize = 0x260,
  kInitSizeEnd = 0x264,
};

// Fields of boot_params outside the setup header (zero-page.rst).
enum BootParamsField : uint16_t {
  kAcpiRsdpAddr = 0x070,
  kExtRamdiskImage = 0x0c0,
  kExtRamdiskSize = 0x0c4,
  kE820Entries = 0x1e8,
  kHeaderRoomEnd = 0x290,
  kE820Table = 0x2d0,
};

constexpr size_t kBootParamsBytes = 4096;
constexpr size_t kE820MaxEntries = 128;

constexpr size_t kSectorBytes = 512;
constexpr uint64_t kSysSizeUnitBytes = 16;
constexpr uint16_t kBootFlagValue = 0xaa55;
constexpr uint32_t kHeaderMagic = 0x5372'6448;  // "HdrS"
constexpr uint16_t kOldestVersion = 0x020c;     // the first with xloadflags
constexpr uint8_t kLoadedHigh = 1U << 0;
constexpr uint16_t kXlfKernel64 = 1U << 0;
constexpr uint16_t kXlfAbove4G = 1U << 1;
constexpr uint64_t kEntry64Offset = 0x200;
constexpr uint8_t kLoaderUndefined = 0xff;

using SetupBytes = std::array<std::byte, kHeaderRoomEnd>;

template <typename T>
T field(const SetupBytes& setup, SetupField offset) {
  return load_le<T>(setup.data() + offset);
}

bool begins_with(const SetupBytes& setup, std::initializer_list<uint8_t> magic) {
  size_t i = 0;
  return std::ranges::all_of(magic, [&](uint8_t byte) { return setup[i++] == std::byte{byte}; });
}

// What the file is instead, as far as people are known to mistake it for a kernel.
std::string_view other_kind(const SetupBytes& setup) {
  if (begins_with(setup, {0x1f, 0x8b}) || begins_with(setup, {0xfd, '7', 'z', 'X', 'Z'}) ||
      begins_with(setup, {0x28, 0xb5, 0x2f, 0xfd}) || begins_with(setup, {'B', 'Z', 'h'})) {
    return " (it is a compressed file: unpack it first)";
  }
  if (begins_with(setup, {'0', '7', '0', '7', '0', '1'})) {
    return " (it is a cpio archive: is it the initrd?)";
  }
  if (begins_with(setup, {'M', 'Z'})) {
    return " (it is an EFI program without Linux's setup header)";
  }
  return "";
}

// The setup header, if the file has one at all.
Result<SetupBytes> read_setup(const InputFile& file) {
  SetupBytes setup{};
  const uint64_t length = std::min<uint64_t>(file.size_bytes(), setup.size());
  VMM_TRY(file.read(0, std::span(setup).first(length)));
  if (field<uint16_t>(setup, kBootFlag) != kBootFlagValue ||
      field<uint32_t>(setup, kHeader) != kHeaderMagic) {
    return fail(
        "{} is not a kernel: no bzImage setup header (55 aa at offset 0x1fe, HdrS at 0x202) and no ELF "
        "header{}; name a bzImage (vmlinuz) or an ELF file with a PVH note",
        file.path(), other_kind(setup));
  }
  if (length < setup.size()) {
    return fail("{}: the kernel is cut off inside its setup header ({} bytes); fetch or build it again",
                file.path(), length);
  }
  return setup;
}

// Everything that the 64-bit entry needs.
Status check_protocol(const InputFile& file, const SetupBytes& setup) {
  const auto version = field<uint16_t>(setup, kVersion);
  if (version < kOldestVersion) {
    return fail(
        "{}: the kernel's boot protocol is {}.{} (offset 0x206) and vmm needs 2.12 or later; use Linux 3.8 "
        "or later",
        file.path(), version >> 8, version & 0xff);
  }
  if ((field<uint16_t>(setup, kXLoadFlags) & kXlfKernel64) == 0) {
    return fail(
        "{}: a 32-bit kernel: xloadflags (offset 0x236) promise no 64-bit entry; use an x86-64 kernel",
        file.path());
  }
  if ((field<uint8_t>(setup, kLoadFlags) & kLoadedHigh) == 0) {
    return fail("{}: loadflags (offset 0x211) say zImage, which loads below 1 MiB; build a bzImage",
                file.path());
  }
  return {};
}

struct Payload {
  uint64_t offset = 0;
  uint64_t length_bytes = 0;
};

Result<Payload> find_payload(const InputFile& file, const SetupBytes& setup) {
  const auto setup_sects = field<uint8_t>(setup, kSetupSects);
  // "If the setup_sects field contains 0, the real value is 4."
  const uint64_t offset = (uint64_t{setup_sects == 0 ? uint8_t{4} : setup_sects} + 1) * kSectorBytes;
  const uint64_t length = uint64_t{field<uint32_t>(setup, kSysSize)} * kSysSizeUnitBytes;
  if (length <= kEntry64Offset) {
    return fail(
        "{}: syssize (offset 0x1f4) gives {} bytes, too few for a 64-bit entry; fetch or build the kernel "
        "again",
        file.path(), length);
  }
  // It counts whole units: memtest86+ ends within its last one.
  if (!file.contains(offset, length - (kSysSizeUnitBytes - 1))) {
    return fail(
        "{}: the kernel is cut off: {} bytes long, its header (setup_sects, syssize) promises {}; fetch or "
        "build it again",
        file.path(), file.size_bytes(), offset + length);
  }
  return Payload{.offset = offset, .length_bytes = std::min(length, file.size_bytes() - offset)};
}

// Where the kernel runs: at its preferred address, or, if that is below 1 MiB, at the first aligned one
// above. A relocatable kernel moves itself up to pref_address when it is loaded lower, so lower is no choice.
Result<uint64_t> find_load_address(const InputFile& file, const SetupBytes& setup) {
  const auto preferred = field<uint64_t>(setup, kPrefAddress);
  if (preferred >= layout::kFourGiB) {
    return fail(
        "{}: pref_address (offset 0x258) is {:#x}, and kernels are loaded below 4 GiB; fetch or build it "
        "again",
        file.path(), preferred);
  }
  if (field<uint8_t>(setup, kRelocatableKernel) == 0) {
    return preferred;
  }
  const uint64_t alignment = field<uint32_t>(setup, kKernelAlignment);
  if (!is_power_of_two(alignment)) {
    return fail(
        "{}: kernel_alignment (offset 0x230) is {:#x}, not a power of two; fetch or build the kernel again",
        file.path(), alignment);
  }
  return align_up(std::max(preferred, layout::kOneMiB), alignment);
}

Status check_room(const GuestMemory& memory, const MemoryMap& map, const InputFile& file,
                  const BzImage& image) {
  const GuestRange range{.start = GuestAddress(image.load_address), .length_bytes = image.footprint_bytes};
  const uint64_t end = image.load_address + image.footprint_bytes;
  if (end > layout::kFourGiB || image.load_address < low::kEnd || !is_usable(map, range)) {
    return fail(
        "{}: the kernel needs guest memory from {:#x} to {:#x}, and the guest has {} MiB; give it at least "
        "{} "
        "MiB of <memory>",
        file.path(), image.load_address, end, memory.size_bytes() >> 20,
        align_up(end, uint64_t{1} << 20) >> 20);
  }
  return {};
}

Status write_command_line(const GuestMemory& memory, const InputFile& file, const BzImage& image,
                          const std::string& text) {
  const uint64_t maximum = std::min(image.command_line_max_bytes, low::kCommandLineRoom - 1);
  if (text.size() > maximum) {
    return fail_configuration(
        "<cmdline>: the kernel command line is {} bytes long, and the kernel {} takes at most "
        "{}; shorten it",
        text.size(), file.path(), maximum);
  }
  return put(memory, low::kCommandLine, std::as_bytes(std::span(text.c_str(), text.size() + 1)));
}

class BootParams {
 public:
  template <typename T>
  void set(uint16_t offset, T value) {
    store_le<T>(bytes_.data() + offset, value);
  }

  void set_header(std::span<const std::byte> header) {
    std::ranges::copy(header, bytes_.begin() + kSetupSects);
    set<uint8_t>(kTypeOfLoader, kLoaderUndefined);
  }

  void set_initrd(const GuestRange& range) {
    set(kRamdiskImage, static_cast<uint32_t>(range.start.value()));
    set(kExtRamdiskImage, static_cast<uint32_t>(range.start.value() >> 32));
    set(kRamdiskSize, static_cast<uint32_t>(range.length_bytes));
    set(kExtRamdiskSize, static_cast<uint32_t>(range.length_bytes >> 32));
  }

  void set_memory_map(const MemoryMap& map) {
    VMM_CHECK(map.size() <= kE820MaxEntries, "the memory map has more entries than boot_params has room for");
    set(kE820Entries, static_cast<uint8_t>(map.size()));
    std::byte* place = bytes_.data() + kE820Table;
    for (const MemoryMapEntry& entry : map) {
      store_le<uint64_t>(place, entry.range.start.value());
      store_le<uint64_t>(place + 8, entry.range.length_bytes);
      store_le<uint32_t>(place + 16, static_cast<uint32_t>(entry.type));
      place += kE820EntryBytes;
    }
  }

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::array<std::byte, kBootParamsBytes> bytes_{};
};

}  // namespace

Result<BzImage> BzImage::parse(const InputFile& file) {
  VMM_ASSIGN_OR_RETURN(const SetupBytes setup, read_setup(file));
  VMM_TRY(check_protocol(file, setup));
  VMM_ASSIGN_OR_RETURN(const Payload payload, find_payload(file, setup));
  VMM_ASSIGN_OR_RETURN(const uint64_t load_address, find_load_address(file, setup));
  // The jump at 0x200 leaps over the header: its end, as the protocol defines it.
  const auto header_end = static_cast<uint16_t>(kHeader + field<uint8_t>(setup, kJumpLength));
  if (header_end < kInitSizeEnd) {
    return fail(
        "{}: the setup header ends at {:#x} (by the jump at offset 0x200), before init_size; fetch or build "
        "the kernel again",
        file.path(), header_end);
  }
  const bool initrd_above_4g = (field<uint16_t>(setup, kXLoadFlags) & kXlfAbove4G) != 0;
  BzImage image;
  image.payload_offset = payload.offset;
  image.payload_bytes = payload.length_bytes;
  image.load_address = load_address;
  image.footprint_bytes = std::max<uint64_t>(payload.length_bytes, field<uint32_t>(setup, kInitSize));
  image.command_line_max_bytes = field<uint32_t>(setup, kCmdlineSize);
  image.initrd_limit = initrd_above_4g ? UINT64_MAX : uint64_t{field<uint32_t>(setup, kInitrdAddrMax)} + 1;
  image.header_end = std::min<uint16_t>(header_end, kHeaderRoomEnd);
  return image;
}

Result<EntryState> load_bzimage(const GuestMemory& memory, const InputFile& file, const DirectBoot& boot,
                                const MemoryMap& map, std::optional<GuestAddress> rsdp) {
  VMM_ASSIGN_OR_RETURN(const BzImage image, BzImage::parse(file));
  VMM_TRY(check_room(memory, map, file, image));
  VMM_TRY(write_command_line(memory, file, image, boot.command_line));

  std::array<std::byte, kHeaderRoomEnd> header{};
  VMM_TRY(file.read(0, std::span(header).first(image.header_end)));
  BootParams params;
  params.set_header(std::span(header).first(image.header_end).subspan(kSetupSects));
  params.set(kCode32Start, static_cast<uint32_t>(image.load_address));
  params.set(kCmdLinePtr, static_cast<uint32_t>(low::kCommandLine));
  params.set(kAcpiRsdpAddr, rsdp ? rsdp->value() : uint64_t{0});
  params.set_memory_map(map);

  const GuestRange taken{.start = GuestAddress(image.load_address), .length_bytes = image.footprint_bytes};
  if (!boot.initrd_path.empty()) {
    VMM_ASSIGN_OR_RETURN(const InputFile initrd, InputFile::open(boot.initrd_path, "initrd"));
    VMM_ASSIGN_OR_RETURN(const GuestRange place,
                         place_initrd(memory, map, initrd, std::span(&taken, 1), image.initrd_limit));
    params.set_initrd(place);
  }
  VMM_TRY(file.load(image.payload_offset, memory,
                    {.start = GuestAddress(image.load_address), .length_bytes = image.payload_bytes}));
  VMM_TRY(put(memory, low::kBootParams, params.bytes()));
  return enter_long64(memory, GuestAddress(image.load_address + kEntry64Offset),
                      GuestAddress(low::kBootParams));
}

}  // namespace vmm::boot
