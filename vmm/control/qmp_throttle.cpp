#include "vmm/control/qmp_throttle.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace vmm::control {
namespace {

using domain::IoLimit;
using domain::IoTune;

constexpr uint64_t kMostPerSecond = 1'000'000'000'000'000;

bool is_set(const IoLimit& limit) { return limit.per_second != 0 || limit.burst_per_second != 0; }

// Empty: it may be.
std::string wrong_limit(const IoLimit& limit) {
  if (limit.per_second > kMostPerSecond || limit.burst_per_second > kMostPerSecond) {
    return fmt::format("limits and burst rates (max) must be within [0, {}]", kMostPerSecond);
  }
  if (limit.burst_seconds == 0) {
    return "the burst length cannot be 0";
  }
  if (limit.burst_seconds > 1 && limit.burst_per_second == 0) {
    return "a burst length needs a burst rate";
  }
  if (limit.burst_per_second != 0 && limit.burst_seconds > kMostPerSecond / limit.burst_per_second) {
    return "the burst length is too high for this burst rate";
  }
  if (limit.burst_per_second != 0 && limit.per_second == 0) {
    return "a burst rate (max) needs the limit that it is above of";
  }
  if (limit.burst_per_second != 0 && limit.burst_per_second < limit.per_second) {
    return "a burst rate (max) cannot be lower than its limit";
  }
  return "";
}

bool is_total_and_apart(const IoLimit& total, const IoLimit& reads, const IoLimit& writes) {
  return is_set(total) && (is_set(reads) || is_set(writes));
}

std::string wrong_limits(const IoTune& tune) {
  if (is_total_and_apart(tune.total_bytes, tune.read_bytes, tune.write_bytes) ||
      is_total_and_apart(tune.total_operations, tune.read_operations, tune.write_operations)) {
    return "total values and read or write values cannot be used at the same time";
  }
  for (const IoLimit& limit : {tune.total_bytes, tune.read_bytes, tune.write_bytes, tune.total_operations,
                               tune.read_operations, tune.write_operations}) {
    if (std::string wrong = wrong_limit(limit); !wrong.empty()) {
      return wrong;
    }
  }
  if (tune.operation_bytes > kMostPerSecond) {
    return fmt::format("the size of an operation must be within [0, {}]", kMostPerSecond);
  }
  const bool limits_operations =
      is_set(tune.total_operations) || is_set(tune.read_operations) || is_set(tune.write_operations);
  return tune.operation_bytes != 0 && !limits_operations
             ? "the size of an operation needs a limit of operations"
             : "";
}

bool is_any(const IoTune& tune) {
  return is_set(tune.total_bytes) || is_set(tune.read_bytes) || is_set(tune.write_bytes) ||
         is_set(tune.total_operations) || is_set(tune.read_operations) || is_set(tune.write_operations);
}

}  // namespace

Answer set_io_throttle(Guest& guest, const Request& request) {
  const std::vector<Guest::Drive> drives = guest.drives();
  if (std::ranges::find(drives, request.device, &Guest::Drive::device) == drives.end()) {
    return std::unexpected(Fault{.error_class = "DeviceNotFound",
                                 .description = fmt::format("Device '{}' not found", request.device)});
  }
  if (!request.group.empty() && request.group != request.device) {
    return fault(
        fmt::format("Parameter 'group': each disk is limited alone, as the group '{}'", request.device));
  }
  if (std::string wrong = wrong_limits(request.limits); !wrong.empty()) {
    return fault(std::move(wrong));
  }
  return answer_of(guest.set_limits(request.device,
                                    is_any(request.limits) ? std::optional(request.limits) : std::nullopt));
}

}  // namespace vmm::control
