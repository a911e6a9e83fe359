#include "boot/firmware.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <system_error>

#include "boot/input_file.h"
#include "vmm/core/layout.h"

namespace vmm::boot {
namespace {

constexpr uint64_t kMaxShadowBytes = uint64_t{128} << 10U;

// Debian and Fedora; the same without its VGA drivers; QEMU's own copy.
constexpr std::array kUsualPlaces = {
    "/usr/share/seabios/bios-256k.bin",
    "/usr/share/seabios/bios.bin",
    "/usr/share/qemu/bios-256k.bin",
    "/usr/local/share/qemu/bios-256k.bin",
};

std::optional<std::string> find_firmware() {
  const auto place = std::ranges::find_if(kUsualPlaces, [](const char* path) {
    std::error_code error;
    return std::filesystem::is_regular_file(path, error);
  });
  return place == kUsualPlaces.end() ? std::nullopt : std::optional<std::string>(*place);
}

}  // namespace

GuestAddress FirmwareImage::rom_address() const { return GuestAddress(layout::kFourGiB - bytes.size()); }

Result<FirmwareImage> read_firmware(const std::string& path) {
  const std::optional<std::string> found = path.empty() ? find_firmware() : path;
  if (!found) {
    return fail(
        "there is no firmware on this host ({} and other usual places): install Debian's package seabios, "
        "name "
        "a file in <os>/<loader>, or give a <kernel>",
        kUsualPlaces.front());
  }
  VMM_ASSIGN_OR_RETURN(const InputFile file, InputFile::open(*found, "firmware"));
  const uint64_t size = file.size_bytes();
  if (size % kFirmwareUnit != 0 || size > kMaxFirmwareBytes) {
    return fail("firmware {}: its {} bytes are not what firmware has, a multiple of 64 KiB up to 16 MiB",
                *found, size);
  }
  FirmwareImage image{.path = *found, .bytes = std::vector<std::byte>(static_cast<size_t>(size))};
  VMM_TRY(file.read(0, image.bytes));
  return image;
}

Status shadow_firmware(const GuestMemory& memory, std::span<const std::byte> firmware) {
  const auto end = firmware.last(std::min<size_t>(firmware.size(), kMaxShadowBytes));
  if (!memory.write_bytes(GuestAddress(layout::kOneMiB - end.size()), end)) {
    return fail_configuration("<memory>: firmware needs memory up to 1 MiB; give the guest more");
  }
  return {};
}

}  // namespace vmm::boot
