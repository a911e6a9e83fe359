#include "vmm/control/qmp_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "vmm/control/qmp_arguments.h"
#include "vmm/control/qmp_block_info.h"
#include "vmm/control/qmp_drive_commands.h"
#include "vmm/control/qmp_events.h"
#include "vmm/control/qmp_image_commands.h"
#include "vmm/control/qmp_job_events.h"
#include "vmm/control/qmp_machine_info.h"
#include "vmm/control/qmp_network_commands.h"
#include "vmm/control/qmp_result_types.h"
#include "vmm/control/qmp_schema.h"
#include "vmm/control/qmp_throttle.h"
#include "vmm/domain/write_domain.h"
#include "vmm/version.h"

namespace vmm::control {
namespace {

Answer query_version(Guest& /*guest*/, const Request& /*request*/) { return version(); }

Answer query_name(Guest& guest, const Request& /*request*/) { return Json{{"name", guest.domain().name}}; }

// As QEMU: zeroes where there is none.
Answer query_uuid(Guest& guest, const Request& /*request*/) {
  return Json{{"UUID", domain::uuid_text(guest.domain().uuid.value_or(std::array<uint8_t, 16>{}))}};
}

Answer query_kvm(Guest& /*guest*/, const Request& /*request*/) {
  return Json{{"enabled", true}, {"present", true}};
}

const char* name_of(Guest::State state) {
  switch (state) {
    case Guest::State::kRunning:
      return "running";
    case Guest::State::kPaused:
      return "paused";
    case Guest::State::kPausedForDisk:
      return "io-error";
    case Guest::State::kWatchdog:
      return "watchdog";
    case Guest::State::kKept:
      break;
  }
  return "shutdown";
}

Answer query_status(Guest& guest, const Request& /*request*/) {
  const Guest::State state = guest.state();
  return Json{{"running", state == Guest::State::kRunning}, {"status", name_of(state)}};
}

// The CPUs are numbered as the topology is: threads first.
Answer query_cpus(Guest& guest, const Request& /*request*/) {
  const domain::CpuTopology& topology = guest.domain().topology;
  Json list = Json::array();
  uint32_t index = 0;
  for (const int thread : guest.vcpu_threads()) {
    const uint32_t core = index / topology.threads;
    const uint32_t die = core / topology.cores;
    list.push_back({{"cpu-index", index},
                    {"qom-path", fmt::format("/machine/unattached/device[{}]", index)},
                    {"thread-id", thread},
                    {"props",
                     {{"core-id", core % topology.cores},
                      {"thread-id", index % topology.threads},
                      {"die-id", die % topology.dies},
                      {"socket-id", die / topology.dies}}},
                    {"target", "x86_64"}});
    ++index;
  }
  return list;
}

std::vector<EventSchema> all_events() {
  std::vector<EventSchema> events(event_schemas().begin(), event_schemas().end());
  events.insert(events.end(), job_event_schemas().begin(), job_event_schemas().end());
  return events;
}

Answer query_events(Guest& /*guest*/, const Request& /*request*/) {
  Json list = Json::array();
  for (const EventSchema& event : all_events()) {
    list.push_back({{"name", event.name}});
  }
  return list;
}

Answer stop(Guest& guest, const Request& /*request*/) { return answer_of(guest.pause()); }
Answer go_on(Guest& guest, const Request& /*request*/) { return answer_of(guest.go_on()); }

Answer inject_nmi(Guest& guest, const Request& /*request*/) {
  guest.press_nmi();
  return Json::object();
}

Answer power_down(Guest& guest, const Request& /*request*/) {
  guest.power_down();
  return Json::object();
}

Answer reset(Guest& guest, const Request& /*request*/) {
  guest.reset();
  return Json::object();
}

Answer set_action(Guest& guest, const Request& request) {
  guest.set_actions(request.actions);
  return Json::object();
}

Answer quit(Guest& guest, const Request& /*request*/) {
  guest.quit();
  return Json::object();
}

Answer query_commands(Guest& guest, const Request& request);

Answer query_schema(Guest& guest, const Request& request);

struct Command {
  const char* name;
  unsigned takes;
  const Type& returns;
  Answer (*run)(Guest& guest, const Request& request);
};
constexpr std::array kCommands = {
    Command{"block-commit", kDiskOnly | kTop | kBase | kJobStart, kEmptyType, block_commit},
    Command{"block-job-cancel", kBlockJob | kForce, kEmptyType, cancel_job},
    Command{"block-job-complete", kBlockJob, kEmptyType, complete_job},
    Command{"block-job-dismiss", kJob | kOldJob, kEmptyType, dismiss_job},
    Command{"block-job-pause", kBlockJob, kEmptyType, pause_job},
    Command{"block-job-resume", kBlockJob, kEmptyType, resume_job},
    Command{"block-job-set-speed", kBlockJob | kSpeed, kEmptyType, set_job_speed},
    Command{"block-stream", kDiskOnly | kBase | kJobStart, kEmptyType, block_stream},
    Command{"block_resize", kNode | kSize, kEmptyType, block_resize},
    Command{"blockdev-backup", kDiskOnly | kBackup | kJobStart, kEmptyType, block_backup},
    Command{"block_set_io_throttle", kDrive | kLimits, kEmptyType, set_io_throttle},
    Command{"blockdev-change-medium", kCdrom | kForce | kFile, kEmptyType, change_medium},
    Command{"blockdev-close-tray", kCdrom, kEmptyType, close_tray},
    Command{"blockdev-insert-medium", kCdrom | kFile, kEmptyType, insert_medium},
    Command{"blockdev-open-tray", kCdrom | kForce, kEmptyType, open_tray},
    Command{"blockdev-remove-medium", kCdrom, kEmptyType, remove_medium},
    Command{"blockdev-snapshot-sync", kNode | kSnapshot, kEmptyType, snapshot_sync},
    Command{"cont", kNothing, kEmptyType, go_on},
    Command{"drive-backup", kDiskOnly | kBackup | kJobStart, kEmptyType, block_backup},
    Command{"eject", kCdrom | kForce, kEmptyType, eject},
    Command{"inject-nmi", kNothing, kEmptyType, inject_nmi},
    Command{"job-cancel", kJob, kEmptyType, abort_job},
    Command{"job-complete", kJob, kEmptyType, complete_job},
    Command{"job-dismiss", kJob, kEmptyType, dismiss_job},
    Command{"job-pause", kJob, kEmptyType, pause_job},
    Command{"job-resume", kJob, kEmptyType, resume_job},
    Command{"query-block", kNothing, kBlockInfoList, query_block},
    Command{"query-block-jobs", kNothing, kBlockJobInfoList, query_block_jobs},
    Command{"query-blockstats", kQueryNodes, kBlockStatsList, query_block_stats},
    Command{"query-chardev", kNothing, kChardevInfoList, query_chardev},
    Command{"query-commands", kNothing, kNamedList, query_commands},
    Command{"query-cpus-fast", kNothing, kCpuInfoList, query_cpus},
    Command{"query-events", kNothing, kNamedList, query_events},
    Command{"query-jobs", kNothing, kJobInfoList, query_jobs},
    Command{"query-kvm", kNothing, kKvmInfo, query_kvm},
    Command{"query-name", kNothing, kNameInfo, query_name},
    Command{"query-named-block-nodes", kFlat, kBlockDeviceInfoList, query_named_block_nodes},
    Command{"query-pci", kNothing, kPciInfoList, query_pci},
    Command{"query-qmp-schema", kNothing, kSchemaInfoList, query_schema},
    Command{"query-rx-filter", kInterface, kRxFilterInfoList, query_rx_filter},
    Command{"query-status", kNothing, kStatusInfo, query_status},
    Command{"query-uuid", kNothing, kUuidInfo, query_uuid},
    Command{"query-version", kNothing, kVersionInfo, query_version},
    Command{"quit", kNothing, kEmptyType, quit},
    Command{"set-action", kActions, kEmptyType, set_action},
    Command{"set_link", kLink, kEmptyType, set_link},
    Command{"stop", kNothing, kEmptyType, stop},
    Command{"system_powerdown", kNothing, kEmptyType, power_down},
    Command{"system_reset", kNothing, kEmptyType, reset},
    Command{"x-vmm-boot-once", kDrive, kEmptyType, boot_once},
    Command{"x-vmm-query-stats", kNothing, kStatisticsInfo, query_statistics},
    Command{"x-vmm-query-throwaway", kNothing, kThrowawayInfo, query_throwaway},
    Command{"x-vmm-set-throwaway-limit", kBytes, kEmptyType, set_throwaway_limit},
};

Answer query_commands(Guest& /*guest*/, const Request& /*request*/) {
  Json list = Json::array();
  for (const Command& command : kCommands) {
    list.push_back({{"name", command.name}});
  }
  for (const std::string_view of_sessions : {kNegotiate, kAttachConsole}) {
    list.push_back({{"name", of_sessions}});
  }
  return list;
}

// The session itself reads the arguments of this one.
constexpr const char* kCapabilities[] = {"oob"};
constexpr Type kCapability = enum_of("QMPCapability", kCapabilities);
constexpr Type kCapabilityList = array_of(kCapability);

Answer query_schema(Guest& /*guest*/, const Request& /*request*/) {
  std::vector<CommandSchema> commands;
  commands.reserve(kCommands.size() + 1);
  for (const Command& command : kCommands) {
    commands.push_back(
        {.name = command.name, .arguments = arguments_of(command.takes), .result = &command.returns});
  }
  commands.push_back(
      {.name = kNegotiate, .arguments = {{"enable", &kCapabilityList, true}}, .result = &kEmptyType});
  commands.push_back(
      {.name = kAttachConsole, .arguments = arguments_of(kConsole | kForce), .result = &kEmptyType});
  return schema_of(commands, all_events());
}

}  // namespace

Json version() {
  return Json{
      {"qemu", {{"major", VMM_VERSION_MAJOR}, {"minor", VMM_VERSION_MINOR}, {"micro", VMM_VERSION_PATCH}}},
      {"package", "vmm " VMM_VERSION}};
}

Answer run_command(Guest& guest, const std::string& name, const Json& arguments, bool is_out_of_band) {
  const auto* const command =
      std::ranges::find_if(kCommands, [&name](const Command& each) { return name == each.name; });
  if (command == kCommands.end()) {
    return std::unexpected(Fault{.error_class = "CommandNotFound",
                                 .description = fmt::format("The command {} has not been found", name)});
  }
  if (is_out_of_band) {
    return fault(fmt::format("The command {} does not support OOB", name));
  }
  const auto request = read_request(arguments, command->takes);
  if (!request) {
    return std::unexpected(request.error());
  }
  if ((command->takes & (kDrive | kCdrom)) != 0) {
    if (auto wrong = unknown_drive(guest, request->device, command->takes)) {
      return std::unexpected(*std::move(wrong));
    }
  }
  return command->run(guest, *request);
}

}  // namespace vmm::control
