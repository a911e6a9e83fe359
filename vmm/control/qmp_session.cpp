#include "vmm/control/qmp_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <expected>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "vmm/domain/throwaway.h"
#include "vmm/version.h"

namespace vmm::control {
namespace {

// In the order in which members are added.
using Json = nlohmann::ordered_json;

struct Fault {
  const char* error_class = "GenericError";
  std::string description;
};
using Answer = std::expected<Json, Fault>;

std::unexpected<Fault> fault(std::string description) {
  return std::unexpected(Fault{.description = std::move(description)});
}

Answer answer_of(const Status& status) {
  if (!status) {
    return fault(status.error().message());
  }
  return Json::object();
}

// --- Arguments ---------------------------------------------------------------------------------------------

// What commands take, whichever they take.
struct Request {
  std::string device;
  bool is_forced = false;
  std::string file;
  std::optional<domain::ImageFormat> format;
  std::optional<uint64_t> bytes;
};
enum Takes : unsigned { kNothing = 0, kDrive = 1, kCdrom = 2, kForce = 4, kFile = 8, kBytes = 16 };

class ArgumentReader {
 public:
  explicit ArgumentReader(const Json& values) : values_(values) {}

  std::optional<std::string> text(const char* name) {
    const Json* value = take(name);
    if (value == nullptr) {
      return std::nullopt;
    }
    if (!value->is_string()) {
      complain(fmt::format("Invalid parameter type for '{}', expected: string", name));
      return std::nullopt;
    }
    auto text = value->get<std::string>();
    // The kernel would take what stands before it for the name of a file.
    if (text.find('\0') != std::string::npos) {
      complain(fmt::format("Parameter '{}' holds a NUL character", name));
      return std::nullopt;
    }
    return text;
  }

  bool flag(const char* name) {
    const Json* value = take(name);
    if (value == nullptr) {
      return false;
    }
    if (!value->is_boolean()) {
      complain(fmt::format("Invalid parameter type for '{}', expected: boolean", name));
      return false;
    }
    return value->get<bool>();
  }

  std::optional<uint64_t> number(const char* name) {
    const Json* value = take(name);
    if (value == nullptr) {
      return std::nullopt;
    }
    if (!value->is_number_unsigned()) {
      complain(fmt::format("Invalid parameter type for '{}', expected: integer", name));
      return std::nullopt;
    }
    return value->get<uint64_t>();
  }

  void complain(std::string description) {
    if (!fault_) {
      fault_ = Fault{.description = std::move(description)};
    }
  }

  // After all were asked for.
  std::optional<Fault> fault() {
    for (const auto& [name, value] : values_.items()) {
      if (std::ranges::find(known_, name) == known_.end()) {
        complain(fmt::format("Parameter '{}' is unexpected", name));
      }
    }
    return fault_;
  }

 private:
  const Json* take(const char* name) {
    known_.emplace_back(name);
    const auto found = values_.find(name);
    return found == values_.end() ? nullptr : &*found;
  }

  const Json& values_;
  std::vector<std::string> known_;
  std::optional<Fault> fault_;
};

std::optional<domain::ImageFormat> read_format(ArgumentReader& reader) {
  const auto name = reader.text("format");
  if (!name) {
    return std::nullopt;
  }
  if (*name == "qcow2") {
    return domain::ImageFormat::kQcow2;
  }
  if (*name != "raw") {
    reader.complain(fmt::format("Unknown driver '{}': raw and qcow2 can be", *name));
  }
  return domain::ImageFormat::kRaw;
}

std::expected<Request, Fault> read_request(const Json& values, unsigned takes) {
  ArgumentReader reader(values);
  Request request;
  if ((takes & (kDrive | kCdrom)) != 0) {
    // QEMU knows a drive as a device (older) and by its id; here both are the target's name.
    auto id = reader.text("id");
    auto device = reader.text("device");
    if (id.has_value() == device.has_value()) {
      reader.complain("Give either 'id' or 'device'");
    }
    request.device = id ? *std::move(id) : std::move(device).value_or("");
  }
  if ((takes & kForce) != 0) {
    request.is_forced = reader.flag("force");
  }
  if ((takes & kFile) != 0) {
    request.file = reader.text("filename").value_or("");
    request.format = read_format(reader);
    if (request.file.empty()) {
      reader.complain("Parameter 'filename' is missing");
    }
  }
  if ((takes & kBytes) != 0) {
    request.bytes = reader.number("bytes");
  }
  if (auto wrong = reader.fault()) {
    return std::unexpected(*std::move(wrong));
  }
  return request;
}

std::optional<Fault> unknown_drive(const Guest& guest, const std::string& device, unsigned takes) {
  const std::vector<Guest::Drive> drives = guest.drives();
  const auto drive = std::ranges::find(drives, device, &Guest::Drive::device);
  if (drive == drives.end()) {
    return Fault{.error_class = "DeviceNotFound",
                 .description = fmt::format("Device '{}' not found", device)};
  }
  if ((takes & kCdrom) != 0 && !drive->is_cdrom) {
    return Fault{.description = fmt::format("Device '{}' is not removable", device)};
  }
  return std::nullopt;
}

// --- Commands ----------------------------------------------------------------------------------------------

const char* format_name(domain::ImageFormat format) {
  return format == domain::ImageFormat::kQcow2 ? "qcow2" : "raw";
}

Json version() {
  return Json{
      {"qemu", {{"major", VMM_VERSION_MAJOR}, {"minor", VMM_VERSION_MINOR}, {"micro", VMM_VERSION_PATCH}}},
      {"package", "vmm " VMM_VERSION}};
}

Answer query_version(Guest& /*guest*/, const Request& /*request*/) { return version(); }

Answer query_name(Guest& guest, const Request& /*request*/) { return Json{{"name", guest.domain().name}}; }

Answer query_status(Guest& guest, const Request& /*request*/) {
  const auto name = [&guest] {
    switch (guest.state()) {
      case Guest::State::kRunning:
        return "running";
      case Guest::State::kPausedForDisk:
        return "io-error";
      case Guest::State::kKept:
        break;
    }
    return "shutdown";
  };
  return Json{{"running", guest.state() == Guest::State::kRunning}, {"status", name()}};
}

Json block_info(const Guest::Drive& drive) {
  Json info{{"device", drive.device},
            {"qdev", drive.device},
            {"type", "unknown"},
            {"removable", drive.is_cdrom},
            {"locked", drive.is_locked}};
  if (drive.is_cdrom) {
    info["tray_open"] = drive.is_tray_open;
  }
  if (!drive.file.empty()) {
    info["inserted"] = {
        {"file", drive.file.native()}, {"drv", format_name(drive.format)}, {"ro", drive.is_read_only}};
  }
  return info;
}

Answer query_block(Guest& guest, const Request& /*request*/) {
  Json list = Json::array();
  for (const Guest::Drive& drive : guest.drives()) {
    list.push_back(block_info(drive));
  }
  return list;
}

Answer query_throwaway(Guest& guest, const Request& /*request*/) {
  const auto throwaway = guest.throwaway();
  if (!throwaway) {
    return fault("No disk of the guest is throwaway");
  }
  Json told{{"used", throwaway->used_bytes}};
  if (throwaway->limit_bytes) {
    told["limit"] = *throwaway->limit_bytes;
  }
  return told;
}

Answer set_throwaway_limit(Guest& guest, const Request& request) {
  if (!guest.throwaway()) {
    return fault("No disk of the guest is throwaway");
  }
  if (request.bytes && *request.bytes < domain::kMinThrowawayLimitBytes) {
    return fault(fmt::format("Parameter 'bytes' is less than {}, which tables alone need",
                             domain::kMinThrowawayLimitBytes));
  }
  guest.set_throwaway_limit(request.bytes);
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

Answer quit(Guest& guest, const Request& /*request*/) {
  guest.quit();
  return Json::object();
}

Answer boot_once(Guest& guest, const Request& request) {
  return answer_of(guest.boot_once_from(request.device));
}

// A tray that the guest holds locked is no error: it is asked to open it.
Answer open_tray(Guest& guest, const Request& request) {
  const auto opened = guest.open_tray(request.device, request.is_forced);
  return answer_of(opened ? Status() : std::unexpected(opened.error()));
}

Answer close_tray(Guest& guest, const Request& request) {
  return answer_of(guest.close_tray(request.device));
}

Answer remove_medium(Guest& guest, const Request& request) {
  return answer_of(guest.remove_disc(request.device));
}

Answer eject(Guest& guest, const Request& request) {
  const auto opened = guest.open_tray(request.device, request.is_forced);
  if (!opened) {
    return fault(opened.error().message());
  }
  if (*opened == Guest::Opened::kGuestAsked) {
    return fault(
        fmt::format("Device '{}' is locked and force was not specified, wait for tray to open and try again",
                    request.device));
  }
  return answer_of(guest.remove_disc(request.device));
}

Answer change_medium(Guest& guest, const Request& request) {
  return answer_of(guest.change_disc(request.device, request.file, request.format, request.is_forced));
}

Answer query_commands(Guest& guest, const Request& request);

struct Command {
  const char* name;
  unsigned takes;
  Answer (*run)(Guest& guest, const Request& request);
};
constexpr std::array kCommands = {
    Command{"blockdev-change-medium", kCdrom | kForce | kFile, change_medium},
    Command{"blockdev-close-tray", kCdrom, close_tray},
    Command{"blockdev-open-tray", kCdrom | kForce, open_tray},
    Command{"blockdev-remove-medium", kCdrom, remove_medium},
    Command{"eject", kCdrom | kForce, eject},
    Command{"query-block", kNothing, query_block},
    Command{"query-commands", kNothing, query_commands},
    Command{"query-name", kNothing, query_name},
    Command{"query-status", kNothing, query_status},
    Command{"query-version", kNothing, query_version},
    Command{"quit", kNothing, quit},
    Command{"system_powerdown", kNothing, power_down},
    Command{"system_reset", kNothing, reset},
    Command{"x-vmm-boot-once", kDrive, boot_once},
    Command{"x-vmm-query-throwaway", kNothing, query_throwaway},
    Command{"x-vmm-set-throwaway-limit", kBytes, set_throwaway_limit},
};
constexpr const char* kNegotiate = "qmp_capabilities";

Answer query_commands(Guest& /*guest*/, const Request& /*request*/) {
  Json list = Json::array();
  for (const Command& command : kCommands) {
    list.push_back({{"name", command.name}});
  }
  list.push_back({{"name", kNegotiate}});
  return list;
}

// --- Messages ----------------------------------------------------------------------------------------------

// What is no UTF-8 comes out with replacement characters.
std::string line_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\r\n";
}

std::string line_of(const Answer& answer, const std::optional<Json>& id) {
  Json json = Json::object();
  if (answer) {
    json["return"] = *answer;
  } else {
    json["error"] = {{"class", answer.error().error_class}, {"desc", answer.error().description}};
  }
  if (id) {
    json["id"] = *id;
  }
  return line_of(json);
}

// An object with "execute", perhaps "arguments" and "id", and nothing else.
std::optional<Fault> malformed(const Json& message) {
  if (!message.is_object()) {
    return Fault{.description = "QMP input must be a JSON object"};
  }
  for (const auto& [name, value] : message.items()) {
    if (name != "execute" && name != "arguments" && name != "id") {
      return Fault{.description = "QMP input member '" + name + "' is unexpected"};
    }
  }
  const auto execute = message.find("execute");
  if (execute == message.end()) {
    return Fault{.description = "QMP input lacks member 'execute'"};
  }
  if (!execute->is_string()) {
    return Fault{.description = "QMP input member 'execute' must be a string"};
  }
  const auto arguments = message.find("arguments");
  if (arguments != message.end() && !arguments->is_object()) {
    return Fault{.description = "QMP input member 'arguments' must be an object"};
  }
  return std::nullopt;
}

Fault not_found(std::string description) {
  return {.error_class = "CommandNotFound", .description = std::move(description)};
}

Answer run_command(Guest& guest, const std::string& name, const Json& values) {
  const auto* const command =
      std::ranges::find_if(kCommands, [&name](const Command& each) { return name == each.name; });
  if (command == kCommands.end()) {
    return std::unexpected(not_found(fmt::format("The command {} has not been found", name)));
  }
  const auto request = read_request(values, command->takes);
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

// "enable" may be empty: there is no capability to enable.
Answer negotiate(const Json& values) {
  for (const auto& [name, value] : values.items()) {
    if (name != "enable" || !value.is_array() || !value.empty()) {
      return fault("There are no capabilities to enable");
    }
  }
  return Json::object();
}

}  // namespace

std::string QmpSession::greeting() {
  return line_of(Json{{"QMP", {{"version", version()}, {"capabilities", Json::array()}}}});
}

std::string QmpSession::answer(std::string_view message) {
  const Json request = Json::parse(message, nullptr, /*allow_exceptions=*/false);
  if (request.is_discarded()) {
    return complaint("JSON parse error");
  }
  if (auto wrong = malformed(request)) {
    return line_of(std::unexpected(*std::move(wrong)), std::nullopt);
  }
  const std::optional<Json> id = request.contains("id") ? std::optional<Json>(request["id"]) : std::nullopt;
  const std::string name = request["execute"].get<std::string>();
  const Json values = request.value("arguments", Json::object());
  if (name == kNegotiate && !has_negotiated_) {
    const Answer answer = negotiate(values);
    has_negotiated_ = answer.has_value();
    return line_of(answer, id);
  }
  if (!has_negotiated_) {
    return line_of(std::unexpected(not_found("Expecting capabilities negotiation with 'qmp_capabilities'")),
                   id);
  }
  if (name == kNegotiate) {
    return line_of(
        std::unexpected(not_found("Capabilities negotiation is already complete, command ignored")), id);
  }
  return line_of(run_command(guest_, name, values), id);
}

std::string QmpSession::complaint(std::string_view reason) {
  return line_of(fault(std::string(reason)), std::nullopt);
}

}  // namespace vmm::control
