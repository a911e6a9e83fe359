#include "devices/pci/expansion_rom.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "vmm/base/check.h"

namespace vmm::pci {

ExpansionRom::ExpansionRom(std::vector<std::byte> content)
    : content_(std::move(content)),
      length_bytes_(std::bit_ceil(std::max<uint64_t>(content_.size(), kMinBytes))) {
  VMM_CHECK(!content_.empty() && content_.size() <= kMaxBytes, "an expansion ROM's length is wrong");
}

void ExpansionRom::read(uint64_t offset, std::span<std::byte> data) {
  std::ranges::fill(data, std::byte{0xff});
  if (offset < content_.size()) {
    const auto length = std::min<uint64_t>(data.size(), content_.size() - offset);
    std::copy_n(content_.begin() + static_cast<std::ptrdiff_t>(offset), length, data.begin());
  }
}

}  // namespace vmm::pci
