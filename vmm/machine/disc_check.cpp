#include "vmm/machine/disc_check.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <string_view>

#include "block/iso/iso_info.h"
#include "block/sync_file.h"

namespace vmm {
namespace {

constexpr uint8_t kX86 = 0;
constexpr uint8_t kEfi = 0xef;
// ECMA-119, 8.1.2; ECMA-167, 2/9.1.2: the identifier of the first descriptor.
constexpr uint64_t kIdentifierAt = 16 * block::kIsoBlockBytes + 1;

DiscBoot boot_of(const block::IsoInfo& info) {
  const auto has = [&info](uint8_t platform) {
    return std::ranges::any_of(info.boot->entries, [platform](const block::IsoBootEntry& entry) {
      return entry.is_bootable && entry.platform == platform;
    });
  };
  if (!info.boot) {
    return DiscBoot::kNotBootable;
  }
  return has(kX86) ? DiscBoot::kBoots : has(kEfi) ? DiscBoot::kOnlyUefi : DiscBoot::kNotBootable;
}

}  // namespace

Result<DiscBoot> check_disc(const std::filesystem::path& image) {
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  block::OpenFile open_file{.fd = UniqueFd(::open(image.c_str(), kFlags | O_NOATIME))};
  if (!open_file.fd && errno == EPERM) {
    open_file.fd = UniqueFd(::open(image.c_str(), kFlags));  // only a file's owner may ask for that
  }
  struct stat info{};
  if (!open_file.fd || ::fstat(open_file.fd.get(), &info) != 0) {
    return fail("cannot open {}: {}", image.native(), errno_text(errno));
  }
  open_file.is_block_device = S_ISBLK(info.st_mode);
  if (!S_ISREG(info.st_mode) && !open_file.is_block_device) {
    return fail("{} is neither a file nor a block device", image.native());
  }
  const auto file = block::make_sync_file(open_file, image.native());
  std::array<std::byte, 5> identifier{};
  VMM_TRY(file->read(block::FileOffset(kIdentifierAt), identifier));
  const std::string_view text(reinterpret_cast<const char*>(identifier.data()), identifier.size());
  if (text != "CD001" && text != "BEA01") {
    return DiscBoot::kNoIso;
  }
  VMM_ASSIGN_OR_RETURN(const block::IsoInfo iso, block::read_iso_info(*file));
  return boot_of(iso);
}

const char* reason_not_to_boot(DiscBoot boot) {
  switch (boot) {
    case DiscBoot::kBoots:
      break;
    case DiscBoot::kOnlyUefi:
      return "boots with UEFI only, which vmm does not have yet";
    case DiscBoot::kNotBootable:
      return "is not bootable: it has no boot catalogue with an entry for a BIOS";
    case DiscBoot::kNoIso:
      return "is not bootable: it is no ISO image";
  }
  return "";
}

}  // namespace vmm
