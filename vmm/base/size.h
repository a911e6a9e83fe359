// Sizes as people write and read them.
//
// Threads: functions without state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "vmm/base/error.h"

namespace vmm {

// "512", "64k", "1.5G", "10MiB": multiples of 1024, with the letters b, k, M, G, T, P and E in either case,
// from k on with or without "iB", rounded down to bytes; "0x200". Errors: of ErrorKind::kConfiguration.
Result<uint64_t> parse_size(std::string_view text);

// "10 MiB", "1.46 GiB", "512 B": three digits, as qemu-img writes them.
std::string size_text(uint64_t bytes);

}  // namespace vmm
