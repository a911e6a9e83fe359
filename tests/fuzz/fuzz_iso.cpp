// ISO images: all that is told is printable and bounded, and so is what is read.
//
// Input: the image from block 16 on; the first byte is what the system area is filled with.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "block/iso/iso_info.h"
#include "tests/fuzz/input.h"
#include "tests/unit/block/memory_file.h"

namespace vmm::block {
namespace {

constexpr size_t kSystemAreaBytes = 16 * kIsoBlockBytes;
constexpr uint64_t kMostReadBytes = 256U << 10U;
constexpr size_t kMostBootEntries = 1024;

bool is_printable(const std::string& text) {
  return std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

void run(std::span<const std::byte> input) {
  if (input.empty()) {
    return;
  }
  std::vector<std::byte> bytes(kSystemAreaBytes + input.size(), input.front());
  std::ranges::copy(input, bytes.begin() + kSystemAreaBytes);
  MemoryFile file(std::move(bytes));
  const auto info = read_iso_info(file);
  VMM_CHECK(file.bytes_read <= kMostReadBytes, "too much was read");
  if (!info) {
    VMM_CHECK(is_printable(info.error().message()), "an error is not printable");
    return;
  }
  VMM_CHECK(is_printable(info->volume_id) && is_printable(info->joliet_volume_id.value_or("")),
            "a name is not printable");
  VMM_CHECK(!info->volume_bytes || *info->volume_bytes <= file.bytes.size(), "a truncated image was taken");
  if (info->boot) {
    VMM_CHECK(info->boot->entries.size() <= kMostBootEntries, "too many boot entries");
    for (const IsoBootEntry& entry : info->boot->entries) {
      VMM_CHECK(!entry.lies_in_image || entry.block * kIsoBlockBytes < file.bytes.size(),
                "a boot image lies outside");
      static_cast<void>(boot_platform_name(entry.platform));
      static_cast<void>(boot_emulation_name(entry.emulation));
    }
  }
}

}  // namespace
}  // namespace vmm::block

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::block::run(std::as_bytes(std::span(data, size)));
  return 0;
}
