// The command line that runs a guest: its options as plain values.
//
// Threads: values.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/log.h"
#include "vmm/cli/messages.h"
#include "vmm/domain/diagnostics.h"
#include "vmm/domain/quick_domain.h"
#include "vmm/domain/throwaway.h"

namespace vmm::cli {

struct Options {
  std::optional<domain::QuickDomain> quick;  // `vmm run`: the domain, in place of a file
  std::string domain_path;
  bool is_domain_on_input = false;  // domain_path is what messages call standard input then
  std::string install_path;
  std::string control_path;
  std::string metrics_place;  // --metrics: a path, or a port
  std::string log_path;
  std::string packet_path;  // --dump-net
  std::string pid_path;
  bool is_daemon = false;
  log::Levels log_levels;
  MessageFormat message_format = MessageFormat::kText;
  bool is_strict = false;  // warnings about the domain are errors
  std::string example;     // with kPrintExample
  std::vector<std::string> secrets;
  std::vector<std::string> settings;  // --set: "PATH=VALUE"
  domain::ThrowawayOptions throwaway;
  std::optional<std::chrono::milliseconds> timeout;
  std::optional<std::chrono::milliseconds> shutdown_timeout;
  std::vector<domain::Diagnostic>
      warnings;  // about what the options of `vmm run` say; told with the domain's
};

enum class Command : uint8_t {
  kRun,
  kCheck,
  kPrintDomain,
  kPrintExample,
  kPrintSettings,
  kHelp,
  kRunHelp,
  kVersion
};

extern const char* const kHelpText;

// Errors, of ErrorKind::kConfiguration, name the option.
Result<Command> read_command_line(int argument_count, char** arguments, Options& options);

}  // namespace vmm::cli
