#include "vmm/control/list.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "vmm/base/printable.h"
#include "vmm/base/unix_socket.h"
#include "vmm/control/guest_folder.h"
#include "vmm/control/output_option.h"
#include "vmm/control/qmp_client.h"

namespace vmm::control {
namespace {

using nlohmann::json;

constexpr const char* kHelpText = R"(Lists the running guests of this user.
Usage: vmm list [--output human|json]

Each with the name that vmm ctl knows it by, what it does (running, paused, io-error: it waits for the host to do
what a disk wants, watchdog: paused by its watchdog, shutdown: it has ended and is kept, no answer: its vmm hangs),
and the process of its vmm.
Guests whose sockets are elsewhere (--control) are not found.
)";

constexpr std::chrono::seconds kAnswerTime(2);
constexpr size_t kMostAtOnce = 32;

struct Row {
  std::string name;
  std::string state;
  int process = 0;
};

// Nothing: it has ended, or its vmm was killed.
std::optional<Row> row_of(const std::string& name) {
  const auto path = control_socket_of(name);
  std::error_code error;
  if (!path || !std::filesystem::exists(*path, error) || is_left_over_socket(*path)) {
    return std::nullopt;
  }
  Row row{.name = name, .state = "no answer"};
  if (auto guest = QmpClient::connect(*path, kAnswerTime)) {
    row.process = guest->peer_process();
    const auto status = guest->run("query-status", json::object());
    if (status && status->is_object() && status->contains("status") && (*status)["status"].is_string()) {
      row.state = (*status)["status"].get<std::string>();
    }
  } else {
    row.process = listening_process(*path);
  }
  return row;
}

// Those that hang are waited for at the same time.
std::vector<Row> rows_of(const std::vector<std::string>& names) {
  std::vector<std::optional<Row>> found(names.size());
  std::atomic<size_t> next{0};
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < std::min(names.size(), kMostAtOnce); ++i) {
      threads.emplace_back([&] {
        for (size_t index = next++; index < names.size(); index = next++) {
          found[index] = row_of(names[index]);
        }
      });
    }
  }
  std::vector<Row> rows;
  for (std::optional<Row>& row : found) {
    if (row) {
      rows.push_back(*std::move(row));
    }
  }
  return rows;
}

std::string table_of(const std::vector<Row>& rows) {
  size_t width = 4;
  for (const Row& row : rows) {
    width = std::max(width, printable(row.name).size());
  }
  std::string text = fmt::format("{:<{}}  {:<9}  {}\n", "NAME", width, "STATE", "PROCESS");
  for (const Row& row : rows) {
    text += fmt::format("{:<{}}  {:<9}  {}\n", printable(row.name), width, printable(row.state),
                        row.process == 0 ? "-" : std::to_string(row.process));
  }
  return text;
}

std::string json_of(const std::vector<Row>& rows) {
  json list = json::array();
  for (const Row& row : rows) {
    list.push_back({{"name", row.name}, {"status", row.state}});
    if (row.process != 0) {
      list.back()["pid"] = row.process;
    }
  }
  return list.dump(4, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace

Result<std::string> run_list(std::span<const std::string> arguments) {
  OutputFormat format = OutputFormat::kHuman;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--help" || arguments[i] == "-h") {
      return kHelpText;
    }
    VMM_ASSIGN_OR_RETURN(const bool is_taken, take_output_option(arguments, i, format));
    if (!is_taken) {
      return fail_configuration("vmm list: there is no argument {}; see vmm list --help",
                                printable(arguments[i]));
    }
  }
  remove_dead_guests();
  const std::vector<Row> rows = rows_of(guest_names());
  return format == OutputFormat::kJson ? json_of(rows) : table_of(rows);
}

}  // namespace vmm::control
