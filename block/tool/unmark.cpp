// vmm-img unmark: what keeps an image from being a guest's disk is forgotten.
#include <cstdio>
#include <memory>
#include <string>

#include "block/image_mark.h"
#include "block/tool/command_line.h"
#include "block/tool/commands.h"
#include "vmm/base/printable.h"

namespace vmm::block::tool {
namespace {

struct UnmarkOptions {
  std::string path;
  bool is_quiet = false;
};

const char* meaning_of(ImageMark mark) {
  switch (mark) {
    case ImageMark::kNewer:
      return "that what its guest wrote since is in";
    case ImageMark::kMerging:
      return "that it holds a part only, of a commit of";
    case ImageMark::kEmptied:
      break;
  }
  return "that it shows what is in";
}

Result<int> unmark(const UnmarkOptions& options) {
  for (const ImageMark mark : kImageMarks) {
    const auto other = mark_of(options.path, mark);
    VMM_ASSIGN_OR_RETURN(const bool was_there, remove_mark(options.path, mark));
    if (was_there && other && !options.is_quiet) {
      static_cast<void>(std::printf("Forgotten: %s %s\n", meaning_of(mark), printable(*other).c_str()));
    }
  }
  return 0;
}

}  // namespace

void declare_unmark(CommandLine& command) {
  auto options = std::make_shared<UnmarkOptions>();
  command.set_footer(
      "After a snapshot of a running guest, or a commit that was cut short, vmm refuses the image that the "
      "guest\n"
      "had before, and says why (vmm-img info too). Its guest goes on from what the image holds, once that "
      "is\n"
      "forgotten; an overlay that stands on it is of no use any more when it was written to.");
  command.add_flag("-q,--quiet", options->is_quiet, "Print nothing but errors");
  command.add_option("FILENAME", options->path).required().type_name("");
  command.set_action([options] { return unmark(*options); });
}

}  // namespace vmm::block::tool
