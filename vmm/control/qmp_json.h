// What answers of the control socket are made of.
//
// Threads: values.
#pragma once

#include <expected>
#include <nlohmann/json.hpp>
#include <string>

#include "vmm/base/error.h"

namespace vmm::control {

// In the order in which members are added.
using Json = nlohmann::ordered_json;

struct Fault {
  const char* error_class = "GenericError";  // of QEMU's QapiErrorClass
  std::string description;
};
using Answer = std::expected<Json, Fault>;

std::unexpected<Fault> fault(std::string description);
// What did not go well is a fault; else there is nothing to tell.
Answer answer_of(const Status& status);

// The text with its end. What is no UTF-8 comes out with replacement characters.
std::string line_of(const Json& json);

}  // namespace vmm::control
