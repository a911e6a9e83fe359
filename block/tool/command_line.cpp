#include "block/tool/command_line.h"
#include "vmm/base/printable.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <utility>

namespace vmm::block::tool {
namespace {

int report(const std::string& message, int status) {
  static_cast<void>(std::fprintf(stderr, "vmm-img: %s\n", printable(message).c_str()));
  return status;
}

// In one line, as all that vmm says.
std::string failure_message(const CLI::App* app, const CLI::Error& error) {
  std::string command = app->get_name();
  for (const CLI::App* each : app->get_subcommands()) {
    command += " " + each->get_name();
  }
  return fmt::format("vmm-img: {}; see {} --help\n", error.what(), command);
}

// Options that come before it have no values.
std::string_view first_operand(std::span<char*> words) {
  const auto found =
      std::ranges::find_if(words.subspan(1), [](std::string_view word) { return !word.starts_with('-'); });
  return found == words.end() ? std::string_view() : *found;
}

}  // namespace

Option Option::required() const {
  option_->required();
  return *this;
}

Option Option::type_name(const std::string& name) const {
  option_->type_name(name);
  return *this;
}

Option Option::one_of(const std::vector<std::string>& values) const {
  option_->check(CLI::IsMember(values).description(""));
  return *this;
}

Option Option::between(uint32_t least, uint32_t most) const {
  option_->check(CLI::Range(least, most).description(""));
  return *this;
}

Option Option::excludes(Option other) const {
  option_->excludes(other.option_);
  return *this;
}

Option Option::joined_with(char separator) const {
  option_->join(separator);
  return *this;
}

Option Option::one_value_each() const {
  option_->allow_extra_args(false);
  return *this;
}

bool Option::is_given() const { return option_->count() > 0; }

const std::string& CommandLine::name() const { return app_->get_name(); }

Option CommandLine::add_option(const std::string& names, std::string& value, const std::string& help) const {
  return Option(app_->add_option(names, value, help));
}

Option CommandLine::add_option(const std::string& names, std::optional<std::string>& value,
                               const std::string& help) const {
  return Option(app_->add_option(names, value, help));
}

Option CommandLine::add_option(const std::string& names, std::vector<std::string>& values,
                               const std::string& help) const {
  return Option(app_->add_option(names, values, help));
}

Option CommandLine::add_option(const std::string& names, uint32_t& value, const std::string& help) const {
  return Option(app_->add_option(names, value, help));
}

Option CommandLine::add_option(const std::string& names, uint64_t& value, const std::string& help) const {
  return Option(app_->add_option(names, value, help));
}

Option CommandLine::add_flag(const std::string& names, bool& value, const std::string& help) const {
  return Option(app_->add_flag(names, value, help));
}

Option CommandLine::add_flag(const std::string& names, const std::string& help) const {
  return Option(app_->add_flag(names)->description(help));
}

void CommandLine::set_footer(const std::string& text) const { app_->footer(text); }

void CommandLine::set_action(Action action) const { *action_ = std::move(action); }

std::vector<Option> CommandLine::given() const {
  std::vector<Option> options;
  for (CLI::Option* option : app_->parse_order()) {
    options.emplace_back(option);
  }
  return options;
}

int run(std::span<const Command> commands, int argument_count, char** arguments) {
  CLI::App app{"Makes, shows, checks, converts, compares, measures, resizes and serves disk images."};
  app.name("vmm-img");
  app.set_version_flag("-V,--version", "vmm-img " VMM_VERSION);
  app.require_subcommand(1);
  app.failure_message(failure_message);
  // As getopt: what comes last counts.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  const std::string_view chosen = first_operand({arguments, static_cast<size_t>(argument_count)});
  if (!chosen.empty() && std::ranges::find(commands, chosen, &Command::name) == commands.end()) {
    return report(fmt::format("'{}' is no command; see vmm-img --help", chosen), 1);
  }
  CommandLine::Action action;
  int error_status = 1;
  for (const Command& command : commands) {
    CLI::App* line = app.add_subcommand(std::string(command.name), std::string(command.what));
    if (command.name == chosen) {
      CommandLine declared(line, &action);
      command.declare(declared);
      error_status = command.error_status;
    }
  }
  try {
    app.parse(argument_count, arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : error_status;
  }
  const auto status = action();
  return status ? *status : report(status.error().message(), error_status);
}

}  // namespace vmm::block::tool
