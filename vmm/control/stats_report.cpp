#include "vmm/control/stats_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "vmm/base/size.h"
#include "vmm/control/ctl_command.h"

namespace vmm::control {
namespace {

using nlohmann::json;

constexpr double kNanoseconds = 1e9;
constexpr double kWhole = 100;

const json& part_of(const json& object, const char* name) {
  static const json kNothing = json::object();
  const auto found = object.is_object() ? object.find(name) : object.end();
  return found == object.end() ? kNothing : *found;
}

// Between two readings of a counter.
double growth(const json& before, const json& now, const char* name) {
  const uint64_t from = number_of(before, name);
  return static_cast<double>(number_of(now, name) - std::min(from, number_of(now, name)));
}

class ReportWriter {
 public:
  ReportWriter(const StatsSample& before, const StatsSample& now)
      : before_(before), now_(now), nanoseconds_(std::max(growth(before.stats, now.stats, "time-ns"), 1.0)) {}

  json write() const {
    json report = {{"name", text_of(now_.name, "name")},
                   {"status", text_of(now_.status, "status")},
                   {"seconds", nanoseconds_ / kNanoseconds},
                   {"cpu-percent", cpu_percent(before_.stats, now_.stats)},
                   {"cpu-time-ns", number_of(now_.stats, "cpu-time-ns")}};
    for (const char* name : {"resident-bytes", "memory-bytes", "balloon-bytes"}) {
      if (now_.stats.contains(name)) {
        report[name] = number_of(now_.stats, name);
      }
    }
    report["vcpus"] = vcpus();
    report["disks"] = disks();
    report["interfaces"] = interfaces();
    return report;
  }

 private:
  double per_second(double count) const { return count / nanoseconds_ * kNanoseconds; }
  double cpu_percent(const json& before, const json& now) const {
    return growth(before, now, "cpu-time-ns") / nanoseconds_ * kWhole;
  }

  static double all_exits(const json& before, const json& now) {
    double sum = 0;
    for (const auto& [reason, count] : part_of(now, "exits").items()) {
      sum += growth(part_of(before, "exits"), part_of(now, "exits"), reason.c_str());
    }
    return sum;
  }

  json vcpus() const {
    json list = json::array();
    const json& before = part_of(before_.stats, "vcpus");
    const json& now = part_of(now_.stats, "vcpus");
    for (size_t i = 0; now.is_array() && i < now.size(); ++i) {
      const json& was = before.is_array() && i < before.size() ? before[i] : now[i];
      list.push_back({{"cpu-index", i},
                      {"cpu-percent", cpu_percent(was, now[i])},
                      {"cpu-time-ns", number_of(now[i], "cpu-time-ns")},
                      {"exits-per-second", per_second(all_exits(was, now[i]))}});
    }
    return list;
  }

  json disks() const {
    json list = json::array();
    for (const json& disk : now_.disks.is_array() ? now_.disks : json::array()) {
      list.push_back(disk_of(text_of(disk, "device"),
                             part_of(same_in(before_.disks, disk, "device"), "stats"),
                             part_of(disk, "stats")));
    }
    return list;
  }
  // The one in the other list that has the same name; where there is none, itself.
  static const json& same_in(const json& list, const json& one, const char* name) {
    const auto found = std::ranges::find_if(
        list, [&](const json& each) { return text_of(each, name) == text_of(one, name); });
    return found == list.end() ? one : *found;
  }

  json interfaces() const {
    json list = json::array();
    const json& now = part_of(now_.stats, "interfaces");
    for (const json& interface : now.is_array() ? now : json::array()) {
      list.push_back(
          interface_of(same_in(part_of(before_.stats, "interfaces"), interface, "name"), interface));
    }
    return list;
  }

  json interface_of(const json& before, const json& now) const {
    json told = {{"name", text_of(now, "name")}, {"link-up", flag_of(now, "link-up")}};
    for (const char* counter : {"received-packets", "received-bytes", "received-dropped", "received-filtered",
                                "sent-packets", "sent-bytes", "sent-dropped", "sent-errors"}) {
      told[counter] = number_of(now, counter);
      told[fmt::format("{}-per-second", counter)] = per_second(growth(before, now, counter));
    }
    return told;
  }

  json disk_of(std::string name, const json& before, const json& now) const {
    json told = {{"device", std::move(name)}};
    for (const char* counter : {"rd_operations", "rd_bytes", "wr_operations", "wr_bytes", "flush_operations",
                                "unmap_operations", "unmap_bytes"}) {
      told[counter] = number_of(now, counter);
      told[fmt::format("{}_per_second", counter)] = per_second(growth(before, now, counter));
    }
    for (const char* kind : {"rd", "wr", "flush"}) {
      const double count = growth(before, now, fmt::format("{}_operations", kind).c_str());
      const double time = growth(before, now, fmt::format("{}_total_time_ns", kind).c_str());
      told[fmt::format("{}_average_ns", kind)] = count == 0 ? 0.0 : time / count;
    }
    return told;
  }

  const StatsSample& before_;
  const StatsSample& now_;
  const double nanoseconds_;
};

double real_of(const json& object, const char* name) {
  const json& value = part_of(object, name);
  return value.is_number() ? value.get<double>() : 0;
}

std::string size_of(const json& object, const char* name) {
  return size_text(static_cast<uint64_t>(std::max(real_of(object, name), 0.0)));
}

std::string rate_of(const json& object, const char* name) { return size_of(object, name) + "/s"; }

std::string milliseconds_of(const json& object, const char* name) {
  constexpr double kMillisecond = 1e6;
  return fmt::format("{:.2f} ms", real_of(object, name) / kMillisecond);
}

void add_interfaces(const json& report, std::vector<std::string>& lines) {
  const json& interfaces = part_of(report, "interfaces");
  if (interfaces.empty()) {
    return;
  }
  lines.push_back(fmt::format("  {:<5} {:>9} {:>12} {:>10} {:>9} {:>12} {:>10} {:>8} {:>10} {:>10}", "NET",
                              "PACKETS/S", "RECEIVED", "DROPPED/S", "PACKETS/S", "SENT", "DROPPED/S",
                              "ERRORS/S", "ALL REC.", "ALL SENT"));
  for (const json& interface : interfaces) {
    lines.push_back(fmt::format(
        "  {:<5} {:>9.0f} {:>12} {:>10.0f} {:>9.0f} {:>12} {:>10.0f} {:>8.0f} {:>10} {:>10}{}",
        text_of(interface, "name"), real_of(interface, "received-packets-per-second"),
        rate_of(interface, "received-bytes-per-second"), real_of(interface, "received-dropped-per-second"),
        real_of(interface, "sent-packets-per-second"), rate_of(interface, "sent-bytes-per-second"),
        real_of(interface, "sent-dropped-per-second"), real_of(interface, "sent-errors-per-second"),
        size_of(interface, "received-bytes"), size_of(interface, "sent-bytes"),
        flag_of(interface, "link-up") ? "" : " (link down)"));
  }
}

}  // namespace

json stats_report(const StatsSample& before, const StatsSample& now) {
  return ReportWriter(before, now).write();
}

std::vector<std::string> stats_table(const json& report) {
  std::vector<std::string> lines;
  lines.push_back(fmt::format("{}: {}, CPU {:.1f} %", text_of(report, "name"), text_of(report, "status"),
                              real_of(report, "cpu-percent")));
  lines.push_back(fmt::format("  memory {}, of which vmm has {}{}", size_of(report, "memory-bytes"),
                              size_of(report, "resident-bytes"),
                              report.contains("balloon-bytes")
                                  ? fmt::format("; the balloon took {}", size_of(report, "balloon-bytes"))
                                  : ""));
  lines.push_back(fmt::format("  {:<5} {:>8} {:>10}", "VCPU", "CPU", "EXITS/S"));
  for (const json& vcpu : part_of(report, "vcpus")) {
    lines.push_back(fmt::format("  {:<5} {:>6.1f} % {:>10.0f}", number_of(vcpu, "cpu-index"),
                                real_of(vcpu, "cpu-percent"), real_of(vcpu, "exits-per-second")));
  }
  lines.push_back(fmt::format("  {:<5} {:>8} {:>13} {:>10} {:>8} {:>13} {:>10} {:>8} {:>10} {:>10}", "DISK",
                              "READS/S", "READ", "TAKES", "WRITES/S", "WRITTEN", "TAKES", "FLUSH/S",
                              "ALL READ", "ALL WRIT."));
  for (const json& disk : part_of(report, "disks")) {
    lines.push_back(
        fmt::format("  {:<5} {:>8.0f} {:>13} {:>10} {:>8.0f} {:>13} {:>10} {:>8.0f} {:>10} {:>10}",
                    text_of(disk, "device"), real_of(disk, "rd_operations_per_second"),
                    rate_of(disk, "rd_bytes_per_second"), milliseconds_of(disk, "rd_average_ns"),
                    real_of(disk, "wr_operations_per_second"), rate_of(disk, "wr_bytes_per_second"),
                    milliseconds_of(disk, "wr_average_ns"), real_of(disk, "flush_operations_per_second"),
                    size_of(disk, "rd_bytes"), size_of(disk, "wr_bytes")));
  }
  add_interfaces(report, lines);
  return lines;
}

std::string stats_line(const json& report) {
  std::string line =
      fmt::format("{} {} cpu {:.1f} % memory {}", text_of(report, "name"), text_of(report, "status"),
                  real_of(report, "cpu-percent"), size_of(report, "resident-bytes"));
  for (const json& disk : part_of(report, "disks")) {
    line += fmt::format(" {} r {:.0f}/s {} w {:.0f}/s {}", text_of(disk, "device"),
                        real_of(disk, "rd_operations_per_second"), rate_of(disk, "rd_bytes_per_second"),
                        real_of(disk, "wr_operations_per_second"), rate_of(disk, "wr_bytes_per_second"));
  }
  for (const json& interface : part_of(report, "interfaces")) {
    line += fmt::format(
        " {} in {:.0f}/s {} out {:.0f}/s {}", text_of(interface, "name"),
        real_of(interface, "received-packets-per-second"), rate_of(interface, "received-bytes-per-second"),
        real_of(interface, "sent-packets-per-second"), rate_of(interface, "sent-bytes-per-second"));
  }
  return line;
}

}  // namespace vmm::control
