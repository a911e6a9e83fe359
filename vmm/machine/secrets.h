// DiskSecrets: the passphrases of encrypted disks, as the command line brings them.
//
// Threads: values.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/domain/domain.h"

namespace vmm {

namespace block {
class Secret;
}

// By the names that the domain file's <secret> has for them.
using DiskSecrets = std::map<std::string, std::shared_ptr<const block::Secret>>;

// Each as in block/crypto/secret_option.h. Reads files. Errors: of the configuration; none shows a
// passphrase.
Result<DiskSecrets> read_secrets(const std::vector<std::string>& options);

// REQUIRES: disk.secret. Errors: there is none of that name.
Result<std::shared_ptr<const block::Secret>> passphrase_of(const domain::Disk& disk,
                                                           const DiskSecrets& secrets);

}  // namespace vmm
