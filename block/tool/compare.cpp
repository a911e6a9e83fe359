// vmm-img compare: whether two disks have the same contents, whatever their formats.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "block/tool/command.h"
#include "block/tool/disk.h"
#include "block/tool/secrets.h"
#include "block/tool/text.h"

namespace vmm::block::tool {
namespace {

enum Answer : int { kIdentical = 0, kDifferent = 1, kFailed = 2 };

constexpr uint64_t kStepBytes = uint64_t{1} << 20U;
constexpr uint64_t kSectorBytes = 512;  // the offset that is told is of the sector

struct Options {
  std::string first_format;
  std::string second_format;
  std::string first;
  std::string second;
  bool is_strict = false;
  bool is_quiet = false;
  Secrets secrets;
};

void say(const Options& options, const std::string& text) {
  if (!options.is_quiet) {
    static_cast<void>(std::printf("%s\n", text.c_str()));
  }
}

Result<std::unique_ptr<Disk>> open(const std::string& path, const std::string& format,
                                   const Passphrases& passphrases) {
  DiskOptions options{.path = path, .read_only = true, .passphrases = passphrases};
  VMM_ASSIGN_OR_RETURN(options.format, disk_format(format));
  return Disk::open(options);
}

// The disk, and zeroes after its end.
Status read_padded(Disk& disk, uint64_t offset, std::span<std::byte> to) {
  const uint64_t rest = disk.size_bytes() - std::min(offset, disk.size_bytes());
  const size_t there = std::min<uint64_t>(rest, to.size());
  std::ranges::fill(to.subspan(there), std::byte{0});
  return there == 0 ? Status() : disk.read(offset, to.first(there));
}

Result<int> compare(const Options& options) {
  VMM_ASSIGN_OR_RETURN(const Passphrases passphrases, options.secrets.passphrases());
  VMM_ASSIGN_OR_RETURN(const auto first, open(options.first, options.first_format, passphrases));
  VMM_ASSIGN_OR_RETURN(const auto second, open(options.second, options.second_format, passphrases));
  if (first->size_bytes() != second->size_bytes()) {
    if (options.is_strict) {
      say(options, "Strict mode: Image size mismatch!");
      return kDifferent;
    }
    say(options, "Warning: Image size mismatch!");
  }
  const uint64_t size = std::max(first->size_bytes(), second->size_bytes());
  std::vector<std::byte> left(kStepBytes);
  std::vector<std::byte> right(kStepBytes);
  for (uint64_t offset = 0; offset < size; offset += kStepBytes) {
    const size_t length = std::min(kStepBytes, size - offset);
    VMM_TRY(read_padded(*first, offset, std::span(left).first(length)));
    VMM_TRY(read_padded(*second, offset, std::span(right).first(length)));
    const auto [at, other] =
        std::mismatch(left.begin(), left.begin() + static_cast<ptrdiff_t>(length), right.begin());
    if (const auto same = static_cast<uint64_t>(at - left.begin()); same < length) {
      say(options,
          fmt::format("Content mismatch at offset {}!", (offset + same) / kSectorBytes * kSectorBytes));
      return kDifferent;
    }
  }
  say(options, "Images are identical.");
  return kIdentical;
}

}  // namespace

void add_compare(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("compare", "Tell whether two disks have the same contents");
  command->footer("Exit status: 0 identical, 1 different, 2 an error.");
  command->add_option("-f", options->first_format, "Format of the first image: raw, qcow2, qcow or iso")
      ->required()
      ->type_name("FMT");
  command->add_option("-F", options->second_format, "Format of the second image")
      ->required()
      ->type_name("FMT");
  command->add_flag("-s", options->is_strict,
                    "Strict: other sizes are a difference, even where only zeroes follow");
  command->add_flag("-q,--quiet", options->is_quiet, "Print nothing but errors");
  options->secrets.add_to(*command);
  command->add_option("FILENAME1", options->first)->required()->type_name("");
  command->add_option("FILENAME2", options->second)->required()->type_name("");
  // Known before all options are: their errors have the status too.
  command->preparse_callback([&chosen](size_t) { chosen.error_status = kFailed; });
  command->callback([options, &chosen] { chosen.run = [options] { return compare(*options); }; });
}

}  // namespace vmm::block::tool
