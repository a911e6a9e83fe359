#include "block/tool/image_options.h"

#include <utility>

#include "block/backing_name.h"
#include "block/open_chain.h"
#include "block/tool/create_options.h"
#include "block/tool/default_format.h"
#include "block/tool/image_info.h"
#include "block/tool/text.h"

namespace vmm::block::tool {
namespace {

constexpr std::string_view kOption = "--image-opts";

Result<bool> take_switch(CreateWords& words, const std::string& key) {
  const auto word = words.take(key);
  if (word && *word != "on" && *word != "off") {
    return fail_configuration("{} {}={}: on and off can be", kOption, key, *word);
  }
  return word == "on";
}

// A file's or a block device's.
Status check_file_driver(CreateWords& words, const std::string& key) {
  const auto driver = words.take(key);
  if (driver && !is_file_driver(*driver)) {
    return fail_configuration("{} {}={}: only file and host_device can be; protocols are not known here",
                              kOption, key, *driver);
  }
  return {};
}

Result<std::optional<CacheMode>> take_cache(CreateWords& words) {
  VMM_ASSIGN_OR_RETURN(const bool is_direct, take_switch(words, "cache.direct"));
  VMM_ASSIGN_OR_RETURN(const bool has_no_flush, take_switch(words, "cache.no-flush"));
  if (is_direct && has_no_flush) {
    return fail_configuration("{}: cache.direct=on and cache.no-flush=on do not go together; take one",
                              kOption);
  }
  if (is_direct || has_no_flush) {
    return std::optional(is_direct ? CacheMode::kNone : CacheMode::kUnsafe);
  }
  return std::optional<CacheMode>();
}

// driver=file,filename=…: the file as it is. Else driver=FORMAT,file.filename=….
Status take_place(CreateWords& words, NamedImage& image) {
  image.format = words.take("driver").value_or("");
  const bool is_file = is_file_driver(image.format);
  if (is_file) {
    image.format = "raw";
  } else {
    VMM_TRY(check_file_driver(words, "file.driver"));
  }
  const std::string key = is_file ? "filename" : "file.filename";
  image.path = words.take(key).value_or("");
  return image.path.empty() ? fail_configuration("{}: {}=FILE must name the image", kOption, key) : Status();
}

Status take_encryption(CreateWords& words, NamedImage& image) {
  image.encryption = words.take("encrypt.format").value_or("");
  if (!image.encryption.empty() && image.encryption != "luks" && image.encryption != "aes") {
    return fail_configuration("{} encrypt.format={}: luks and aes can be", kOption, image.encryption);
  }
  // Of the image, and of what it stands on.
  std::string key = "encrypt.key-secret";
  for (size_t i = 0; i < kMaxChainLayers; ++i, key.insert(0, "backing.")) {
    if (auto secret = words.take(key)) {
      image.behind.secret_ids.push_back(*std::move(secret));
    }
  }
  return {};
}

// What the image is, not what somebody took it for.
Status check_encryption(const NamedImage& image) {
  if (image.encryption.empty()) {
    return {};
  }
  VMM_ASSIGN_OR_RETURN(const ImageInfo info, image_info(image.path, image.format, image.is_shared));
  const auto nothing = nlohmann::ordered_json::object();
  const auto specific = info.tree.value("format-specific", nothing).value("data", nothing);
  const bool is_old_aes = image.format == "qcow" && info.tree.value("encrypted", false);
  const std::string found =
      is_old_aes ? "aes" : specific.value("encrypt", nothing).value("format", std::string());
  return found == image.encryption
             ? Status()
             : fail("{}: {} encrypt.format={} is not what it has, which is {}", image.path, kOption,
                    image.encryption, found.empty() ? "no encryption" : found);
}

}  // namespace

Result<NamedImage> parse_image_options(std::string_view text) {
  VMM_ASSIGN_OR_RETURN(CreateWords words, CreateWords::parse_pairs(text, kOption));
  NamedImage image;
  VMM_TRY(take_place(words, image));
  VMM_TRY(take_encryption(words, image));
  VMM_ASSIGN_OR_RETURN(image.cache, take_cache(words));
  VMM_ASSIGN_OR_RETURN(image.is_shared, take_switch(words, "force-share"));
  VMM_ASSIGN_OR_RETURN(image.is_read_only, take_switch(words, "read-only"));
  VMM_TRY(check_file_driver(words, "data-file.driver"));
  if (auto data = words.take("data-file.filename")) {
    image.behind.data_files.push_back(*std::move(data));
  }
  if (const auto left = words.first_left()) {
    return fail_configuration(
        "{} {}: is not known here; driver, file.driver, file.filename, encrypt.format, encrypt.key-secret, "
        "backing.encrypt.key-secret, data-file.filename, cache.direct, cache.no-flush, force-share and "
        "read-only are",
        kOption, *left);
  }
  return image;
}

void ImageOptions::add_to(CommandLine& command, const std::string& formats, Use use) {
  command_ = command.name();
  command.add_option("-f,--format", format_, "Format: " + formats).type_name("FMT");
  command.add_flag("--image-opts", are_image_options_,
                   "Images are given as driver=FMT,file.filename=FILE,… in place of -f and a file");
  may_write_ = use == Use::kWrite;
  if (use != Use::kWrite) {
    command.add_flag("-U,--force-share", is_shared_, "Others may be writing to the image meanwhile");
  }
}

void ImageOptions::add_target_to(CommandLine& command) {
  command_ = command.name();
  command.add_flag("--target-image-opts", are_image_options_,
                   "The target is given as driver=FMT,file.filename=FILE,… in place of -O and a file");
  may_write_ = true;
}

Result<NamedImage> ImageOptions::named(const std::string& name, const std::string& format,
                                       std::string_view option) const {
  NamedImage image{.path = name, .format = format};
  if (are_image_options_) {
    if (!format.empty()) {
      return fail_configuration("{} and {}: the driver is the format; leave {} out", option, kOption, option);
    }
    VMM_ASSIGN_OR_RETURN(image, parse_image_options(name));
  }
  if (image.format.empty() && are_image_options_ && !is_format_optional_) {
    return fail_configuration(
        "{}: driver= must tell its format, which is never guessed: raw, qcow2, qcow or iso; see vmm-img {} "
        "--help",
        image.path, command_);
  }
  if (image.is_read_only && may_write_) {
    return fail_configuration("{}: {} read-only=on, and it is to be written to; leave that out", image.path,
                              kOption);
  }
  if (image.is_shared && may_write_) {
    return fail_configuration("{}: {} force-share=on is for images that are only read; leave it out",
                              image.path, kOption);
  }
  image.is_shared = image.is_shared || is_shared_;
  if (image.format.empty() && !is_format_optional_) {
    VMM_ASSIGN_OR_RETURN(image.format, format_of_image(only_format_, image.path, option, image.is_shared));
  }
  VMM_TRY(check_encryption(image));
  return image;
}

Result<DiskOptions> disk_options(const NamedImage& image, const ChainOptions& chain, CacheMode otherwise) {
  DiskOptions disk{.path = image.path, .read_only = true, .shareable = image.is_shared};
  VMM_ASSIGN_OR_RETURN(disk.format, disk_format(image.format));
  disk.cache = image.cache.value_or(otherwise);
  ChainOptions files = chain;
  files.narrow_to(image.behind);
  VMM_TRY(files.apply_to(disk));
  return disk;
}

Result<DiskOptions> ImageOptions::disk(const std::string& name, const ChainOptions& chain,
                                       const std::string& cache) const {
  VMM_ASSIGN_OR_RETURN(const NamedImage image, named(name));
  VMM_ASSIGN_OR_RETURN(const CacheMode mode, cache_mode(cache));
  return disk_options(image, chain, mode);
}

}  // namespace vmm::block::tool
