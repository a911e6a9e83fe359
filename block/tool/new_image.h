// New images, as create and convert make them: what the user wants, checked before anything is lost.
//
// Threads: one; blocks. Errors name the option or the file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "block/copy/disk.h"
#include "block/disk_options.h"
#include "block/new_file.h"
#include "block/qcow2/create.h"
#include "block/tool/chain_options.h"
#include "block/tool/create_options.h"
#include "vmm/base/error.h"

namespace vmm::block::tool {

struct NewImageOptions {
  std::string path;
  std::string format;
  std::string backing_file;
  std::string backing_format;
  bool is_unsafe = false;  // the backing file is not looked at
  ChainOptions chain;
};

// What a new image is to be.
struct ImagePlan {
  Format format = Format::kRaw;
  uint64_t size_bytes = 0;  // a multiple of 512
  qcow2::Preallocation preallocation = qcow2::Preallocation::kOff;
  std::optional<qcow2::CreateOptions> qcow2;
  std::string data_path;  // of the external data file; empty: none

  // What is allocated, zeroed and copied as one.
  uint64_t unit_bytes() const;
};

// raw and qcow2 can be made. Backing files need a format, and raw images have none.
Result<Format> new_format(const NewImageOptions& options);

// What -F says for the backing file of `path` is something, and what qcow2 headers have a word for.
Status check_backing_format(const std::string& path, const std::string& format);

// backing_file and backing_fmt among the words of -o, for which there are the options `backing_option` and -F
// too.
Status take_backing(CreateWords& words, NewImageOptions& image, const char* backing_option);

// What the new image stands on; nullptr: nothing, or is_unsafe. While it is open its files are locked, so
// that none of them can be overwritten by the new image.
Result<std::unique_ptr<Disk>> open_backing(const NewImageOptions& options);

// Takes the words that the format has; others are an error. The size is rounded up to 512.
Result<ImagePlan> plan_image(const NewImageOptions& options, CreateWords& words, uint64_t size_bytes);

// --- Parts of the plan ---

// off, falloc, full; of qcow2 also metadata.
Result<qcow2::Preallocation> take_preallocation(CreateWords& words, Format format);
// compat, lazy_refcounts, extended_l2, cluster_size, refcount_bits, compression_type: the rest has defaults.
Result<qcow2::CreateOptions> take_table_words(CreateWords& words);

// The external data file of the plan, complete but for its name; nothing: there is none. One that is there
// already is refused, so that nobody's data are lost; but for a block device, which is taken as it is.
Result<std::optional<NewFile>> make_data_file(const ImagePlan& plan);

// Into a file that is empty, or a block device. Flushed, unless it is raw.
Status make_image(const NewFile& file, const ImagePlan& plan);

}  // namespace vmm::block::tool
