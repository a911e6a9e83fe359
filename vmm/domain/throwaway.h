// --ephemeral and its relatives: disks of a domain that are throwaway for this run.
//
// Threads: values.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/domain/domain.h"

namespace vmm::domain {

// Less than that is used up by tables.
inline constexpr uint64_t kMinThrowawayLimitBytes = uint64_t{1} << 20U;

struct ThrowawayOptions {
  bool every_disk = false;        // that the guest may write to (--ephemeral)
  bool in_memory = false;         // --ephemeral=memory
  std::filesystem::path folder;   // --ephemeral-dir; empty: not given
  std::vector<std::string> keep;  // --keep: "FILE", or "TARGET=FILE" where several disks are throwaway
  std::string limit;              // --ephemeral-limit: as parse_size() takes it; empty: not given
  bool is_encrypted = false;      // --ephemeral-encrypt
  bool is_committed = false;      // --commit: what is not kept
};

// Relative paths become absolute. Errors, of ErrorKind::kConfiguration, name the option: options that do not
// go together, or that no disk of the domain is meant by.
Status make_throwaway(Domain& domain, const ThrowawayOptions& options);

}  // namespace vmm::domain
