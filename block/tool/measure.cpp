// vmm-img measure: how long a new image will be.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "block/copy/disk.h"
#include "block/image_file.h"
#include "block/qcow2/image.h"
#include "block/qcow2/measure.h"
#include "block/sync_file.h"
#include "block/tool/chain_options.h"
#include "block/tool/command_line.h"
#include "block/tool/commands.h"
#include "block/tool/convert_source.h"
#include "block/tool/create_options.h"
#include "block/tool/default_format.h"
#include "block/tool/encrypt_options.h"
#include "block/tool/new_image.h"
#include "block/tool/text.h"
#include "vmm/base/bytes.h"

namespace vmm::block::tool {
namespace {

struct MeasureOptions {
  std::string path;
  std::string format;
  std::string size;
  std::string snapshot;
  std::string target_format = "raw";
  std::string words;
  std::string output = "human";
  ChainOptions chain;
};

struct Sizes {
  qcow2::Measure image;
  std::optional<uint64_t> bitmaps_bytes;  // nothing: not of an image that has some
};

// What the new image is to hold.
struct Contents {
  uint64_t size_bytes = 0;
  std::unique_ptr<Disk> disk;  // nullptr: nothing
};

Status check_source(const MeasureOptions& options) {
  const bool has_source = !options.path.empty();
  if (has_source == !options.size.empty()) {
    return fail_configuration("measure takes either --size, or an image whose contents are to be copied");
  }
  if (!has_source && (!options.format.empty() || !options.snapshot.empty())) {
    return fail_configuration("-f and -l tell of an image, and there is none; name one in place of --size");
  }
  return {};
}

Result<std::unique_ptr<Disk>> open_source(const MeasureOptions& options) {
  DiskOptions image{.path = options.path, .read_only = true};
  VMM_ASSIGN_OR_RETURN(image.format, disk_format(options.format));
  VMM_TRY(options.chain.apply_to(image));
  if (!options.snapshot.empty()) {
    if (image.format != Format::kQcow2) {
      return fail_configuration("-l {}: the format {} has no internal snapshots; qcow2 has", options.snapshot,
                                options.format);
    }
    VMM_ASSIGN_OR_RETURN(image.snapshot, parse_snapshot_choice(options.snapshot));
    image.snapshot->keeps_size = true;  // as qemu-img counts
  }
  return Disk::open(image);
}

Result<Contents> open_contents(const MeasureOptions& options) {
  Contents contents;
  if (options.path.empty()) {
    VMM_ASSIGN_OR_RETURN(contents.size_bytes, parse_size(options.size));
    if (contents.size_bytes > INT64_MAX) {
      return fail_configuration("--size {}: a disk has at most {} bytes", options.size, INT64_MAX);
    }
  } else {
    VMM_ASSIGN_OR_RETURN(contents.disk, open_source(options));
    contents.size_bytes = contents.disk->size_bytes();
  }
  contents.size_bytes = align_up(contents.size_bytes, kSectorBytes);
  return contents;
}

// Of the clusters of the new image that data lie in.
Result<uint64_t> data_bytes(Disk& disk, uint64_t cluster_bytes) {
  uint64_t bytes = 0;
  for (uint64_t offset = 0; offset < disk.size_bytes();) {
    VMM_ASSIGN_OR_RETURN(const BlockRun run, disk.map(offset, disk.size_bytes() - offset));
    uint64_t end = offset + run.length;
    if (run.is_data && !run.is_zero) {
      end = align_up(end, cluster_bytes);
      bytes += end - offset / cluster_bytes * cluster_bytes;
    }
    offset = end;
  }
  return bytes;
}

Result<std::optional<uint64_t>> bitmaps_bytes(const MeasureOptions& options,
                                              const qcow2::CreateOptions& image) {
  if (options.format != "qcow2" || image.version < 3) {
    return std::nullopt;
  }
  VMM_ASSIGN_OR_RETURN(const ImageFile source,
                       open_image_file({.path = options.path, .read_only = true, .for_guest = false}));
  const auto file = make_sync_file(source.files.main, options.path);
  VMM_ASSIGN_OR_RETURN(const qcow2::Header header, qcow2::read_header(*file));
  if (header.version < 3) {
    return std::nullopt;
  }
  VMM_ASSIGN_OR_RETURN(const uint64_t bytes, qcow2::measure_bitmaps(*file, header, image.cluster_bits));
  return std::optional(bytes);
}

Result<qcow2::CreateOptions> take_image_words(CreateWords& words) {
  VMM_ASSIGN_OR_RETURN(const qcow2::Preallocation preallocation, take_preallocation(words, Format::kQcow2));
  VMM_ASSIGN_OR_RETURN(qcow2::CreateOptions image, take_table_words(words));
  image.preallocation = preallocation;
  image.backing_file = words.take("backing_file").value_or("");
  // What has no influence on the length, and what create has for it.
  for (const char* word : {"backing_fmt", "data_file"}) {
    static_cast<void>(words.take(word));
  }
  VMM_TRY(words.take_flag("data_file_raw", false));
  if (image.version == 2 && image.refcount_order != 4) {
    return fail_configuration("-o refcount_bits: version 2 (compat=0.10) has 16; use version 3");
  }
  if (image.extended_l2 && image.cluster_bits < qcow2::kMinClusterBitsWithSubclusters) {
    return fail_configuration("-o extended_l2=on needs a cluster_size of 16k or more");
  }
  return image;
}

Result<Sizes> measure_qcow2(const MeasureOptions& options, const Contents& contents, CreateWords& words) {
  VMM_ASSIGN_OR_RETURN(qcow2::CreateOptions image, take_image_words(words));
  VMM_ASSIGN_OR_RETURN(const uint64_t crypto, encryption_header_bytes(words));
  VMM_TRY(words.expect_empty(options.target_format));
  image.size_bytes = contents.size_bytes;
  const uint64_t cluster_bytes = uint64_t{1} << image.cluster_bits;
  uint64_t data = 0;
  if (contents.disk != nullptr && image.backing_file.empty()) {
    VMM_ASSIGN_OR_RETURN(data, data_bytes(*contents.disk, cluster_bytes));
  } else if (contents.disk != nullptr) {
    data = align_up(contents.size_bytes, cluster_bytes);  // how much the backing file has is not known
  }
  Sizes sizes;
  VMM_ASSIGN_OR_RETURN(sizes.image, qcow2::measure_image(image, data, crypto));
  VMM_ASSIGN_OR_RETURN(sizes.bitmaps_bytes, bitmaps_bytes(options, image));
  return sizes;
}

Result<Sizes> measure_raw(const MeasureOptions& options, const Contents& contents, CreateWords& words) {
  VMM_TRY(take_preallocation(words, Format::kRaw));
  VMM_TRY(words.expect_empty(options.target_format));
  // What is not allocated counts too: it is part of the file.
  return Sizes{.image = {.required = contents.size_bytes, .fully_allocated = contents.size_bytes},
               .bitmaps_bytes = std::nullopt};
}

void print_human(const Sizes& sizes) {
  static_cast<void>(std::printf("required size: %llu\nfully allocated size: %llu\n",
                                static_cast<unsigned long long>(sizes.image.required),
                                static_cast<unsigned long long>(sizes.image.fully_allocated)));
  if (sizes.bitmaps_bytes) {
    static_cast<void>(
        std::printf("bitmaps size: %llu\n", static_cast<unsigned long long>(*sizes.bitmaps_bytes)));
  }
}

void print_json(const Sizes& sizes) {
  nlohmann::ordered_json tree;
  if (sizes.bitmaps_bytes) {
    tree["bitmaps"] = *sizes.bitmaps_bytes;
  }
  tree["required"] = sizes.image.required;
  tree["fully-allocated"] = sizes.image.fully_allocated;
  static_cast<void>(std::printf("%s\n", tree.dump(4).c_str()));
}

Result<Format> target_format(const MeasureOptions& options) {
  VMM_ASSIGN_OR_RETURN(const Format format, disk_format(options.target_format));
  if (format != Format::kRaw && format != Format::kQcow2) {
    return fail_configuration("-O {}: images of that format are only read here; raw and qcow2 can be made",
                              options.target_format);
  }
  return format;
}

Result<int> measure(MeasureOptions& options) {
  VMM_TRY(check_source(options));
  if (!options.path.empty()) {
    VMM_ASSIGN_OR_RETURN(options.format, format_of_image(options.format, options.path, "-f"));
  }
  VMM_ASSIGN_OR_RETURN(const Format format, target_format(options));
  VMM_ASSIGN_OR_RETURN(CreateWords words, CreateWords::parse(options.words));
  static_cast<void>(words.take("size"));  // --size and the image say it
  VMM_ASSIGN_OR_RETURN(const Contents contents, open_contents(options));
  VMM_ASSIGN_OR_RETURN(const Sizes sizes, format == Format::kRaw ? measure_raw(options, contents, words)
                                                                 : measure_qcow2(options, contents, words));
  options.output == "json" ? print_json(sizes) : print_human(sizes);
  return 0;
}

}  // namespace

void declare_measure(CommandLine& command) {
  auto options = std::make_shared<MeasureOptions>();
  command.set_footer(
      "Of a disk of some size (--size), or of a copy of the image. Tables are counted as if the whole disk\n"
      "were allocated, as qemu-img counts them: a copy becomes no longer than that.");
  command.add_option("-f", options->format, "Format of the image: raw, qcow2, qcow or iso").type_name("FMT");
  command
      .add_option("-l", options->snapshot,
                  "Of a copy of this internal snapshot: its ID or name, or\n"
                  "snapshot.id=ID,snapshot.name=NAME")
      .type_name("SNAPSHOT");
  command
      .add_option("-O", options->target_format,
                  "Format of the new image: raw (what is used if absent) or qcow2")
      .type_name("FMT");
  command.add_option("-o", options->words, "name=value,…, as create has them").type_name("OPTIONS");
  command.add_option("--size", options->size, "Of the disk, as 512, 64k, 10G").type_name("SIZE");
  command.add_option("--output", options->output, "human (what is used if absent) or json")
      .one_of({"human", "json"})
      .type_name("OFMT");
  options->chain.add_to(command);
  options->chain.add_backing_format_to(command);
  command.add_option("FILENAME", options->path).type_name("");
  command.set_action([options] { return measure(*options); });
}

}  // namespace vmm::block::tool
