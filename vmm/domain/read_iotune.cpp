// <iotune>: what a disk may do in a second. libvirt leaves most checks to QEMU; they are the same here.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "vmm/domain/reader.h"

namespace vmm::domain {
namespace {

constexpr uint64_t kMostPerSecond = 1'000'000'000'000'000;

struct IoTuneText {
  const ReadContext& context;
  const Element& iotune;

  const Element* child(const std::string& name) const { return iotune.child(name); }

  // What the element says; 0, which is no limit, if it is not there. Nothing after an error.
  std::optional<uint64_t> read(const std::string& name) const {
    const Element* const element = child(name);
    if (element == nullptr) {
      return 0;
    }
    const auto value = parse_unsigned(element->text);
    if (!value || *value > kMostPerSecond) {
      context.report.error(element->line, fmt::format("{}: '{}' is no whole number up to {}", element->place,
                                                      printable(element->text), kMostPerSecond));
      return std::nullopt;
    }
    return value;
  }
  uint64_t number(const std::string& name) const { return read(name).value_or(0); }

  void error(const std::string& name, std::string_view text) const {
    const Element* const element = child(name);
    context.report.error(element->line, fmt::format("{}: {}", element->place, text));
  }
};

// name: "total_bytes_sec".
IoLimit read_limit(const IoTuneText& text, const std::string& name) {
  IoLimit limit;
  const auto per_second = text.read(name);
  limit.per_second = per_second.value_or(0);
  const std::string most = name + "_max";
  const std::string length = most + "_length";
  const auto burst = text.read(most);
  limit.burst_per_second = burst.value_or(0);
  const auto seconds = text.read(length);
  // What is missing may be what was wrong.
  if (!per_second || !burst || !seconds || text.iotune.has_refused_children) {
    return limit;
  }
  if (limit.burst_per_second != 0 && limit.burst_per_second < limit.per_second) {
    text.error(most, fmt::format("lower than <{}>; give at least as much", name));
  } else if (limit.burst_per_second != 0 && limit.per_second == 0) {
    text.error(most, fmt::format("is for bursts beyond <{}>, which is not there; give that too", name));
  }
  if (*seconds != 0 && limit.burst_per_second == 0) {
    text.error(length, fmt::format("is how long <{}> holds, which is not there; give that too", most));
  } else if (*seconds != 0 && limit.burst_per_second > kMostPerSecond / *seconds) {
    text.error(length, fmt::format("too long for <{}>; a burst has at most {}", most, kMostPerSecond));
  } else if (*seconds != 0) {
    limit.burst_seconds = *seconds;
  }
  return limit;
}

// libvirt: for all or for each direction.
void check_directions(const IoTuneText& text, const std::string& suffix, uint64_t total, uint64_t read,
                      uint64_t write) {
  if (total != 0 && (read != 0 || write != 0)) {
    text.error(
        (read != 0 ? "read_" : "write_") + suffix,
        fmt::format("<total_{}> is there too; keep the total, or the limits of reads and writes", suffix));
  }
}

void check_directions(const IoTuneText& text, const std::string& suffix, const IoLimit& total,
                      const IoLimit& read, const IoLimit& write) {
  check_directions(text, suffix, total.per_second, read.per_second, write.per_second);
  check_directions(text, suffix + "_max", total.burst_per_second, read.burst_per_second,
                   write.burst_per_second);
}

}  // namespace

std::optional<IoTune> read_iotune(const ReadContext& context, const Element& disk) {
  const Element* element = disk.child("iotune");
  if (element == nullptr) {
    return std::nullopt;
  }
  const IoTuneText text{context, *element};
  IoTune tune;
  tune.total_bytes = read_limit(text, "total_bytes_sec");
  tune.read_bytes = read_limit(text, "read_bytes_sec");
  tune.write_bytes = read_limit(text, "write_bytes_sec");
  tune.total_operations = read_limit(text, "total_iops_sec");
  tune.read_operations = read_limit(text, "read_iops_sec");
  tune.write_operations = read_limit(text, "write_iops_sec");
  check_directions(text, "bytes_sec", tune.total_bytes, tune.read_bytes, tune.write_bytes);
  check_directions(text, "iops_sec", tune.total_operations, tune.read_operations, tune.write_operations);
  tune.operation_bytes = text.number("size_iops_sec");
  const bool limits_operations = tune.total_operations.per_second != 0 ||
                                 tune.read_operations.per_second != 0 ||
                                 tune.write_operations.per_second != 0;
  const bool is_wrong =
      std::ranges::any_of(element->children, [](const Element& each) { return !parse_unsigned(each.text); });
  if (tune.operation_bytes != 0 && !limits_operations && !is_wrong && !element->has_refused_children) {
    text.error("size_iops_sec",
               "is the size of what <total_iops_sec> and its like count; give one of these too");
  }
  const bool limits_bytes =
      tune.total_bytes.per_second != 0 || tune.read_bytes.per_second != 0 || tune.write_bytes.per_second != 0;
  return limits_bytes || limits_operations ? std::optional(tune) : std::nullopt;
}

}  // namespace vmm::domain
