// vmm-img dd: a part of what an image holds, in blocks of some size, as a new image.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "block/copy/copy_job.h"
#include "block/copy/disk.h"
#include "block/copy/sources.h"
#include "block/new_file.h"
#include "block/tool/chain_options.h"
#include "block/tool/command_line.h"
#include "block/tool/commands.h"
#include "block/tool/create_options.h"
#include "block/tool/default_format.h"
#include "block/tool/new_image.h"
#include "block/tool/progress.h"
#include "block/tool/text.h"
#include "vmm/base/bytes.h"

namespace vmm::block::tool {
namespace {

constexpr uint64_t kMaxBlockBytes = INT32_MAX;

struct DdOptions {
  std::string source_format;
  NewImageOptions target;
  std::vector<std::string> operands;
};

struct Operands {
  std::string source;
  std::string target;
  uint64_t block_bytes = 512;
  std::optional<uint64_t> count;
  uint64_t skip = 0;
};

// Bytes of the source's disk.
struct Window {
  uint64_t begin = 0;
  uint64_t end = 0;
};

Result<uint64_t> number_of(const std::string& name, const std::string& value, uint64_t least, uint64_t most) {
  const auto number = parse_size(value);
  if (!number) {
    return std::unexpected(number.error().within(name));
  }
  if (*number < least || *number > most) {
    return fail_configuration("{}={}: {} to {} can be", name, value, least, most);
  }
  return *number;
}

Status take_operand(const std::string& word, Operands& operands) {
  const size_t equals = word.find('=');
  const std::string name = word.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
  if (equals != std::string::npos && name == "if") {
    operands.source = value;
  } else if (equals != std::string::npos && name == "of") {
    operands.target = value;
  } else if (equals != std::string::npos && name == "bs") {
    VMM_ASSIGN_OR_RETURN(operands.block_bytes, number_of(name, value, 1, kMaxBlockBytes));
  } else if (equals != std::string::npos && name == "count") {
    VMM_ASSIGN_OR_RETURN(operands.count, number_of(name, value, 0, INT64_MAX));
  } else if (equals != std::string::npos && name == "skip") {
    VMM_ASSIGN_OR_RETURN(operands.skip, number_of(name, value, 0, INT64_MAX));
  } else {
    return fail_configuration("'{}' is no operand of dd; if=FILE, of=FILE, bs=SIZE, count=N and skip=N are",
                              word);
  }
  return {};
}

Result<Operands> take_operands(const DdOptions& options) {
  Operands operands;
  for (const std::string& word : options.operands) {
    VMM_TRY(take_operand(word, operands));
  }
  if (operands.source.empty() || operands.target.empty()) {
    return fail_configuration("dd needs both if=FILE, the image, and of=FILE, the new one");
  }
  if (std::error_code error; std::filesystem::equivalent(operands.source, operands.target, error)) {
    return fail_configuration("{}: an image cannot be copied onto itself; give the new one another name",
                              operands.target);
  }
  return operands;
}

// `count` is counted from the beginning of the disk, what is skipped included, as in qemu-img 7.2. Products
// that overflow lie past the end of any disk.
Window window_of(const Operands& operands, uint64_t disk_bytes) {
  Window window{.begin = 0, .end = disk_bytes};
  if (operands.count && *operands.count <= INT64_MAX / operands.block_bytes) {
    window.end = std::min(disk_bytes, *operands.count * operands.block_bytes);
  }
  const bool is_beyond = operands.skip > INT64_MAX / operands.block_bytes;
  window.begin = is_beyond ? UINT64_MAX : operands.skip * operands.block_bytes;
  if (window.begin > window.end) {
    // A warning: the new image is empty, as dd(1) would make it.
    static_cast<void>(
        std::fprintf(stderr, "vmm-img: %s: cannot skip to specified offset\n", operands.source.c_str()));
    window.begin = window.end;
  }
  return window;
}

Result<std::unique_ptr<Disk>> open_source(const DdOptions& options, const Operands& operands,
                                          const std::shared_ptr<EventLoop>& loop) {
  DiskOptions image{.path = operands.source, .read_only = true};
  VMM_ASSIGN_OR_RETURN(const std::string format,
                       format_of_image(options.source_format, operands.source, "-f"));
  VMM_ASSIGN_OR_RETURN(image.format, disk_format(format));
  VMM_TRY(options.target.chain.apply_to(image));
  return Disk::open(image, loop);
}

Status copy_window(Sources& sources, const std::shared_ptr<EventLoop>& loop, const NewFile& file,
                   const ImagePlan& plan) {
  // What fails half-way is thrown away: keep() makes it durable.
  const DiskOptions image{.path = file.path(), .format = plan.format, .cache = CacheMode::kUnsafe};
  VMM_ASSIGN_OR_RETURN(const auto target, Disk::open(image, loop));
  CopyOptions job_options;
  job_options.unit_bytes = std::max(plan.unit_bytes(), job_options.unit_bytes);
  job_options.target_is_zero = plan.qcow2 || !file.is_block_device();
  Progress progress(false, false);
  CopyJob job(*loop, sources, target->device(), file.path(), job_options,
              [&progress](uint64_t done, uint64_t all) { progress.show(done, all); });
  return job.run();
}

Result<int> dd(DdOptions& options) {
  VMM_ASSIGN_OR_RETURN(const Operands operands, take_operands(options));
  options.target.path = operands.target;
  VMM_TRY(new_format(options.target));
  VMM_ASSIGN_OR_RETURN(const std::shared_ptr<EventLoop> loop, EventLoop::create());
  VMM_ASSIGN_OR_RETURN(auto disk, open_source(options, operands, loop));
  const Window window = window_of(operands, align_up(disk->size_bytes(), kSectorBytes));
  Sources sources;
  sources.add(std::move(disk), window.begin, window.end);
  CreateWords words;
  VMM_ASSIGN_OR_RETURN(const ImagePlan plan, plan_image(options.target, words, window.end - window.begin));
  VMM_ASSIGN_OR_RETURN(NewFile file, NewFile::create(operands.target));
  VMM_TRY(make_image(file, plan));
  VMM_TRY(copy_window(sources, loop, file, plan));
  VMM_TRY(file.keep());
  return 0;
}

}  // namespace

void declare_dd(CommandLine& command) {
  auto options = std::make_shared<DdOptions>();
  options->target.format = "raw";
  command.set_footer(
      "Operands: if=FILE (the image), of=FILE (the new one), bs=SIZE (of a block, 512 if absent), count=N\n"
      "(the part ends with the N-th block of the image), skip=N (and begins N blocks after its beginning).\n"
      "The new image has its name when it is complete.");
  command.add_option("-f", options->source_format, "Format of the image: raw, qcow2, qcow or iso")
      .type_name("FMT");
  command
      .add_option("-O", options->target.format,
                  "Format of the new image: raw (what is used if absent) or qcow2")
      .type_name("FMT");
  options->target.chain.add_to(command);
  options->target.chain.add_backing_format_to(command);
  command.add_option("OPERANDS", options->operands).required().type_name("");
  command.set_action([options] { return dd(*options); });
}

}  // namespace vmm::block::tool
