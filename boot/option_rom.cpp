#include "boot/option_rom.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <numeric>
#include <optional>
#include <system_error>
#include <utility>

#include "boot/input_file.h"
#include "vmm/base/bytes.h"

namespace vmm::boot {
namespace {

// Debian, for a PC's firmware alone; the same with an image for UEFI behind it; where others link them to.
constexpr std::array kRomPlaces = {
    "/usr/lib/ipxe/qemu/pxe-virtio.rom",
    "/usr/lib/ipxe/qemu/efi-virtio.rom",
    "/usr/share/qemu/pxe-virtio.rom",
    "/usr/share/qemu/efi-virtio.rom",
};

constexpr size_t kRomUnitBytes = 512;  // in which images are counted
constexpr uint8_t kPcCode = 0;

// Section 6.3.1.1: the header of an image.
constexpr size_t kHeaderBytes = 0x1a;
constexpr uint16_t kRomSignature = 0xaa55;
constexpr size_t kInitLength = 0x02;  // of code for a PC, in units: what the firmware copies and runs
constexpr size_t kDataStructurePointer = 0x18;

// Section 6.3.1.2: the PCI data structure.
constexpr size_t kDataStructureBytes = 0x18;
constexpr uint32_t kDataSignature = 0x52494350;  // "PCIR"
constexpr size_t kDataVendor = 0x04;
constexpr size_t kDataDevice = 0x06;
constexpr size_t kImageLength = 0x10;  // in units
constexpr size_t kCodeType = 0x14;
constexpr size_t kIndicator = 0x15;
constexpr uint8_t kIsLastImage = 0x80;

struct ParsedImage {
  OptionRom::Image image;
  size_t length_bytes = 0;  // to the next one
  bool is_last = false;
};

std::optional<std::string> find_option_rom() {
  const auto place = std::ranges::find_if(kRomPlaces, [](const char* path) {
    std::error_code error;
    return std::filesystem::is_regular_file(path, error);
  });
  return place == kRomPlaces.end() ? std::nullopt : std::optional<std::string>(*place);
}

template <typename... Args>
std::unexpected<Error> fail_at(const std::string& path, size_t offset, fmt::format_string<Args...> format,
                               Args&&... args) {
  return fail("option ROM {}: at offset {:#x}: {}", path, offset,
              fmt::format(format, std::forward<Args>(args)...));
}

// Of all that firmware runs the bytes add up to 0.
Status check_pc_code(const std::string& path, size_t offset, std::span<const std::byte> image) {
  const size_t length = load_le<uint8_t>(&image[kInitLength]) * kRomUnitBytes;
  if (length == 0 || length > image.size()) {
    return fail_at(path, offset + kInitLength, "its code of {} bytes is not within its {}", length,
                   image.size());
  }
  const auto code = image.first(length);
  const auto sum = std::accumulate(code.begin(), code.end(), 0U, [](unsigned total, std::byte byte) {
    return total + std::to_integer<unsigned>(byte);
  });
  return sum % 0x100 == 0
             ? Status()
             : Status(fail_at(path, offset, "its {} bytes have a wrong checksum; fetch or build it again",
                              length));
}

// REQUIRES: offset < content.size().
Result<ParsedImage> parse_image(const std::string& path, std::span<const std::byte> content, size_t offset) {
  const auto rest = content.subspan(offset);
  if (rest.size() < kHeaderBytes || load_le<uint16_t>(rest.data()) != kRomSignature) {
    return fail_at(path, offset, "no option ROM begins there (55 aa)");
  }
  const size_t place = load_le<uint16_t>(&rest[kDataStructurePointer]);
  if (place > rest.size() || rest.size() - place < kDataStructureBytes ||
      load_le<uint32_t>(&rest[place]) != kDataSignature) {
    return fail_at(path, offset + kDataStructurePointer, "there is no PCI data structure at {:#x} (PCIR)",
                   offset + place);
  }
  const size_t length = load_le<uint16_t>(&rest[place + kImageLength]) * kRomUnitBytes;
  if (length == 0 || length > rest.size()) {
    return fail_at(path, offset + place + kImageLength, "an image of {} bytes does not fit into the {} left",
                   length, rest.size());
  }
  const ParsedImage parsed{.image = {.code_type = load_le<uint8_t>(&rest[place + kCodeType]),
                                     .vendor_id = load_le<uint16_t>(&rest[place + kDataVendor]),
                                     .device_id = load_le<uint16_t>(&rest[place + kDataDevice])},
                           .length_bytes = length,
                           .is_last = (load_le<uint8_t>(&rest[place + kIndicator]) & kIsLastImage) != 0};
  if (parsed.image.code_type == kPcCode) {
    VMM_TRY(check_pc_code(path, offset, rest.first(length)));
  }
  return parsed;
}

}  // namespace

bool OptionRom::is_for(uint16_t vendor_id, uint16_t device_id) const {
  return std::ranges::any_of(images, [&](const Image& image) {
    return image.code_type == kPcCode && image.vendor_id == vendor_id && image.device_id == device_id;
  });
}

Result<std::vector<OptionRom::Image>> parse_option_rom(const std::string& path,
                                                       std::span<const std::byte> content) {
  std::vector<OptionRom::Image> images;
  size_t offset = 0;
  bool is_last = false;
  while (!is_last) {
    if (offset == content.size()) {
      return fail_at(path, offset, "the file ends, and none of its images was the last one");
    }
    VMM_ASSIGN_OR_RETURN(const ParsedImage parsed, parse_image(path, content, offset));
    images.push_back(parsed.image);
    is_last = parsed.is_last;
    offset += parsed.length_bytes;
  }
  if (std::ranges::find(images, kPcCode, &OptionRom::Image::code_type) == images.end()) {
    return fail(
        "option ROM {}: none of its images is for a PC's firmware (code type 0); take one for SeaBIOS", path);
  }
  return images;
}

Result<OptionRom> read_option_rom(const std::string& path) {
  const std::optional<std::string> found = path.empty() ? find_option_rom() : path;
  if (!found) {
    return fail(
        "firmware has nothing to boot from the network with ({} and other usual places): install Debian's "
        "package ipxe-qemu, or name an option ROM in <rom file=…/>",
        kRomPlaces.front());
  }
  VMM_ASSIGN_OR_RETURN(const InputFile file, InputFile::open(*found, "option ROM"));
  if (file.size_bytes() > kMaxOptionRomBytes) {
    return fail("option ROM {}: its {} bytes are more than the {} that fit", *found, file.size_bytes(),
                kMaxOptionRomBytes);
  }
  OptionRom rom{.path = *found, .bytes = std::vector<std::byte>(static_cast<size_t>(file.size_bytes()))};
  VMM_TRY(file.read(0, rom.bytes));
  VMM_ASSIGN_OR_RETURN(rom.images, parse_option_rom(*found, rom.bytes));
  return rom;
}

}  // namespace vmm::boot
