// vmm-img map: where the bytes of a disk lie, in which file of its chain.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "block/copy/disk.h"
#include "block/host_file.h"
#include "block/tool/chain_options.h"
#include "block/tool/command.h"
#include "block/tool/create_options.h"
#include "block/tool/text.h"

namespace vmm::block::tool {
namespace {

struct MapOptions {
  std::string path;
  std::string format;
  std::string output = "human";
  std::string start;
  std::string length;
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

Result<int> map(const MapOptions& options) {
  DiskOptions image{.path = options.path, .read_only = true};
  VMM_ASSIGN_OR_RETURN(image.format, disk_format(options.format));
  VMM_TRY(options.chain.apply_to(image));
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
  Printer printer(options.output == "json");
  Entry last{.start = start, .run = {}};
  while (last.start + last.run.length < end) {
    Entry next{.start = last.start + last.run.length, .run = {}};
    VMM_ASSIGN_OR_RETURN(next.run, disk->map(next.start, end - next.start));
    if (last.run.length > 0 && can_follow(last, next)) {
      last.run.length += next.run.length;
      continue;
    }
    if (last.run.length > 0) {
      VMM_TRY(printer.print(last));
    }
    last = next;
  }
  VMM_TRY(printer.print(last));
  printer.finish();
  return 0;
}

}  // namespace

void add_map(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<MapOptions>();
  CLI::App* command = app.add_subcommand("map", "Show where the bytes of a disk lie");
  command->add_option("-f", options->format, "Format: raw, qcow2, qcow or iso")->required()->type_name("FMT");
  command->add_option("--output", options->output, "human (what is used if absent: data only) or json")
      ->check(CLI::IsMember({"human", "json"}).description(""))
      ->type_name("OFMT");
  command->add_option("-s,--start-offset", options->start, "From there on")->type_name("OFFSET");
  command->add_option("-l,--max-length", options->length, "No more than that")->type_name("LENGTH");
  options->chain.add_to(*command);
  options->chain.add_backing_format_to(*command);
  command->add_option("FILENAME", options->path)->required()->type_name("");
  command->callback([options, &chosen] { chosen.run = [options] { return map(*options); }; });
}

}  // namespace vmm::block::tool
