#include "vmm/control/qmp_session.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>

#include "vmm/control/qmp_arguments.h"
#include "vmm/control/qmp_commands.h"
#include "vmm/control/qmp_json.h"

namespace vmm::control {
namespace {

constexpr const char* kExecute = "execute";
constexpr const char* kExecuteOutOfBand = "exec-oob";
constexpr const char* kOutOfBand = "oob";

std::string answer_line(const Answer& answer, const std::optional<Json>& id) {
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

// An object with "execute", perhaps "arguments" and "id", and nothing else; "exec-oob" where that is enabled.
std::optional<Fault> malformed(const Json& message, bool may_be_out_of_band) {
  if (!message.is_object()) {
    return Fault{.description = "QMP input must be a JSON object"};
  }
  const auto is_known = [may_be_out_of_band](const std::string& name) {
    return name == kExecute || name == "arguments" || name == "id" ||
           (may_be_out_of_band && name == kExecuteOutOfBand);
  };
  for (const auto& [name, value] : message.items()) {
    if (!is_known(name)) {
      return Fault{.description = "QMP input member '" + name + "' is unexpected"};
    }
  }
  const bool is_twice = message.contains(kExecute) && message.contains(kExecuteOutOfBand);
  const auto execute = message.find(message.contains(kExecute) ? kExecute : kExecuteOutOfBand);
  if (is_twice || execute == message.end()) {
    return Fault{.description = is_twice ? "QMP input members 'execute' and 'exec-oob' exclude each other"
                                         : "QMP input lacks member 'execute'"};
  }
  if (!execute->is_string()) {
    return Fault{.description = fmt::format("QMP input member '{}' must be a string", execute.key())};
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

// Whether commands may be out of band then.
std::expected<bool, Fault> negotiate(const Json& values) {
  bool is_enabled = false;
  for (const auto& [name, value] : values.items()) {
    if (name != "enable") {
      return fault(fmt::format("Parameter '{}' is unexpected", name));
    }
    if (!value.is_array()) {
      return fault("Invalid parameter type for 'enable', expected: array");
    }
    for (const Json& capability : value) {
      if (capability != kOutOfBand) {
        return fault("There is no capability to enable but 'oob'");
      }
      is_enabled = true;
    }
  }
  return is_enabled;
}

}  // namespace

std::string QmpSession::greeting() {
  return line_of(Json{{"QMP", {{"version", version()}, {"capabilities", Json::array({kOutOfBand})}}}});
}

// It is about the connection, and so no command of qmp_commands.h.
Answer QmpSession::ask_for_console(const Json& values) {
  const auto request = read_request(values, kConsole | kForce);
  if (!request) {
    return std::unexpected(request.error());
  }
  if (const Status is_free = guest_.free_console(request->device, request->is_forced); !is_free) {
    return answer_of(is_free);
  }
  console_ = request->device;
  return Json::object();
}

std::string QmpSession::answer(std::string_view message) {
  if (console_) {
    return "";
  }
  const Json request = Json::parse(message, nullptr, /*allow_exceptions=*/false);
  if (request.is_discarded()) {
    return complaint("JSON parse error");
  }
  const std::optional<Json> id =
      request.is_object() && request.contains("id") ? std::optional<Json>(request["id"]) : std::nullopt;
  if (auto wrong = malformed(request, may_be_out_of_band_)) {
    return answer_line(std::unexpected(*std::move(wrong)), id);
  }
  const bool is_out_of_band = request.contains(kExecuteOutOfBand);
  const std::string name = request[is_out_of_band ? kExecuteOutOfBand : kExecute].get<std::string>();
  const Json values = request.value("arguments", Json::object());
  if (name == kNegotiate && !has_negotiated_) {
    const auto enabled = negotiate(values);
    has_negotiated_ = enabled.has_value();
    may_be_out_of_band_ = enabled.value_or(false);
    return answer_line(enabled ? Answer(Json::object()) : std::unexpected(enabled.error()), id);
  }
  if (!has_negotiated_) {
    return answer_line(
        std::unexpected(not_found("Expecting capabilities negotiation with 'qmp_capabilities'")), id);
  }
  if (name == kNegotiate) {
    return answer_line(
        std::unexpected(not_found("Capabilities negotiation is already complete, command ignored")), id);
  }
  if (name == kAttachConsole && !is_out_of_band) {
    return answer_line(ask_for_console(values), id);
  }
  return answer_line(run_command(guest_, name, values, is_out_of_band), id);
}

std::string QmpSession::complaint(std::string_view reason) {
  return answer_line(fault(std::string(reason)), std::nullopt);
}

}  // namespace vmm::control
