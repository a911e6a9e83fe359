#include "vmm/control/ctl_network.h"

#include <fmt/format.h>

#include <utility>

namespace vmm::control {
namespace {

using nlohmann::json;

// Where there is one interface it need not be named.
Result<std::string> only_interface(QmpClient& guest) {
  VMM_ASSIGN_OR_RETURN(const json interfaces, interfaces_of(guest));
  if (interfaces.empty()) {
    return fail("the guest has no network interface");
  }
  if (interfaces.size() > 1) {
    std::string names;
    for (const json& interface : interfaces) {
      names += (names.empty() ? "" : ", ") + text_of(interface, "name");
    }
    return fail_configuration("the guest has several network interfaces: say which ({})", names);
  }
  return text_of(interfaces.front(), "name");
}

}  // namespace

Result<json> interfaces_of(QmpClient& guest) {
  VMM_ASSIGN_OR_RETURN(json stats, guest.run("x-vmm-query-stats", json::object()));
  const auto interfaces = stats.is_object() ? stats.find("interfaces") : stats.end();
  return interfaces == stats.end() || !interfaces->is_array() ? json::array() : std::move(*interfaces);
}

std::string interface_line(const json& interface) {
  const std::string target = text_of(interface, "target");
  return fmt::format("  {:<8} {:<7} {}{}{}", text_of(interface, "name"), "net", text_of(interface, "mac"),
                     target.empty() ? "" : " at " + target,
                     flag_of(interface, "link-up") ? "" : " (the link is down)");
}

json interface_value(const json& interface) {
  json value = {{"name", text_of(interface, "name")},
                {"mac", text_of(interface, "mac")},
                {"link-up", flag_of(interface, "link-up")}};
  if (const std::string target = text_of(interface, "target"); !target.empty()) {
    value["target"] = target;
  }
  return value;
}

Result<CtlTold> set_link_state(const CtlRequest& request) {
  const std::string& state = request.options.operands.back();
  if (state != "up" && state != "down") {
    return fail_configuration("link {}: up and down can be", state);
  }
  std::string name = request.options.operands.front();
  if (request.options.operands.size() == 1) {
    VMM_ASSIGN_OR_RETURN(name, only_interface(request.guest));
  }
  VMM_TRY(request.guest.run("set_link", {{"name", name}, {"up", state == "up"}}));
  return CtlTold{.value = {{"name", name}, {"up", state == "up"}}};
}

}  // namespace vmm::control
