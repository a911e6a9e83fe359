#include "vmm/control/ctl_throttle.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>

#include "vmm/base/size.h"

namespace vmm::control {
namespace {

using nlohmann::json;

struct ThrottleOption {
  std::string name;  // "read-bytes-sec-max"
  std::string qmp;   // "bps_rd_max"
  bool is_of_bytes = false;
  bool is_size = false;  // may be told as 10M
};

struct ThrottleBase {
  const char* name;
  const char* qmp;
  bool is_of_bytes;
};
constexpr ThrottleBase kThrottleBases[] = {
    {"total-bytes-sec", "bps", true},    {"read-bytes-sec", "bps_rd", true},
    {"write-bytes-sec", "bps_wr", true}, {"total-iops-sec", "iops", false},
    {"read-iops-sec", "iops_rd", false}, {"write-iops-sec", "iops_wr", false}};

std::vector<ThrottleOption> all_throttle_options() {
  std::vector<ThrottleOption> options;
  for (const ThrottleBase& base : kThrottleBases) {
    options.push_back(
        {.name = base.name, .qmp = base.qmp, .is_of_bytes = base.is_of_bytes, .is_size = base.is_of_bytes});
    options.push_back({.name = fmt::format("{}-max", base.name),
                       .qmp = fmt::format("{}_max", base.qmp),
                       .is_of_bytes = base.is_of_bytes,
                       .is_size = base.is_of_bytes});
    options.push_back({.name = fmt::format("{}-max-length", base.name),
                       .qmp = fmt::format("{}_max_length", base.qmp),
                       .is_of_bytes = base.is_of_bytes});
  }
  options.push_back({.name = "size-iops-sec", .qmp = "iops_size", .is_size = true});
  return options;
}

// As libvirt's XML has it.
std::string element_name(std::string name) {
  std::ranges::replace(name, '-', '_');
  return name;
}

Result<uint64_t> value_of(const ThrottleOption& option, const std::string& text) {
  if (option.is_size) {
    return parse_size(text);
  }
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return fail_configuration("--{} {}: a number is needed", option.name, text);
  }
  return value;
}

Result<json> limits_of(QmpClient& guest, const std::string& device) {
  VMM_ASSIGN_OR_RETURN(const json drives, drives_of(guest));
  for (const json& drive : drives) {
    if (text_of(drive, "device") == device) {
      return drive.value("inserted", json::object());
    }
  }
  return fail("the guest has no disk '{}'", device);
}

CtlTold tell_limits(const std::string& device, const json& limits) {
  CtlTold told{.value = {{"device", device}}};
  for (const ThrottleOption& option : all_throttle_options()) {
    const uint64_t value = number_of(limits, option.qmp.c_str());
    told.value[element_name(option.name)] = value;
    if (value != 0) {
      told.lines.push_back(
          fmt::format("  {:<26} {}", option.name, option.is_size ? size_text(value) : std::to_string(value)));
    }
  }
  told.lines.insert(told.lines.begin(), device + (told.lines.empty() ? ": no limits" : ":"));
  return told;
}

// What is said of bytes replaces all that was said of bytes, and so with operations.
Result<json> changed_limits(const json& now, const std::map<std::string, std::string>& values) {
  const std::vector<ThrottleOption> options = all_throttle_options();
  const auto is_about = [&](bool bytes) {
    return std::ranges::any_of(options, [&](const ThrottleOption& option) {
      return option.is_of_bytes == bytes && values.contains(option.name);
    });
  };
  const std::pair is_replaced(is_about(false), is_about(true));
  json limits = json::object();
  for (const ThrottleOption& option : options) {
    const auto given = values.find(option.name);
    uint64_t value = option.is_of_bytes ? is_replaced.second : is_replaced.first;
    value = value != 0 ? 0 : number_of(now, option.qmp.c_str());
    if (given != values.end()) {
      VMM_ASSIGN_OR_RETURN(value, value_of(option, given->second));
    }
    const bool is_always_told = option.qmp.find('_') == std::string::npos || option.qmp.ends_with("_rd") ||
                                option.qmp.ends_with("_wr");
    if (value != 0 || is_always_told || given != values.end()) {
      limits[option.qmp] = value;
    }
  }
  return limits;
}

}  // namespace

std::vector<CtlOption> throttle_options() {
  std::vector<CtlOption> options;
  for (ThrottleOption& option : all_throttle_options()) {
    options.push_back({.name = std::move(option.name)});
  }
  return options;
}

Result<CtlTold> throttle(const CtlRequest& request) {
  const std::string& device = request.options.operands.front();
  VMM_ASSIGN_OR_RETURN(const json now, limits_of(request.guest, device));
  if (request.options.values.empty()) {
    return tell_limits(device, now);
  }
  VMM_ASSIGN_OR_RETURN(json wanted, changed_limits(now, request.options.values));
  wanted["id"] = device;
  VMM_TRY(request.guest.run("block_set_io_throttle", wanted));
  return tell_limits(device, wanted);
}

}  // namespace vmm::control
