// --output human|json, of `vmm ctl` and `vmm list`.
//
// Threads: values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "vmm/base/error.h"

namespace vmm::control {

enum class OutputFormat : uint8_t { kHuman, kJson };

// Takes `--output=json` and `--output json` at arguments[index], which is then the last word of it. False: it
// is another argument. An error, of the command line: another format, or none.
Result<bool> take_output_option(std::span<const std::string> arguments, size_t& index, OutputFormat& format);

}  // namespace vmm::control
