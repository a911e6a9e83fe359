// vmm-img compare: whether two disks have the same contents, whatever their formats.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "block/aligned_memory.h"
#include "block/copy/disk.h"
#include "block/tool/chain_options.h"
#include "block/tool/command_line.h"
#include "block/tool/commands.h"
#include "block/tool/image_options.h"
#include "block/tool/progress.h"
#include "block/tool/text.h"

namespace vmm::block::tool {
namespace {

enum Answer : int { kIdentical = 0, kDifferent = 1, kFailed = 2 };

constexpr uint64_t kStepBytes = uint64_t{1} << 20U;

struct CompareOptions {
  ImageOptions image;  // -f is of the first
  std::string second_format;
  std::string cache = "writeback";
  std::string first;
  std::string second;
  bool is_strict = false;
  bool is_quiet = false;
  bool shows_progress = false;
  ChainOptions chain;
};

void say(const CompareOptions& options, const std::string& text) {
  if (!options.is_quiet) {
    static_cast<void>(std::printf("%s\n", text.c_str()));
  }
}

Result<std::unique_ptr<Disk>> open_second(const CompareOptions& options) {
  VMM_ASSIGN_OR_RETURN(const NamedImage image,
                       options.image.named(options.second, options.second_format, "-F"));
  VMM_ASSIGN_OR_RETURN(const CacheMode cache, cache_mode(options.cache));
  VMM_ASSIGN_OR_RETURN(const DiskOptions disk, disk_options(image, options.chain, cache));
  return Disk::open(disk);
}

// The disk, and zeroes after its end.
Status read_padded(Disk& disk, uint64_t offset, std::span<std::byte> to) {
  const uint64_t rest = disk.size_bytes() - std::min(offset, disk.size_bytes());
  const size_t there = std::min<uint64_t>(rest, to.size());
  std::ranges::fill(to.subspan(there), std::byte{0});
  return there == 0 ? Status() : disk.read(offset, to.first(there));
}

// What is known of the disk there; behind its end there are zeroes.
Result<BlockRun> map_padded(Disk& disk, uint64_t offset, uint64_t length) {
  if (offset >= disk.size_bytes()) {
    return BlockRun{.kind = BlockRun::Kind::kKnown, .length = length, .is_zero = true};
  }
  return disk.map(offset, std::min(length, disk.size_bytes() - offset));
}

bool is_of_one_kind(const BlockRun& first, const BlockRun& second) {
  return first.is_data == second.is_data && first.is_zero == second.is_zero &&
         first.is_present == second.is_present && first.offset.has_value() == second.offset.has_value();
}

class Comparison {
 public:
  Comparison(const CompareOptions& options, Disk& first, Disk& second)
      : options_(options), first_(first), second_(second) {}

  Result<Answer> run(Progress& progress) {
    const uint64_t size = std::max(first_.size_bytes(), second_.size_bytes());
    for (uint64_t offset = 0; offset < size;) {
      VMM_ASSIGN_OR_RETURN(const BlockRun first, map_padded(first_, offset, size - offset));
      VMM_ASSIGN_OR_RETURN(const BlockRun second, map_padded(second_, offset, first.length));
      if (options_.is_strict && !is_of_one_kind(first, second)) {
        difference_ = fmt::format("Strict mode: Offset {} block status mismatch!", offset);
        return kDifferent;
      }
      uint64_t length = second.length;
      if (!first.is_zero || !second.is_zero) {
        length = std::min(length, kStepBytes);
        VMM_ASSIGN_OR_RETURN(const bool is_same, compare_at(offset, static_cast<size_t>(length)));
        if (!is_same) {
          return kDifferent;
        }
      }
      offset += length;
      progress.show(offset, size);
    }
    return kIdentical;
  }

  const std::string& difference() const { return difference_; }

 private:
  Result<bool> compare_at(uint64_t offset, size_t length) {
    if (left_memory_ == nullptr || right_memory_ == nullptr) {
      return fail("the host is out of memory");
    }
    const std::span left(left_memory_.get(), length);
    const std::span right(right_memory_.get(), length);
    VMM_TRY(read_padded(first_, offset, left));
    VMM_TRY(read_padded(second_, offset, right));
    if (std::memcmp(left.data(), right.data(), length) == 0) {
      return true;
    }
    const auto same = static_cast<uint64_t>(std::ranges::mismatch(left, right).in1 - left.begin());
    difference_ =
        fmt::format("Content mismatch at offset {}!", (offset + same) / kSectorBytes * kSectorBytes);
    return false;
  }

  const CompareOptions& options_;
  Disk& first_;
  Disk& second_;
  // The kernel copies to whole pages in half the time.
  AlignedMemory left_memory_ = make_aligned_memory(kStepBytes);
  AlignedMemory right_memory_ = make_aligned_memory(kStepBytes);
  std::string difference_;
};

Result<int> compare(const CompareOptions& options) {
  VMM_ASSIGN_OR_RETURN(const DiskOptions image,
                       options.image.disk(options.first, options.chain, options.cache));
  VMM_ASSIGN_OR_RETURN(const auto first, Disk::open(image));
  VMM_ASSIGN_OR_RETURN(const auto second, open_second(options));
  const bool is_other_size = first->size_bytes() != second->size_bytes();
  if (is_other_size && options.is_strict) {
    say(options, "Strict mode: Image size mismatch!");
    return kDifferent;
  }
  if (is_other_size) {
    say(options, "Warning: Image size mismatch!");
  }
  Progress progress(options.shows_progress, options.is_quiet);
  Comparison comparison(options, *first, *second);
  VMM_ASSIGN_OR_RETURN(const Answer answer, comparison.run(progress));
  say(options, answer == kIdentical ? "Images are identical." : comparison.difference());
  return answer;
}

}  // namespace

void declare_compare(CommandLine& command) {
  auto options = std::make_shared<CompareOptions>();
  command.set_footer("Exit status: 0 identical, 1 different, 2 an error.");
  options->image.add_to(command, "of the first image: raw, qcow2, qcow or iso", ImageOptions::Use::kRead);
  command.add_option("-F", options->second_format, "Format of the second image").type_name("FMT");
  command.add_option("-T", options->cache, "Cache of the images (writeback if absent)").type_name("CACHE");
  command.add_flag("-s", options->is_strict,
                   "Strict: another size is a difference, and so is what is stored in another way");
  command.add_flag("-p", options->shows_progress, "Show the progress");
  command.add_flag("-q,--quiet", options->is_quiet, "Print nothing but errors");
  options->chain.add_to(command);
  options->chain.add_backing_format_to(command);
  command.add_option("FILENAME1", options->first).required().type_name("");
  command.add_option("FILENAME2", options->second).required().type_name("");
  command.set_action([options] { return compare(*options); });
}

}  // namespace vmm::block::tool
