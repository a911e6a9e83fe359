#include "block/image_mark.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "block/open_chain.h"
#include "vmm/base/printable.h"
#include "vmm/base/unique_fd.h"

namespace vmm::block {
namespace {

namespace fs = std::filesystem;

constexpr const char* kIdAttribute = "user.vmm.id";
constexpr const char* kNoId = "-";  // the other's file system has no attributes: it is known by its path

const char* attribute_of(ImageMark mark) {
  switch (mark) {
    case ImageMark::kNewer:
      return "user.vmm.newer";
    case ImageMark::kMerging:
      return "user.vmm.merging";
    case ImageMark::kEmptied:
      break;
  }
  return "user.vmm.emptied";
}

// Neither waits for a pipe's other end nor opens a device that is not one for images.
UniqueFd open_to_mark(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat info{};
  if (!fd || ::fstat(fd.get(), &info) != 0) {
    return {};
  }
  if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)) {
    errno = ENOTSUP;
    return {};
  }
  return fd;
}

Status cannot_mark(const std::string& image, int error) {
  return fail("{}: its extended attributes cannot be written: {}", image, errno_text(error));
}

Status write_attribute(const std::string& image, const char* attribute, const std::string& value) {
  const UniqueFd fd = open_to_mark(image);
  if (!fd || ::fsetxattr(fd.get(), attribute, value.data(), value.size(), 0) != 0 || ::fsync(fd.get()) != 0) {
    return cannot_mark(image, errno);
  }
  return {};
}

std::optional<std::string> read_attribute(const std::string& image, const char* attribute) {
  std::array<char, PATH_MAX + 64> bytes{};
  const ssize_t length = ::getxattr(image.c_str(), attribute, bytes.data(), bytes.size());
  return length > 0 ? std::optional(std::string(bytes.data(), static_cast<size_t>(length))) : std::nullopt;
}

// An image that has none gets one.
std::string id_of(const std::string& image) {
  if (auto id = read_attribute(image, kIdAttribute)) {
    return *id;
  }
  std::array<uint8_t, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != ssize_t{bytes.size()}) {
    return kNoId;
  }
  std::string id;
  for (const uint8_t byte : bytes) {
    id += fmt::format("{:02x}", byte);
  }
  return write_attribute(image, kIdAttribute, id) ? id : kNoId;
}

struct Mark {
  std::string id;
  std::string path;
};

std::optional<Mark> read_mark(const std::string& image, ImageMark mark) {
  const auto text = read_attribute(image, attribute_of(mark));
  if (!text) {
    return std::nullopt;
  }
  const size_t space = text->find(' ');
  return space == std::string::npos ? Mark{.id = kNoId, .path = *text}
                                    : Mark{.id = text->substr(0, space), .path = text->substr(space + 1)};
}

bool is_meant(const Mark& mark, const std::string& image) {
  if (mark.id != kNoId) {
    return read_attribute(image, kIdAttribute) == mark.id;
  }
  std::error_code error;
  return fs::equivalent(mark.path, image, error);
}

// The image that is meant: where it was, or beside this one, with which it may have been moved or copied.
std::optional<std::string> find_meant(const std::string& image, const Mark& mark) {
  const std::string beside = (fs::path(image).parent_path() / fs::path(mark.path).filename()).native();
  for (const std::string& path : {beside, mark.path}) {
    std::error_code error;
    if (is_meant(mark, path) && !fs::equivalent(path, image, error)) {
      return path;
    }
  }
  return std::nullopt;
}

// How it ends that newer data are looked for.
struct Newest {
  std::string path;
  bool is_there = true;
};

std::optional<Newest> newest_of(const std::string& image) {
  std::optional<Newest> newest;
  std::set<std::string> seen{image};
  std::string here = image;
  for (auto mark = read_mark(here, ImageMark::kNewer); mark && seen.size() < kMaxChainLayers;
       mark = read_mark(here, ImageMark::kNewer)) {
    const auto other = find_meant(here, *mark);
    if (other && !seen.insert(*other).second) {
      break;
    }
    newest = {.path = other.value_or(mark->path), .is_there = other.has_value()};
    if (!other) {
      break;
    }
    here = *other;
  }
  return newest;
}

std::unexpected<Error> is_older(const std::string& image, const Newest& newest) {
  if (newest.is_there) {
    return fail_configuration(
        "{}: what its guest wrote last is in {}: name that one in the domain file. To go on without what was "
        "written since, let the mark on this one be forgotten (vmm-img unmark {})",
        image, printable(newest.path), image);
  }
  return fail_configuration(
      "{}: what its guest wrote last was in {}, which is not there, or another image now: name it where it "
      "is. To go on without what was written since, let the mark on this one be forgotten (vmm-img unmark "
      "{})",
      image, printable(newest.path), image);
}

// A commit was cut short when all was in this image already, as the one that was merged says: its marks are
// of before.
bool is_whole(const std::string& image) {
  const auto merged = read_mark(image, ImageMark::kMerging);
  const auto source = merged ? find_meant(image, *merged) : std::nullopt;
  return source && names(*source, ImageMark::kNewer, image);
}

// What is half merged is hidden by the image that it comes from, and by nothing else.
Status check_merging(const std::vector<DiskLayer>& layers, size_t depth) {
  const std::string& image = layers[depth].path;
  const auto merged = read_mark(image, ImageMark::kMerging);
  const auto is_source = [&](const DiskLayer& layer) { return is_meant(*merged, layer.path); };
  if (!merged || is_whole(image) ||
      std::any_of(layers.begin(), layers.begin() + static_cast<ptrdiff_t>(depth), is_source)) {
    return {};
  }
  const auto other = find_meant(image, *merged);
  if (!other) {
    return fail_configuration(
        "{}: a commit of {} into it was cut short, and it holds a part of that; that image is not there: "
        "name it where it is now, or restore this one, and let its mark be forgotten (vmm-img unmark {})",
        image, printable(merged->path), image);
  }
  const auto newest = newest_of(*other);
  return fail_configuration(
      "{}: a commit of {} into it was cut short, and it holds a part of that: name {} in the domain file, or "
      "end the commit first (vmm-img commit)",
      image, printable(*other), printable(newest && newest->is_there ? newest->path : *other));
}

}  // namespace

Status set_mark(const std::string& image, ImageMark mark, const std::string& other) {
  std::error_code error;
  return write_attribute(image, attribute_of(mark),
                         fmt::format("{} {}", id_of(other), fs::absolute(other, error).native()));
}

Result<bool> remove_mark(const std::string& image, ImageMark mark) {
  const UniqueFd fd = open_to_mark(image);
  if (!fd) {
    return std::unexpected(cannot_mark(image, errno).error());
  }
  if (::fremovexattr(fd.get(), attribute_of(mark)) != 0) {
    const bool can_have_none = errno == ENODATA || errno == ENOTSUP || errno == EPERM;
    return can_have_none ? Result<bool>(false) : std::unexpected(cannot_mark(image, errno).error());
  }
  if (::fsync(fd.get()) != 0) {
    return std::unexpected(cannot_mark(image, errno).error());
  }
  return true;
}

std::optional<std::string> mark_of(const std::string& image, ImageMark mark) {
  const auto found = read_mark(image, mark);
  return found ? std::optional(found->path) : std::nullopt;
}

bool names(const std::string& image, ImageMark mark, const std::string& other) {
  const auto found = read_mark(image, mark);
  return found && is_meant(*found, other);
}

Status check_marks(const std::vector<DiskLayer>& layers, bool is_written) {
  for (size_t depth = 0; depth < layers.size(); ++depth) {
    VMM_TRY(check_merging(layers, depth));
  }
  if (!is_written || layers.empty() || is_whole(layers.front().path)) {
    return {};
  }
  const std::string& image = layers.front().path;
  if (const auto newest = newest_of(image)) {
    return is_older(image, *newest);
  }
  if (layers.size() > 1 && names(image, ImageMark::kEmptied, layers[1].path)) {
    if (const auto newest = newest_of(layers[1].path)) {
      return is_older(image, *newest);
    }
  }
  return {};
}

// In an order in which a kill leaves one of them to be refused at most, and never none.
Status mark_use(const std::vector<DiskLayer>& layers) {
  if (is_whole(layers.front().path)) {
    VMM_TRY(remove_mark(layers.front().path, ImageMark::kNewer));
    VMM_TRY(remove_mark(layers.front().path, ImageMark::kMerging));
  }
  if (layers.size() < 2 || !names(layers[0].path, ImageMark::kEmptied, layers[1].path)) {
    return {};
  }
  VMM_TRY(set_mark(layers[1].path, ImageMark::kNewer, layers[0].path));
  VMM_TRY(remove_mark(layers[0].path, ImageMark::kEmptied));
  return {};
}

Status check_merge(const std::vector<DiskLayer>& layers, size_t base) {
  const std::string& image = layers[base].path;
  for (const ImageMark which : {ImageMark::kMerging, ImageMark::kNewer}) {
    const auto mark = read_mark(image, which);
    const auto is_it = [&](const DiskLayer& layer) { return is_meant(*mark, layer.path); };
    if (!mark || std::any_of(layers.begin(), layers.begin() + static_cast<ptrdiff_t>(base), is_it)) {
      continue;
    }
    if (which == ImageMark::kMerging) {
      return fail(
          "{}: holds a part of {}, whose commit was cut short: end that one first; or, if it is not needed "
          "any more, let the mark be forgotten (vmm-img unmark {})",
          image, printable(mark->path), image);
    }
    return fail(
        "{}: what its guest wrote last is in {}, which stands on it and would be spoiled; if that is not "
        "needed any more, let the mark be forgotten first (vmm-img unmark {})",
        image, printable(mark->path), image);
  }
  return {};
}

}  // namespace vmm::block
