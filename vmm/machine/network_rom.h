// The option ROM of a domain's <interface>: the one that the file names, or iPXE's where firmware is to boot
// from the card. Other cards have none: to read and run it takes time at the start.
//
// Threads: the main thread, before a vCPU runs.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "boot/option_rom.h"
#include "vmm/base/error.h"
#include "vmm/domain/domain.h"

namespace vmm {

// Nothing: the card has none. An error says what is missing on the host, or wrong with the file.
Result<std::optional<boot::OptionRom>> read_card_rom(const domain::Domain& domain,
                                                     const domain::Interface& wanted);

// Why firmware passes the ROM over, as it does where it is for another card. Empty: it does not.
std::string why_passed_over(const boot::OptionRom& rom, const domain::Interface& wanted);

// For a run: what read_card_rom() reads, with why_passed_over() in the log. Empty: the card has none.
Result<std::vector<std::byte>> content_of_card_rom(const domain::Domain& domain,
                                                   const domain::Interface& wanted);

// With <rom bar='off'/>: what firmware knows the ROM of the domain's interface `number` by, of those from 0.
std::string hidden_rom_name(size_t number);

}  // namespace vmm
