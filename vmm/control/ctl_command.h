// What the commands of `vmm ctl` get, and what they have to say.
//
// Threads: values.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/control/output_option.h"
#include "vmm/control/qmp_client.h"

namespace vmm::control {

struct CtlOptions {
  std::vector<std::string> operands;
  bool is_forced = false;
  std::optional<std::string> format;
  // Of the command's own options, by their names without dashes; empty: given without a value.
  std::map<std::string, std::string> values;
  OutputFormat output = OutputFormat::kHuman;
};
struct CtlRequest {
  QmpClient& guest;
  const CtlOptions& options;
};
// An option that only one command has.
struct CtlOption {
  std::string name;                   // without dashes
  bool may_be_without_value = false;  // then the value is a number, or follows a =
};
// For people and for programs.
struct CtlTold {
  bool is_printed = false;  // nothing is left to say
  std::vector<std::string> lines;
  nlohmann::json value = nlohmann::json::object();
};

// What is of another type is as if it were not there.
std::string text_of(const nlohmann::json& object, const char* name);
bool flag_of(const nlohmann::json& object, const char* name);
uint64_t number_of(const nlohmann::json& object, const char* name);

// Those of query-block.
Result<nlohmann::json> drives_of(QmpClient& guest);

}  // namespace vmm::control
