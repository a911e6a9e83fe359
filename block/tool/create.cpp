// vmm-img create: makes a new image.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "block/copy/disk.h"
#include "block/new_file.h"
#include "block/tool/command_line.h"
#include "block/tool/commands.h"
#include "block/tool/create_options.h"
#include "block/tool/new_image.h"
#include "block/tool/option_help.h"

namespace vmm::block::tool {
namespace {

struct CreateOptions {
  NewImageOptions image;
  std::string size;
  std::string words;
  bool is_quiet = false;
};

Result<uint64_t> wanted_size(const CreateOptions& options, CreateWords& words, const Disk* backing) {
  VMM_ASSIGN_OR_RETURN(const std::optional<uint64_t> word, words.take_size("size"));
  if (!options.size.empty()) {
    return parse_size(options.size);
  }
  if (word || backing != nullptr) {
    return word ? *word : backing->size_bytes();
  }
  return fail_configuration("{}: the size of the new disk is missing", options.image.path);
}

// The data file first: an image without it would be no image.
Status keep_both(NewFile& file, std::optional<NewFile>& data, const ImagePlan& plan) {
  if (data) {
    VMM_TRY(data->keep(false));
  }
  Status kept = file.keep();
  if (!kept && data && !data->is_block_device()) {
    std::error_code error;
    std::filesystem::remove(plan.data_path, error);
  }
  return kept;
}

// Of what may be, only a qcow2 image stands on another one.
Status take_format(NewImageOptions& image) {
  if (image.format.empty() && image.backing_file.empty()) {
    return fail_configuration("{}: -f must tell the format of the new image: raw or qcow2", image.path);
  }
  if (image.format.empty()) {
    image.format = "qcow2";
  }
  return {};
}

Result<int> show_help(const CreateOptions& options) {
  NewImageOptions image = options.image;
  VMM_TRY(take_format(image));
  VMM_ASSIGN_OR_RETURN(const std::string text, option_help(image.format));
  static_cast<void>(std::fputs(text.c_str(), stdout));
  return 0;
}

Result<int> create(const CreateOptions& options) {
  if (asks_for_help(options.words)) {
    return show_help(options);
  }
  if (options.image.path.empty()) {
    return fail_configuration("FILENAME, the name of the new image, is missing; see vmm-img create --help");
  }
  VMM_ASSIGN_OR_RETURN(CreateWords words, CreateWords::parse(options.words));
  NewImageOptions image = options.image;
  VMM_TRY(take_backing(words, image, "-b"));
  VMM_TRY(take_format(image));
  VMM_TRY(new_format(image));
  VMM_ASSIGN_OR_RETURN(const std::unique_ptr<Disk> backing, open_backing(image));
  VMM_ASSIGN_OR_RETURN(const uint64_t size, wanted_size(options, words, backing.get()));
  VMM_ASSIGN_OR_RETURN(const ImagePlan plan, plan_image(image, words, size));
  VMM_ASSIGN_OR_RETURN(NewFile file, NewFile::create(options.image.path));
  VMM_ASSIGN_OR_RETURN(std::optional<NewFile> data, make_data_file(plan));
  VMM_TRY(make_image(file, plan));
  VMM_TRY(keep_both(file, data, plan));
  if (!options.is_quiet) {
    static_cast<void>(std::printf("Formatting '%s', fmt=%s size=%llu\n", options.image.path.c_str(),
                                  image.format.c_str(), static_cast<unsigned long long>(plan.size_bytes)));
  }
  return 0;
}

}  // namespace

void declare_create(CommandLine& command) {
  auto options = std::make_shared<CreateOptions>();
  command.set_footer("-o help lists the OPTIONS that a format has.");
  command.add_option("-f", options->image.format, "Format: raw or qcow2; with -b qcow2 if absent")
      .type_name("FMT");
  command.add_option("-b", options->image.backing_file, "The new image stands on this one").type_name("FILE");
  command.add_option("-F", options->image.backing_format, "Format of the backing file").type_name("FMT");
  command.add_flag("-u", options->image.is_unsafe, "Do not look at the backing file");
  command.add_option("-o", options->words, "name=value,…, or help; may be repeated")
      .type_name("OPTIONS")
      .joined_with(',');
  options->image.chain.add_to(command);
  options->image.chain.add_backing_format_to(command);
  command.add_flag("-q,--quiet", options->is_quiet, "Print nothing but errors");
  command.add_option("FILENAME", options->image.path).type_name("");
  command
      .add_option("SIZE", options->size,
                  "Of the disk, as 512, 64k, 10G, rounded up to 512; if absent, that of the backing file")
      .type_name("");
  command.set_action([options] { return create(*options); });
}

}  // namespace vmm::block::tool
