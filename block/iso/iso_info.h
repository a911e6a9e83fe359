// What an ISO image is and can do: volume descriptors (ECMA-119, 8), Joliet, Rock Ridge (SUSP 1.12,
// RRIP 1.12), UDF bridge (ECMA-167, part 2), the boot catalogue (El Torito 1.0) and partition tables for USB
// sticks.
//
// Contents come from anywhere: all loops and reads are bounded (at most 64 volume descriptors, 32 KiB of
// catalogue, 8 continuation areas), all texts are made printable. Threads: any; read_iso_info() blocks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block {

inline constexpr uint64_t kIsoBlockBytes = 2048;

enum class BootEmulation : uint8_t { kNone, kFloppy12, kFloppy144, kFloppy288, kHardDisk, kUnknown };

struct IsoBootEntry {
  uint8_t platform = 0;  // 0 x86, 1 PowerPC, 2 Mac, 0xef EFI
  bool is_bootable = false;
  BootEmulation emulation = BootEmulation::kNone;
  uint16_t load_segment = 0;  // 0: 0x7c0
  uint8_t system_type = 0;
  uint16_t sector_count = 0;  // to load: of 512 bytes
  uint32_t block = 0;         // where the boot image begins: of 2048 bytes
  bool lies_in_image = false;
};

struct IsoBootCatalogue {
  uint32_t block = 0;   // of 2048 bytes
  std::string problem;  // why there are no (more) entries; empty: the catalogue is well-formed
  std::vector<IsoBootEntry> entries;
};

struct IsoInfo {
  // Absent: no ISO 9660 but only UDF.
  std::optional<uint64_t> volume_bytes;
  std::string volume_id;
  std::optional<std::string> joliet_volume_id;
  bool has_rock_ridge = false;
  std::string udf_version;  // "NSR02", "NSR03"; empty: no UDF
  std::optional<IsoBootCatalogue> boot;
  // Partition tables before the first descriptor, as isohybrid makes them.
  bool has_mbr = false;
  bool has_gpt = false;
};

// "x86", "EFI", or the number.
std::string boot_platform_name(uint8_t platform);
std::string_view boot_emulation_name(BootEmulation emulation);

// Errors name the file: not an ISO image; a descriptor that cannot be; truncated: shorter than its descriptor
// promises.
Result<IsoInfo> read_iso_info(SyncFile& file);

}  // namespace vmm::block
