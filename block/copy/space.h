// Free space, asked before a copy begins.
//
// Refused is only what cannot fit: how much zeroes, compression and a file system's own tricks save is not
// known before. Threads: that of the sources' loop; blocks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "block/copy/sources.h"
#include "vmm/base/error.h"

namespace vmm::block {

// What may be written to the file system of a file. Nothing: it has no limit, or stores less than is written.
std::optional<uint64_t> free_bytes_beside(const std::string& path);

struct SpaceQuestion {
  bool with_own_only = false;  // what comes from a backing file is not copied
  bool drops_zeroes = true;    // also where they are stored as data
};

// Whether what the sources hold can be stored in so many bytes; else how much at least would be needed (not
// always all, as counting ends when it is too much). Reads the sources only where it is not clear without.
Result<std::optional<uint64_t>> bytes_too_many(Sources& sources, uint64_t free_bytes,
                                               const SpaceQuestion& question);

}  // namespace vmm::block
