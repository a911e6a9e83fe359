#include "block/tool/chain_options.h"

namespace vmm::block::tool {

void ChainOptions::add_to(CLI::App& command) {
  secrets_.add_to(command);
  command
      .add_option("--data-file", data_files_,
                  "An image may have its data in this file, and names it; may be repeated")
      ->type_name("FILE")
      ->allow_extra_args(false);
}

Status ChainOptions::apply_to(DiskOptions& image) const {
  VMM_ASSIGN_OR_RETURN(image.passphrases, secrets_.passphrases());
  image.data_files = data_files_;
  return {};
}

}  // namespace vmm::block::tool
