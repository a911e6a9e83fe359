// vmm-img map: where the bytes of a disk lie, in which file of its chain.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "block/copy/disk.h"
#include "block/host_file.h"
#include "block/tool/chain_options.h"
#include "block/tool/command_line.h"
#include "block/tool/commands.h"
#include "block/tool/create_options.h"
#include "block/tool/image_options.h"
#include "vmm/base/printable.h"
#include "vmm/base/size.h"

namespace vmm::block::tool {
namespace {

struct MapOptions {
  std::string path;
  ImageOptions image;
  std::string output = "human";
  std::string start;
  std::string length;
  bool is_drawn = false;
  ChainOptions chain;
};

struct Entry {
  uint64_t start = 0;
  BlockRun run;
};

bool can_follow(const Entry& first, const Entry& second) {
  const BlockRun& a = first.run;
  const BlockRun& b = second.run;
  return a.depth == b.depth && a.is_present == b.is_present && a.is_zero == b.is_zero &&
         a.is_data == b.is_data && a.file == b.file && a.offset.has_value() == b.offset.has_value() &&
         (!a.offset || a.offset->bytes() + a.length == b.offset->bytes());
}

class Printer {
 public:
  explicit Printer(bool is_json) : is_json_(is_json) {
    if (!is_json) {
      static_cast<void>(std::printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File"));
    }
  }

  Status print(const Entry& entry) { return is_json_ ? print_json(entry) : print_human(entry); }

  void finish() const {
    if (is_json_) {
      static_cast<void>(std::printf("]\n"));
    }
  }

 private:
  Status print_json(const Entry& entry) {
    const BlockRun& run = entry.run;
    const auto word = [](bool value) { return value ? "true" : "false"; };
    const std::string offset = run.offset ? fmt::format(", \"offset\": {}", run.offset->bytes()) : "";
    const std::string text = fmt::format(
        "{}{{ \"start\": {}, \"length\": {}, \"depth\": {}, \"present\": {}, \"zero\": {}, \"data\": {}{}}}",
        is_first_ ? "[" : ",\n", entry.start, run.length, run.depth, word(run.is_present), word(run.is_zero),
        word(run.is_data), offset);
    static_cast<void>(std::fputs(text.c_str(), stdout));
    is_first_ = false;
    return {};
  }

  static Status print_human(const Entry& entry) {
    const BlockRun& run = entry.run;
    if (!run.is_data || run.is_zero) {
      return {};
    }
    if (!run.offset) {
      return fail(
          "from offset {} on there are compressed or encrypted clusters, which have no place of their own; "
          "--output=json shows them",
          entry.start);
    }
    const auto number = [](uint64_t value) { return static_cast<unsigned long long>(value); };
    static_cast<void>(std::printf("%#-16llx%#-16llx%#-16llx%s\n", number(entry.start), number(run.length),
                                  number(run.offset->bytes()), printable(run.file->path()).c_str()));
    return {};
  }

  bool is_json_;
  bool is_first_ = true;
};

// What lies where, a character for each part of the disk.
class Drawing {
 public:
  Drawing(uint64_t begin, uint64_t end) : begin_(begin), end_(end) {
    while ((end - begin) / cell_bytes_ > kColumns * kRows) {
      cell_bytes_ *= 2;
    }
    cells_.assign(static_cast<size_t>((end - begin + cell_bytes_ - 1) / cell_bytes_), kNothing);
  }

  void add(const Entry& entry) {
    if (entry.run.length == 0) {
      return;
    }
    const uint64_t first = (entry.start - begin_) / cell_bytes_;
    const uint64_t last = (entry.start - begin_ + entry.run.length - 1) / cell_bytes_;
    for (uint64_t i = first; i <= last; ++i) {
      char& cell = cells_[static_cast<size_t>(i)];
      const char sign = sign_of(entry.run);
      // Data are seen wherever there are some, and what is nearer to the image before what is below it.
      cell = weight_of(sign) > weight_of(cell) ? sign : cell;
    }
  }

  void print() const {
    say("Each character is {} of the disk, from {} to {}.", size_text(cell_bytes_), size_text(begin_),
        size_text(end_));
    for (size_t row = 0; row < cells_.size(); row += kColumns) {
      say("{:>10}  {}", size_text(begin_ + row * cell_bytes_), cells_.substr(row, kColumns));
    }
    say("{} data of the image, 1 to 9 of what it stands on, {} compressed or encrypted data,", kData,
        kPacked);
    say("{} zeroes, {} nothing", kZeroes, kNothing);
  }

 private:
  static constexpr uint64_t kColumns = 64;
  static constexpr uint64_t kRows = 16;
  static constexpr char kData = '#';
  static constexpr char kPacked = 'c';
  static constexpr char kZeroes = '-';
  static constexpr char kNothing = '.';

  template <typename... Args>
  static void say(fmt::format_string<Args...> format, Args&&... args) {
    static_cast<void>(std::puts(fmt::format(format, std::forward<Args>(args)...).c_str()));
  }

  static char sign_of(const BlockRun& run) {
    constexpr uint32_t kMostDepth = 9;
    if (!run.is_data || run.is_zero) {
      return run.is_present ? kZeroes : kNothing;
    }
    if (run.depth > 0) {
      return static_cast<char>('0' + std::min<uint32_t>(run.depth, kMostDepth));
    }
    return run.is_compressed || !run.offset ? kPacked : kData;
  }

  static int weight_of(char sign) {
    switch (sign) {
      case kNothing:
        return 0;
      case kZeroes:
        return 1;
      case kPacked:
      case kData:
        return 12;
      default:
        return 2 + '9' - sign;
    }
  }

  uint64_t begin_;
  uint64_t end_;
  uint64_t cell_bytes_ = 4096;
  std::string cells_;
};

// What follows each other and is of one kind is one entry. The last one also where it is empty.
Status visit_entries(Disk& disk, uint64_t start, uint64_t end,
                     const std::function<Status(const Entry& entry)>& visit) {
  Entry last{.start = start, .run = {}};
  while (last.start + last.run.length < end) {
    Entry next{.start = last.start + last.run.length, .run = {}};
    VMM_ASSIGN_OR_RETURN(next.run, disk.map(next.start, end - next.start));
    if (last.run.length > 0 && can_follow(last, next)) {
      last.run.length += next.run.length;
      continue;
    }
    if (last.run.length > 0) {
      VMM_TRY(visit(last));
    }
    last = next;
  }
  return visit(last);
}

Status print_map(const MapOptions& options, Disk& disk, uint64_t start, uint64_t end) {
  Printer printer(options.output == "json");
  VMM_TRY(visit_entries(disk, start, end, [&printer](const Entry& entry) { return printer.print(entry); }));
  printer.finish();
  return {};
}

Status draw_map(Disk& disk, uint64_t start, uint64_t end) {
  Drawing drawing(std::min(start, end), end);
  VMM_TRY(visit_entries(disk, start, end, [&drawing](const Entry& entry) -> Status {
    drawing.add(entry);
    return {};
  }));
  drawing.print();
  return {};
}

Result<int> map(const MapOptions& options) {
  if (options.is_drawn && options.output == "json") {
    return fail_configuration("--draw is for people, and --output=json for programs; take one of them");
  }
  VMM_ASSIGN_OR_RETURN(const DiskOptions image, options.image.disk(options.path, options.chain));
  uint64_t start = 0;
  uint64_t length = INT64_MAX;
  if (!options.start.empty()) {
    VMM_ASSIGN_OR_RETURN(start, parse_size(options.start));
  }
  if (!options.length.empty()) {
    VMM_ASSIGN_OR_RETURN(length, parse_size(options.length));
  }
  VMM_ASSIGN_OR_RETURN(const auto disk, Disk::open(image));
  const uint64_t end = std::min(disk->size_bytes(), start + length);
  VMM_TRY(options.is_drawn ? draw_map(*disk, start, end) : print_map(options, *disk, start, end));
  return 0;
}

}  // namespace

void declare_map(CommandLine& command) {
  auto options = std::make_shared<MapOptions>();
  options->image.add_to(command, "raw, qcow2, qcow or iso", ImageOptions::Use::kRead);
  command.add_option("--output", options->output, "human (what is used if absent: data only) or json")
      .one_of({"human", "json"})
      .type_name("OFMT");
  command.add_option("-s,--start-offset", options->start, "From there on").type_name("OFFSET");
  command.add_option("-l,--max-length", options->length, "No more than that").type_name("LENGTH");
  command.add_flag("--draw", options->is_drawn,
                   "Draw what lies where, a character for each part of the disk");
  options->chain.add_to(command);
  options->chain.add_backing_format_to(command);
  command.add_option("FILENAME", options->path).required().type_name("");
  command.set_action([options] { return map(*options); });
}

}  // namespace vmm::block::tool
