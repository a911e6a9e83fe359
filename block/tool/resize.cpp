// vmm-img resize: another size for the disk in an image.
#include "block/tool/resize.h"

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "block/resize.h"
#include "block/tool/command_line.h"
#include "block/tool/commands.h"
#include "block/tool/create_options.h"
#include "block/tool/image_options.h"
#include "block/tool/text.h"

namespace vmm::block::tool {
namespace {

struct ResizeCommand {
  ImageOptions image;
  ResizeOptions options;
};

// "+1G" and "-1G" start from the size that is.
Result<uint64_t> wanted_size(const ResizeOptions& options, uint64_t old_bytes) {
  const bool is_relative = options.size.starts_with('+') || options.size.starts_with('-');
  VMM_ASSIGN_OR_RETURN(const uint64_t bytes, parse_size(is_relative ? options.size.substr(1) : options.size));
  const bool is_less = options.size.starts_with('-');
  const uint64_t size = !is_relative ? bytes : is_less ? old_bytes - bytes : old_bytes + bytes;
  const bool is_beyond = is_less ? bytes >= old_bytes : size < bytes || size > INT64_MAX;
  if (size == 0 || is_beyond) {
    return fail_configuration("{}: {} would make a disk of {} bytes {}; it has 1 to {} bytes", options.path,
                              options.size, old_bytes, is_less ? "vanish" : "too long or empty", INT64_MAX);
  }
  if (size < old_bytes && !options.may_shrink) {
    return fail_configuration(
        "{}: would become shorter, {} bytes instead of {}, and lose what lies behind; --shrink allows it",
        options.path, size, old_bytes);
  }
  if (size < old_bytes && options.preallocation != "off") {
    return fail_configuration("--preallocation={}: only what grows can be preallocated",
                              options.preallocation);
  }
  return size;
}

qcow2::Preallocation preallocation_of(std::string_view name) {
  return name == "off"        ? qcow2::Preallocation::kOff
         : name == "metadata" ? qcow2::Preallocation::kMetadata
         : name == "falloc"   ? qcow2::Preallocation::kFalloc
                              : qcow2::Preallocation::kFull;
}

Result<int> resize(ResizeCommand& command) {
  ResizeOptions& options = command.options;
  VMM_ASSIGN_OR_RETURN(const NamedImage image, command.image.named(options.path));
  options.path = image.path;
  options.format = image.format;
  options.chain.narrow_to(image.behind);
  VMM_TRY(resize_image(options));
  if (!options.is_quiet) {
    static_cast<void>(std::printf("Image resized.\n"));
  }
  return 0;
}

}  // namespace

Status resize_image(const ResizeOptions& options) {
  block::ResizeOptions wanted{
      .image = {.path = options.path, .for_guest = false},
      .wanted_bytes = [&options](uint64_t old_bytes) { return wanted_size(options, old_bytes); }};
  VMM_ASSIGN_OR_RETURN(wanted.image.format, disk_format(options.format));
  if (wanted.image.format != Format::kRaw && wanted.image.format != Format::kQcow2) {
    return fail_configuration("{}: images of the format {} are only read here", options.path, options.format);
  }
  if (wanted.image.format == Format::kRaw && options.preallocation == "metadata") {
    return fail_configuration("--preallocation=metadata: a raw image has none; off, falloc and full can be");
  }
  wanted.preallocation = preallocation_of(options.preallocation);
  VMM_TRY(options.chain.apply_to(wanted.image));
  return block::resize_image(wanted);
}

void declare_resize(CommandLine& command) {
  auto resized = std::make_shared<ResizeCommand>();
  ResizeOptions* options = &resized->options;
  command.set_footer(
      "SIZE is the new size, or with + or - before it the difference. What is new reads as zeroes.\n"
      "No other program may use the image meanwhile.");
  resized->image.add_to(command, "raw or qcow2", ImageOptions::Use::kWrite);
  command
      .add_option("--preallocation", options->preallocation,
                  "Of what is new: off (what is used if absent), metadata (qcow2), falloc, full")
      .one_of({"off", "metadata", "falloc", "full"})
      .type_name("MODE");
  command.add_flag("--shrink", options->may_shrink, "The disk may become shorter");
  options->chain.add_to(command);
  options->chain.add_backing_format_to(command);
  command.add_flag("-q,--quiet", options->is_quiet, "Print nothing but errors");
  command.add_option("FILENAME", options->path).required().type_name("");
  command.add_option("SIZE", options->size).required().type_name("");
  command.set_action([resized] { return resize(*resized); });
}

}  // namespace vmm::block::tool
