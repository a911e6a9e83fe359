#include "vmm/machine/network_rom.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "vmm/base/log.h"
#include "vmm/domain/boot_order.h"

namespace vmm {
namespace {

// Virtio 1.2, section 4.1.2.
constexpr uint16_t kCardVendor = 0x1af4;
constexpr uint16_t kCardDevice = 0x1041;

// With a <kernel> no firmware runs.
bool is_booted_from(const domain::Domain& domain, const domain::Interface& wanted) {
  const auto sources = domain::boot_sources(domain, domain.os.install_target);
  return domain.os.kernel.empty() &&
         std::ranges::find(sources, &wanted, &domain::BootSource::interface) != sources.end();
}

}  // namespace

Result<std::optional<boot::OptionRom>> read_card_rom(const domain::Domain& domain,
                                                     const domain::Interface& wanted) {
  const bool is_wanted = !wanted.rom.file.empty() || is_booted_from(domain, wanted);
  if (!is_wanted || !wanted.rom.is_enabled || domain.os.machine != domain::MachineType::kPc) {
    return std::nullopt;
  }
  auto rom = boot::read_option_rom(wanted.rom.file.native());
  if (!rom) {
    return std::unexpected(wanted.rom.file.empty() ? rom.error() : rom.error().within("<rom>"));
  }
  return *std::move(rom);
}

std::string why_passed_over(const boot::OptionRom& rom, const domain::Interface& wanted) {
  if (!wanted.rom.is_in_bar || rom.is_for(kCardVendor, kCardDevice)) {
    return {};
  }
  return fmt::format(
      "firmware passes over {}: it is for other cards, and this one is {:04x}:{:04x}; take one for it (in "
      "iPXE, bin/{:04x}{:04x}.rom)",
      rom.path, kCardVendor, kCardDevice, kCardVendor, kCardDevice);
}

Result<std::vector<std::byte>> content_of_card_rom(const domain::Domain& domain,
                                                   const domain::Interface& wanted) {
  VMM_ASSIGN_OR_RETURN(auto rom, read_card_rom(domain, wanted));
  if (!rom) {
    return std::vector<std::byte>();
  }
  if (const std::string why = why_passed_over(*rom, wanted); !why.empty()) {
    log::warning("{}: <interface>: {}", domain.where(wanted.line), why);
  }
  return std::move(rom->bytes);
}

std::string hidden_rom_name(size_t number) { return fmt::format("net{}.rom", number); }

}  // namespace vmm
