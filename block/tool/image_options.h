// How the command line names the images that a command opens: by a file and -f, or with --image-opts by
// options, driver=qcow2,file.filename=FILE,… as qemu-img has them.
//
// Only what means something here is understood; any other driver or option is refused by name, as what it
// asks for would not be done. Threads: values. Errors name the option.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "block/disk_options.h"
#include "block/tool/chain_options.h"
#include "block/tool/command_line.h"
#include "vmm/base/error.h"

namespace vmm::block::tool {

// What one word of the command line means.
struct NamedImage {
  std::string path;
  std::string format;  // empty: nobody says it
  std::optional<CacheMode> cache;
  bool is_shared = false;
  bool is_read_only = false;  // says so itself
  std::string encryption;     // "luks" or "aes": what it must have
  FilesBehind behind;
};

// `text` is a value of --image-opts.
Result<NamedImage> parse_image_options(std::string_view text);

class ImageOptions {
 public:
  enum class Use : unsigned char { kRead, kWrite, kEither };

  // -f (`formats` tells which can be), --image-opts, and unless it is only written -U. The options outlive
  // the parsing of the command line.
  void add_to(CommandLine& command, const std::string& formats, Use use);
  // --target-image-opts in place of all these, for the image that is written to.
  void add_target_to(CommandLine& command);
  // For a command that can do without.
  void set_format_optional() { is_format_optional_ = true; }
  // For a command of one format: its images have it if nobody says another one.
  void set_only_format(const std::string& format) { only_format_ = format; }

  // `name` is a file, or what --image-opts takes. The image is as it was said to be.
  Result<NamedImage> named(const std::string& name) const { return named(name, format_, "-f"); }
  // The same with a format of its own, which `option` says.
  Result<NamedImage> named(const std::string& name, const std::string& format, std::string_view option) const;
  // To be opened as a disk: read_only. `cache`: a mode's name; what the image says itself comes first.
  Result<DiskOptions> disk(const std::string& name, const ChainOptions& chain,
                           const std::string& cache = "writeback") const;

  bool are_image_options() const { return are_image_options_; }

 private:
  std::string command_;
  std::string format_;
  std::string only_format_;
  bool are_image_options_ = false;
  bool is_shared_ = false;
  bool is_format_optional_ = false;
  bool may_write_ = false;
};

// For a command that gives no cache mode, or one of its own.
Result<DiskOptions> disk_options(const NamedImage& image, const ChainOptions& chain, CacheMode otherwise);

}  // namespace vmm::block::tool
