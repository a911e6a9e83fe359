// vmm-img check: whether an image's metadata agree with each other, and their repair.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "block/image_file.h"
#include "block/qcow2/check.h"
#include "block/qcow2/image.h"
#include "block/sync_file.h"
#include "block/tool/command_line.h"
#include "block/tool/commands.h"
#include "block/tool/image_options.h"
#include "block/tool/secrets.h"
#include "block/tool/text.h"
#include "vmm/base/printable.h"

namespace vmm::block::tool {
namespace {

// qemu-img's.
enum ExitStatus : int { kClean = 0, kCorrupt = 2, kLeaks = 3, kNotSupported = 63 };

struct CheckOptions {
  std::string path;
  ImageOptions image;
  Secrets secrets;
  std::string cache = "writeback";
  std::string output = "human";
  std::string repair;
  bool is_quiet = false;
};

struct Findings {
  qcow2::CheckResult result;  // after the repair, if there was one
  uint64_t corruptions_fixed = 0;
  uint64_t leaks_fixed = 0;
};

uint64_t fixed(uint64_t before, uint64_t after) { return before > after ? before - after : 0; }

Result<Findings> find(const CheckOptions& options, const NamedImage& named) {
  const bool repairs = !options.repair.empty();
  if (repairs && (named.is_shared || named.is_read_only)) {
    return fail_configuration("{}: -r writes to it: -U, force-share=on and read-only=on are for reading only",
                              named.path);
  }
  VMM_ASSIGN_OR_RETURN(const CacheMode cache, cache_mode(options.cache));
  VMM_ASSIGN_OR_RETURN(const ImageFile image, open_image_file({.path = named.path,
                                                               .read_only = !repairs,
                                                               .shareable = named.is_shared,
                                                               .cache = named.cache.value_or(cache),
                                                               .for_guest = false}));
  const auto file = make_sync_file(image.files.main, named.path);
  VMM_ASSIGN_OR_RETURN(qcow2::Header header, qcow2::read_header(*file));
  Findings findings;
  VMM_ASSIGN_OR_RETURN(findings.result, qcow2::check(*file, header));
  if (!repairs) {
    return findings;
  }
  const qcow2::CheckResult before = findings.result;
  VMM_ASSIGN_OR_RETURN(
      findings.result,
      qcow2::repair(*file, header, options.repair == "all" ? qcow2::Repair::kAll : qcow2::Repair::kLeaks));
  findings.corruptions_fixed = fixed(before.corruptions, findings.result.corruptions);
  findings.leaks_fixed = fixed(before.leaks, findings.result.leaks);
  return findings;
}

double percent(uint64_t part, uint64_t whole) {
  return static_cast<double>(part) * 100 / static_cast<double>(whole);
}

void say(const std::string& text) { static_cast<void>(std::printf("%s\n", text.c_str())); }

void print_human(const Findings& findings) {
  const qcow2::CheckResult& result = findings.result;
  for (const std::string& message : result.messages) {
    static_cast<void>(std::fprintf(stderr, "%s\n", printable(message).c_str()));
  }
  if (findings.corruptions_fixed + findings.leaks_fixed > 0) {
    say(
        fmt::format("The following inconsistencies were found and repaired:\n\n    {} leaked clusters\n    "
                    "{} corruptions\n",
                    findings.leaks_fixed, findings.corruptions_fixed));
  }
  if (result.is_clean()) {
    say("No errors were found on the image.");
  }
  if (result.corruptions > 0) {
    say(fmt::format(
        "\n{} errors were found on the image.\nData may be corrupted, or further writes to the image "
        "may corrupt it.",
        result.corruptions));
  }
  if (result.leaks > 0) {
    say(fmt::format(
        "\n{} leaked clusters were found on the image.\nThis means waste of disk space, but no harm to "
        "data.",
        result.leaks));
  }
  if (result.total_clusters > 0 && result.allocated_clusters > 0) {
    say(fmt::format("{}/{} = {:.2f}% allocated, {:.2f}% fragmented, {:.2f}% compressed clusters",
                    result.allocated_clusters, result.total_clusters,
                    percent(result.allocated_clusters, result.total_clusters),
                    percent(result.fragmented_clusters, result.allocated_clusters),
                    percent(result.compressed_clusters, result.allocated_clusters)));
  }
  if (result.image_end_offset > 0) {
    say(fmt::format("Image end offset: {}", result.image_end_offset));
  }
}

void print_json(const NamedImage& image, const Findings& findings) {
  const qcow2::CheckResult& result = findings.result;
  nlohmann::ordered_json tree;
  const auto add = [&tree](const char* key, uint64_t value) {
    if (value > 0) {
      tree[key] = value;
    }
  };
  add("image-end-offset", result.image_end_offset);
  add("total-clusters", result.total_clusters);
  tree["check-errors"] = 0;
  add("corruptions", result.corruptions);
  add("leaks", result.leaks);
  add("corruptions-fixed", findings.corruptions_fixed);
  add("leaks-fixed", findings.leaks_fixed);
  add("allocated-clusters", result.allocated_clusters);
  add("fragmented-clusters", result.fragmented_clusters);
  add("compressed-clusters", result.compressed_clusters);
  tree["filename"] = image.path;
  tree["format"] = image.format;
  say(tree.dump(4, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

Result<int> check(const CheckOptions& options) {
  VMM_ASSIGN_OR_RETURN(const NamedImage image, options.image.named(options.path));
  VMM_TRY(options.secrets.passphrases());
  if (image.format != "qcow2") {
    VMM_TRY(disk_format(image.format));
    static_cast<void>(std::fprintf(stderr, "vmm-img: %s: the format %s has nothing to check\n",
                                   image.path.c_str(), image.format.c_str()));
    return kNotSupported;
  }
  VMM_ASSIGN_OR_RETURN(const Findings findings, find(options, image));
  if (options.output == "json") {
    print_json(image, findings);
  } else if (!options.is_quiet) {
    print_human(findings);
  }
  if (findings.result.corruptions > 0) {
    return kCorrupt;
  }
  return findings.result.leaks > 0 ? kLeaks : kClean;
}

}  // namespace

void declare_check(CommandLine& command) {
  auto options = std::make_shared<CheckOptions>();
  command.set_footer(
      "Exit status: 0 no errors, 1 it could not be checked, 2 corrupt, 3 space is leaked, 63 the format\n"
      "has nothing to check.");
  options->image.add_to(command, "qcow2 (what is used if absent)", ImageOptions::Use::kEither);
  options->image.set_only_format("qcow2");
  options->secrets.add_to(command);
  command.add_option("-T", options->cache, "Cache of the image (writeback if absent)").type_name("CACHE");
  command.add_option("--output", options->output, "human (what is used if absent) or json")
      .one_of({"human", "json"})
      .type_name("OFMT");
  command.add_option("-r,--repair", options->repair, "Repair: leaks (leaked space) or all")
      .one_of({"leaks", "all"})
      .type_name("WHAT");
  command.add_flag("-q,--quiet", options->is_quiet, "Print nothing but errors");
  command.add_option("FILENAME", options->path).required().type_name("");
  command.set_action([options] { return check(*options); });
}

}  // namespace vmm::block::tool
