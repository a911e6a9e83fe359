#include "vmm/control/qmp_arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace vmm::control {
namespace {

constexpr const char* kImageFormats[] = {"raw", "qcow2"};
constexpr Type kImageFormat = enum_of("ImageFormat", kImageFormats);

domain::ImageFormat image_format(const Json& value) {
  return value == "qcow2" ? domain::ImageFormat::kQcow2 : domain::ImageFormat::kRaw;
}

// --- set-action -----------------------------------------------------------------------------------------

constexpr const char* kRebootActions[] = {"reset", "shutdown"};
constexpr Type kRebootAction = enum_of("RebootAction", kRebootActions);
constexpr const char* kShutdownActions[] = {"poweroff", "pause"};
constexpr Type kShutdownAction = enum_of("ShutdownAction", kShutdownActions);
constexpr const char* kPanicActionValues[] = {"pause", "shutdown", "exit-failure", "none"};
constexpr Type kPanicActionType = enum_of("PanicAction", kPanicActionValues);
constexpr const char* kWatchdogActionValues[] = {"reset", "shutdown", "poweroff",  "pause",
                                                 "debug", "none",     "inject-nmi"};
constexpr Type kWatchdogActionType = enum_of("WatchdogActionChoice", kWatchdogActionValues);

void store_reboot(Request& request, const Json& value) {
  request.actions.on_reboot =
      value == "reset" ? domain::LifecycleAction::kRestart : domain::LifecycleAction::kDestroy;
}
void store_shutdown(Request& request, const Json& value) {
  request.actions.on_poweroff =
      value == "pause" ? domain::LifecycleAction::kPreserve : domain::LifecycleAction::kDestroy;
}
void store_panic(Request& request, const Json& value) {
  request.actions.on_crash =
      value == "pause" ? domain::LifecycleAction::kPreserve : domain::LifecycleAction::kDestroy;
  request.actions.panic_is_only_told = value == "none";
}
// That a watchdog has run out is always in the log: `debug` is no more.
void store_watchdog(Request& request, const Json& value) {
  using domain::WatchdogAction;
  for (const WatchdogAction action :
       {WatchdogAction::kReset, WatchdogAction::kShutdown, WatchdogAction::kPoweroff, WatchdogAction::kPause,
        WatchdogAction::kInjectNmi}) {
    if (value == domain::name_of(action)) {
      request.actions.watchdog = action;
      return;
    }
  }
  request.actions.watchdog = WatchdogAction::kNone;
}

// --- Images and jobs ------------------------------------------------------------------------------------

constexpr const char* kImageModes[] = {"existing", "absolute-paths"};
constexpr Type kImageMode = enum_of("NewImageMode", kImageModes);
constexpr const char* kOverlayFormats[] = {"qcow2"};
constexpr Type kOverlayFormat = enum_of("OverlayFormat", kOverlayFormats);
constexpr const char* kSyncModes[] = {"top", "full"};
constexpr Type kSyncMode = enum_of("MirrorSyncMode", kSyncModes);
constexpr const char* kOnErrorValues[] = {"report"};
constexpr Type kOnError = enum_of("BlockdevOnError", kOnErrorValues);

void store_nothing(Request& /*request*/, const Json& /*value*/) {}
void store_device(Request& request, const Json& value) { request.device = value; }
void store_file(Request& request, const Json& value) { request.file = value; }
void store_mode(Request& request, const Json& value) { request.is_existing = value == "existing"; }
void store_job(Request& request, const Json& value) { request.job = value; }
void store_block_job(Request& request, const Json& value) {
  request.job = value;
  request.is_block_job = true;
}
void store_speed(Request& request, const Json& value) { request.bytes_per_second = value; }
// --- block_set_io_throttle ------------------------------------------------------------------------------

using domain::IoLimit;
using domain::IoTune;

// What is below 0 is more than any limit may be.
uint64_t unsigned_of(const Json& value) { return static_cast<uint64_t>(value.get<int64_t>()); }

template <IoLimit IoTune::* limit, uint64_t IoLimit::* part>
void store_limit(Request& request, const Json& value) {
  request.limits.*limit.*part = unsigned_of(value);
}

// --------------------------------------------------------------------------------------------------------

// One argument of all commands that take any of `takers`; what it is was looked at before it is stored.
struct Argument {
  unsigned takers = 0;
  Member member;
  void (*store)(Request& request, const Json& value) = nullptr;
};
constexpr Argument kArguments[] = {
    {kDrive | kCdrom,
     {"id", &kStringType, kOptional},
     [](Request& request, const Json& value) { request.device = value; }},
    {kDrive | kCdrom,
     {"device", &kStringType, kOptional},
     [](Request& request, const Json& value) { request.device = value; }},
    {kForce,
     {"force", &kBoolType, kOptional},
     [](Request& request, const Json& value) { request.is_forced = value; }},
    {kFile, {"filename", &kStringType}, [](Request& request, const Json& value) { request.file = value; }},
    {kFile,
     {"format", &kImageFormat, kOptional},
     [](Request& request, const Json& value) { request.format = image_format(value); }},
    {kBytes,
     {"bytes", &kUnsignedType, kOptional},
     [](Request& request, const Json& value) { request.bytes = value; }},
    {kFlat,
     {"flat", &kBoolType, kOptional},
     [](Request& request, const Json& value) { request.is_flat = value; }},
    {kQueryNodes,
     {"query-nodes", &kBoolType, kOptional},
     [](Request& request, const Json& value) { request.is_of_nodes = value; }},
    {kLimits, {"bps", &kIntType}, store_limit<&IoTune::total_bytes, &IoLimit::per_second>},
    {kLimits, {"bps_rd", &kIntType}, store_limit<&IoTune::read_bytes, &IoLimit::per_second>},
    {kLimits, {"bps_wr", &kIntType}, store_limit<&IoTune::write_bytes, &IoLimit::per_second>},
    {kLimits, {"iops", &kIntType}, store_limit<&IoTune::total_operations, &IoLimit::per_second>},
    {kLimits, {"iops_rd", &kIntType}, store_limit<&IoTune::read_operations, &IoLimit::per_second>},
    {kLimits, {"iops_wr", &kIntType}, store_limit<&IoTune::write_operations, &IoLimit::per_second>},
    {kLimits,
     {"bps_max", &kIntType, kOptional},
     store_limit<&IoTune::total_bytes, &IoLimit::burst_per_second>},
    {kLimits,
     {"bps_rd_max", &kIntType, kOptional},
     store_limit<&IoTune::read_bytes, &IoLimit::burst_per_second>},
    {kLimits,
     {"bps_wr_max", &kIntType, kOptional},
     store_limit<&IoTune::write_bytes, &IoLimit::burst_per_second>},
    {kLimits,
     {"iops_max", &kIntType, kOptional},
     store_limit<&IoTune::total_operations, &IoLimit::burst_per_second>},
    {kLimits,
     {"iops_rd_max", &kIntType, kOptional},
     store_limit<&IoTune::read_operations, &IoLimit::burst_per_second>},
    {kLimits,
     {"iops_wr_max", &kIntType, kOptional},
     store_limit<&IoTune::write_operations, &IoLimit::burst_per_second>},
    {kLimits,
     {"bps_max_length", &kIntType, kOptional},
     store_limit<&IoTune::total_bytes, &IoLimit::burst_seconds>},
    {kLimits,
     {"bps_rd_max_length", &kIntType, kOptional},
     store_limit<&IoTune::read_bytes, &IoLimit::burst_seconds>},
    {kLimits,
     {"bps_wr_max_length", &kIntType, kOptional},
     store_limit<&IoTune::write_bytes, &IoLimit::burst_seconds>},
    {kLimits,
     {"iops_max_length", &kIntType, kOptional},
     store_limit<&IoTune::total_operations, &IoLimit::burst_seconds>},
    {kLimits,
     {"iops_rd_max_length", &kIntType, kOptional},
     store_limit<&IoTune::read_operations, &IoLimit::burst_seconds>},
    {kLimits,
     {"iops_wr_max_length", &kIntType, kOptional},
     store_limit<&IoTune::write_operations, &IoLimit::burst_seconds>},
    {kLimits,
     {"iops_size", &kIntType, kOptional},
     [](Request& request, const Json& value) { request.limits.operation_bytes = unsigned_of(value); }},
    {kLimits,
     {"group", &kStringType, kOptional},
     [](Request& request, const Json& value) { request.group = value; }},
    {kActions, {"reboot", &kRebootAction, kOptional}, store_reboot},
    {kActions, {"shutdown", &kShutdownAction, kOptional}, store_shutdown},
    {kActions, {"panic", &kPanicActionType, kOptional}, store_panic},
    {kActions, {"watchdog", &kWatchdogActionType, kOptional}, store_watchdog},
    {kDiskOnly, {"device", &kStringType}, store_device},
    {kConsole, {"device", &kStringType, kOptional}, store_device},
    {kLink, {"name", &kStringType}, store_device},
    {kLink, {"up", &kBoolType}, [](Request& request, const Json& value) { request.is_up = value; }},
    {kInterface, {"name", &kStringType, kOptional}, store_device},
    {kNode, {"device", &kStringType, kOptional}, store_device},
    {kNode,
     {"node-name", &kStringType, kOptional},
     [](Request& request, const Json& value) { request.node = value; }},
    {kSize,
     {"size", &kIntType},
     [](Request& request, const Json& value) { request.bytes = unsigned_of(value); }},
    {kSnapshot, {"snapshot-file", &kStringType}, store_file},
    {kSnapshot, {"format", &kOverlayFormat, kOptional}, store_nothing},
    {kSnapshot | kBackup, {"mode", &kImageMode, kOptional}, store_mode},
    {kBackup, {"target", &kStringType}, store_file},
    {kBackup,
     {"format", &kImageFormat, kOptional},
     [](Request& request, const Json& value) { request.format = image_format(value); }},
    {kBackup,
     {"sync", &kSyncMode},
     [](Request& request, const Json& value) { request.is_of_top = value == "top"; }},
    {kBackup, {"on-source-error", &kOnError, kOptional}, store_nothing},
    {kBackup, {"on-target-error", &kOnError, kOptional}, store_nothing},
    {kBase,
     {"base", &kStringType, kOptional},
     [](Request& request, const Json& value) { request.base = value; }},
    {kBase,
     {"base-node", &kStringType, kOptional},
     [](Request& request, const Json& value) { request.base_node = value; }},
    {kBase, {"on-error", &kOnError, kOptional}, store_nothing},
    {kTop,
     {"top", &kStringType, kOptional},
     [](Request& request, const Json& value) { request.top = value; }},
    {kTop,
     {"top-node", &kStringType, kOptional},
     [](Request& request, const Json& value) { request.top_node = value; }},
    {kJobStart, {"job-id", &kStringType, kOptional}, store_job},
    {kJobStart, {"speed", &kUnsignedType, kOptional}, store_speed},
    {kJobStart,
     {"auto-finalize", &kBoolType, kOptional},
     [](Request& request, const Json& value) { request.is_finalized = value; }},
    {kJobStart,
     {"auto-dismiss", &kBoolType, kOptional},
     [](Request& request, const Json& value) { request.is_dismissed = value; }},
    {kBlockJob, {"device", &kStringType}, store_block_job},
    {kJob, {"id", &kStringType}, store_job},
    {kSpeed, {"speed", &kUnsignedType}, store_speed},
};

bool is_integer(const Json& value) {
  return value.is_number_integer() &&
         (!value.is_number_unsigned() || value.get<uint64_t>() <= uint64_t{INT64_MAX});
}

const char* expected_of(const Type& type) {
  return &type == &kStringType || type.meta == Type::Meta::kEnum ? "string"
         : &type == &kBoolType                                   ? "boolean"
                                                                 : "integer";
}

bool has_type(const Type& type, const Json& value) {
  return &type == &kStringType || type.meta == Type::Meta::kEnum ? value.is_string()
         : &type == &kBoolType                                   ? value.is_boolean()
         : &type == &kUnsignedType                               ? value.is_number_unsigned()
                                                                 : is_integer(value);
}

std::optional<Fault> wrong_value(const Member& member, const Json& value) {
  const Type& type = *member.type;
  if (!has_type(type, value)) {
    return Fault{.description = fmt::format("Invalid parameter type for '{}', expected: {}", member.name,
                                            expected_of(type))};
  }
  // The kernel would take what stands before it for the name of a file.
  if (value.is_string() && value.get_ref<const std::string&>().find('\0') != std::string::npos) {
    return Fault{.description = fmt::format("Parameter '{}' holds a NUL character", member.name)};
  }
  const auto is_value = [&value](const char* each) { return value == each; };
  if (type.meta == Type::Meta::kEnum && std::ranges::none_of(type.values, is_value)) {
    return Fault{.description = fmt::format("Parameter '{}' does not accept value '{}'", member.name,
                                            value.get_ref<const std::string&>())};
  }
  return std::nullopt;
}

const Argument* find_argument(const std::string& name, unsigned takes) {
  const auto* const found = std::ranges::find_if(kArguments, [&](const Argument& each) {
    return (each.takers & takes) != 0 && name == each.member.name;
  });
  return found == std::end(kArguments) ? nullptr : found;
}

std::optional<Fault> missing_argument(const Json& values, unsigned takes) {
  for (const Argument& argument : kArguments) {
    if ((argument.takers & takes) != 0 && !argument.member.is_optional &&
        !values.contains(argument.member.name)) {
      return Fault{.description = fmt::format("Parameter '{}' is missing", argument.member.name)};
    }
  }
  if ((takes & (kDrive | kCdrom)) != 0 && values.contains("id") == values.contains("device")) {
    return Fault{.description = "Need exactly one of 'device' and 'id'"};
  }
  if ((takes & kNode) != 0 && values.contains("node-name") == values.contains("device")) {
    return Fault{.description = "Need exactly one of 'device' and 'node-name'"};
  }
  return std::nullopt;
}

}  // namespace

std::vector<Member> arguments_of(unsigned takes) {
  std::vector<Member> members;
  for (const Argument& argument : kArguments) {
    if ((argument.takers & takes) != 0) {
      members.push_back(argument.member);
    }
  }
  return members;
}

std::expected<Request, Fault> read_request(const Json& values, unsigned takes) {
  Request request;
  for (const auto& [name, value] : values.items()) {
    const Argument* const argument = find_argument(name, takes);
    if (argument == nullptr) {
      return fault(fmt::format("Parameter '{}' is unexpected", name));
    }
    if (auto wrong = wrong_value(argument->member, value)) {
      return std::unexpected(*std::move(wrong));
    }
    argument->store(request, value);
  }
  if (auto missing = missing_argument(values, takes)) {
    return std::unexpected(*std::move(missing));
  }
  request.is_block_job = request.is_block_job || (takes & kOldJob) != 0;
  return request;
}

}  // namespace vmm::control
