// -o help: the words of -o that a new image's format has, with a line each, as qemu-img lists them.
//
// Threads: functions without state.
#pragma once

#include <string>
#include <string_view>

#include "vmm/base/error.h"

namespace vmm::block::tool {

// "help", or "?", among the words of -o.
bool asks_for_help(std::string_view words);

// For what can be made: "raw" and "qcow2". Lines, the last one with its end.
Result<std::string> option_help(const std::string& format);

}  // namespace vmm::block::tool
