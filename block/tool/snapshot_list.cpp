#include "block/tool/snapshot_list.h"
#include "vmm/base/printable.h"
#include "vmm/base/size.h"

#include <array>
#include <cstdio>
#include <ctime>
#include <string>

namespace vmm::block::tool {
namespace {

std::string date_text(int64_t seconds) {
  const time_t time = seconds;
  tm local{};
  std::array<char, 32> text{};
  if (::localtime_r(&time, &local) == nullptr ||
      std::strftime(text.data(), text.size(), "%F %T", &local) == 0) {
    return std::to_string(seconds);
  }
  return text.data();
}

void print_line(const std::string& text) { static_cast<void>(std::printf("%s\n", printable(text).c_str())); }

}  // namespace

void print_snapshots(const nlohmann::ordered_json& snapshots) {
  constexpr uint64_t kMinute = 60;
  constexpr uint64_t kHour = 3600;
  print_line("Snapshot list:");
  print_line(fmt::format("{:<9} {:<16} {:>8}{:>20}{:>13}{:>11}", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK",
                         "ICOUNT"));
  for (const nlohmann::ordered_json& entry : snapshots) {
    const auto seconds = entry["vm-clock-sec"].get<uint64_t>();
    const std::string clock =
        fmt::format("{:02}:{:02}:{:02}.{:03}", seconds / kHour, seconds / kMinute % kMinute,
                    seconds % kMinute, entry["vm-clock-nsec"].get<uint64_t>() / 1'000'000);
    print_line(fmt::format("{:<9} {:<16} {:>8}{:>20}{:>13}{:>11}", entry["id"].get<std::string>(),
                           entry["name"].get<std::string>(),
                           size_text(entry["vm-state-size"].get<uint64_t>()),
                           date_text(entry["date-sec"].get<int64_t>()), clock,
                           entry.contains("icount") ? entry["icount"].dump() : ""));
  }
}

}  // namespace vmm::block::tool
