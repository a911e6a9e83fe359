// LUKS headers: what is taken can be written and read again, its key slots lie where they may, and no header
// costs more than the limit.
//
// Input: the header and what follows it in the file; zeroes after that.
#include <algorithm>
#include <array>

#include "block/crypto/luks.h"
#include "tests/fuzz/input.h"

namespace vmm::block {
namespace {

constexpr uint64_t kHeaderBytes = uint64_t{4} << 20U;
constexpr LuksLimits kLimits = {.pbkdf2_rounds = 64};

void check_header(const LuksHeader& header) {
  for (const LuksKeySlot& slot : header.slots) {
    VMM_CHECK(!slot.is_active || (slot.iterations > 0 && slot.key_material_sector * kLuksSectorBytes +
                                                                 luks_key_material_bytes(header) <=
                                                             header.payload_offset_bytes()),
              "a key slot lies where it may not");
  }
  const auto again = parse_luks_header(serialise_luks_header(header));
  VMM_CHECK(again && again->cipher == header.cipher && again->payload_sector == header.payload_sector &&
                luks_rounds(*again) == luks_rounds(header),
            "a header is not what it was after it was written");
}

void run(std::span<const std::byte> input) {
  const LuksReader read = [input](uint64_t offset, std::span<std::byte> to) -> Status {
    VMM_CHECK(offset <= kHeaderBytes && to.size() <= kHeaderBytes - offset, "read past the header");
    const auto from = input.subspan(std::min<size_t>(offset, input.size()));
    const size_t length = std::min(from.size(), to.size());
    std::ranges::copy(from.first(length), to.begin());
    std::ranges::fill(to.subspan(length), std::byte{0});
    return {};
  };
  if (const auto header = parse_luks_header(input)) {
    check_header(*header);
  }
  const auto opened = open_luks(read, kHeaderBytes, Secret::copy_of("swordfish"), kLimits);
  if (opened) {
    VMM_CHECK(luks_rounds(opened->header) <= kLimits.pbkdf2_rounds, "a header cost more than the limit");
    std::array<std::byte, 1024> data{};
    VMM_CHECK(opened->cipher->encrypt(512, data) == IoStatus::kOk &&
                  opened->cipher->decrypt(512, data) == IoStatus::kOk &&
                  std::ranges::all_of(data, [](std::byte byte) { return byte == std::byte{0}; }),
              "what was encrypted does not come back");
  }
}

}  // namespace
}  // namespace vmm::block

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::block::run(std::as_bytes(std::span(data, size)));
  return 0;
}
