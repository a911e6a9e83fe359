// vmm-img rebase: an image comes to stand on another one.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "block/backing_name.h"
#include "block/changed_image.h"
#include "block/copy/copy_job.h"
#include "block/copy/disk.h"
#include "block/copy/sources.h"
#include "block/image_file.h"
#include "block/qcow2/change_backing.h"
#include "block/qcow2/image.h"
#include "block/sync_file.h"
#include "block/tool/chain_options.h"
#include "block/tool/command_line.h"
#include "block/tool/commands.h"
#include "block/tool/new_image.h"
#include "block/tool/progress.h"
#include "block/tool/text.h"

namespace vmm::block::tool {
namespace {

struct RebaseOptions {
  std::string path;
  std::string format;
  std::string base;  // as the image is to name it; empty: none
  std::string base_format;
  std::string cache = "writeback";
  std::string source_cache = "writeback";
  ChainOptions chain;
  std::optional<Option> names_base;
  bool is_unsafe = false;
  bool is_quiet = false;
  bool shows_progress = false;
};

qcow2::Backing new_backing(const RebaseOptions& options) {
  return {.file = options.base,
          .format = options.base.empty() ? std::nullopt : std::optional(options.base_format)};
}

Status check_rebase_options(const RebaseOptions& options) {
  VMM_ASSIGN_OR_RETURN(const Format format, disk_format(options.format));
  if (format != Format::kQcow2) {
    return fail_configuration("{}: of the images that can be changed here only qcow2 ones stand on others",
                              options.path);
  }
  if (!options.is_unsafe && !options.names_base->is_given()) {
    return fail_configuration("{}: -b must name the image that it is to stand on; -b '' is for none",
                              options.path);
  }
  if (options.base.empty()) {
    return {};
  }
  VMM_TRY(check_backing_format(options.path, options.base_format));
  VMM_TRY(disk_format(options.base_format));
  return {};
}

// The new backing file, from where the program runs; nothing: none.
Result<std::optional<BackingName>> find_new_base(const RebaseOptions& options) {
  if (options.base.empty()) {
    return std::nullopt;
  }
  VMM_ASSIGN_OR_RETURN(BackingName name, parse_backing_name(options.base, options.path));
  if (std::error_code error; std::filesystem::equivalent(name.path, options.path, error)) {
    return fail_configuration("{}: an image cannot stand on itself; name another one", options.path);
  }
  return std::optional(std::move(name));
}

Status expect_old_base(const RebaseOptions& options, const qcow2::Header& header) {
  if (!header.has_backing_file()) {
    return {};
  }
  VMM_ASSIGN_OR_RETURN(const BackingName name, parse_backing_name(header.backing_file, options.path));
  std::error_code error;
  return std::filesystem::exists(name.path, error)
             ? Status()
             : fail(
                   "{}: its present backing file {} is not there, and so what the disk holds cannot be kept; "
                   "-u changes the name alone, for one that was moved",
                   options.path, name.path);
}

// Refuses what cannot be; gives what the image allocates as one.
Result<uint64_t> judge_image(const RebaseOptions& options) {
  VMM_ASSIGN_OR_RETURN(const ImageFile image,
                       open_image_file({.path = options.path, .read_only = true, .for_guest = false}));
  const auto file = make_sync_file(image.files.main, options.path);
  VMM_ASSIGN_OR_RETURN(const qcow2::Header header, qcow2::read_header(*file));
  if (header.snapshot_count > 0) {
    return fail(
        "{}: has internal snapshots, in which the new backing file would show; delete them first (vmm-img "
        "snapshot -d)",
        options.path);
  }
  VMM_TRY(expect_old_base(options, header));
  VMM_TRY(qcow2::check_backing(*file, header, new_backing(options)));
  return uint64_t{1} << header.entry_format().unit_bits();
}

// Opened before the image is, which is among its files if it would come to stand on itself.
Result<Sources> open_base(const RebaseOptions& options, const std::optional<BackingName>& name,
                          const std::shared_ptr<EventLoop>& loop) {
  Sources sources;
  if (!name) {
    return sources;
  }
  DiskOptions base{.path = name->path, .read_only = true};
  VMM_ASSIGN_OR_RETURN(base.format, disk_format(name->format.value_or(options.base_format)));
  VMM_ASSIGN_OR_RETURN(base.cache, cache_mode(options.source_cache));
  VMM_TRY(options.chain.apply_to(base));
  base.opened = std::make_shared<std::vector<FileState>>();
  auto disk = Disk::open(base, loop);
  if (!disk) {
    return std::unexpected(disk.error().within("backing file"));
  }
  VMM_ASSIGN_OR_RETURN(const FileState image, state_of_file(options.path));
  if (std::ranges::any_of(*base.opened, [&](const FileState& file) { return file.is_same_file(image); })) {
    return fail("{}: {} stands on it, and so it cannot stand on that; name another image", options.path,
                name->path);
  }
  sources.add(*std::move(disk));
  return sources;
}

Result<std::unique_ptr<Disk>> open_image(const RebaseOptions& options,
                                         const std::shared_ptr<EventLoop>& loop) {
  DiskOptions image{.path = options.path, .format = Format::kQcow2};
  // The name may change only when all of it is on stable storage: a flush is never left out.
  VMM_ASSIGN_OR_RETURN(image.cache, safe_cache_mode(options.cache));
  VMM_ASSIGN_OR_RETURN(image.backing_cache, cache_mode(options.source_cache));
  image.changes_backing = true;
  VMM_TRY(options.chain.apply_to(image));
  return Disk::open(image, loop);
}

// The image gets what it would show otherwise than now.
Status write_differences(const RebaseOptions& options, const std::optional<BackingName>& base) {
  VMM_ASSIGN_OR_RETURN(const uint64_t unit_bytes, judge_image(options));
  VMM_ASSIGN_OR_RETURN(const std::shared_ptr<EventLoop> loop, EventLoop::create());
  VMM_ASSIGN_OR_RETURN(Sources shown, open_base(options, base, loop));
  VMM_ASSIGN_OR_RETURN(std::unique_ptr<Disk> disk, open_image(options, loop));
  if (disk->size_bytes() == 0) {
    return {};
  }
  BlockDevice& device = disk->device();
  Sources sources;
  sources.add(std::move(disk));
  Progress progress(options.shows_progress, options.is_quiet);
  CopyJob job(*loop, sources, device, options.path,
              {.unit_bytes = unit_bytes, .is_out_of_order = true, .shown = &shown},
              [&progress](uint64_t done, uint64_t all) { progress.show(done, all); });
  return job.run();
}

// `state`: the image must still be as it was left.
Status change_name(const RebaseOptions& options, const std::optional<FileState>& state) {
  VMM_ASSIGN_OR_RETURN(const ChangedImage image, open_changed_image(options.path, state));
  return qcow2::change_backing(*image.file, image.header, new_backing(options));
}

Result<int> rebase(const RebaseOptions& options) {
  VMM_TRY(check_rebase_options(options));
  VMM_ASSIGN_OR_RETURN(const std::optional<BackingName> base, find_new_base(options));
  std::optional<FileState> state;
  if (!options.is_unsafe) {
    VMM_TRY(write_differences(options, base));
    VMM_ASSIGN_OR_RETURN(state, state_of_file(options.path));
  }
  VMM_TRY(change_name(options, state));
  return 0;
}

}  // namespace

void declare_rebase(CommandLine& command) {
  auto options = std::make_shared<RebaseOptions>();
  command.set_footer(
      "The disk reads as before: what the new backing file has otherwise is written into the image first. A\n"
      "relative name starts at the image's folder. An interrupted rebase is done again. No other program "
      "may\n"
      "use the image meanwhile.");
  command.add_option("-f", options->format, "Format: qcow2").required().type_name("FMT");
  options->names_base =
      command.add_option("-b", options->base, "The new backing file, as the image is to name it; '': none")
          .type_name("FILE");
  command.add_option("-F", options->base_format, "Format of the new backing file").type_name("FMT");
  command.add_flag("-u", options->is_unsafe,
                   "Change the name only, for a backing file that was moved: neither file is looked at");
  command
      .add_option("-t", options->cache,
                  "Cache of the image: none, writeback (if absent), writethrough, directsync, unsafe (as\n"
                  "writeback)")
      .type_name("CACHE");
  command.add_option("-T", options->source_cache, "Cache of the backing files (writeback if absent)")
      .type_name("CACHE");
  options->chain.add_to(command);
  options->chain.add_backing_format_to(command);
  command.add_flag("-p", options->shows_progress, "Show the progress");
  command.add_flag("-q,--quiet", options->is_quiet, "Print nothing but errors");
  command.add_option("FILENAME", options->path).required().type_name("");
  command.set_action([options] { return rebase(*options); });
}

}  // namespace vmm::block::tool
