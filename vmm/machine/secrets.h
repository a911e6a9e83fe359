// DiskSecrets: the passphrases of encrypted disks, as the command line brings them.
//
// Threads: values.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "vmm/base/error.h"

namespace vmm {

namespace block {
class Secret;
}

// By the names that the domain file's <secret> has for them.
using DiskSecrets = std::map<std::string, std::shared_ptr<const block::Secret>>;

// Each as in block/crypto/secret_option.h. Reads files. Errors: of the configuration; none shows a
// passphrase.
Result<DiskSecrets> read_secrets(const std::vector<std::string>& options);

}  // namespace vmm
