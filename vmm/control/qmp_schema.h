// query-qmp-schema: all commands and events, with the types of what they take, return and tell
// (QEMU's docs/devel/qapi-code-gen, "Client JSON Protocol introspection").
//
// Threads: values.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "vmm/control/qmp_json.h"
#include "vmm/control/qmp_types.h"

namespace vmm::control {

struct CommandSchema {
  const char* name;
  std::vector<Member> arguments;
  const Type* result;
};
struct EventSchema {
  const char* name;
  std::span<const Member> data;
};

Json schema_of(std::span<const CommandSchema> commands, std::span<const EventSchema> events);

// "[str]" of an array of strings.
std::string name_of(const Type& type);

}  // namespace vmm::control
