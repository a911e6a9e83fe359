#include "block/live/backup_job.h"

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "block/image_file.h"
#include "block/live/chain_options.h"
#include "block/open.h"
#include "block/qcow2/create.h"
#include "block/sync_file.h"

namespace vmm::block {
namespace {

// Nothing, too, is the same as nothing.
bool stand_on_the_same(const std::vector<DiskLayer>& one, const std::vector<DiskLayer>& other) {
  if (one.size() < 2 || other.size() < 2) {
    return one.size() == other.size();
  }
  std::error_code error;
  return std::filesystem::equivalent(one[1].path, other[1].path, error);
}

}  // namespace

Result<std::unique_ptr<BackupJob>> BackupJob::create(LiveDisk& disk, const Options& options,
                                                     OnState on_state) {
  std::error_code error;
  if (!options.is_existing && std::filesystem::exists(std::filesystem::symlink_status(options.path, error))) {
    return fail("{}: there is such a file already, and it is not written over", options.path);
  }
  for (const DiskLayer& layer : disk.layers()) {
    if (std::filesystem::equivalent(layer.path, options.path, error)) {
      return fail("{}: is part of the disk that is to be copied", options.path);
    }
  }
  if (options.is_of_top && options.format == Format::kRaw) {
    return fail(
        "{}: a raw image stands on nothing, and so cannot hold the disk's own image alone; make it qcow2",
        options.path);
  }
  std::unique_ptr<BackupJob> job(new BackupJob(disk, options, std::move(on_state)));
  VMM_TRY(job->open_target());
  job->begin();
  return job;
}

BackupJob::BackupJob(LiveDisk& disk, const Options& options, OnState on_state)
    : LiveJob(disk, std::move(on_state)), options_(options) {}

BackupJob::~BackupJob() = default;

Status BackupJob::open_target() {
  const DiskOptions& source = disk().options();
  const std::vector<DiskLayer> layers = disk().layers();
  const uint64_t size = disk().size_bytes();
  DiskOptions target{.path = options_.path, .format = options_.format, .passphrases = source.passphrases};
  if (!options_.is_existing) {
    qcow2::CreateOptions create{.size_bytes = size};
    // Making an encrypted image takes seconds, in which nothing else would be done.
    if (!source.passphrases.empty()) {
      return fail(
          "{}: {} is encrypted, and this would hold it in clear; make an encrypted image of that size first "
          "(vmm-img create -f qcow2 -o encrypt.format=luks…), and copy into it (mode: existing)",
          options_.path, source.path);
    }
    if (options_.is_of_top && layers.size() > 1) {
      std::error_code error;
      create.backing_file = std::filesystem::absolute(layers[1].path, error).native();
      create.backing_format = format_name(layers[1].format);
    }
    VMM_ASSIGN_OR_RETURN(auto file, NewFile::create(options_.path));
    file_.emplace(std::move(file));
    VMM_TRY(file_->take_mode_of(source.path));
    target.path = file_->path();
    VMM_ASSIGN_OR_RETURN(const ImageFile image, open_image_file({.path = target.path, .for_guest = false}));
    const auto sync = make_sync_file(image.files.main, target.path);
    VMM_TRY(options_.format == Format::kRaw ? sync->resize(size) : qcow2::create(*sync, create));
  }
  if (options_.is_existing && options_.is_of_top) {
    VMM_TRY(expect_empty(options_.path));
  }
  VMM_ASSIGN_OR_RETURN(target_, open_disk(disk().loop(), target));
  if (layers.front().is_encrypted && !target_->layers().front().is_encrypted) {
    return fail("{}: is not encrypted, and would hold in clear what {} keeps", options_.path, source.path);
  }
  if (options_.is_of_top && !stand_on_the_same(layers, target_->layers())) {
    return fail("{}: has to stand on {}, as {} does, of which it would hold a part only", options_.path,
                layers.size() > 1 ? layers[1].path : "nothing", source.path);
  }
  if (target_->size_bytes() != size) {
    return fail("{}: its disk has {} bytes, and the one that is copied {}", options_.path,
                target_->size_bytes(), size);
  }
  return {};
}

Status BackupJob::start() {
  const bool is_new = !options_.is_existing;
  return start_copy({.source = &disk().disk(),
                     .target = target_.get(),
                     .judge =
                         [is_of_top = options_.is_of_top, is_new](const BlockRun& run) {
                           if (is_of_top) {
                             return run.depth > 0 || !run.is_present ? LiveCopy::Wanted::kNothing
                                    : run.is_zero                    ? LiveCopy::Wanted::kZeroes
                                                                     : LiveCopy::Wanted::kData;
                           }
                           return !run.is_zero ? LiveCopy::Wanted::kData
                                  : is_new     ? LiveCopy::Wanted::kNothing
                                               : LiveCopy::Wanted::kZeroes;
                         },
                     .guest_writes = LiveCopy::GuestWrites::kAfter,
                     .skips_zeroes = is_new && !options_.is_of_top,
                     .source_name = disk().options().path,
                     .target_name = options_.path});
}

Status BackupJob::finish() {
  target_.reset();
  return file_ ? file_->keep(/*may_replace=*/false) : Status();
}

void BackupJob::undo(bool /*is_whole*/) {
  target_.reset();
  file_.reset();
}

}  // namespace vmm::block
