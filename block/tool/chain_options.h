// What the command line says of the files behind an image: passphrases, data files, the backing file's
// format.
//
// For every command that reads or writes what a disk holds. Threads: values.
#pragma once

#include <string>
#include <vector>

#include "block/disk_options.h"
#include "block/tool/command_line.h"
#include "block/tool/secrets.h"
#include "vmm/base/error.h"

namespace vmm::block::tool {

// What an image's own options say of the files behind it.
struct FilesBehind {
  std::vector<std::string> secret_ids;
  std::vector<std::string> data_files;
};

class ChainOptions {
 public:
  // The options outlive the parsing of the command line.
  void add_to(CommandLine& command);

  // For commands that open images which say what they stand on, and not in which format.
  void add_backing_format_to(CommandLine& command);

  // For the image that the image on the command line stands on: --backing-format says nothing of it.
  ChainOptions of_backing() const;

  // Only the secrets that are named fit any more, if some are; data files come to the others.
  void narrow_to(const FilesBehind& behind);

  // Secrets are read once.
  Status apply_to(DiskOptions& image) const;
  const Secrets& secrets() const { return secrets_; }

 private:
  Secrets secrets_;
  std::vector<std::string> data_files_;
  std::string backing_format_;
  std::vector<std::string> secret_ids_;  // empty: all
};

}  // namespace vmm::block::tool
