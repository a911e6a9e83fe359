// --object secret,id=NAME,file=FILE: the passphrases of encrypted images, for every command that reads data.
//
// Threads: values.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/crypto/secret_option.h"
#include "block/disk_options.h"
#include "block/tool/command_line.h"
#include "vmm/base/error.h"

namespace vmm::block::tool {

class Secrets {
 public:
  // The options outlive the parsing of the command line.
  void add_to(CommandLine& command);

  // All of them: each encrypted image is opened with the one that fits. Files are read once.
  Result<Passphrases> passphrases() const;
  // Errors: no secret of that name.
  Result<std::shared_ptr<const Secret>> named(const std::string& id) const;

 private:
  Status load() const;

  std::vector<std::string> objects_;
  // Shared by copies: a pipe can be read once.
  std::shared_ptr<std::optional<std::vector<NamedSecret>>> loaded_ =
      std::make_shared<std::optional<std::vector<NamedSecret>>>();
};

}  // namespace vmm::block::tool
