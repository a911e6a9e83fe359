// vmm-img bitmap: the dirty bitmaps of a qcow2 image.
#include <algorithm>
#include <bit>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "block/image_file.h"
#include "block/qcow2/bitmap_change.h"
#include "block/qcow2/image.h"
#include "block/qcow2/open_image.h"
#include "block/sync_file.h"
#include "block/tool/command_line.h"
#include "block/tool/commands.h"
#include "block/tool/text.h"
#include "vmm/base/size.h"

namespace vmm::block::tool {
namespace {

enum class BitmapOperation : uint8_t { kAdd, kRemove, kClear, kEnable, kDisable, kMerge };

struct BitmapStep {
  BitmapOperation operation = BitmapOperation::kAdd;
  std::string source;  // of a merge
};

struct BitmapOptions {
  std::string path;
  std::string format;  // empty: qcow2
  std::string name;
  std::string granularity;
  std::vector<std::string> sources;
  std::string source_path;
  std::string source_format;
  std::vector<BitmapStep> steps;
};

// An image and what it has.
struct Bitmaps {
  ImageFile image;
  std::unique_ptr<SyncFile> file;
  qcow2::Header header;
  std::optional<qcow2::BitmapSet> set;
};

bool has_step(const BitmapOptions& options, BitmapOperation operation) {
  return std::ranges::find(options.steps, operation, &BitmapStep::operation) != options.steps.end();
}

Status expect_qcow2(const std::string& path, const std::string& format) {
  if (!format.empty() && format != "qcow2") {
    VMM_TRY(disk_format(format));
    return fail_configuration("{}: the format {} has no dirty bitmaps; qcow2 has", path, format);
  }
  return {};
}

Status check_options(const BitmapOptions& options) {
  if (options.steps.empty()) {
    return fail_configuration(
        "bitmap needs at least one of --add, --remove, --clear, --enable, --disable and --merge");
  }
  if (!options.granularity.empty() && !has_step(options, BitmapOperation::kAdd)) {
    return fail_configuration("-g {}: only what --add makes has a granularity to be chosen",
                              options.granularity);
  }
  if (!options.source_path.empty() && !has_step(options, BitmapOperation::kMerge)) {
    return fail_configuration("-b {}: only --merge has a use for another image", options.source_path);
  }
  if (options.source_path.empty() && !options.source_format.empty()) {
    return fail_configuration("-F {}: there is no image to have that format; name one with -b",
                              options.source_format);
  }
  VMM_TRY(expect_qcow2(options.path, options.format));
  return options.source_path.empty() ? Status() : expect_qcow2(options.source_path, options.source_format);
}

Result<std::optional<uint64_t>> granularity_of(const BitmapOptions& options) {
  if (options.granularity.empty()) {
    return std::nullopt;
  }
  VMM_ASSIGN_OR_RETURN(const uint64_t bytes, parse_size(options.granularity));
  if (!std::has_single_bit(bytes) || bytes < uint64_t{1} << qcow2::kMinBitmapGranularityBits ||
      bytes > uint64_t{1} << qcow2::kMaxBitmapGranularityBits) {
    return fail_configuration("-g {}: a power of two from 512 to 2G can be", options.granularity);
  }
  return std::optional(bytes);
}

Result<Bitmaps> open_bitmaps(const std::string& path, bool read_only) {
  Bitmaps opened;
  VMM_ASSIGN_OR_RETURN(opened.image,
                       open_image_file({.path = path, .read_only = read_only, .for_guest = false}));
  opened.file = make_sync_file(opened.image.files.main, path);
  VMM_ASSIGN_OR_RETURN(opened.header, qcow2::read_header(*opened.file));
  if (!read_only) {
    VMM_TRY(qcow2::prepare_for_maintenance(*opened.file, opened.header));
  }
  VMM_ASSIGN_OR_RETURN(opened.set, qcow2::BitmapSet::read(*opened.file, opened.header));
  return opened;
}

Status run_step(const BitmapOptions& options, const BitmapStep& step, std::optional<uint64_t> granularity,
                qcow2::BitmapSet& set, qcow2::BitmapSet& others) {
  switch (step.operation) {
    case BitmapOperation::kAdd:
      return set.add(options.name, granularity);
    case BitmapOperation::kRemove:
      return set.remove(options.name);
    case BitmapOperation::kClear:
      return set.clear(options.name);
    case BitmapOperation::kEnable:
      return set.set_tracking(options.name, true);
    case BitmapOperation::kDisable:
      return set.set_tracking(options.name, false);
    case BitmapOperation::kMerge:
      return set.merge(options.name, others, step.source);
  }
  return {};
}

Result<int> change_bitmaps(const BitmapOptions& options) {
  VMM_TRY(check_options(options));
  VMM_ASSIGN_OR_RETURN(const std::optional<uint64_t> granularity, granularity_of(options));
  VMM_ASSIGN_OR_RETURN(Bitmaps target, open_bitmaps(options.path, false));
  std::optional<Bitmaps> source;
  if (!options.source_path.empty()) {
    VMM_ASSIGN_OR_RETURN(source, open_bitmaps(options.source_path, true));
  }
  for (const BitmapStep& step : options.steps) {
    VMM_TRY(run_step(options, step, granularity, *target.set, source ? *source->set : *target.set));
  }
  VMM_TRY(target.set->commit(target.header));
  return 0;
}

using NamedOperations = std::vector<std::pair<Option, BitmapOperation>>;

// In the order of the command line; each --merge has the next source.
std::vector<BitmapStep> steps_of(const std::vector<Option>& given, const BitmapOptions& options,
                                 const NamedOperations& operations) {
  std::vector<BitmapStep> steps;
  size_t merges = 0;
  for (const Option option : given) {
    const auto found = std::ranges::find(operations, option, &NamedOperations::value_type::first);
    if (found == operations.end()) {
      continue;
    }
    const bool is_merge = found->second == BitmapOperation::kMerge;
    steps.push_back({.operation = found->second, .source = is_merge ? options.sources[merges++] : ""});
  }
  return steps;
}

}  // namespace

void declare_bitmap(CommandLine& command) {
  auto options = std::make_shared<BitmapOptions>();
  command.set_footer(
      "What is to be done to the bitmap is done in the order in which it is said; all of it or, where\n"
      "something fails, nothing. No other program may use the image meanwhile.");
  const NamedOperations operations = {
      {command.add_flag("--add", "Make it; it tracks writes"), BitmapOperation::kAdd},
      {command.add_flag("--remove", "Remove it"), BitmapOperation::kRemove},
      {command.add_flag("--clear", "Nothing is dirty"), BitmapOperation::kClear},
      {command.add_flag("--enable", "Track writes from now on"), BitmapOperation::kEnable},
      {command.add_flag("--disable", "Track them no longer"), BitmapOperation::kDisable},
      {command
           .add_option("--merge", options->sources, "What is dirty in that bitmap is dirty in this one too")
           .type_name("SOURCE")
           .one_value_each(),
       BitmapOperation::kMerge}};
  command.add_option("-g,--granularity", options->granularity, "Of --add: bytes for each bit, 512 to 2G")
      .type_name("SIZE");
  command.add_option("-b,--source-file", options->source_path, "The bitmaps to be merged are in this image")
      .type_name("FILE");
  command
      .add_option("-F,--source-format", options->source_format, "Its format: qcow2 (what is used if absent)")
      .type_name("FMT");
  command.add_option("-f", options->format, "Format: qcow2 (what is used if absent)").type_name("FMT");
  command.add_option("FILENAME", options->path).required().type_name("");
  command.add_option("BITMAP", options->name).required().type_name("");
  command.set_action([options, command, operations] {
    options->steps = steps_of(command.given(), *options, operations);
    return change_bitmaps(*options);
  });
}

}  // namespace vmm::block::tool
