#include "vmm/control/metrics_text.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

#include "block/cache_counters.h"
#include "block/disk_counters.h"
#include "vmm/base/printable.h"
#include "vmm/version.h"

namespace vmm::control {
namespace {

using block::DiskCounters;

constexpr double kNanosecondsInSecond = 1e9;
constexpr std::array<std::string_view, DiskCounters::kKinds> kOperationNames = {"read", "write", "flush",
                                                                                "unmap"};

struct Label {
  std::string_view name;
  std::string value;
};
using Labels = std::vector<Label>;

std::string escaped(std::string_view text) {
  std::string result;
  for (const char each : text) {
    if (each == '\\' || each == '"') {
      result += '\\';
    }
    result += each;
  }
  return result;
}

std::string labels_text(const Labels& labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    text += fmt::format("{}{}=\"{}\"", text.empty() ? "" : ",", name, escaped(printable(value)));
  }
  return labels.empty() ? "" : "{" + text + "}";
}

class MetricsWriter {
 public:
  void begin(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  }
  void sample(const Labels& labels, uint64_t value) { line("", labels, fmt::format("{}", value)); }
  void sample_seconds(const Labels& labels, uint64_t nanoseconds) { line("", labels, seconds(nanoseconds)); }
  // Buckets hold what is less than their end, and so what is at most that but for what is exactly as long.
  void histogram(Labels labels, const DiskCounters::Operations& operations) {
    uint64_t sum = 0;
    const Labels own = labels;
    labels.push_back({.name = "le", .value = ""});
    for (size_t bucket = 0; bucket < DiskCounters::kBuckets; ++bucket) {
      sum += operations.latencies[bucket];
      labels.back().value =
          bucket + 1 == DiskCounters::kBuckets ? "+Inf" : seconds(DiskCounters::bucket_end_ns(bucket));
      line("_bucket", labels, fmt::format("{}", sum));
    }
    line("_sum", own, seconds(operations.total_ns));
    line("_count", own, fmt::format("{}", sum));
  }
  std::string take() { return std::move(text_); }

 private:
  static std::string seconds(uint64_t nanoseconds) {
    return fmt::format("{}", static_cast<double>(nanoseconds) / kNanosecondsInSecond);
  }
  void line(std::string_view suffix, const Labels& labels, std::string_view value) {
    text_ += fmt::format("{}{}{} {}\n", name_, suffix, labels_text(labels), value);
  }

  std::string text_;
  std::string name_;
};

void write_guest(const Guest& guest, MetricsWriter& writer) {
  writer.begin("vmm_info", "gauge", "The guest's name, and the version of its vmm.");
  writer.sample({{"name", guest.domain().name}, {"version", VMM_VERSION}}, 1);
  writer.begin("vmm_guest_running", "gauge",
               "1 while the guest runs; 0 while it is paused, or kept after its end.");
  writer.sample({}, guest.state() == Guest::State::kRunning ? 1 : 0);
}

void write_machine(const MachineStatistics& statistics, MetricsWriter& writer) {
  writer.begin("vmm_cpu_seconds_total", "counter", "CPU time of vmm, with its guest's.");
  writer.sample_seconds({}, statistics.process_cpu_ns);
  writer.begin("vmm_resident_memory_bytes", "gauge", "What vmm has of the host's memory, with its guest's.");
  writer.sample({}, statistics.resident_bytes);
  writer.begin("vmm_guest_memory_bytes", "gauge", "The guest's memory.");
  writer.sample({}, statistics.memory_bytes);
  if (statistics.balloon_bytes) {
    writer.begin("vmm_balloon_bytes", "gauge", "What the guest has given back of its memory.");
    writer.sample({}, *statistics.balloon_bytes);
  }
  writer.begin("vmm_vcpu_cpu_seconds_total", "counter",
               "CPU time of a vCPU's thread, in the guest and out of it.");
  for (size_t i = 0; i < statistics.vcpus.size(); ++i) {
    writer.sample_seconds({{"vcpu", std::to_string(i)}}, statistics.vcpus[i].cpu_ns);
  }
  writer.begin("vmm_vcpu_exits_total", "counter", "How often a vCPU came back to vmm, by KVM's reason.");
  for (size_t i = 0; i < statistics.vcpus.size(); ++i) {
    for (size_t reason = 0; reason < ExitCounters::kReasons; ++reason) {
      writer.sample({{"vcpu", std::to_string(i)}, {"reason", std::string(ExitCounters::kNames[reason])}},
                    statistics.vcpus[i].exits[reason]);
    }
  }
}

struct CountedDrive {
  const Guest::Drive& drive;
  DiskCounters::Values values;
};

void write_operations(const std::vector<CountedDrive>& drives, MetricsWriter& writer) {
  const auto for_each = [&](const auto& write) {
    for (const CountedDrive& each : drives) {
      for (size_t kind = 0; kind < DiskCounters::kKinds; ++kind) {
        write(Labels{{"disk", each.drive.device}, {"operation", std::string(kOperationNames[kind])}},
              each.values.operations[kind]);
      }
    }
  };
  writer.begin("vmm_disk_operations_total", "counter", "What a disk has done.");
  for_each([&](const Labels& labels, const auto& of) { writer.sample(labels, of.count); });
  writer.begin("vmm_disk_bytes_total", "counter", "Bytes of what a disk has done.");
  for_each([&](const Labels& labels, const auto& of) { writer.sample(labels, of.bytes); });
  writer.begin("vmm_disk_failed_operations_total", "counter", "What a disk was asked for and could not do.");
  for_each([&](const Labels& labels, const auto& of) { writer.sample(labels, of.failed); });
  writer.begin("vmm_disk_invalid_operations_total", "counter",
               "What a disk was asked for outside of its range.");
  for_each([&](const Labels& labels, const auto& of) { writer.sample(labels, of.invalid); });
  writer.begin("vmm_disk_latency_seconds", "histogram",
               "How long a disk was at it, with what it waited for a limit or for the host.");
  for_each([&](const Labels& labels, const auto& of) { writer.histogram(labels, of); });
}

void write_disks(const Guest& guest, MetricsWriter& writer) {
  const std::vector<Guest::Drive> all = guest.drives();
  std::vector<CountedDrive> drives;
  drives.reserve(all.size());
  for (const Guest::Drive& drive : all) {
    drives.push_back({.drive = drive, .values = drive.counters->values()});
  }
  write_operations(drives, writer);
  writer.begin("vmm_disk_requests_in_flight", "gauge", "What a disk was asked for and has not answered yet.");
  for (const CountedDrive& each : drives) {
    writer.sample({{"disk", each.drive.device}}, each.values.in_flight);
  }
  writer.begin("vmm_disk_table_lookups_total", "counter",
               "How often tables of a disk's images were found in memory (hit), or had to be read (miss).");
  for (const Guest::Drive& drive : all) {
    writer.sample({{"disk", drive.device}, {"result", "hit"}}, drive.cache->hits());
    writer.sample({{"disk", drive.device}, {"result", "miss"}}, drive.cache->misses());
  }
}

void write_interfaces(const Guest& guest, MetricsWriter& writer) {
  const std::vector<InterfaceInfo> interfaces = guest.interfaces();
  if (interfaces.empty()) {
    return;
  }
  const auto write_both = [&](uint64_t NetCounters::Direction::* counter) {
    for (const InterfaceInfo& each : interfaces) {
      writer.sample({{"interface", each.name}, {"direction", "received"}}, each.counters.received.*counter);
      writer.sample({{"interface", each.name}, {"direction", "sent"}}, each.counters.sent.*counter);
    }
  };
  writer.begin("vmm_interface_packets_total", "counter", "Packets that the guest has received and sent.");
  write_both(&NetCounters::Direction::packets);
  writer.begin("vmm_interface_bytes_total", "counter", "Bytes of these packets.");
  write_both(&NetCounters::Direction::bytes);
  writer.begin("vmm_interface_dropped_packets_total", "counter",
               "Packets that were lost: there was no room for them, or the link was down.");
  write_both(&NetCounters::Direction::dropped);
  writer.begin("vmm_interface_filtered_packets_total", "counter",
               "Packets that the guest's driver does not want.");
  for (const InterfaceInfo& each : interfaces) {
    writer.sample({{"interface", each.name}, {"direction", "received"}}, each.counters.received_filtered);
  }
  writer.begin("vmm_interface_invalid_packets_total", "counter",
               "What the guest has sent that is no packet.");
  for (const InterfaceInfo& each : interfaces) {
    writer.sample({{"interface", each.name}, {"direction", "sent"}}, each.counters.sent_errors);
  }
  writer.begin("vmm_interface_link_up", "gauge", "1 while the interface's link is up.");
  for (const InterfaceInfo& each : interfaces) {
    writer.sample({{"interface", each.name}}, each.is_link_up ? 1 : 0);
  }
}

void write_throwaway(const Guest& guest, MetricsWriter& writer) {
  const auto throwaway = guest.throwaway();
  if (!throwaway) {
    return;
  }
  writer.begin("vmm_throwaway_bytes", "gauge", "What throwaway disks take on the host, all together.");
  writer.sample({}, throwaway->used_bytes);
  if (throwaway->limit_bytes) {
    writer.begin("vmm_throwaway_limit_bytes", "gauge", "What they may take.");
    writer.sample({}, *throwaway->limit_bytes);
  }
}

}  // namespace

std::string metrics_text(const Guest& guest) {
  MetricsWriter writer;
  write_guest(guest, writer);
  write_machine(guest.statistics(), writer);
  write_disks(guest, writer);
  write_interfaces(guest, writer);
  write_throwaway(guest, writer);
  return writer.take();
}

}  // namespace vmm::control
