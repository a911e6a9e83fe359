#include "vmm/control/qmp_job_events.h"

#include <array>

#include "vmm/control/qmp_events.h"
#include "vmm/control/qmp_image_commands.h"
#include "vmm/control/qmp_result_types.h"

namespace vmm::control {
namespace {

constexpr const char* kJobOperations[] = {"read", "write"};
constexpr Type kJobOperation = enum_of("IoOperationType", kJobOperations);
constexpr const char* kReportOnly[] = {"report"};
constexpr Type kReport = enum_of("BlockErrorAction", kReportOnly);
constexpr std::array kStatusMembers = {Member{"id", &kStringType}, Member{"status", &kJobStatus}};
constexpr std::array kProgressMembers = {Member{"type", &kJobType}, Member{"device", &kStringType},
                                         Member{"len", &kIntType}, Member{"offset", &kIntType},
                                         Member{"speed", &kIntType}};
constexpr std::array kCompletedMembers = {Member{"type", &kJobType},  Member{"device", &kStringType},
                                          Member{"len", &kIntType},   Member{"offset", &kIntType},
                                          Member{"speed", &kIntType}, Member{"error", &kStringType, true}};
constexpr std::array kErrorMembers = {Member{"device", &kStringType}, Member{"operation", &kJobOperation},
                                      Member{"action", &kReport}};

constexpr EventSchema kJobEvents[] = {
    {"BLOCK_JOB_CANCELLED", kProgressMembers}, {"BLOCK_JOB_COMPLETED", kCompletedMembers},
    {"BLOCK_JOB_ERROR", kErrorMembers},        {"BLOCK_JOB_READY", kProgressMembers},
    {"JOB_STATUS_CHANGE", kStatusMembers},
};

Json progress_of(const DiskJob& job) {
  return Json{{"type", vmm::name_of(job.kind)},
              {"device", job.id},
              {"len", job.all_bytes},
              {"offset", job.done_bytes},
              {"speed", job.bytes_per_second}};
}

}  // namespace

std::span<const EventSchema> job_event_schemas() { return kJobEvents; }

std::string job_event_line(const DiskJobEvent& event, std::chrono::system_clock::time_point when) {
  const DiskJob& job = event.job;
  Json data = progress_of(job);
  switch (event.kind) {
    case DiskJobEvent::Kind::kReady:
      return event_line("BLOCK_JOB_READY", std::move(data), when);
    case DiskJobEvent::Kind::kCompleted:
      if (!job.error.empty()) {
        data["error"] = job.error;
      }
      return event_line("BLOCK_JOB_COMPLETED", std::move(data), when);
    case DiskJobEvent::Kind::kCancelled:
      return event_line("BLOCK_JOB_CANCELLED", std::move(data), when);
    case DiskJobEvent::Kind::kError:
      return event_line(
          "BLOCK_JOB_ERROR",
          {{"device", job.id}, {"operation", job.is_read_fault ? "read" : "write"}, {"action", "report"}},
          when);
    case DiskJobEvent::Kind::kDismissed:
      return event_line("JOB_STATUS_CHANGE", {{"id", job.id}, {"status", "null"}}, when);
    case DiskJobEvent::Kind::kState:
      break;
  }
  return event_line("JOB_STATUS_CHANGE", {{"id", job.id}, {"status", job_status_name(job.state)}}, when);
}

}  // namespace vmm::control
