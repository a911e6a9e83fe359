#include "vmm/control/qmp_image_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "vmm/control/qmp_block_info.h"

namespace vmm::control {
namespace {

// A layer of a disk's chain.
struct Node {
  std::string device;
  size_t layer = 0;
  std::string file;
};

std::optional<Node> find_node(const Guest& guest, const std::string& name) {
  for (const Guest::Drive& drive : guest.drives()) {
    for (size_t layer = 0; layer < drive.layers.size(); ++layer) {
      if (node_name(drive, layer) == name) {
        return Node{.device = drive.device, .layer = layer, .file = drive.layers[layer].path};
      }
    }
  }
  return std::nullopt;
}

Fault no_node(const std::string& name, const std::string& device = "") {
  return {.description = fmt::format("Cannot find device='{}' nor node-name='{}'", device, name)};
}

bool has_disk(const Guest& guest, const std::string& device) {
  const std::vector<Guest::Drive> drives = guest.drives();
  return std::ranges::find(drives, device, &Guest::Drive::device) != drives.end();
}

// The disk that is meant: by its name, or by that of its image's node.
std::expected<std::string, Fault> disk_of(const Guest& guest, const Request& request) {
  const std::string& name = request.device.empty() ? request.node : request.device;
  if (const auto node = find_node(guest, name)) {
    return node->layer == 0 ? std::expected<std::string, Fault>(node->device)
                            : fault(fmt::format("Node '{}' is below a disk's own image", name));
  }
  if (request.device.empty()) {
    return std::unexpected(no_node(name));
  }
  if (!has_disk(guest, request.device)) {
    return std::unexpected(no_node("", request.device));
  }
  return request.device;
}

// QEMU's identifiers.
bool is_job_id(const std::string& id) {
  const auto is_letter = [](char each) {
    return (each >= 'a' && each <= 'z') || (each >= 'A' && each <= 'Z');
  };
  return is_letter(id.front()) && std::ranges::all_of(id, [&](char each) {
           return is_letter(each) || (each >= '0' && each <= '9') || each == '-' || each == '.' ||
                  each == '_';
         });
}

// A file of the chain, by its name or its node's; empty: neither is given.
std::expected<std::string, Fault> file_of(const Guest& guest, const std::string& disk,
                                          const std::string& file, const std::string& node_name) {
  if (node_name.empty()) {
    return file;
  }
  if (!file.empty()) {
    return fault("Give either a node or a file");
  }
  const auto node = find_node(guest, node_name);
  if (!node) {
    return std::unexpected(no_node(node_name));
  }
  if (node->device != disk) {
    return fault(fmt::format("Node '{}' is not in the chain of '{}'", node_name, disk));
  }
  return node->file;
}

std::expected<DiskJobs::Start, Fault> start_of(const Request& request) {
  if (!request.is_finalized) {
    return fault("Parameter 'auto-finalize': jobs are finalized by themselves here");
  }
  if (!request.job.empty() && !is_job_id(request.job)) {
    return fault(fmt::format("Invalid job ID '{}'", request.job));
  }
  return DiskJobs::Start{
      .id = request.job, .bytes_per_second = request.bytes_per_second, .is_kept = !request.is_dismissed};
}

std::optional<DiskJob> find_job(Guest& guest, const std::string& id) {
  const std::vector<DiskJob> jobs = guest.disk_jobs()->jobs();
  const auto found = std::ranges::find(jobs, id, &DiskJob::id);
  return found == jobs.end() ? std::nullopt : std::optional(*found);
}

// What is done to a job that there is.
Answer with_job(Guest& guest, const Request& request,
                Status (*change)(DiskJobs& jobs, const Request& request)) {
  if (!find_job(guest, request.job)) {
    return request.is_block_job
               ? std::unexpected(Fault{.error_class = "DeviceNotActive",
                                       .description = fmt::format("Block job '{}' not found", request.job)})
               : fault("Job not found");
  }
  return answer_of(change(*guest.disk_jobs(), request));
}

}  // namespace

const char* job_status_name(DiskJob::State state) {
  switch (state) {
    case DiskJob::State::kCreated:
      return "created";
    case DiskJob::State::kRunning:
      return "running";
    case DiskJob::State::kPaused:
      return "paused";
    case DiskJob::State::kReady:
      return "ready";
    case DiskJob::State::kStandby:
      return "standby";
    case DiskJob::State::kWaiting:
      return "waiting";
    case DiskJob::State::kPending:
      return "pending";
    case DiskJob::State::kAborting:
      return "aborting";
    case DiskJob::State::kConcluded:
      break;
  }
  return "concluded";
}

// --- Images ---

Answer block_resize(Guest& guest, const Request& request) {
  const auto disk = disk_of(guest, request);
  if (*request.bytes > uint64_t{INT64_MAX}) {
    return fault("Parameter 'size' expects a >0 size");
  }
  return disk ? answer_of(guest.disk_jobs()->resize(*disk, *request.bytes)) : std::unexpected(disk.error());
}

Answer snapshot_sync(Guest& guest, const Request& request) {
  const auto disk = disk_of(guest, request);
  if (request.file.empty()) {
    return fault("Parameter 'snapshot-file' names no file");
  }
  return disk ? answer_of(guest.disk_jobs()->snapshot(*disk, request.file, request.is_existing))
              : std::unexpected(disk.error());
}

Answer block_commit(Guest& guest, const Request& request) {
  const auto disk = disk_of(guest, request);
  if (!disk && !find_node(guest, request.device)) {
    return std::unexpected(Fault{.error_class = "DeviceNotFound",
                                 .description = fmt::format("Device '{}' not found", request.device)});
  }
  if (!disk) {
    return std::unexpected(disk.error());
  }
  const auto top = file_of(guest, *disk, request.top, request.top_node);
  const auto base = top ? file_of(guest, *disk, request.base, request.base_node) : top;
  const auto start = start_of(request);
  if (!base) {
    return std::unexpected(base.error());
  }
  return start ? answer_of(guest.disk_jobs()->commit(*disk, *start, *top, *base))
               : std::unexpected(start.error());
}

Answer block_stream(Guest& guest, const Request& request) {
  const auto disk = disk_of(guest, request);
  if (!disk) {
    return std::unexpected(disk.error());
  }
  const auto base = file_of(guest, *disk, request.base, request.base_node);
  const auto start = start_of(request);
  if (!base) {
    return std::unexpected(base.error());
  }
  return start ? answer_of(guest.disk_jobs()->stream(*disk, *start, *base)) : std::unexpected(start.error());
}

Answer block_backup(Guest& guest, const Request& request) {
  const auto disk = disk_of(guest, request);
  if (request.file.empty()) {
    return fault("Parameter 'target' names no file");
  }
  const auto start = start_of(request);
  if (!disk || !start) {
    return std::unexpected(disk ? start.error() : disk.error());
  }
  return answer_of(guest.disk_jobs()->backup(*disk, *start,
                                             {.path = request.file,
                                              .format = request.format.value_or(domain::ImageFormat::kQcow2),
                                              .is_of_top = request.is_of_top,
                                              .is_existing = request.is_existing}));
}

// --- Jobs ---

Answer query_block_jobs(Guest& guest, const Request& /*request*/) {
  Json list = Json::array();
  for (const DiskJob& job : guest.disk_jobs()->jobs()) {
    Json told{{"type", vmm::name_of(job.kind)},
              {"device", job.id},
              {"len", job.all_bytes},
              {"offset", job.done_bytes},
              {"busy", !job.has_ended() && !job.is_paused},
              {"paused", job.is_paused},
              {"speed", job.bytes_per_second},
              {"io-status", "ok"},
              {"ready", job.state == DiskJob::State::kReady || job.state == DiskJob::State::kStandby},
              {"status", job_status_name(job.state)},
              {"auto-finalize", true},
              {"auto-dismiss", !job.is_kept}};
    if (!job.error.empty()) {
      told["error"] = job.error;
    }
    list.push_back(std::move(told));
  }
  return list;
}

Answer query_jobs(Guest& guest, const Request& /*request*/) {
  Json list = Json::array();
  for (const DiskJob& job : guest.disk_jobs()->jobs()) {
    Json told{{"id", job.id},
              {"type", vmm::name_of(job.kind)},
              {"status", job_status_name(job.state)},
              {"current-progress", job.done_bytes},
              {"total-progress", job.all_bytes}};
    if (!job.error.empty()) {
      told["error"] = job.error;
    }
    list.push_back(std::move(told));
  }
  return list;
}

Answer pause_job(Guest& guest, const Request& request) {
  return with_job(guest, request,
                  [](DiskJobs& jobs, const Request& of) { return jobs.set_paused(of.job, true); });
}
Answer resume_job(Guest& guest, const Request& request) {
  return with_job(guest, request,
                  [](DiskJobs& jobs, const Request& of) { return jobs.set_paused(of.job, false); });
}
Answer cancel_job(Guest& guest, const Request& request) {
  return with_job(guest, request,
                  [](DiskJobs& jobs, const Request& of) { return jobs.cancel(of.job, of.is_forced); });
}
Answer abort_job(Guest& guest, const Request& request) {
  return with_job(guest, request,
                  [](DiskJobs& jobs, const Request& of) { return jobs.cancel(of.job, true); });
}
Answer complete_job(Guest& guest, const Request& request) {
  return with_job(guest, request, [](DiskJobs& jobs, const Request& of) { return jobs.complete(of.job); });
}
Answer dismiss_job(Guest& guest, const Request& request) {
  return with_job(guest, request, [](DiskJobs& jobs, const Request& of) { return jobs.dismiss(of.job); });
}
Answer set_job_speed(Guest& guest, const Request& request) {
  return with_job(guest, request, [](DiskJobs& jobs, const Request& of) {
    return jobs.set_speed(of.job, of.bytes_per_second);
  });
}

}  // namespace vmm::control
