#include "vmm/control/output_option.h"

#include "vmm/base/printable.h"

namespace vmm::control {

Result<bool> take_output_option(std::span<const std::string> arguments, size_t& index, OutputFormat& format) {
  const std::string option = "--output";
  std::string value;
  if (arguments[index].starts_with(option + "=")) {
    value = arguments[index].substr(option.size() + 1);
  } else if (arguments[index] != option) {
    return false;
  } else if (index + 1 == arguments.size()) {
    return fail_configuration("--output: a value is missing; human and json can be");
  } else {
    value = arguments[++index];
  }
  if (value != "human" && value != "json") {
    return fail_configuration("--output {}: human and json can be", printable(value));
  }
  format = value == "json" ? OutputFormat::kJson : OutputFormat::kHuman;
  return true;
}

}  // namespace vmm::control
