// Option ROMs: any bytes are refused, or are images one behind the other of which one is for a PC.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "boot/option_rom.h"
#include "vmm/base/check.h"

namespace vmm::boot {
namespace {

constexpr size_t kUnitBytes = 512;
constexpr size_t kLongestMessage = 400;

void run(std::span<const std::byte> content) {
  const auto images = parse_option_rom("card.rom", content);
  if (!images) {
    const std::string& message = images.error().message();
    VMM_CHECK(message.find("card.rom") != std::string::npos && message.size() < kLongestMessage,
              "a refusal names the file");
    return;
  }
  VMM_CHECK(!images->empty() && images->size() <= content.size() / kUnitBytes, "images overlap");
  const OptionRom rom{.path = "card.rom", .bytes = {}, .images = *images};
  bool is_for_a_pc = false;
  for (const OptionRom::Image& image : *images) {
    is_for_a_pc = is_for_a_pc || rom.is_for(image.vendor_id, image.device_id);
  }
  VMM_CHECK(is_for_a_pc, "no image is for a PC");
}

}  // namespace
}  // namespace vmm::boot

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::boot::run(std::as_bytes(std::span(data, size)));
  return 0;
}
