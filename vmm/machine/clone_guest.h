// A guest made out of another one: a domain file, and disks that stand on those of the first.
//
// Threads: the caller's; blocks.
#pragma once

#include <filesystem>
#include <string>

#include "vmm/base/error.h"
#include "vmm/machine/secrets.h"

namespace vmm {

struct CloneRequest {
  std::filesystem::path domain_file;
  std::string name;
  std::filesystem::path new_file;  // empty: NAME.xml beside the domain file
  DiskSecrets secrets;
};

// What was made, a line for each. Either all of it is made or nothing. Errors: all that the domain file has;
// files that are there already; disks that cannot be read, or that somebody writes to.
Result<std::string> clone_guest(const CloneRequest& request);

}  // namespace vmm
