// vmm-img resize: another size for the disk in an image.
#include "block/tool/resize.h"

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "block/backing_name.h"
#include "block/copy/disk.h"
#include "block/data_file.h"
#include "block/image_file.h"
#include "block/qcow2/image.h"
#include "block/qcow2/open_image.h"
#include "block/qcow2/resize.h"
#include "block/sync_file.h"
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

// The image, open for writing and locked.
struct Target {
  ImageFile image;
  std::unique_ptr<SyncFile> file;
};

Result<Target> open_target(const std::string& path) {
  Target target;
  VMM_ASSIGN_OR_RETURN(target.image, open_image_file({.path = path, .for_guest = false}));
  target.file = make_sync_file(target.image.files.main, path);
  return target;
}

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

// --- Raw ---

// As long as it was if it fails.
Status resize_file(const Target& target, uint64_t size, std::string_view preallocation) {
  const uint64_t old_bytes = target.image.size_bytes;
  Status grown = target.file->resize(size);
  if (grown && size > old_bytes && (preallocation == "falloc" || preallocation == "full")) {
    grown = target.file->allocate(FileOffset(old_bytes), size - old_bytes, preallocation == "full");
    if (!grown) {
      if (const Status back = target.file->resize(old_bytes); !back) {
        return back;
      }
    }
  }
  VMM_TRY(std::move(grown));
  return target.file->sync();
}

Status resize_raw(const ResizeOptions& options) {
  if (options.preallocation == "metadata") {
    return fail_configuration("--preallocation=metadata: a raw image has none; off, falloc and full can be");
  }
  VMM_ASSIGN_OR_RETURN(const Target target, open_target(options.path));
  if (target.image.files.main.is_block_device) {
    return fail("{} is a block device, whose size is not for us to change", options.path);
  }
  VMM_ASSIGN_OR_RETURN(const uint64_t size, wanted_size(options, target.image.size_bytes));
  return resize_file(target, size, options.preallocation);
}

// --- qcow2 ---

Result<uint64_t> backing_bytes(const ResizeOptions& options, const qcow2::Header& header) {
  if (!header.has_backing_file()) {
    return 0;
  }
  VMM_ASSIGN_OR_RETURN(const BackingName name, parse_backing_name(header.backing_file, options.path));
  const std::optional<std::string>& format = name.format ? name.format : header.backing_format;
  DiskOptions backing{.path = name.path, .read_only = true};
  VMM_TRY(options.chain.apply_to(backing));
  if (!format && !backing.backing_format) {
    return fail(
        "{}: does not say which format its backing file {} has, and a format is never guessed; say it "
        "(--backing-format)",
        options.path, header.backing_file);
  }
  if (format) {
    VMM_ASSIGN_OR_RETURN(backing.format, disk_format(is_file_driver(*format) ? "raw" : *format));
  } else {
    backing.format = *backing.backing_format;
  }
  backing.backing_format.reset();
  auto disk = Disk::open(backing);
  if (!disk) {
    return std::unexpected(disk.error().within("backing file"));
  }
  return (*disk)->size_bytes();
}

// Empty: the image has its data in itself. Asked before anything is changed.
Result<std::string> data_path(const ResizeOptions& options, const qcow2::Header& header) {
  if (!header.has(qcow2::kIncompatibleDataFile)) {
    return std::string();
  }
  DiskOptions image{.path = options.path, .for_guest = false};
  VMM_TRY(options.chain.apply_to(image));
  return named_data_file(header.data_file, image);
}

// A raw data file reads right without the tables, and so is as long as the disk. So is one with
// preallocation.
Status resize_data_file(const ResizeOptions& options, const qcow2::Header& header, const std::string& path,
                        uint64_t size) {
  const bool is_raw = (header.autoclear & qcow2::kAutoclearRawDataFile) != 0;
  if (path.empty() || (!is_raw && options.preallocation == "off")) {
    return {};
  }
  VMM_ASSIGN_OR_RETURN(const Target data, open_target(path));
  if (data.image.files.main.is_block_device) {
    return data.image.size_bytes >= size
               ? Status()
               : fail("{}: its data file {} is a block device of {} bytes, too short", options.path, path,
                      data.image.size_bytes);
  }
  return resize_file(data, size, options.preallocation);
}

// With the size that the disk is to have; its header still has the old one.
Status write_zeroes(const ResizeOptions& options, uint64_t size, const qcow2::DiskRange& range) {
  DiskOptions image{.path = options.path, .format = Format::kQcow2, .disk_bytes = size};
  VMM_TRY(options.chain.apply_to(image));
  VMM_ASSIGN_OR_RETURN(const auto disk, Disk::open(image));
  IoStatus status = disk->run(BlockOp::kWriteZeroes, range.offset, range.bytes);
  if (status == IoStatus::kOk) {
    status = disk->run(BlockOp::kFlush, 0, 0);
  }
  return status == IoStatus::kOk
             ? Status()
             : fail("{}: what is new cannot be filled with zeroes, and the disk stays as it was: {}",
                    options.path, status_text(status));
}

Result<qcow2::Preallocation> qcow2_preallocation(const ResizeOptions& options, const Target& target) {
  if (options.preallocation == "off") {
    return qcow2::Preallocation::kOff;
  }
  if (target.image.files.main.is_block_device) {
    return fail("{} is a block device, whose free space is not known to be zeroes; use --preallocation=off",
                options.path);
  }
  return options.preallocation == "metadata" ? qcow2::Preallocation::kMetadata
         : options.preallocation == "falloc" ? qcow2::Preallocation::kFalloc
                                             : qcow2::Preallocation::kFull;
}

Result<std::optional<uint64_t>> shrink_or_begin(const ResizeOptions& options,
                                                std::optional<qcow2::DiskRange>& zeroes) {
  VMM_ASSIGN_OR_RETURN(const Target target, open_target(options.path));
  VMM_ASSIGN_OR_RETURN(qcow2::Header header, qcow2::read_header(*target.file));
  VMM_ASSIGN_OR_RETURN(const uint64_t size, wanted_size(options, header.size_bytes));
  VMM_TRY(qcow2::check_resize(*target.file, header, size));
  VMM_ASSIGN_OR_RETURN(const qcow2::Preallocation preallocation, qcow2_preallocation(options, target));
  VMM_ASSIGN_OR_RETURN(const uint64_t backing, backing_bytes(options, header));
  VMM_ASSIGN_OR_RETURN(const std::string data, data_path(options, header));
  VMM_TRY(qcow2::prepare_for_maintenance(*target.file, header));
  if (size < header.size_bytes) {
    VMM_TRY(qcow2::shrink(*target.file, header, size));
    VMM_TRY(resize_data_file(options, header, data, size));
    return std::nullopt;
  }
  VMM_TRY(resize_data_file(options, header, data, size));
  VMM_TRY(qcow2::begin_growing(*target.file, header, size, preallocation));
  zeroes = qcow2::zeroes_needed(header, size, backing, preallocation);
  if (!zeroes) {
    VMM_TRY(qcow2::finish_growing(*target.file, header, size));
    return std::nullopt;
  }
  return std::optional(size);
}

Status resize_qcow2(const ResizeOptions& options) {
  std::optional<qcow2::DiskRange> zeroes;
  VMM_ASSIGN_OR_RETURN(const std::optional<uint64_t> size, shrink_or_begin(options, zeroes));
  if (!size) {
    return {};
  }
  VMM_TRY(write_zeroes(options, *size, *zeroes));
  VMM_ASSIGN_OR_RETURN(const Target target, open_target(options.path));
  VMM_ASSIGN_OR_RETURN(qcow2::Header header, qcow2::read_header(*target.file));
  if (header.size_bytes != zeroes->offset) {
    return fail("{}: another program has resized it meanwhile; try again", options.path);
  }
  return qcow2::finish_growing(*target.file, header, *size);
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
  VMM_ASSIGN_OR_RETURN(const Format format, disk_format(options.format));
  if (format != Format::kRaw && format != Format::kQcow2) {
    return fail_configuration("{}: images of the format {} are only read here", options.path, options.format);
  }
  return format == Format::kRaw ? resize_raw(options) : resize_qcow2(options);
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
