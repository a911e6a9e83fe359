// vmm-img convert: what images hold, in a new image of another format.
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
#include "block/tool/command.h"
#include "block/tool/create_options.h"
#include "block/tool/new_image.h"
#include "block/tool/progress.h"
#include "block/tool/text.h"
#include "vmm/base/bytes.h"

namespace vmm::block::tool {
namespace {

constexpr uint64_t kMaxSparseBytes = uint64_t{16} << 20U;
constexpr uint32_t kMaxRequests = 16;

struct ConvertOptions {
  std::vector<std::string> paths;  // the last one is the new image's
  std::string source_format;
  NewImageOptions target;
  std::string words;
  std::string sparse = "4k";
  std::string target_cache;  // empty: see convert()
  std::string source_cache = "writeback";
  uint32_t requests = 8;
  bool is_compressed = false;
  bool is_existing = false;
  bool is_out_of_order = false;
  bool is_quiet = false;
  bool shows_progress = false;
};

// The target while it is written to.
struct Target {
  std::unique_ptr<Disk> disk;
  std::string path;
  uint64_t unit_bytes = 0;
  bool is_zero = false;
  uint64_t backing_bytes = 0;
};

Result<uint64_t> sparse_bytes(const ConvertOptions& options) {
  VMM_ASSIGN_OR_RETURN(const uint64_t bytes, parse_size(options.sparse));
  if (bytes % kSectorBytes != 0 || bytes > kMaxSparseBytes) {
    return fail_configuration("-S {}: a multiple of 512 up to {} can be", options.sparse, kMaxSparseBytes);
  }
  return bytes;
}

Status check_options(const ConvertOptions& options) {
  if (options.paths.size() < 2) {
    return fail_configuration("convert takes one or more images, and the name of the new one behind them");
  }
  if (options.is_existing && (!options.words.empty() || !options.target.backing_file.empty())) {
    return fail_configuration("-n takes the target as it is: there is nothing for -o and -B to do");
  }
  if (options.is_compressed && options.target.format == "raw") {
    return fail_configuration("-c: a raw image has nothing compressed; -O qcow2 can");
  }
  for (size_t i = 0; i + 1 < options.paths.size(); ++i) {
    std::error_code error;
    if (std::filesystem::equivalent(options.paths[i], options.paths.back(), error)) {
      return fail_configuration("{}: an image cannot be converted onto itself; give the new one another name",
                                options.paths.back());
    }
  }
  return {};
}

Result<Sources> open_sources(const ConvertOptions& options, const std::shared_ptr<EventLoop>& loop) {
  DiskOptions image{.read_only = true};
  VMM_ASSIGN_OR_RETURN(image.format, disk_format(options.source_format));
  VMM_ASSIGN_OR_RETURN(image.cache, cache_mode(options.source_cache));
  VMM_TRY(options.target.chain.apply_to(image));
  Sources sources;
  for (size_t i = 0; i + 1 < options.paths.size(); ++i) {
    image.path = options.paths[i];
    VMM_ASSIGN_OR_RETURN(auto disk, Disk::open(image, loop));
    sources.add(std::move(disk));
  }
  return sources;
}

Result<std::unique_ptr<Disk>> open_target(const ConvertOptions& options,
                                          const std::shared_ptr<EventLoop>& loop, const std::string& path) {
  DiskOptions image{.path = path, .discard = DiscardMode::kUnmap};
  VMM_ASSIGN_OR_RETURN(image.format, new_format(options.target));
  VMM_ASSIGN_OR_RETURN(image.cache, cache_mode(options.target_cache));
  VMM_TRY(options.target.chain.apply_to(image));
  return Disk::open(image, loop);
}

Status copy(const ConvertOptions& options, EventLoop& loop, Sources& sources, Target target) {
  if (target.disk->size_bytes() < sources.size_bytes()) {
    return fail("{}: its disk has {} bytes, fewer than the {} of what is to be copied", target.path,
                target.disk->size_bytes(), sources.size_bytes());
  }
  CompressedWrites* const compressed = target.disk->device().compressed_writes();
  if (options.is_compressed && compressed == nullptr) {
    return fail("{}: -c: with encryption or an external data file nothing can be compressed", target.path);
  }
  VMM_ASSIGN_OR_RETURN(const uint64_t sparse, sparse_bytes(options));
  CopyOptions job_options;
  job_options.requests = options.requests;
  job_options.unit_bytes =
      options.is_compressed ? compressed->cluster_bytes() : std::max(target.unit_bytes, sparse);
  job_options.is_out_of_order = options.is_out_of_order;
  job_options.is_compressed = options.is_compressed;
  job_options.target_is_zero = target.is_zero;
  job_options.target_has_backing = !options.target.backing_file.empty();
  job_options.backing_bytes = target.backing_bytes;
  job_options.writes_zeroes = sparse == 0;
  Progress progress(options.shows_progress && !options.is_quiet);
  CopyJob job(loop, sources, target.disk->device(), target.path, job_options,
              [&progress](uint64_t done, uint64_t all) { progress.show(done, all); });
  return job.run();
}

// Sectors that readers of compressed clusters may ask for are all there.
Status fill_up(const NewFile& file, const ImagePlan& plan) {
  const std::string& path = file.path();
  if (!plan.qcow2 || file.is_block_device()) {
    return {};
  }
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(path, error);
  if (!error) {
    std::filesystem::resize_file(path, align_up(size, kSectorBytes), error);
  }
  return error ? fail("{} cannot be resized: {}", path, error.message()) : Status();
}

Status copy_to_new(const ConvertOptions& options, const std::shared_ptr<EventLoop>& loop, Sources& sources) {
  VMM_ASSIGN_OR_RETURN(CreateWords words, CreateWords::parse(options.words));
  VMM_ASSIGN_OR_RETURN(const ImagePlan plan, plan_image(options.target, words, sources.size_bytes()));
  if (!plan.data_path.empty()) {
    return fail_configuration(
        "-o data_file: make the image first (vmm-img create), and then convert into it with -n");
  }
  // Keeps the lock on it until the new image has its own.
  VMM_ASSIGN_OR_RETURN(auto backing, open_backing(options.target));
  VMM_ASSIGN_OR_RETURN(NewFile file, NewFile::create(options.target.path));
  VMM_TRY(make_image(file, plan));
  Target target{.path = options.target.path, .unit_bytes = plan.unit_bytes()};
  VMM_ASSIGN_OR_RETURN(target.disk, open_target(options, loop, file.path()));
  target.backing_bytes = backing == nullptr ? 0 : backing->size_bytes();
  backing.reset();
  // What lies on a block device already shows in a raw image, and in places that were set aside.
  const bool has_old_data =
      file.is_block_device() && (!plan.qcow2 || plan.preallocation != qcow2::Preallocation::kOff);
  target.is_zero = options.target.backing_file.empty() && !has_old_data;
  VMM_TRY(copy(options, *loop, sources, std::move(target)));
  VMM_TRY(fill_up(file, plan));
  return file.keep();
}

Status copy_to_existing(const ConvertOptions& options, const std::shared_ptr<EventLoop>& loop,
                        Sources& sources) {
  Target target{.path = options.target.path};
  VMM_ASSIGN_OR_RETURN(target.disk, open_target(options, loop, options.target.path));
  target.unit_bytes =
      std::max<uint64_t>(target.disk->device().limits().discard_alignment_bytes, kSectorBytes);
  VMM_TRY(copy(options, *loop, sources, std::move(target)));
  return flush_file(options.target.path);
}

Result<int> convert(ConvertOptions& options) {
  VMM_TRY(check_options(options));
  options.target.path = options.paths.back();
  if (options.target_cache.empty()) {
    // What fails half-way is thrown away, but for a target that is there already.
    options.target_cache = options.is_existing ? "writeback" : "unsafe";
  }
  VMM_TRY(new_format(options.target));
  VMM_TRY(cache_mode(options.target_cache));
  VMM_TRY(sparse_bytes(options));
  VMM_ASSIGN_OR_RETURN(const std::shared_ptr<EventLoop> loop, EventLoop::create());
  VMM_ASSIGN_OR_RETURN(Sources sources, open_sources(options, loop));
  VMM_TRY(options.is_existing ? copy_to_existing(options, loop, sources)
                              : copy_to_new(options, loop, sources));
  return 0;
}

void add_target_options(CLI::App& command, ConvertOptions& options) {
  command
      .add_option("-O", options.target.format,
                  "Format of the new image: raw (what is used if absent) or qcow2")
      ->type_name("FMT");
  command
      .add_option("-B", options.target.backing_file,
                  "The new image stands on this one, and has only what differs")
      ->type_name("FILE");
  command.add_option("-F", options.target.backing_format, "Format of the backing file")->type_name("FMT");
  command.add_option("-o", options.words, "name=value,…, as create has them")->type_name("OPTIONS");
  command.add_flag("-c", options.is_compressed, "Compress");
  command.add_flag("-n", options.is_existing, "The target is there already, and is written in place");
  command.add_option("-S", options.sparse, "Zeroes of that length are not stored (4k if absent); 0: all are")
      ->type_name("SIZE");
  command
      .add_option(
          "-t", options.target_cache,
          "Cache of the target: none, writeback (if absent, with -n), writethrough, directsync, unsafe (if\n"
          "absent; the complete image is flushed all the same)")
      ->type_name("CACHE");
}

}  // namespace

void add_convert(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<ConvertOptions>();
  options->target.format = "raw";
  CLI::App* command = app.add_subcommand("convert", "Copy what images hold into a new image");
  command->footer(
      "The new image has its name when it is complete: until then it is TARGET.XXXXXX.part, and goes away "
      "if\n"
      "anything fails.");
  command->add_option("-f", options->source_format, "Format of the images: raw, qcow2, qcow or iso")
      ->required()
      ->type_name("FMT");
  add_target_options(*command, *options);
  command->add_option("-T", options->source_cache, "Cache of the images (writeback if absent)")
      ->type_name("CACHE");
  command->add_option("-m", options->requests, "Requests under way: 1 to 16 (8 if absent)")
      ->check(CLI::Range(uint32_t{1}, kMaxRequests).description(""))
      ->type_name("N");
  command->add_flag("-W", options->is_out_of_order, "Write in any order");
  options->target.chain.add_to(*command);
  options->target.chain.add_backing_format_to(*command);
  command->add_flag("-p", options->shows_progress, "Show the progress");
  command->add_flag("-q,--quiet", options->is_quiet, "Print nothing but errors");
  command->add_option("FILENAMES", options->paths, "Images, one behind the other, and the new one")
      ->required()
      ->type_name("");
  command->callback([options, &chosen] { chosen.run = [options] { return convert(*options); }; });
}

}  // namespace vmm::block::tool
