#include "block/tool/layers.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "block/backing_name.h"
#include "block/open_chain.h"
#include "block/tool/image_info.h"
#include "block/tool/text.h"

namespace vmm::block::tool {
namespace {

Status expect_another_file(const std::vector<Layer>& above, const std::string& path) {
  std::error_code error;
  if (std::ranges::any_of(
          above, [&](const Layer& layer) { return std::filesystem::equivalent(layer.path, path, error); })) {
    return fail("{} stands on itself: a backing file must not be among those above it", path);
  }
  return above.size() < kMaxChainLayers
             ? Status()
             : fail("more than {} files stand on each other; merge some of them (vmm-img commit)",
                    kMaxChainLayers);
}

Result<Format> format_of_backing(const ImageInfo& info, const DiskOptions& image, const Layer& layer,
                                 bool is_first) {
  if (info.backing_format) {
    return disk_format(is_file_driver(*info.backing_format) ? "raw" : *info.backing_format);
  }
  if (is_first && image.backing_format) {
    return *image.backing_format;
  }
  return fail(
      "{}: does not say which format its backing file {} has, and a format is never guessed; {}", layer.path,
      *info.backing_path,
      is_first ? "say it (--backing-format)" : "write it into that image (vmm-img rebase -u -b … -F …)");
}

// The image is what is to be looked at; then what it stands on, if anything.
Result<Layer> take_layer(const DiskOptions& image, const std::vector<Layer>& above,
                         std::optional<Layer>& next) {
  Layer layer = *std::exchange(next, std::nullopt);
  VMM_TRY(expect_another_file(above, layer.path));
  VMM_ASSIGN_OR_RETURN(const ImageInfo info, image_info(layer.path, std::string(format_word(layer.format))));
  layer.size_bytes = info.tree["virtual-size"].get<uint64_t>();
  layer.has_snapshots = info.tree.contains("snapshots");
  if (info.backing_path) {
    Layer backing{.path = *info.backing_path};
    VMM_ASSIGN_OR_RETURN(backing.format, format_of_backing(info, image, layer, above.empty()));
    next = std::move(backing);
  }
  return layer;
}

}  // namespace

std::string_view format_word(Format format) {
  switch (format) {
    case Format::kRaw:
      return "raw";
    case Format::kQcow2:
      return "qcow2";
    case Format::kQcow:
      return "qcow";
    case Format::kIso:
      return "iso";
  }
  return "raw";
}

Result<std::vector<Layer>> layers_of(const DiskOptions& image) {
  std::vector<Layer> layers;
  std::optional<Layer> next = Layer{.path = image.path, .format = image.format};
  while (next) {
    const std::string path = next->path;
    auto layer = take_layer(image, layers, next);
    if (!layer && !layers.empty()) {
      return fail("{} (backing chain: {} -> {})", layer.error().message(), chain_text(layers), path);
    }
    if (!layer) {
      return std::unexpected(layer.error());
    }
    layers.push_back(*std::move(layer));
  }
  return layers;
}

std::string chain_text(const std::vector<Layer>& layers) {
  std::vector<std::string> paths;
  paths.reserve(layers.size());
  for (const Layer& layer : layers) {
    paths.push_back(layer.path);
  }
  return block::chain_text(paths);
}

}  // namespace vmm::block::tool
