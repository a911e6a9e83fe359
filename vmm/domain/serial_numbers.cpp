#include "vmm/domain/serial_numbers.h"

#include <bitset>

#include "vmm/domain/domain.h"

namespace vmm::domain {

std::vector<std::optional<uint64_t>> serial_numbers(std::span<const std::optional<uint64_t>> said) {
  std::bitset<kMaxSerialPorts> taken;
  for (const auto& number : said) {
    if (number && *number < kMaxSerialPorts) {
      taken.set(*number);
    }
  }
  std::vector<std::optional<uint64_t>> numbers(said.begin(), said.end());
  for (auto& number : numbers) {
    for (uint64_t port = 0; port < kMaxSerialPorts && !number; ++port) {
      if (!taken[port]) {
        taken.set(port);
        number = port;
      }
    }
  }
  return numbers;
}

}  // namespace vmm::domain
