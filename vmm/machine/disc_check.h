// What can be told of a disc image before a guest sees it.
//
// Threads: any; blocks.
#pragma once

#include <cstdint>
#include <filesystem>

#include "vmm/base/error.h"

namespace vmm {

// For the BIOS that a machine='pc' has (El Torito 1.0).
enum class DiscBoot : uint8_t {
  kBoots,
  kOnlyUefi,     // its boot catalogue has entries for EFI only
  kNotBootable,  // no boot catalogue, or none with an entry that boots
  kNoIso,        // neither ISO 9660 nor UDF
};

// An error: an image that cannot be read, or that is shorter than its volume descriptor promises. What is no
// ISO image may be on a disc too.
Result<DiscBoot> check_disc(const std::filesystem::path& image);

// For a sentence that the image's name begins: "is not bootable: …"; for kBoots empty.
const char* reason_not_to_boot(DiscBoot boot);

}  // namespace vmm
