// What the command line says of the files behind an image: passphrases, data files.
//
// For every command that reads or writes what a disk holds. Threads: values.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "block/disk_options.h"
#include "block/tool/secrets.h"
#include "vmm/base/error.h"

namespace vmm::block::tool {

class ChainOptions {
 public:
  // The options outlive the parsing of the command line.
  void add_to(CLI::App& command);

  // The same for each image of the command. Secrets are read once.
  Status apply_to(DiskOptions& image) const;
  const Secrets& secrets() const { return secrets_; }

 private:
  Secrets secrets_;
  std::vector<std::string> data_files_;
};

}  // namespace vmm::block::tool
