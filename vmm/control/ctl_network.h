// `vmm ctl GUEST link`, and how network interfaces are shown.
#pragma once

#include "vmm/control/ctl_command.h"

namespace vmm::control {

// As x-vmm-query-stats tells them.
Result<nlohmann::json> interfaces_of(QmpClient& guest);
// Of `vmm ctl GUEST status`.
std::string interface_line(const nlohmann::json& interface);
nlohmann::json interface_value(const nlohmann::json& interface);

Result<CtlTold> set_link_state(const CtlRequest& request);

}  // namespace vmm::control
