#include "block/live/chain_options.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "block/changed_image.h"
#include "block/qcow2/change_backing.h"
#include "block/qcow2/make_empty.h"
#include "vmm/base/log.h"

namespace vmm::block {
namespace {

// Those that are said to follow the image, as far as they are said.
void note_first_format(DiskOptions& options) {
  options.backing_format.reset();
  if (!options.backing_stores.empty()) {
    options.backing_format = options.backing_stores.front().format;
  }
}

}  // namespace

DiskOptions options_of_layer(const DiskOptions& chain, const std::vector<DiskLayer>& layers, uint32_t depth) {
  DiskOptions options = chain;
  options.path = layers[depth].path;
  options.format = layers[depth].format;
  auto& stores = options.backing_stores;
  stores.erase(stores.begin(),
               stores.begin() + static_cast<ptrdiff_t>(std::min<size_t>(depth, stores.size())));
  note_first_format(options);
  return options;
}

DiskOptions options_without(const DiskOptions& chain, uint32_t first, uint32_t end) {
  DiskOptions options = chain;
  auto& stores = options.backing_stores;
  const auto place = [&stores](uint32_t layer) {
    return stores.begin() + static_cast<ptrdiff_t>(std::min<size_t>(layer - 1, stores.size()));
  };
  stores.erase(place(first), place(end));
  note_first_format(options);
  return options;
}

DiskOptions options_down_to(const DiskOptions& chain, uint32_t last) {
  DiskOptions options = chain;
  options.backing_stores.resize(std::min<size_t>(options.backing_stores.size(), last));
  note_first_format(options);
  return options;
}

DiskOptions options_above(const DiskOptions& chain, const std::string& path) {
  DiskOptions options = chain;
  options.path = path;
  options.format = Format::kQcow2;
  options.backing_stores.insert(options.backing_stores.begin(), {.path = chain.path, .format = chain.format});
  note_first_format(options);
  return options;
}

Status name_backing(const std::string& path, const DiskLayer* backing) {
  VMM_ASSIGN_OR_RETURN(const ChangedImage image, open_changed_image(path));
  qcow2::Backing wanted;
  if (backing != nullptr) {
    std::error_code error;
    wanted.file = std::filesystem::absolute(backing->path, error).native();
    wanted.format = format_name(backing->format);
  }
  return qcow2::change_backing(*image.file, image.header, wanted);
}

Result<std::optional<BackingName>> expect_empty(const std::string& path) {
  VMM_ASSIGN_OR_RETURN(const ChangedImage image, open_changed_image(path));
  VMM_ASSIGN_OR_RETURN(const bool is_empty, qcow2::is_empty(*image.file, image.header));
  if (!is_empty) {
    return fail(
        "{}: has data of its own, which would show in place of the disk's; take a new image (vmm-img create "
        "-f qcow2 -b …)",
        path);
  }
  if (!image.header.has_backing_file()) {
    return std::nullopt;
  }
  VMM_ASSIGN_OR_RETURN(BackingName name, parse_backing_name(image.header.backing_file, path));
  if (!name.format) {
    name.format = image.header.backing_format;
  }
  return name;
}

void mark_or_warn(const std::string& image, ImageMark mark, const std::string& other) {
  if (const Status marked = set_mark(image, mark, other); !marked) {
    log::warning("{}; if this run is ended by force, name {} in the domain file before the next one",
                 marked.error().message(), other);
  }
}

void unmark_or_warn(const std::string& image, ImageMark mark) {
  if (const auto removed = remove_mark(image, mark); !removed) {
    log::warning("{}; the next start may call it incomplete, which it is not", removed.error().message());
  }
}

void mark_skipped(const std::vector<DiskLayer>& layers, size_t first, size_t end, const std::string& above) {
  for (size_t i = first; i <= end && i < layers.size(); ++i) {
    if (mark_of(layers[i].path, ImageMark::kNewer)) {
      mark_or_warn(layers[i].path, ImageMark::kNewer, above);
    }
  }
}

}  // namespace vmm::block
