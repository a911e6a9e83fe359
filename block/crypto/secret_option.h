// A passphrase as the command line names it: "id=NAME,file=PATH" or "id=NAME,env=VARIABLE", QEMU's words for
// secret objects, and env= besides. A comma in a value is doubled. Threads: functions without state.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "block/crypto/secret.h"
#include "vmm/base/error.h"

namespace vmm::block {

struct NamedSecret {
  std::string id;
  std::shared_ptr<const Secret> passphrase;
};

// Reads the passphrase. Errors name what is wrong, and never show a passphrase: a data= is refused without
// its value.
Result<NamedSecret> read_secret_option(std::string_view text);

}  // namespace vmm::block
