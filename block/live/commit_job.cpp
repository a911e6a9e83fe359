#include "block/live/commit_job.h"

#include <algorithm>
#include <utility>

#include "block/changed_image.h"
#include "block/live/chain_options.h"
#include "block/live/snapshot.h"
#include "block/open_chain.h"
#include "block/qcow2/make_empty.h"
#include "vmm/base/log.h"

namespace vmm::block {

Result<std::unique_ptr<CommitJob>> CommitJob::create(LiveDisk& disk, const Options& options,
                                                     OnState on_state) {
  const std::vector<DiskLayer> layers = disk.layers();
  if (layers.size() == 1) {
    return fail("{}: stands on no other image, so there is nothing to commit", layers.front().path);
  }
  if (options.base <= options.top || options.base >= layers.size()) {
    return fail("{}: stands on no such image to which it could be committed", disk.options().path);
  }
  for (uint32_t i = 0; i < options.base; ++i) {
    if (layers[i].has_snapshots) {
      return fail("{}: has internal snapshots, in which the changed {} would show", layers[i].path,
                  layers[options.base].path);
    }
  }
  if (layers[options.base].size_bytes > layers[options.top].size_bytes) {
    return fail("{}: its disk of {} bytes is longer than the {} of {}; resize that one first",
                layers[options.base].path, layers[options.base].size_bytes, layers[options.top].size_bytes,
                layers[options.top].path);
  }
  VMM_TRY(check_merge(layers, options.base));
  std::unique_ptr<CommitJob> job(new CommitJob(disk, options, std::move(on_state)));
  job->begin();
  return job;
}

CommitJob::CommitJob(LiveDisk& disk, const Options& options, OnState on_state)
    : LiveJob(disk, std::move(on_state)),
      options_(options),
      layers_(disk.layers()),
      before_(disk.options()) {}

CommitJob::~CommitJob() = default;

Status CommitJob::make_base_long_enough() {
  const DiskLayer& base = layers_[options_.base];
  const uint64_t wanted = layers_[options_.top].size_bytes;
  if (base.size_bytes >= wanted) {
    return {};
  }
  return make_longer(disk(), options_of_layer(before_, layers_, options_.base), wanted);
}

Status CommitJob::start() {
  BlockDevice* base = nullptr;
  ImageChain* chain = nullptr;
  VMM_TRY(disk().reopen(
      before_, [this] { return make_base_long_enough(); },
      [&]() -> Result<std::unique_ptr<BlockDevice>> {
        VMM_ASSIGN_OR_RETURN(auto opened, open_chain_to_commit(disk().loop(), before_, options_.base));
        base = opened->base();
        chain = opened.get();
        return opened;
      }));
  if (options_.top > 0) {
    view_ = chain->view_from(options_.top);
  }
  // What it holds of one further up stays in it.
  const auto is_named = [this](const DiskLayer& layer) {
    return names(base_path(), ImageMark::kMerging, layer.path);
  };
  has_part_of_another_ =
      std::any_of(layers_.begin(), layers_.begin() + static_cast<ptrdiff_t>(options_.top), is_named);
  if (!has_part_of_another_) {
    mark_or_warn(base_path(), ImageMark::kMerging, top_path());
  }
  const uint32_t merged = options_.base - options_.top;
  return start_copy(
      {.source = options_.top > 0 ? view_.get() : chain,
       .target = base,
       // What ends above the base hides it.
       .judge =
           [merged](const BlockRun& run) {
             const bool is_merged = run.depth < merged && run.is_present;
             const bool is_hidden = run.is_behind_end && run.depth + 1 < merged;
             return is_hidden || (is_merged && run.is_zero) ? LiveCopy::Wanted::kZeroes
                    : is_merged                             ? LiveCopy::Wanted::kData
                                                            : LiveCopy::Wanted::kNothing;
           },
       .guest_writes = options_.top > 0 ? LiveCopy::GuestWrites::kPass : LiveCopy::GuestWrites::kMirrored,
       .source_name = layers_[options_.top].path,
       .target_name = layers_[options_.base].path});
}

// Whatever shows is in the base by now. What cannot be emptied, as its disk is full, shows what the guest
// had, and says so to who opens it.
void CommitJob::empty_merged() const {
  const Status emptied = try_to_empty_merged();
  if (emptied) {
    mark_or_warn(top_path(), ImageMark::kEmptied, base_path());
    unmark_or_warn(top_path(), ImageMark::kNewer);
    return;
  }
  log::warning(
      "{}; the commit is done all the same: {} is the disk's image, and what was merged into it may be "
      "removed",
      emptied.error().message(), base_path());
  for (uint32_t i = 0; i < options_.base; ++i) {
    mark_or_warn(layers_[i].path, ImageMark::kNewer, base_path());
  }
}

// The disk's own image comes first: it must never show what those between hold, once they are changed.
Status CommitJob::try_to_empty_merged() const {
  for (uint32_t i = 0; i < options_.base; ++i) {
    if (layers_[i].format != Format::kQcow2) {
      continue;  // it is only read here
    }
    if (i + 1 < options_.base) {
      VMM_TRY(name_backing(layers_[i].path, &layers_[options_.base]));
    }
    VMM_ASSIGN_OR_RETURN(ChangedImage image, open_changed_image(layers_[i].path));
    VMM_TRY(qcow2::make_empty(*image.file, image.header));
  }
  return {};
}

// All of it is on stable storage, and nothing but this has been written since: who opens it finds all.
void CommitJob::base_is_whole() const {
  if (!has_part_of_another_) {
    unmark_or_warn(base_path(), ImageMark::kMerging);
  }
}

Status CommitJob::finish() {
  view_.reset();
  if (options_.top == 0) {
    const auto newer = mark_of(base_path(), ImageMark::kNewer);
    const Status done = disk().reopen(options_of_layer(before_, layers_, options_.base), [this] {
      // At each step one of the two is the one to take.
      mark_or_warn(top_path(), ImageMark::kNewer, base_path());
      unmark_or_warn(base_path(), ImageMark::kNewer);
      base_is_whole();
      empty_merged();
      return Status();
    });
    if (!done) {
      unmark_or_warn(top_path(), ImageMark::kNewer);
      unmark_or_warn(top_path(), ImageMark::kEmptied);
      if (newer) {
        mark_or_warn(base_path(), ImageMark::kNewer, *newer);
      }
      return done;
    }
    for (uint32_t i = 0; i < options_.base; ++i) {
      disk().note_emptied({.path = layers_[i].path, .base = layers_[options_.base].path});
    }
    return {};
  }
  base_is_whole();
  return disk().reopen(options_without(before_, options_.top, options_.base), [this]() -> Status {
    mark_skipped(layers_, options_.top, options_.base, layers_[options_.top - 1].path);
    return name_backing(layers_[options_.top - 1].path, &layers_[options_.base]);
  });
}

void CommitJob::undo(bool is_whole) {
  view_.reset();
  if (is_whole) {
    base_is_whole();
  }
  if (const Status back = disk().reopen(before_, {}); !back) {
    log::debug("{}", back.error().message());  // where nothing could be opened, that is told
  }
}

}  // namespace vmm::block
