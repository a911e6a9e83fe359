// vmm-img commit: what an image holds gets into one that it stands on.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "block/backing_name.h"
#include "block/changed_image.h"
#include "block/commit.h"
#include "block/data_file.h"
#include "block/image_file.h"
#include "block/image_mark.h"
#include "block/qcow2/make_empty.h"
#include "block/sync_file.h"
#include "block/tool/chain_options.h"
#include "block/tool/command_line.h"
#include "block/tool/commands.h"
#include "block/tool/layers.h"
#include "block/tool/progress.h"
#include "block/tool/resize.h"
#include "block/tool/text.h"
#include "vmm/base/bytes.h"

namespace vmm::block::tool {
namespace {

struct CommitOptions {
  std::string path;
  std::string format;
  std::string base;
  std::string cache = "writeback";
  ChainOptions chain;
  std::optional<Option> names_base;
  bool is_kept = false;
  bool is_quiet = false;
  bool shows_progress = false;

  // With -b the images between are of no use afterwards, but the topmost one reads as before: it stays, as
  // with qemu-img.
  bool empties() const { return !is_kept && !names_base->is_given(); }
};

// Which of the layers the ones above it are committed to.
Result<size_t> find_base(const CommitOptions& options, const std::vector<Layer>& layers) {
  if (layers.size() == 1) {
    return fail("{}: stands on no other image to which it could be committed", options.path);
  }
  if (!options.names_base->is_given()) {
    return 1;
  }
  for (size_t i = 1; i < layers.size(); ++i) {
    VMM_ASSIGN_OR_RETURN(const BackingName name, parse_backing_name(options.base, layers[i - 1].path));
    if (std::error_code error; std::filesystem::equivalent(name.path, layers[i].path, error)) {
      return i;
    }
  }
  return fail("{}: -b {} is none of those that it stands on ({})", options.path, options.base,
              chain_text(layers));
}

Status check_layers(const CommitOptions& options, const std::vector<Layer>& layers, size_t base) {
  const Layer& target = layers[base];
  if (target.format != Format::kRaw && target.format != Format::kQcow2) {
    return fail("{}: images of the format {} are only read here; convert it first", target.path,
                format_word(target.format));
  }
  if (options.empties() && layers.front().format != Format::kQcow2) {
    return fail(
        "{}: images of the format {} are only read here, and it cannot be emptied; -d leaves it as it is",
        options.path, format_word(layers.front().format));
  }
  const auto with_snapshots = std::find_if(layers.begin(), layers.begin() + static_cast<ptrdiff_t>(base),
                                           [](const Layer& layer) { return layer.has_snapshots; });
  if (with_snapshots != layers.begin() + static_cast<ptrdiff_t>(base)) {
    return fail(
        "{}: has internal snapshots, in which the changed {} would show; delete them first (vmm-img snapshot "
        "-d)",
        with_snapshots->path, target.path);
  }
  return {};
}

// What is refused leaves the base as long as it was, too.
Status check_others(const std::vector<Layer>& layers, size_t base) {
  std::vector<DiskLayer> checked;
  std::ranges::transform(layers, std::back_inserter(checked),
                         [](const Layer& layer) { return DiskLayer{.path = layer.path}; });
  return check_merge(checked, base);
}

// Who uses the image is told before anything is changed; afterwards it must still be the same.
Result<FileState> prepare_to_empty(const std::string& path) {
  VMM_ASSIGN_OR_RETURN(const ChangedImage image, open_changed_image(path));
  return state_of_file(path);
}

Status make_long_enough(const CommitOptions& options, const Layer& base, uint64_t size_bytes) {
  if (size_bytes <= base.size_bytes) {
    return {};
  }
  return resize_image({.path = base.path,
                       .size = std::to_string(align_up(size_bytes, kSectorBytes)),
                       .format = std::string(format_word(base.format)),
                       .chain = options.chain.of_backing()});
}

Status merge(const CommitOptions& options, const DiskOptions& top, const Layer& base) {
  DiskOptions target{.path = base.path, .format = base.format, .cache = top.cache};
  VMM_TRY(options.chain.of_backing().apply_to(target));
  VMM_ASSIGN_OR_RETURN(const std::shared_ptr<EventLoop> loop, EventLoop::create());
  Progress progress(options.shows_progress, options.is_quiet);
  return block::commit(loop, top, target,
                       [&progress](uint64_t done, uint64_t all) { progress.show(done, all); });
}

// An external data file holds nothing any more.
Status give_back_data(const CommitOptions& options, const qcow2::Header& header) {
  if (!header.has(qcow2::kIncompatibleDataFile)) {
    return {};
  }
  DiskOptions image{.path = options.path, .for_guest = false};
  VMM_TRY(options.chain.apply_to(image));
  VMM_ASSIGN_OR_RETURN(const std::string path, named_data_file(header.data_file, image));
  VMM_ASSIGN_OR_RETURN(const ImageFile data, open_image_file({.path = path, .for_guest = false}));
  make_sync_file(data.files.main, path)->discard(FileOffset(0), header.size_bytes);
  return {};
}

Status empty_image(const CommitOptions& options, const FileState& state, const std::string& base) {
  VMM_ASSIGN_OR_RETURN(ChangedImage image, open_changed_image(options.path, state));
  VMM_TRY(qcow2::make_empty(*image.file, image.header));
  VMM_TRY(give_back_data(options, image.header));
  // Where there can be no marks nobody asks for them.
  static_cast<void>(!set_mark(options.path, ImageMark::kEmptied, base));
  return {};
}

Result<int> commit(const CommitOptions& options) {
  DiskOptions top{.path = options.path, .read_only = true};
  VMM_ASSIGN_OR_RETURN(top.format, disk_format(options.format));
  // The base must be on stable storage before the image is emptied.
  VMM_ASSIGN_OR_RETURN(top.cache, safe_cache_mode(options.cache));
  VMM_TRY(options.chain.apply_to(top));
  VMM_ASSIGN_OR_RETURN(const std::vector<Layer> layers, layers_of(top));
  VMM_ASSIGN_OR_RETURN(const size_t base, find_base(options, layers));
  VMM_TRY(check_layers(options, layers, base));
  VMM_TRY(check_others(layers, base));
  if (options.empties()) {
    VMM_ASSIGN_OR_RETURN(top.expected, prepare_to_empty(options.path));
  }
  top.layers = static_cast<uint32_t>(base);
  VMM_TRY(make_long_enough(options, layers[base], layers.front().size_bytes));
  if (const Status merged = merge(options, top, layers[base]); !merged) {
    return fail(
        "{}; the image is as it was: commit it again when that is mended (what {} has taken meanwhile and "
        "does not "
        "use, vmm-img check -r leaks gives back)",
        merged.error().message(), layers[base].path);
  }
  if (options.empties()) {
    if (const Status emptied = empty_image(options, *top.expected, layers[base].path); !emptied) {
      return std::unexpected(emptied.error().within(
          fmt::format("all is in {}, but the image could not be emptied", layers[base].path)));
    }
  }
  if (!options.is_quiet) {
    static_cast<void>(std::printf("Image committed.\n"));
  }
  return 0;
}

}  // namespace

void declare_commit(CommandLine& command) {
  auto options = std::make_shared<CommitOptions>();
  command.set_footer(
      "The image is empty afterwards (see -b and -d), and its disk reads as before. Until the other one is\n"
      "complete it stays as it is: a commit that was interrupted is done again. Others that stand on the\n"
      "changed image are of no use afterwards. No other program may use the images meanwhile.");
  command.add_option("-f", options->format, "Format: qcow2; with -b or -d also qcow")
      .required()
      .type_name("FMT");
  options->names_base =
      command
          .add_option("-b", options->base,
                      "The image to write into, with what all images above it hold; the image stays as it is")
          .type_name("BASE");
  command.add_flag("-d", options->is_kept, "Leave the image as it is");
  command
      .add_option("-t", options->cache,
                  "Cache: none, writeback (if absent), writethrough, directsync, unsafe (as writeback)")
      .type_name("CACHE");
  options->chain.add_to(command);
  options->chain.add_backing_format_to(command);
  command.add_flag("-p", options->shows_progress, "Show the progress");
  command.add_flag("-q,--quiet", options->is_quiet, "Print nothing but errors");
  command.add_option("FILENAME", options->path).required().type_name("");
  command.set_action([options] { return commit(*options); });
}

}  // namespace vmm::block::tool
