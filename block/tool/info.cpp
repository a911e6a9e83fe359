// vmm-img info: what an image is, and with --backing-chain what it stands on.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "block/backing_name.h"
#include "block/open_chain.h"
#include "block/tool/chain_picture.h"
#include "block/tool/command_line.h"
#include "block/tool/commands.h"
#include "block/tool/image_info.h"
#include "block/tool/image_options.h"
#include "block/tool/secrets.h"
#include "block/tool/snapshot_list.h"
#include "vmm/base/printable.h"
#include "vmm/base/size.h"

namespace vmm::block::tool {
namespace {

using Tree = nlohmann::ordered_json;

struct InfoOptions {
  std::string path;
  ImageOptions image;
  Secrets secrets;
  std::string output = "human";
  bool is_chain = false;
};

Status refuse_loop(const std::vector<std::string>& above, const std::string& path) {
  std::error_code error;
  const bool is_there = std::ranges::any_of(
      above, [&](const std::string& other) { return std::filesystem::equivalent(other, path, error); });
  return is_there ? fail("{} stands on itself: a backing file must not be among those above it", path)
                  : Status();
}

// Of one file of the chain that begins with `above`.
Result<ImageInfo> info_of(const std::vector<std::string>& above, const std::string& path,
                          const std::optional<std::string>& format, bool is_shared) {
  if (above.size() >= kMaxChainLayers) {
    return fail("more than {} files stand on each other; merge some of them (vmm-img commit)",
                kMaxChainLayers);
  }
  VMM_TRY(refuse_loop(above, path));
  return image_info(path, format, is_shared);
}

Result<std::vector<ImageInfo>> collect(const InfoOptions& options) {
  std::vector<std::string> paths;
  std::vector<ImageInfo> infos;
  VMM_ASSIGN_OR_RETURN(const NamedImage image, options.image.named(options.path));
  // Nothing is decrypted: a secret only has to be there.
  VMM_TRY(options.secrets.passphrases());
  for (const std::string& id : image.behind.secret_ids) {
    VMM_TRY(options.secrets.named(id));
  }
  std::string path = image.path;
  std::optional<std::string> format = image.format.empty() ? std::nullopt : std::optional(image.format);
  while (true) {
    auto info = info_of(paths, path, format, image.is_shared);
    paths.push_back(path);
    if (!info && paths.size() > 1) {
      return fail("{} (backing chain: {})", info.error().message(), chain_text(paths));
    }
    if (!info) {
      return std::unexpected(info.error());
    }
    infos.push_back(*std::move(info));
    if (!options.is_chain || !infos.back().backing_path) {
      return infos;
    }
    if (infos.back().backing_error) {
      return std::unexpected(*infos.back().backing_error);
    }
    path = *infos.back().backing_path;
    format = infos.back().backing_format;
  }
}

// --- For people ---

void print_line(int indent, const std::string& text) {
  static_cast<void>(std::printf("%*s%s\n", indent, "", printable(text).c_str()));
}

std::string spaced(std::string key) {
  for (char& character : key) {
    character = character == '-' ? ' ' : character;
  }
  return key;
}

std::string scalar_text(const Tree& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// Depth: bounded, as the trees are made here.
// NOLINTNEXTLINE(misc-no-recursion)
void print_tree(int indent, const std::string& key, const Tree& value) {
  constexpr int kStep = 4;
  if (!value.is_structured()) {
    print_line(indent, spaced(key) + ": " + scalar_text(value));
    return;
  }
  print_line(indent, spaced(key) + ":");
  size_t index = 0;
  for (const auto& [name, part] : value.items()) {
    print_tree(indent + kStep, value.is_array() ? "[" + std::to_string(index++) + "]" : name, part);
  }
}

void print_backing(const Tree& tree) {
  const std::string& name = tree["backing-filename"].get_ref<const std::string&>();
  const std::string& full = tree["full-backing-filename"].get_ref<const std::string&>();
  print_line(0, "backing file: " + name + (full == name ? "" : " (actual path: " + full + ")"));
  if (tree.contains("backing-filename-format")) {
    print_line(0, "backing file format: " + scalar_text(tree["backing-filename-format"]));
  }
}

void print_human(const ImageInfo& info) {
  const Tree& tree = info.tree;
  const auto size = tree["virtual-size"].get<uint64_t>();
  print_line(0, "image: " + scalar_text(tree["filename"]));
  print_line(0, "file format: " + scalar_text(tree["format"]));
  print_line(0, fmt::format("virtual size: {} ({} bytes)", size_text(size), size));
  print_line(0, "disk size: " + size_text(tree.value("actual-size", uint64_t{0})));
  if (tree.contains("encrypted")) {
    print_line(0, "encrypted: yes");
  }
  if (tree.contains("cluster-size")) {
    print_line(0, "cluster_size: " + scalar_text(tree["cluster-size"]));
  }
  if (tree["dirty-flag"].get<bool>()) {
    print_line(0, "cleanly shut down: no");
  }
  if (tree.contains("backing-filename")) {
    print_backing(tree);
  }
  if (tree.contains("newer-image")) {
    print_line(0, "what its guest wrote since is in: " + scalar_text(tree["newer-image"]));
  }
  if (tree.contains("unfinished-commit-of")) {
    print_line(0, "holds a part only, of a commit that is not finished, of: " +
                      scalar_text(tree["unfinished-commit-of"]));
  }
  if (tree.contains("snapshots")) {
    print_snapshots(tree["snapshots"]);
  }
  if (tree.contains("format-specific")) {
    print_tree(0, "Format specific information", tree["format-specific"]["data"]);
  }
  if (info.is_recognised) {
    print_line(0, "The format was recognised by the first bytes; -f would say it.");
  }
}

// --- For programs ---

void print_json(const std::vector<ImageInfo>& infos, bool is_chain) {
  Tree all = Tree::array();
  for (const ImageInfo& info : infos) {
    Tree tree = info.tree;
    if (info.is_recognised) {
      tree["format-recognised"] = true;
    }
    all.push_back(std::move(tree));
  }
  // Names of files need not be UTF-8.
  const Tree& shown = is_chain ? all : all.front();
  static_cast<void>(std::printf("%s\n", shown.dump(4, ' ', false, Tree::error_handler_t::replace).c_str()));
}

Result<int> show(const InfoOptions& options) {
  VMM_ASSIGN_OR_RETURN(const std::vector<ImageInfo> infos, collect(options));
  if (options.output == "json") {
    print_json(infos, options.is_chain);
    return 0;
  }
  for (size_t i = 0; i < infos.size(); ++i) {
    if (i > 0) {
      print_line(0, "");
    }
    print_human(infos[i]);
  }
  // Scripts read what stands above.
  static_cast<void>(std::printf("\n%s", chain_picture(infos).c_str()));
  return 0;
}

}  // namespace

void declare_info(CommandLine& command) {
  auto options = std::make_shared<InfoOptions>();
  options->image.add_to(command, "raw, iso, qcow or qcow2; if absent, recognised by the first bytes",
                        ImageOptions::Use::kRead);
  options->image.set_format_optional();
  options->secrets.add_to(command);
  command.add_option("--output", options->output, "human (what is used if absent) or json")
      .one_of({"human", "json"})
      .type_name("OFMT");
  command.add_flag("--backing-chain", options->is_chain, "Show the image and all that it stands on");
  command.add_option("FILENAME", options->path).required().type_name("");
  command.set_action([options] { return show(*options); });
}

}  // namespace vmm::block::tool
