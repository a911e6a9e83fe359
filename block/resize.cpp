#include "block/resize.h"

#include <memory>
#include <optional>
#include <string>

#include "block/backing_name.h"
#include "block/copy/disk.h"
#include "block/data_file.h"
#include "block/image_file.h"
#include "block/qcow2/image.h"
#include "block/qcow2/open_image.h"
#include "block/qcow2/resize.h"
#include "block/sync_file.h"

namespace vmm::block {
namespace {

using qcow2::Preallocation;

// The image, open for writing and locked.
struct Target {
  ImageFile image;
  std::unique_ptr<SyncFile> file;
};

Result<Target> open_target(const std::string& path) {
  Target target;
  VMM_ASSIGN_OR_RETURN(target.image, open_image_file({.path = path, .for_guest = false}));
  target.file = make_sync_file(target.image.files.main, path);
  return target;
}

// As long as it was if it fails.
Status resize_file(const Target& target, uint64_t size, Preallocation preallocation) {
  const uint64_t old_bytes = target.image.size_bytes;
  Status grown = target.file->resize(size);
  if (grown && size > old_bytes &&
      (preallocation == Preallocation::kFalloc || preallocation == Preallocation::kFull)) {
    grown =
        target.file->allocate(FileOffset(old_bytes), size - old_bytes, preallocation == Preallocation::kFull);
    if (!grown) {
      if (const Status back = target.file->resize(old_bytes); !back) {
        return back;
      }
    }
  }
  VMM_TRY(std::move(grown));
  return target.file->sync();
}

Status resize_raw(const ResizeOptions& options) {
  const std::string& path = options.image.path;
  VMM_ASSIGN_OR_RETURN(const Target target, open_target(path));
  if (target.image.files.main.is_block_device) {
    return fail("{} is a block device, whose size is not for us to change", path);
  }
  VMM_ASSIGN_OR_RETURN(const uint64_t size, options.wanted_bytes(target.image.size_bytes));
  return resize_file(target, size, options.preallocation);
}

Result<uint64_t> backing_bytes(const DiskOptions& image, const qcow2::Header& header) {
  if (!header.has_backing_file()) {
    return 0;
  }
  VMM_ASSIGN_OR_RETURN(const BackingName name, parse_backing_name(header.backing_file, image.path));
  DiskOptions backing{.path = name.path, .read_only = true, .passphrases = image.passphrases};
  backing.data_files = image.data_files;
  const std::optional<std::string>& format = name.format ? name.format : header.backing_format;
  const std::optional<Format> known = format ? format_named(*format) : image.backing_format;
  if (!known) {
    return format ? fail("{}: its backing file {} has the format '{}', which is not known here", image.path,
                         header.backing_file, *format)
                  : fail(
                        "{}: does not say which format its backing file {} has, and a format is never "
                        "guessed; say it (--backing-format)",
                        image.path, header.backing_file);
  }
  backing.format = *known;
  auto disk = Disk::open(backing);
  if (!disk) {
    return std::unexpected(disk.error().within("backing file"));
  }
  return (*disk)->size_bytes();
}

// Empty: the image has its data in itself. Asked before anything is changed.
Result<std::string> data_path(const DiskOptions& image, const qcow2::Header& header) {
  if (!header.has(qcow2::kIncompatibleDataFile)) {
    return std::string();
  }
  return named_data_file(header.data_file, image);
}

// A raw data file reads right without the tables, and so is as long as the disk. So is one with
// preallocation.
Status resize_data_file(const ResizeOptions& options, const qcow2::Header& header, const std::string& path,
                        uint64_t size) {
  const bool is_raw = (header.autoclear & qcow2::kAutoclearRawDataFile) != 0;
  if (path.empty() || (!is_raw && options.preallocation == Preallocation::kOff)) {
    return {};
  }
  VMM_ASSIGN_OR_RETURN(const Target data, open_target(path));
  if (data.image.files.main.is_block_device) {
    return data.image.size_bytes >= size
               ? Status()
               : fail("{}: its data file {} is a block device of {} bytes, too short", options.image.path,
                      path, data.image.size_bytes);
  }
  return resize_file(data, size, options.preallocation);
}

// With the size that the disk is to have; its header still has the old one.
Status write_zeroes(const DiskOptions& image, uint64_t size, const qcow2::DiskRange& range) {
  DiskOptions longer = image;
  longer.disk_bytes = size;
  VMM_ASSIGN_OR_RETURN(const auto disk, Disk::open(longer));
  IoStatus status = disk->run(BlockOp::kWriteZeroes, range.offset, range.bytes);
  if (status == IoStatus::kOk) {
    status = disk->run(BlockOp::kFlush, 0, 0);
  }
  return status == IoStatus::kOk
             ? Status()
             : fail("{}: what is new cannot be filled with zeroes, and the disk stays as it was: {}",
                    image.path, status_text(status));
}

// The size that is to be made: absent where it is there already.
Result<std::optional<uint64_t>> shrink_or_begin(const ResizeOptions& options,
                                                std::optional<qcow2::DiskRange>& zeroes) {
  VMM_ASSIGN_OR_RETURN(const Target target, open_target(options.image.path));
  VMM_ASSIGN_OR_RETURN(qcow2::Header header, qcow2::read_header(*target.file));
  VMM_ASSIGN_OR_RETURN(const uint64_t size, options.wanted_bytes(header.size_bytes));
  VMM_TRY(qcow2::check_resize(*target.file, header, size));
  if (options.preallocation != Preallocation::kOff && target.image.files.main.is_block_device) {
    return fail("{} is a block device, whose free space is not known to be zeroes; use --preallocation=off",
                options.image.path);
  }
  VMM_ASSIGN_OR_RETURN(const uint64_t backing, backing_bytes(options.image, header));
  VMM_ASSIGN_OR_RETURN(const std::string data, data_path(options.image, header));
  VMM_TRY(qcow2::prepare_for_maintenance(*target.file, header));
  if (size < header.size_bytes) {
    VMM_TRY(qcow2::shrink(*target.file, header, size));
    VMM_TRY(resize_data_file(options, header, data, size));
    return std::nullopt;
  }
  VMM_TRY(resize_data_file(options, header, data, size));
  VMM_TRY(qcow2::begin_growing(*target.file, header, size, options.preallocation));
  zeroes = qcow2::zeroes_needed(header, size, backing, options.preallocation);
  if (!zeroes) {
    VMM_TRY(qcow2::finish_growing(*target.file, header, size));
    return std::nullopt;
  }
  return std::optional(size);
}

Status resize_qcow2(const ResizeOptions& options) {
  std::optional<qcow2::DiskRange> zeroes;
  VMM_ASSIGN_OR_RETURN(const std::optional<uint64_t> size, shrink_or_begin(options, zeroes));
  if (!size) {
    return {};
  }
  VMM_TRY(write_zeroes(options.image, *size, *zeroes));
  VMM_ASSIGN_OR_RETURN(const Target target, open_target(options.image.path));
  VMM_ASSIGN_OR_RETURN(qcow2::Header header, qcow2::read_header(*target.file));
  if (header.size_bytes != zeroes->offset) {
    return fail("{}: another program has resized it meanwhile; try again", options.image.path);
  }
  return qcow2::finish_growing(*target.file, header, *size);
}

}  // namespace

Status resize_image(const ResizeOptions& options) {
  switch (options.image.format) {
    case Format::kRaw:
      return resize_raw(options);
    case Format::kQcow2:
      return resize_qcow2(options);
    case Format::kQcow:
    case Format::kIso:
      break;
  }
  return fail_configuration("{}: images of this format are only read here", options.image.path);
}

}  // namespace vmm::block
