#include "block/tool/chain_options.h"

#include <utility>

#include "block/tool/text.h"

namespace vmm::block::tool {

void ChainOptions::add_to(CommandLine& command) {
  secrets_.add_to(command);
  command
      .add_option("--data-file", data_files_,
                  "An image may have its data in this file, and names it; may be repeated")
      .type_name("FILE")
      .one_value_each();
}

void ChainOptions::add_backing_format_to(CommandLine& command) {
  command
      .add_option("--backing-format", backing_format_,
                  "Format of the file that an image stands on, where the image names none")
      .type_name("FMT");
}

ChainOptions ChainOptions::of_backing() const {
  ChainOptions options = *this;
  options.backing_format_.clear();
  return options;
}

void ChainOptions::narrow_to(const FilesBehind& behind) {
  secret_ids_.insert(secret_ids_.end(), behind.secret_ids.begin(), behind.secret_ids.end());
  data_files_.insert(data_files_.end(), behind.data_files.begin(), behind.data_files.end());
}

Status ChainOptions::apply_to(DiskOptions& image) const {
  VMM_ASSIGN_OR_RETURN(image.passphrases, secrets_.passphrases());
  if (!secret_ids_.empty()) {
    image.passphrases.clear();
  }
  for (const std::string& id : secret_ids_) {
    VMM_ASSIGN_OR_RETURN(auto passphrase, secrets_.named(id));
    image.passphrases.push_back(std::move(passphrase));
  }
  image.data_files = data_files_;
  if (!backing_format_.empty()) {
    VMM_ASSIGN_OR_RETURN(image.backing_format, disk_format(backing_format_));
  }
  return {};
}

}  // namespace vmm::block::tool
