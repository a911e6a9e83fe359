// vmm-img convert: what images hold, in a new image of another format.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
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
#include "block/copy/offload.h"
#include "block/copy/receive.h"
#include "block/copy/sources.h"
#include "block/copy/space.h"
#include "block/copy/stream_device.h"
#include "block/copy/write_behind.h"
#include "block/image_file.h"
#include "block/new_file.h"
#include "block/tool/command_line.h"
#include "block/tool/commands.h"
#include "block/tool/convert_source.h"
#include "block/tool/create_options.h"
#include "block/tool/image_options.h"
#include "block/tool/new_image.h"
#include "block/tool/option_help.h"
#include "block/tool/progress.h"
#include "block/tool/text.h"
#include "vmm/base/bytes.h"

namespace vmm::block::tool {
namespace {

constexpr uint64_t kMaxSparseBytes = uint64_t{16} << 20U;
constexpr uint32_t kMaxRequests = 16;

struct ConvertOptions {
  std::vector<std::string> paths;  // the last one is the new image's
  ImageOptions source;
  NewImageOptions target;
  ImageOptions target_options;
  NamedImage named_target;
  std::string words;
  CreateWords parsed_words;
  std::string sparse;                 // empty: 4k, unless the kernel copies
  std::string target_cache;           // empty: see take_target()
  bool cache_is_chosen_here = false;  // no -t
  std::string source_cache = "writeback";
  std::string rate;
  std::optional<std::string> snapshot;
  uint32_t requests = 8;
  bool is_compressed = false;
  bool is_existing = false;
  bool is_out_of_order = false;
  bool is_offloaded = false;
  bool target_is_zero = false;
  bool is_unflushed = false;
  bool is_quiet = false;
  bool shows_progress = false;

  bool is_to_stream() const { return !target_options.are_image_options() && paths.back() == kStream; }
};

// What is read.
struct Inputs {
  StandardInput standard_input;
  std::vector<std::string> paths;
  std::shared_ptr<std::vector<FileState>> opened = std::make_shared<std::vector<FileState>>();
  bool are_raw = true;  // files whose bytes are the disk's
  Sources sources;      // goes first
};

// The target while it is written to.
struct Target {
  std::unique_ptr<BlockDevice> stream;  // in place of a disk
  std::unique_ptr<Disk> disk;
  std::string path;
  uint64_t unit_bytes = 0;
  bool is_zero = false;
  uint64_t backing_bytes = 0;
  std::string written_path;  // a file to be flushed in the end; or empty

  BlockDevice& device() { return stream != nullptr ? *stream : disk->device(); }
};

Result<uint64_t> sparse_bytes(const ConvertOptions& options) {
  VMM_ASSIGN_OR_RETURN(const uint64_t bytes, parse_size(options.sparse.empty() ? "4k" : options.sparse));
  if (bytes % kSectorBytes != 0 || bytes > kMaxSparseBytes) {
    return fail_configuration("-S {}: a multiple of 512 up to {} can be", options.sparse, kMaxSparseBytes);
  }
  return bytes;
}

Result<uint64_t> rate_bytes(const ConvertOptions& options) {
  return options.rate.empty() ? Result<uint64_t>(0) : parse_size(options.rate);
}

Status check_stream(const ConvertOptions& options) {
  const NewImageOptions& target = options.target;
  if (target.format != "raw" || !options.words.empty() || !target.backing_file.empty()) {
    return fail_configuration("-: only a raw image can go to standard output; leave -o and -B out");
  }
  if (options.is_existing || options.is_out_of_order || options.shows_progress) {
    return fail_configuration("-: what goes to standard output is new, in its order and alone; leave {} out",
                              options.is_existing       ? "-n"
                              : options.is_out_of_order ? "-W"
                                                        : "-p");
  }
  return {};
}

Status check_existing(const ConvertOptions& options) {
  if (options.is_existing && (!options.words.empty() || !options.target.backing_file.empty())) {
    return fail_configuration("-n takes the target as it is: there is nothing for -o and -B to do");
  }
  if (!options.is_existing && (options.target_is_zero || options.target_options.are_image_options())) {
    return fail_configuration("{} is for a target that is there already; add -n",
                              options.target_is_zero ? "--target-is-zero" : "--target-image-opts");
  }
  return {};
}

Status check_options(const ConvertOptions& options) {
  if (std::ranges::count(options.paths.begin(), options.paths.end() - 1, kStream) > 1) {
    return fail_configuration("-: standard input can be read once only");
  }
  VMM_TRY(check_existing(options));
  if (options.is_compressed && options.target.format == "raw") {
    return fail_configuration("-c: a raw image has nothing compressed; -O qcow2 can");
  }
  if (options.is_offloaded && (options.is_compressed || !options.sparse.empty())) {
    return fail_configuration(
        "-C: what the kernel copies is neither compressed nor searched for zeroes; leave {} out",
        options.is_compressed ? "-c" : "-S");
  }
  return options.is_to_stream() ? check_stream(options) : Status();
}

std::string folder_of_target(const ConvertOptions& options) {
  return options.is_to_stream() ? std::filesystem::temp_directory_path().string()
                                : std::filesystem::path(options.target.path).parent_path().string();
}

Status refuse_other_stream(Format format) {
  return format == Format::kRaw
             ? Status()
             : fail_configuration("-: only a raw image can come through standard input; add -f raw");
}

// One of the images, or standard input.
Result<DiskOptions> source_image(const ConvertOptions& options, const std::string& path, Inputs& inputs) {
  DiskOptions image;
  if (path == kStream) {
    VMM_ASSIGN_OR_RETURN(inputs.standard_input, open_standard_input(folder_of_target(options)));
    VMM_ASSIGN_OR_RETURN(
        image, options.source.disk(inputs.standard_input.path, options.target.chain, options.source_cache));
  } else {
    VMM_ASSIGN_OR_RETURN(image, options.source.disk(path, options.target.chain, options.source_cache));
  }
  if (path == kStream) {
    VMM_TRY(refuse_other_stream(image.format));
  }
  if (options.snapshot) {
    VMM_ASSIGN_OR_RETURN(image.snapshot, parse_snapshot_choice(*options.snapshot));
  }
  image.opened = inputs.opened;
  return image;
}

Result<Inputs> open_inputs(const ConvertOptions& options, const std::shared_ptr<EventLoop>& loop) {
  Inputs inputs;
  for (size_t i = 0; i + 1 < options.paths.size(); ++i) {
    VMM_ASSIGN_OR_RETURN(const DiskOptions image, source_image(options, options.paths[i], inputs));
    inputs.paths.push_back(image.path);
    inputs.are_raw = inputs.are_raw && (image.format == Format::kRaw || image.format == Format::kIso);
    VMM_ASSIGN_OR_RETURN(auto disk, Disk::open(image, loop));
    inputs.sources.add(std::move(disk));
  }
  return inputs;
}

// Whatever the locks say: with -U there are none.
Status refuse_own_file(const ConvertOptions& options, const Inputs& inputs) {
  const auto target = state_of_file(options.target.path);
  const bool is_read = target && std::ranges::any_of(*inputs.opened, [&target](const FileState& file) {
                         return file.is_same_file(*target);
                       });
  return is_read
             ? fail_configuration(
                   "{}: an image cannot be converted onto itself, or onto one that it stands on; give the "
                   "new one another name",
                   options.target.path)
             : Status();
}

Result<std::unique_ptr<Disk>> open_target(const ConvertOptions& options,
                                          const std::shared_ptr<EventLoop>& loop, const std::string& path,
                                          bool is_direct) {
  DiskOptions image{.path = path, .discard = DiscardMode::kUnmap};
  VMM_ASSIGN_OR_RETURN(image.format, new_format(options.target));
  VMM_ASSIGN_OR_RETURN(const CacheMode cache, cache_mode(options.target_cache));
  image.cache = options.named_target.cache.value_or(is_direct ? CacheMode::kNone : cache);
  ChainOptions chain = options.target.chain;
  chain.narrow_to(options.named_target.behind);
  VMM_TRY(chain.apply_to(image));
  return Disk::open(image, loop);
}

Status copy(const ConvertOptions& options, EventLoop& loop, Sources& sources, Target target,
            Progress& progress) {
  if (target.device().size_bytes() < sources.size_bytes()) {
    return fail("{}: its disk has {} bytes, fewer than the {} to be copied", target.path,
                target.device().size_bytes(), sources.size_bytes());
  }
  CompressedWrites* const compressed = target.device().compressed_writes();
  if (options.is_compressed && compressed == nullptr) {
    return fail("{}: -c: with encryption or an external data file nothing can be compressed", target.path);
  }
  VMM_ASSIGN_OR_RETURN(const uint64_t sparse, sparse_bytes(options));
  CopyOptions job_options;
  job_options.requests = options.requests;
  job_options.unit_bytes =
      options.is_compressed ? compressed->cluster_bytes() : std::max(target.unit_bytes, sparse);
  // Compressed clusters are packed one behind the other; in any order more of them would begin a new cluster,
  // and writing is not what takes the time.
  job_options.is_out_of_order = options.is_out_of_order && !options.is_compressed;
  job_options.is_compressed = options.is_compressed;
  job_options.target_is_zero = target.is_zero;
  job_options.target_has_backing = !options.target.backing_file.empty();
  job_options.backing_bytes = target.backing_bytes;
  job_options.writes_zeroes = sparse == 0;
  VMM_ASSIGN_OR_RETURN(job_options.bytes_per_second, rate_bytes(options));
  std::optional<WriteBehind> behind;
  if (!target.written_path.empty()) {
    behind.emplace(target.written_path);
  }
  CopyJob job(loop, sources, target.device(), target.path, job_options, [&](uint64_t done, uint64_t all) {
    progress.show(done, all);
    if (behind) {
      behind->written(done);
    }
  });
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

// What cannot fit is refused before anything is written.
Status check_space(const ConvertOptions& options, Sources& sources, const ImagePlan& plan,
                   const NewFile& file) {
  const auto free = free_bytes_beside(file.path());
  if (!free || file.is_block_device()) {
    return {};
  }
  std::optional<uint64_t> needed;
  const bool is_whole = plan.preallocation == qcow2::Preallocation::kFalloc ||
                        plan.preallocation == qcow2::Preallocation::kFull;
  if (is_whole && plan.size_bytes > *free) {
    needed = plan.size_bytes;
  } else if (!is_whole && !options.is_compressed) {
    VMM_ASSIGN_OR_RETURN(const uint64_t sparse, sparse_bytes(options));
    const SpaceQuestion question{.with_own_only = !options.target.backing_file.empty(),
                                 .drops_zeroes = sparse > 0};
    VMM_ASSIGN_OR_RETURN(needed, bytes_too_many(sources, *free, question));
  }
  return needed ? fail("{}: needs {} at least, and its file system has {} free; make room, or take another",
                       options.target.path, size_text(*needed), size_text(*free))
                : Status();
}

Status keep(const ConvertOptions& options, NewFile& file) {
  return options.is_unflushed ? file.keep_unflushed() : file.keep();
}

// By the host's kernel, where that is possible; else false, and the file is as it was.
Result<bool> copy_raw_files(const ConvertOptions& options, const Inputs& inputs, const ImagePlan& plan,
                            const NewFile& file, Progress& progress) {
  const bool may_share = inputs.paths.size() == 1 && plan.preallocation == qcow2::Preallocation::kOff;
  if (!inputs.are_raw || plan.qcow2 || file.is_block_device() || !options.sparse.empty() ||
      !options.rate.empty() || (!options.is_offloaded && !may_share)) {
    return false;
  }
  const auto files = open_raw_files(inputs.paths, *inputs.opened);
  const UniqueFd to(::open(file.path().c_str(), O_WRONLY | O_CLOEXEC));
  if (!files || !to) {
    return false;
  }
  if (may_share && share_blocks(files->front().get(), to.get())) {
    if (::ftruncate(to.get(), static_cast<off_t>(plan.size_bytes)) != 0) {
      return fail("{} cannot be resized: {}", options.target.path, errno_text(errno));
    }
    progress.show(plan.size_bytes, plan.size_bytes);
    return true;
  }
  uint64_t offset = 0;
  for (size_t i = 0; options.is_offloaded && i < files->size(); ++i) {
    const FileRange from{.fd = (*files)[i].get(), .bytes = (*inputs.opened)[i].size_bytes};
    VMM_ASSIGN_OR_RETURN(const bool is_copied,
                         copy_ranges(from, to.get(), offset, options.target.path,
                                     [&](uint64_t done) { progress.show(offset + done, plan.size_bytes); }));
    if (!is_copied) {
      return false;
    }
    offset += align_up(from.bytes, kSectorBytes);
  }
  return options.is_offloaded;
}

// What is to be on the disk in the end is written there at once: it takes a fraction of the processor's time,
// and nothing that others have in the page cache is driven out. Not where the file system stores less than is
// written, which it does only for pages; and not compressed clusters, most of which begin and end within a
// block. A raw file that is all hole does not tell what alignment it wants; all but the largest are met.
bool goes_past_the_cache(const ConvertOptions& options, const ImagePlan& plan, const NewFile& file) {
  constexpr uint64_t kLargestBlockBytes = 4096;
  const auto sparse = sparse_bytes(options);
  const bool is_aligned = plan.qcow2 || (plan.size_bytes % kLargestBlockBytes == 0 && sparse &&
                                         *sparse % kLargestBlockBytes == 0);
  const bool stores_what_is_written = file.is_block_device() || free_bytes_beside(file.path());
  return options.cache_is_chosen_here && !options.is_compressed && is_aligned && stores_what_is_written &&
         UniqueFd(::open(file.path().c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC));
}

Status copy_to_new(const ConvertOptions& options, const std::shared_ptr<EventLoop>& loop, Inputs& inputs,
                   Progress& progress) {
  Sources& sources = inputs.sources;
  CreateWords words = options.parsed_words;
  VMM_ASSIGN_OR_RETURN(const ImagePlan plan, plan_image(options.target, words, sources.size_bytes()));
  if (!plan.data_path.empty()) {
    return fail_configuration(
        "-o data_file: make the image first (vmm-img create), and then convert into it with -n");
  }
  // Keeps the lock on it until the new image has its own.
  VMM_ASSIGN_OR_RETURN(auto backing, open_backing(options.target));
  VMM_ASSIGN_OR_RETURN(NewFile file, NewFile::create(options.target.path));
  VMM_TRY(check_space(options, sources, plan, file));
  VMM_TRY(make_image(file, plan));
  VMM_ASSIGN_OR_RETURN(const bool is_copied, copy_raw_files(options, inputs, plan, file, progress));
  if (is_copied) {
    return keep(options, file);
  }
  Target target{.path = options.target.path, .unit_bytes = plan.unit_bytes()};
  const bool is_direct = goes_past_the_cache(options, plan, file);
  VMM_ASSIGN_OR_RETURN(target.disk, open_target(options, loop, file.path(), is_direct));
  // A raw image is written all over its file: in many small pieces that takes longer than in the end.
  if (!is_direct && !options.is_unflushed && !file.is_block_device() && plan.qcow2) {
    target.written_path = file.path();
  }
  target.backing_bytes = backing == nullptr ? 0 : backing->size_bytes();
  backing.reset();
  // What lies on a block device already shows in a raw image, and in places that were set aside.
  const bool has_old_data =
      file.is_block_device() && (!plan.qcow2 || plan.preallocation != qcow2::Preallocation::kOff);
  target.is_zero = options.target.backing_file.empty() && !has_old_data;
  VMM_TRY(copy(options, *loop, sources, std::move(target), progress));
  VMM_TRY(fill_up(file, plan));
  return keep(options, file);
}

Status copy_to_existing(const ConvertOptions& options, const std::shared_ptr<EventLoop>& loop,
                        Sources& sources, Progress& progress) {
  Target target{.path = options.target.path, .is_zero = options.target_is_zero};
  VMM_ASSIGN_OR_RETURN(target.disk, open_target(options, loop, options.target.path, false));
  target.unit_bytes =
      std::max<uint64_t>(target.disk->device().limits().discard_alignment_bytes, kSectorBytes);
  VMM_TRY(copy(options, *loop, sources, std::move(target), progress));
  return options.is_unflushed ? Status() : flush_file(options.target.path);
}

Status copy_to_stream(const ConvertOptions& options, EventLoop& loop, Sources& sources, Progress& progress) {
  Target target{.stream = std::make_unique<StreamDevice>(STDOUT_FILENO, sources.size_bytes()),
                .path = "standard output",
                .unit_bytes = kSectorBytes};
  return copy(options, loop, sources, std::move(target), progress);
}

// Where a pipe becomes a new raw image, it is written as it comes.
bool is_pipe_to_raw(const ConvertOptions& options) {
  return options.paths.size() == 2 && options.paths.front() == kStream && !options.is_to_stream() &&
         !options.is_existing && options.target.format == "raw" && options.words.empty() &&
         options.rate.empty() && !options.snapshot && !has_standard_input_file();
}

Status copy_pipe(const ConvertOptions& options, Progress& progress) {
  VMM_ASSIGN_OR_RETURN(const DiskOptions image,
                       options.source.disk(kStream, options.target.chain, options.source_cache));
  VMM_TRY(refuse_other_stream(image.format));
  VMM_ASSIGN_OR_RETURN(NewFile file, NewFile::create(options.target.path));
  if (file.is_block_device()) {
    return fail_configuration("{}: a block device is there already; add -n", options.target.path);
  }
  const UniqueFd to(::open(file.path().c_str(), O_WRONLY | O_CLOEXEC));
  if (!to) {
    return fail("{} cannot be opened: {}", file.path(), errno_text(errno));
  }
  VMM_ASSIGN_OR_RETURN(const uint64_t hole, sparse_bytes(options));
  VMM_ASSIGN_OR_RETURN(const uint64_t bytes,
                       receive(STDIN_FILENO, "standard input", to.get(), options.target.path, hole));
  if (::ftruncate(to.get(), static_cast<off_t>(align_up(bytes, kSectorBytes))) != 0) {
    return fail("{} cannot be resized: {}", options.target.path, errno_text(errno));
  }
  progress.show(bytes, bytes);
  return keep(options, file);
}

// What the words and --target-image-opts say of the target comes to the other options.
Status take_target(ConvertOptions& options) {
  options.target.path = options.paths.back();
  if (!options.target_options.are_image_options() && options.target.format.empty()) {
    options.target.format = "raw";
  }
  VMM_ASSIGN_OR_RETURN(options.named_target,
                       options.target_options.named(options.target.path, options.target.format, "-O"));
  options.target.path = options.named_target.path;
  options.target.format = options.named_target.format;
  VMM_ASSIGN_OR_RETURN(options.parsed_words, CreateWords::parse(options.words));
  VMM_TRY(take_backing(options.parsed_words, options.target, "-B"));
  // Who asks for it gets it; who says nothing, a new image that a crash of the host does not take away.
  options.is_unflushed = options.target_cache == "unsafe" || options.named_target.cache == CacheMode::kUnsafe;
  if (options.target_cache.empty()) {
    // What fails half-way is thrown away, but for a target that is there already.
    options.target_cache = options.is_existing ? "writeback" : "unsafe";
    options.cache_is_chosen_here = true;
  }
  VMM_TRY(new_format(options.target));
  VMM_TRY(cache_mode(options.target_cache));
  VMM_TRY(sparse_bytes(options));
  VMM_TRY(rate_bytes(options));
  return {};
}

Status run_conversion(const ConvertOptions& options) {
  Progress progress(options.shows_progress, options.is_quiet);
  if (is_pipe_to_raw(options)) {
    return copy_pipe(options, progress);
  }
  VMM_ASSIGN_OR_RETURN(const std::shared_ptr<EventLoop> loop, EventLoop::create());
  VMM_ASSIGN_OR_RETURN(Inputs inputs, open_inputs(options, loop));
  if (options.is_to_stream()) {
    return copy_to_stream(options, *loop, inputs.sources, progress);
  }
  VMM_TRY(refuse_own_file(options, inputs));
  return options.is_existing ? copy_to_existing(options, loop, inputs.sources, progress)
                             : copy_to_new(options, loop, inputs, progress);
}

Result<int> convert(ConvertOptions& options) {
  if (asks_for_help(options.words) && !options.is_existing) {
    VMM_ASSIGN_OR_RETURN(const std::string text,
                         option_help(options.target.format.empty() ? "raw" : options.target.format));
    static_cast<void>(std::fputs(text.c_str(), stdout));
    return 0;
  }
  if (options.paths.size() < 2) {
    return fail_configuration(
        "convert takes one or more images, and the name of the new one behind them; see vmm-img convert "
        "--help");
  }
  VMM_TRY(take_target(options));
  VMM_TRY(check_options(options));
  VMM_TRY(run_conversion(options));
  return 0;
}

void add_target_options(CommandLine& command, ConvertOptions& options) {
  command
      .add_option("-O", options.target.format,
                  "Format of the new image: raw (what is used if absent) or qcow2")
      .type_name("FMT");
  command
      .add_option("-B", options.target.backing_file,
                  "The new image stands on this one, and has only what differs")
      .type_name("FILE");
  command.add_option("-F", options.target.backing_format, "Format of the backing file").type_name("FMT");
  command.add_option("-o", options.words, "name=value,…, as create has them, or help; may be repeated")
      .type_name("OPTIONS")
      .joined_with(',');
  command.add_flag("-c", options.is_compressed, "Compress");
  command.add_flag("-n", options.is_existing, "The target is there already, and is written in place");
  command.add_flag("--target-is-zero", options.target_is_zero,
                   "With -n: its disk reads as zeroes, all of it");
  options.target_options.add_target_to(command);
  command.add_option("-S", options.sparse, "Zeroes of that length are not stored (4k if absent); 0: all are")
      .type_name("SIZE");
  command
      .add_option(
          "-t", options.target_cache,
          "Cache of the target: none, writeback (with -n what is used if absent), writethrough, directsync,\n"
          "unsafe (not flushed). If absent, a new image is flushed once, when it is complete")
      .type_name("CACHE");
}

}  // namespace

void declare_convert(CommandLine& command) {
  auto options = std::make_shared<ConvertOptions>();
  command.set_footer(
      "The new image has its name when it is complete: until then it is TARGET.XXXXXX.part, and goes away "
      "if\n"
      "anything fails. - is standard input or output, for raw images.");
  options->source.add_to(command, "of the images: raw, qcow2, qcow or iso", ImageOptions::Use::kRead);
  add_target_options(command, *options);
  command.add_option("-T", options->source_cache, "Cache of the images (writeback if absent)")
      .type_name("CACHE");
  command.add_option("-m", options->requests, "Requests under way: 1 to 16 (8 if absent)")
      .between(1, kMaxRequests)
      .type_name("N");
  command.add_flag("-W", options->is_out_of_order, "Write in any order");
  command.add_flag("-C", options->is_offloaded, "The host's kernel copies, if it can, where all is raw");
  command.add_option("-r", options->rate, "No more than so many bytes of data a second").type_name("RATE");
  command
      .add_option("-l", options->snapshot,
                  "The disk as it was in a snapshot: snapshot.id=…, snapshot.name=…, or one of both alone")
      .type_name("SNAPSHOT");
  options->target.chain.add_to(command);
  options->target.chain.add_backing_format_to(command);
  command.add_flag("-p", options->shows_progress, "Show the progress");
  command.add_flag("-q,--quiet", options->is_quiet, "Print nothing but errors");
  command.add_option("FILENAMES", options->paths, "Images, one behind the other, and the new one")
      .type_name("");
  command.set_action([options] { return convert(*options); });
}

}  // namespace vmm::block::tool
