#include "vmm/machine/image_options.h"

namespace vmm {
namespace {

block::Format to_block(domain::ImageFormat format) {
  switch (format) {
    case domain::ImageFormat::kRaw:
      return block::Format::kRaw;
    case domain::ImageFormat::kQcow2:
      return block::Format::kQcow2;
  }
  return block::Format::kRaw;
}

block::CacheMode to_block(domain::CacheMode mode) {
  switch (mode) {
    case domain::CacheMode::kNone:
      return block::CacheMode::kNone;
    case domain::CacheMode::kWriteback:
      return block::CacheMode::kWriteback;
    case domain::CacheMode::kWritethrough:
      return block::CacheMode::kWritethrough;
    case domain::CacheMode::kDirectsync:
      return block::CacheMode::kDirectsync;
    case domain::CacheMode::kUnsafe:
      return block::CacheMode::kUnsafe;
  }
  return block::CacheMode::kWriteback;
}

block::DetectZeroes to_block(domain::DetectZeroes mode) {
  switch (mode) {
    case domain::DetectZeroes::kOff:
      return block::DetectZeroes::kOff;
    case domain::DetectZeroes::kOn:
      return block::DetectZeroes::kOn;
    case domain::DetectZeroes::kUnmap:
      return block::DetectZeroes::kUnmap;
  }
  return block::DetectZeroes::kOff;
}

block::ErrorPolicy to_block(domain::ErrorPolicy policy) {
  switch (policy) {
    case domain::ErrorPolicy::kReport:
      return block::ErrorPolicy::kReport;
    case domain::ErrorPolicy::kStop:
      return block::ErrorPolicy::kStop;
    case domain::ErrorPolicy::kIgnore:
      return block::ErrorPolicy::kIgnore;
    case domain::ErrorPolicy::kEnospace:
      return block::ErrorPolicy::kEnospace;
  }
  return block::ErrorPolicy::kReport;
}

}  // namespace

block::DiskOptions to_block(const domain::Disk& disk) {
  block::DiskOptions options;
  options.path = disk.source;
  options.format = to_block(disk.format);
  for (const domain::BackingStore& store : disk.backing_stores) {
    options.backing_stores.push_back({.path = store.source, .format = to_block(store.format)});
  }
  options.backing_ends = disk.backing_ends;
  if (!options.backing_stores.empty()) {
    options.backing_format = options.backing_stores.front().format;
  }
  options.metadata_cache_bytes = disk.metadata_cache_bytes;
  options.read_only = disk.read_only;
  options.shareable = disk.shareable;
  if (disk.data_file) {
    options.data_files = {*disk.data_file};
  }
  options.cache = to_block(disk.cache);
  options.discard =
      disk.discard == domain::DiscardMode::kUnmap ? block::DiscardMode::kUnmap : block::DiscardMode::kIgnore;
  options.detect_zeroes = to_block(disk.detect_zeroes);
  options.io =
      disk.io == domain::IoMode::kIoUring ? block::EngineKind::kIoUring : block::EngineKind::kThreads;
  return options;
}

block::OverlayFile::Options overlay_options(const domain::Throwaway& throwaway, const domain::Disk& disk) {
  if (!disk.kept_as.empty()) {
    return {.folder = disk.kept_as.parent_path(), .may_be_kept = true};
  }
  if (disk.is_committed) {
    return {.folder = throwaway.folder.empty() ? disk.source.parent_path() : throwaway.folder,
            .may_be_kept = true};
  }
  return {
      .folder = throwaway.folder, .in_memory = throwaway.in_memory, .is_encrypted = throwaway.is_encrypted};
}

block::IoLimits io_limits(const domain::IoTune& tune) {
  const auto limit = [](const domain::IoLimit& of) {
    return block::IoLimit{.per_second = of.per_second,
                          .burst_per_second = of.burst_per_second,
                          .burst_seconds = of.burst_seconds};
  };
  return {.total_bytes = limit(tune.total_bytes),
          .read_bytes = limit(tune.read_bytes),
          .write_bytes = limit(tune.write_bytes),
          .total_operations = limit(tune.total_operations),
          .read_operations = limit(tune.read_operations),
          .write_operations = limit(tune.write_operations),
          .operation_bytes = tune.operation_bytes};
}

block::ErrorPolicies error_policies(const domain::Disk& disk) {
  return {.write = to_block(disk.write_error), .read = to_block(disk.read_error)};
}

}  // namespace vmm
