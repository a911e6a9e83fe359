#include "vmm/control/qmp_json.h"

#include <utility>

namespace vmm::control {

std::unexpected<Fault> fault(std::string description) {
  return std::unexpected(Fault{.description = std::move(description)});
}

Answer answer_of(const Status& status) {
  if (!status) {
    return fault(status.error().message());
  }
  return Json::object();
}

std::string line_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\r\n";
}

}  // namespace vmm::control
