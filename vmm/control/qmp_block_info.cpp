#include "vmm/control/qmp_block_info.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "block/disk_counters.h"

namespace vmm::control {
namespace {

using block::DiskCounters;
using block::DiskLayer;

constexpr uint64_t kStatBlockBytes = 512;

// --- Images ---------------------------------------------------------------------------------------------

Json image_info(std::span<const DiskLayer> layers, bool is_flat) {
  const DiskLayer& layer = layers.front();
  Json info{{"filename", layer.path},
            {"format", block::format_name(layer.format)},
            {"virtual-size", layer.size_bytes}};
  struct stat state{};
  if (::stat(layer.path.c_str(), &state) == 0 && S_ISREG(state.st_mode)) {
    info["actual-size"] = static_cast<uint64_t>(state.st_blocks) * kStatBlockBytes;
  }
  if (layer.cluster_bytes != 0) {
    info["cluster-size"] = layer.cluster_bytes;
  }
  if (layer.is_encrypted) {
    info["encrypted"] = true;
  }
  if (layer.backing_name) {
    info["backing-filename"] = *layer.backing_name;
  }
  if (layer.backing_format) {
    info["backing-filename-format"] = *layer.backing_format;
  }
  if (layers.size() > 1) {
    info["full-backing-filename"] = layers[1].path;
    if (!is_flat) {
      info["backing-image"] = image_info(layers.subspan(1), false);
    }
  }
  return info;
}

struct LimitName {
  const char* name;
  domain::IoLimit domain::IoTune::* limit;
};
constexpr LimitName kLimitNames[] = {
    {"bps", &domain::IoTune::total_bytes},         {"bps_rd", &domain::IoTune::read_bytes},
    {"bps_wr", &domain::IoTune::write_bytes},      {"iops", &domain::IoTune::total_operations},
    {"iops_rd", &domain::IoTune::read_operations}, {"iops_wr", &domain::IoTune::write_operations}};

// As QEMU, what bursts are is told of those that may be.
void put_limits(const Guest::Drive& drive, Json& info) {
  const domain::IoTune tune = drive.limits.value_or(domain::IoTune());
  for (const auto& [name, limit] : kLimitNames) {
    info[name] = (tune.*limit).per_second;
  }
  for (const auto& [name, limit] : kLimitNames) {
    const domain::IoLimit& of = tune.*limit;
    if (of.burst_per_second != 0) {
      info[fmt::format("{}_max", name)] = of.burst_per_second;
      info[fmt::format("{}_max_length", name)] = of.burst_seconds;
    }
  }
  if (tune.operation_bytes != 0) {
    info["iops_size"] = tune.operation_bytes;
  }
  if (drive.limits) {
    info["group"] = drive.device;
  }
}

Json cache_info(const domain::Disk& disk) {
  return {{"writeback",
           disk.cache != domain::CacheMode::kWritethrough && disk.cache != domain::CacheMode::kDirectsync},
          {"direct", disk.cache == domain::CacheMode::kNone || disk.cache == domain::CacheMode::kDirectsync},
          {"no-flush", disk.cache == domain::CacheMode::kUnsafe || disk.transient}};
}

const char* name_of_detect_zeroes(domain::DetectZeroes mode) {
  switch (mode) {
    case domain::DetectZeroes::kOff:
      break;
    case domain::DetectZeroes::kOn:
      return "on";
    case domain::DetectZeroes::kUnmap:
      return "unmap";
  }
  return "off";
}

// As the domain has it; of a drive that it does not know, what is usual.
domain::Disk wanted_of(const Guest& guest, const Guest::Drive& drive) {
  const auto& disks = guest.domain().disks;
  const auto found = std::ranges::find(disks, drive.device, &domain::Disk::target);
  return found == disks.end() ? domain::Disk() : *found;
}

// REQUIRES: layer < drive.layers.size().
Json node_info(const Guest& guest, const Guest::Drive& drive, size_t layer, bool is_flat) {
  const domain::Disk wanted = wanted_of(guest, drive);
  const std::span<const DiskLayer> layers = std::span(drive.layers).subspan(layer);
  const bool is_top = layer == 0;
  Json info{{"file", layers.front().path},
            {"node-name", node_name(drive, layer)},
            {"ro", !is_top || drive.is_read_only},
            {"drv", block::format_name(layers.front().format)}};
  if (layers.size() > 1) {
    info["backing_file"] = layers[1].path;
  }
  info["backing_file_depth"] = is_flat ? 0 : layers.size() - 1;
  info["encrypted"] = layers.front().is_encrypted;
  info["detect_zeroes"] = is_top ? name_of_detect_zeroes(wanted.detect_zeroes) : "off";
  put_limits(is_top ? drive : Guest::Drive(), info);
  info["image"] = image_info(layers, is_flat);
  info["cache"] = cache_info(wanted);
  info["write_threshold"] = 0;
  return info;
}

Json block_info(const Guest& guest, const Guest::Drive& drive) {
  Json info{{"device", drive.device},
            {"qdev", drive.device},
            {"type", "unknown"},
            {"removable", drive.is_cdrom},
            {"locked", drive.is_locked}};
  if (drive.is_cdrom) {
    info["tray_open"] = drive.is_tray_open;
  }
  if (!drive.layers.empty()) {
    info["inserted"] = node_info(guest, drive, 0, false);
  }
  return info;
}

// --- Figures --------------------------------------------------------------------------------------------

// Buckets as QEMU counts them: below the first boundary, between each two, from the last on.
Json histogram(const DiskCounters::Operations& operations) {
  Json boundaries = Json::array();
  for (size_t bucket = 0; bucket + 1 < DiskCounters::kBuckets; ++bucket) {
    boundaries.push_back(DiskCounters::bucket_end_ns(bucket));
  }
  return {{"boundaries", boundaries}, {"bins", operations.latencies}};
}

Json stats_of(const DiskCounters& counters) {
  const DiskCounters::Values values = counters.values();
  const auto& [reads, writes, flushes, unmaps] = values.operations;
  Json stats{{"rd_bytes", reads.bytes},
             {"wr_bytes", writes.bytes},
             {"unmap_bytes", unmaps.bytes},
             {"rd_operations", reads.count},
             {"wr_operations", writes.count},
             {"flush_operations", flushes.count},
             {"unmap_operations", unmaps.count},
             {"rd_total_time_ns", reads.total_ns},
             {"wr_total_time_ns", writes.total_ns},
             {"flush_total_time_ns", flushes.total_ns},
             {"unmap_total_time_ns", unmaps.total_ns},
             {"wr_highest_offset", values.highest_write_end},
             {"rd_merged", 0},
             {"wr_merged", 0},
             {"unmap_merged", 0}};
  if (values.last_ns != 0) {
    const uint64_t now = DiskCounters::now_ns();
    stats["idle_time_ns"] = now - std::min(values.last_ns, now);
  }
  stats.update({{"failed_rd_operations", reads.failed},
                {"failed_wr_operations", writes.failed},
                {"failed_flush_operations", flushes.failed},
                {"failed_unmap_operations", unmaps.failed},
                {"invalid_rd_operations", reads.invalid},
                {"invalid_wr_operations", writes.invalid},
                {"invalid_flush_operations", flushes.invalid},
                {"invalid_unmap_operations", unmaps.invalid},
                {"account_invalid", true},
                {"account_failed", true},
                {"timed_stats", Json::array()},
                {"rd_latency_histogram", histogram(reads)},
                {"wr_latency_histogram", histogram(writes)},
                {"flush_latency_histogram", histogram(flushes)}});
  return stats;
}

}  // namespace

std::string node_name(const Guest::Drive& drive, size_t layer) {
  return layer == 0 ? fmt::format("#{}", drive.device) : fmt::format("#{}.{}", drive.device, layer);
}

Answer query_block(Guest& guest, const Request& /*request*/) {
  Json list = Json::array();
  for (const Guest::Drive& drive : guest.drives()) {
    list.push_back(block_info(guest, drive));
  }
  return list;
}

Answer query_named_block_nodes(Guest& guest, const Request& request) {
  Json list = Json::array();
  for (const Guest::Drive& drive : guest.drives()) {
    for (size_t layer = 0; layer < drive.layers.size(); ++layer) {
      list.push_back(node_info(guest, drive, layer, request.is_flat));
    }
  }
  return list;
}

Answer query_block_stats(Guest& guest, const Request& request) {
  if (request.is_of_nodes) {
    return fault("Parameter 'query-nodes': disks are counted, not their nodes");
  }
  Json list = Json::array();
  for (const Guest::Drive& drive : guest.drives()) {
    Json told{{"device", drive.device}, {"qdev", drive.device}};
    if (!drive.layers.empty()) {
      told["node-name"] = node_name(drive, 0);
    }
    told["stats"] = stats_of(*drive.counters);
    list.push_back(std::move(told));
  }
  return list;
}

}  // namespace vmm::control
