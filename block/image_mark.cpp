#include "block/image_mark.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "block/backing_name.h"
#include "block/file_state.h"
#include "block/open_chain.h"
#include "block/qcow2/image.h"
#include "block/sync_file.h"
#include "vmm/base/unique_fd.h"

namespace vmm::block {
namespace {

namespace fs = std::filesystem;

const char* attribute_of(ImageMark mark) {
  switch (mark) {
    case ImageMark::kOverlay:
      return "user.vmm.overlay";
    case ImageMark::kMoved:
      return "user.vmm.moved";
    case ImageMark::kMerging:
      break;
  }
  return "user.vmm.merging";
}

// Neither waits for a pipe's other end nor opens a device that is not one for images.
UniqueFd open_to_look(const std::string& path) {
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

std::optional<FileState> state_of(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 ? std::optional(FileState::of(info)) : std::nullopt;
}

bool is_same_file(const std::string& one, const std::string& other) {
  const auto first = state_of(one);
  const auto second = state_of(other);
  return first && second && first->is_same_file(*second);
}

Status cannot_mark(const std::string& image, int error) {
  return fail("{}: its extended attributes cannot be written: {}", image, errno_text(error));
}

// --- What a mark is worth ---

// The image that a mark names: it may have been moved with this one, to another folder.
std::optional<std::string> find_other(const std::string& image, const std::string& other) {
  const std::string beside = (fs::path(image).parent_path() / fs::path(other).filename()).native();
  for (const std::string& path : {other, beside}) {
    if (state_of(path) && !is_same_file(path, image)) {
      return path;
    }
  }
  return std::nullopt;
}

enum class Standing : uint8_t {
  kNoImage,  // it is no qcow2 image
  kApart,    // it does not stand on the other
  kOnIt,     // it does, or it cannot be seen
};

// By the names in the headers alone: no lock is asked for, nothing is opened but to be read.
Standing standing_of(std::string overlay, const std::string& image) {
  for (size_t depth = 0; depth < kMaxChainLayers; ++depth) {
    const OpenFile opened{.fd = open_to_look(overlay)};
    if (!opened.fd) {
      return Standing::kOnIt;
    }
    const auto file = make_sync_file(opened, overlay);
    const auto header = qcow2::read_header(*file);
    if (!header) {
      return depth == 0 ? Standing::kNoImage : Standing::kApart;
    }
    if (!header->has_backing_file()) {
      return Standing::kApart;
    }
    const auto name = parse_backing_name(header->backing_file, overlay);
    if (!name || is_same_file(name->path, image)) {
      return Standing::kOnIt;
    }
    overlay = name->path;
  }
  return Standing::kOnIt;
}

// The next image on the way to the newest.
std::optional<std::string> next_of(const std::string& image) {
  if (const auto named = mark_of(image, ImageMark::kOverlay)) {
    const auto other = find_other(image, *named);
    if (other && standing_of(*other, image) == Standing::kOnIt) {
      return other;
    }
  }
  if (const auto named = mark_of(image, ImageMark::kMoved)) {
    const auto other = find_other(image, *named);
    if (other &&
        (standing_of(*other, image) != Standing::kNoImage || standing_of(image, *other) == Standing::kOnIt)) {
      return other;
    }
  }
  return std::nullopt;
}

}  // namespace

Status set_mark(const std::string& image, ImageMark mark, const std::string& other) {
  std::error_code error;
  const std::string path = fs::absolute(other, error).native();
  const UniqueFd fd = open_to_look(image);
  if (!fd) {
    return cannot_mark(image, errno);
  }
  if (::fsetxattr(fd.get(), attribute_of(mark), path.data(), path.size(), 0) != 0 || ::fsync(fd.get()) != 0) {
    return cannot_mark(image, errno);
  }
  return {};
}

Status remove_mark(const std::string& image, ImageMark mark) {
  const UniqueFd fd = open_to_look(image);
  if (!fd) {
    return cannot_mark(image, errno);
  }
  if (::fremovexattr(fd.get(), attribute_of(mark)) != 0) {
    return errno == ENODATA || errno == ENOTSUP || errno == EPERM ? Status() : cannot_mark(image, errno);
  }
  return ::fsync(fd.get()) == 0 ? Status() : cannot_mark(image, errno);
}

std::optional<std::string> mark_of(const std::string& image, ImageMark mark) {
  std::array<char, PATH_MAX> bytes{};
  const ssize_t length = ::getxattr(image.c_str(), attribute_of(mark), bytes.data(), bytes.size());
  return length > 0 ? std::optional(std::string(bytes.data(), static_cast<size_t>(length))) : std::nullopt;
}

std::optional<std::string> newest_of(const std::string& image) {
  std::set<std::string> seen{image};
  std::optional<std::string> newest;
  for (auto next = next_of(image); next && seen.size() < kMaxChainLayers && seen.insert(*next).second;
       next = next_of(*next)) {
    newest = next;
  }
  return newest;
}

Status check_marks(const std::vector<DiskLayer>& layers, bool is_written) {
  for (size_t depth = 0; depth < layers.size(); ++depth) {
    const std::string& image = layers[depth].path;
    const auto merged = mark_of(image, ImageMark::kMerging);
    if (!merged) {
      continue;
    }
    const auto other = find_other(image, *merged);
    const bool shows_it =
        std::any_of(layers.begin(), layers.begin() + static_cast<ptrdiff_t>(depth),
                    [&](const DiskLayer& above) { return other && is_same_file(above.path, *other); });
    if (shows_it) {
      continue;  // whatever is in it already lies under the same
    }
    if (!other) {
      return fail_configuration(
          "{}: a commit of {} into it was cut short, and that image is not there any more: it holds a part "
          "of "
          "what it should. Put {} back, or restore this one and remove its mark (setfattr -x {} {})",
          image, *merged, *merged, attribute_of(ImageMark::kMerging), image);
    }
    return fail_configuration(
        "{}: a commit of {} into it was cut short, and it holds a part of that: name {} in the domain file, "
        "or end the commit first (vmm-img commit)",
        image, *other, newest_of(*other).value_or(*other));
  }
  if (!is_written || layers.empty()) {
    return {};
  }
  const std::string& image = layers.front().path;
  if (const auto newest = newest_of(image)) {
    return fail_configuration(
        "{}: what its guest wrote last is in {}, since a snapshot: name that one in the domain file; or, to "
        "go "
        "back to what was before the snapshot, remove it first",
        image, *newest);
  }
  return {};
}

}  // namespace vmm::block
