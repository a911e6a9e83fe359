// What `vmm ctl GUEST stats` says: figures of a time between two looks at a guest.
//
// Threads: values.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace vmm::control {

// What the guest's vmm said at one moment. What it holds is not trusted to be what it should be.
struct StatsSample {
  nlohmann::json name;  // of query-name, and so on
  nlohmann::json status;
  nlohmann::json stats;  // x-vmm-query-stats
  nlohmann::json disks;  // query-blockstats
};

// For programs.
nlohmann::json stats_report(const StatsSample& before, const StatsSample& now);
// For people: a table, and one line.
std::vector<std::string> stats_table(const nlohmann::json& report);
std::string stats_line(const nlohmann::json& report);

}  // namespace vmm::control
