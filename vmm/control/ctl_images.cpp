#include "vmm/control/ctl_images.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "vmm/base/printable.h"
#include "vmm/base/progress_bar.h"
#include "vmm/base/size.h"

namespace vmm::control {
namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds kJobPause(100);

Result<std::string> absolute_path(const std::string& file) {
  std::error_code error;
  std::filesystem::path path = std::filesystem::absolute(file, error);
  // Behind a symbolic link `..` leads elsewhere than it looks.
  if (std::ranges::find(path, "..") == path.end()) {
    path = path.lexically_normal();
  }
  if (error) {
    return fail("{}: {}", file, error.message());
  }
  // What is sent is UTF-8; other bytes would come out as another name.
  const std::string sent = json(path.native()).dump(-1, ' ', false, json::error_handler_t::replace);
  if (json::parse(sent) != path.native()) {
    return fail_configuration("{}: a name that is no UTF-8 cannot be sent", printable(file));
  }
  return path.native();
}

// What query-block tells of the disk's image.
Result<json> inserted_of(QmpClient& guest, const std::string& disk) {
  VMM_ASSIGN_OR_RETURN(const json drives, drives_of(guest));
  for (const json& drive : drives) {
    if (text_of(drive, "device") == disk) {
      return drive.value("inserted", json::object());
    }
  }
  return fail("the guest has no disk '{}'", disk);
}

Result<std::optional<json>> job_of(QmpClient& guest, const std::string& id) {
  VMM_ASSIGN_OR_RETURN(const json jobs, guest.run("query-block-jobs", json::object()));
  for (const json& job : jobs) {
    if (text_of(job, "device") == id) {
      return std::optional(job);
    }
  }
  return std::optional<json>();
}

// For the handler of signals.
std::string interrupted_text;

void tell_that_it_goes_on(int number) {
  static_cast<void>(!::write(STDERR_FILENO, interrupted_text.data(), interrupted_text.size()));
  ::_exit(128 + number);
}

// Until it is over. One that is ready is completed.
Status follow(QmpClient& guest, const std::string& id) {
  interrupted_text =
      fmt::format("\nThe job goes on: `follow {}` waits for its end, `cancel {}` ends it.\n", id, id);
  struct sigaction action{};
  action.sa_handler = tell_that_it_goes_on;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  ProgressBar bar;
  bool is_completed = false;
  while (true) {
    VMM_ASSIGN_OR_RETURN(const std::optional<json> job, job_of(guest, id));
    if (!job) {
      return {};  // somebody else has dismissed it
    }
    bar.show(number_of(*job, "offset"), number_of(*job, "len"));
    if (text_of(*job, "status") == "concluded") {
      const std::string error = text_of(*job, "error");
      VMM_TRY(guest.run("job-dismiss", {{"id", id}}));
      return error.empty() ? Status() : fail("{} {}: {}", text_of(*job, "type"), id, error);
    }
    if (flag_of(*job, "ready") && !is_completed) {
      VMM_TRY(guest.run("block-job-complete", {{"device", id}}));
      is_completed = true;
    }
    std::this_thread::sleep_for(kJobPause);
  }
}

Status run_job(const CtlRequest& request, const char* command, json arguments) {
  const std::string& disk = request.options.operands.front();
  VMM_ASSIGN_OR_RETURN(const std::optional<json> job, job_of(request.guest, disk));
  if (job && text_of(*job, "status") == "concluded") {
    VMM_TRY(request.guest.run("job-dismiss", {{"id", disk}}));
  } else if (job) {
    return fail("{} is busy: a {} is under way; `follow {}` waits for its end, `cancel {}` ends it", disk,
                text_of(*job, "type"), disk, disk);
  }
  arguments["device"] = disk;
  arguments["job-id"] = disk;
  arguments["auto-dismiss"] = false;
  if (const auto speed = request.options.values.find("speed"); speed != request.options.values.end()) {
    VMM_ASSIGN_OR_RETURN(arguments["speed"], parse_size(speed->second));
  }
  VMM_TRY(request.guest.run(command, arguments));
  return follow(request.guest, disk);
}

// The images of a chain, from the disk's own on.
std::vector<std::string> chain_of(const json& inserted) {
  std::vector<std::string> files;
  json image = inserted.value("image", json::object());
  while (image.contains("filename")) {
    files.push_back(text_of(image, "filename"));
    json below = image.value("backing-image", json::object());
    image = std::move(below);
  }
  return files;
}

// Where nobody says into which one: the one below. What stands on nothing the guest's vmm refuses, and knows
// why.
Status take_base(const CtlRequest& request, json& arguments) {
  if (arguments.contains("base")) {
    return {};
  }
  VMM_ASSIGN_OR_RETURN(const json image, inserted_of(request.guest, request.options.operands.front()));
  const std::vector<std::string> chain = chain_of(image);
  const std::string wanted = text_of(arguments, "top");
  const auto top = std::ranges::find_if(chain, [&wanted](const std::string& file) {
    std::error_code error;
    return wanted.empty() || file == wanted || std::filesystem::equivalent(file, wanted, error);
  });
  if (top != chain.end() && std::next(top) != chain.end()) {
    arguments["base"] = *std::next(top);
  }
  return {};
}

Status take_mode(const CtlRequest& request, json& arguments) {
  if (const auto mode = request.options.values.find("mode"); mode != request.options.values.end()) {
    if (mode->second != "existing" && mode->second != "absolute-paths") {
      return fail_configuration("--mode {}: absolute-paths (what is used if absent) and existing can be",
                                mode->second);
    }
    arguments["mode"] = mode->second;
  }
  return {};
}

Status take_file(const CtlRequest& request, const char* option, json& arguments) {
  if (const auto given = request.options.values.find(option); given != request.options.values.end()) {
    VMM_ASSIGN_OR_RETURN(arguments[option], absolute_path(given->second));
  }
  return {};
}

Result<CtlTold> tell_image(QmpClient& guest, const std::string& disk, const char* what) {
  VMM_ASSIGN_OR_RETURN(const json image, inserted_of(guest, disk));
  const std::string file = text_of(image, "file");
  return CtlTold{.lines = {fmt::format("{}: {} {}", disk, what, printable(file))},
                 .value = {{"device", disk}, {"file", file}}};
}

}  // namespace

std::vector<CtlOption> commit_options() { return {{.name = "top"}, {.name = "base"}, {.name = "speed"}}; }
std::vector<CtlOption> stream_options() { return {{.name = "base"}, {.name = "speed"}}; }
std::vector<CtlOption> backup_options() { return {{.name = "sync"}, {.name = "mode"}, {.name = "speed"}}; }
std::vector<CtlOption> snapshot_options() { return {{.name = "mode"}}; }

// "+1G" starts from the size that is.
Result<CtlTold> resize(const CtlRequest& request) {
  const std::string& disk = request.options.operands.front();
  const std::string& size = request.options.operands.back();
  const bool is_relative = size.starts_with('+');
  VMM_ASSIGN_OR_RETURN(uint64_t bytes, parse_size(is_relative ? size.substr(1) : size));
  if (is_relative) {
    VMM_ASSIGN_OR_RETURN(const json image, inserted_of(request.guest, disk));
    const uint64_t now = number_of(image.value("image", json::object()), "virtual-size");
    if (bytes > INT64_MAX - now) {
      return fail_configuration("{}: no disk is so long", size);
    }
    bytes += now;
  }
  VMM_TRY(request.guest.run("block_resize", {{"device", disk}, {"size", bytes}}));
  return CtlTold{.lines = {fmt::format("{}: {}", disk, size_text(bytes))},
                 .value = {{"device", disk}, {"size", bytes}}};
}

Result<CtlTold> snapshot(const CtlRequest& request) {
  const std::string& disk = request.options.operands.front();
  VMM_ASSIGN_OR_RETURN(const json before, inserted_of(request.guest, disk));
  VMM_ASSIGN_OR_RETURN(const std::string file, absolute_path(request.options.operands.back()));
  json arguments{{"device", disk}, {"snapshot-file", file}};
  VMM_TRY(take_mode(request, arguments));
  VMM_TRY(request.guest.run("blockdev-snapshot-sync", arguments));
  return CtlTold{.lines = {fmt::format("{}: the guest writes to {} from now on; {} stays as it is", disk,
                                       printable(file), printable(text_of(before, "file"))),
                           fmt::format("When it is started the next time its domain file has to name {}",
                                       printable(file))},
                 .value = {{"device", disk}, {"file", file}, {"backing-file", text_of(before, "file")}}};
}

Result<CtlTold> commit(const CtlRequest& request) {
  json arguments = json::object();
  VMM_TRY(take_file(request, "top", arguments));
  VMM_TRY(take_file(request, "base", arguments));
  VMM_TRY(take_base(request, arguments));
  VMM_TRY(run_job(request, "block-commit", std::move(arguments)));
  return tell_image(request.guest, request.options.operands.front(), "committed; the guest writes to");
}

Result<CtlTold> stream(const CtlRequest& request) {
  json arguments = json::object();
  VMM_TRY(take_file(request, "base", arguments));
  VMM_TRY(run_job(request, "block-stream", std::move(arguments)));
  return tell_image(request.guest, request.options.operands.front(), "all that it stood on is in");
}

Result<CtlTold> backup(const CtlRequest& request) {
  const std::string& disk = request.options.operands.front();
  VMM_ASSIGN_OR_RETURN(const std::string file, absolute_path(request.options.operands.back()));
  json arguments{{"target", file}, {"sync", "full"}};
  if (const auto sync = request.options.values.find("sync"); sync != request.options.values.end()) {
    if (sync->second != "full" && sync->second != "top") {
      return fail_configuration("--sync {}: full and top can be", sync->second);
    }
    arguments["sync"] = sync->second;
  }
  if (request.options.format) {
    arguments["format"] = *request.options.format;
  }
  VMM_TRY(take_mode(request, arguments));
  VMM_TRY(run_job(request, "drive-backup", std::move(arguments)));
  return CtlTold{.lines = {fmt::format("{}: backed up to {}", disk, printable(file))},
                 .value = {{"device", disk}, {"file", file}}};
}

Result<CtlTold> follow_job(const CtlRequest& request) {
  const std::string& id = request.options.operands.front();
  VMM_ASSIGN_OR_RETURN(const std::optional<json> job, job_of(request.guest, id));
  if (!job) {
    return fail("there is no job '{}'", id);
  }
  VMM_TRY(follow(request.guest, id));
  CtlTold told{.lines = {fmt::format("{}: the {} is done", id, text_of(*job, "type"))},
               .value = {{"job", id}}};
  if (const auto image = inserted_of(request.guest, id)) {
    told.value["file"] = text_of(*image, "file");
  }
  return told;
}

Result<CtlTold> list_jobs(const CtlRequest& request) {
  VMM_ASSIGN_OR_RETURN(const json jobs, request.guest.run("query-block-jobs", json::object()));
  CtlTold told{.value = jobs};
  for (const json& job : jobs) {
    told.lines.push_back(fmt::format("{:<10} {:<7} {:<10} {} of {}", text_of(job, "device"),
                                     text_of(job, "type"), text_of(job, "status"),
                                     size_text(number_of(job, "offset")), size_text(number_of(job, "len"))));
  }
  return told;
}

Result<CtlTold> cancel_jobs(const CtlRequest& request) {
  const std::string& id = request.options.operands.front();
  VMM_ASSIGN_OR_RETURN(std::optional<json> job, job_of(request.guest, id));
  if (!job) {
    return fail("there is no job '{}'", id);
  }
  VMM_TRY(request.guest.run("job-cancel", {{"id", id}}));
  VMM_ASSIGN_OR_RETURN(job, job_of(request.guest, id));
  while (job && text_of(*job, "status") != "concluded") {
    std::this_thread::sleep_for(kJobPause);
    VMM_ASSIGN_OR_RETURN(job, job_of(request.guest, id));
  }
  if (job) {
    VMM_TRY(request.guest.run("job-dismiss", {{"id", id}}));
  }
  return CtlTold{};
}

}  // namespace vmm::control
