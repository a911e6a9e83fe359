// The command line of vmm-img: commands, each with the options and operands that it declares.
//
// A library parses; its headers are seen by command_line.cpp alone, since they would be most of every other
// source's compilation and of the program's start. For the same reason only the command that is run declares
// its options.
//
// Threads: one. Errors in what a command declares throw; those in the command line are printed by run().
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/error.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace vmm::block::tool {

// Refers to an option of a CommandLine; a copy refers to the same. What is said of one gives it again, so
// that more can be said.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option required() const;  // NOLINT(modernize-use-nodiscard)
  // How --help names its value; "" for operands, which are named already.
  Option type_name(const std::string& name) const;              // NOLINT(modernize-use-nodiscard)
  Option one_of(const std::vector<std::string>& values) const;  // NOLINT(modernize-use-nodiscard)
  Option between(uint32_t least, uint32_t most) const;          // NOLINT(modernize-use-nodiscard)
  Option excludes(Option other) const;                          // NOLINT(modernize-use-nodiscard)
  // Given more than once, what it was given is one value, with `separator` between.
  Option joined_with(char separator) const;  // NOLINT(modernize-use-nodiscard)
  // Of one that may be repeated: what follows its value is an operand, and no other value.
  Option one_value_each() const;  // NOLINT(modernize-use-nodiscard)

  // Once the command line was read.
  bool is_given() const;

  bool operator==(const Option&) const = default;

 private:
  CLI::Option* option_;
};

// What one command takes. A copy refers to the same command. Variables outlive the command line, and have
// their values when the action runs; what is not given stays as it was.
class CommandLine {
 public:
  using Action = std::function<Result<int>()>;

  CommandLine(CLI::App* app, Action* action) : app_(app), action_(action) {}

  // Its command's.
  const std::string& name() const;

  // `names`: "-f,--format", or a word for an operand.
  Option add_option(const std::string& names, std::string& value, const std::string& help = "") const;
  Option add_option(const std::string& names, std::optional<std::string>& value,
                    const std::string& help) const;
  Option add_option(const std::string& names, std::vector<std::string>& values,
                    const std::string& help = "") const;
  Option add_option(const std::string& names, uint32_t& value, const std::string& help) const;
  Option add_option(const std::string& names, uint64_t& value, const std::string& help) const;
  Option add_flag(const std::string& names, bool& value, const std::string& help) const;
  Option add_flag(const std::string& names, const std::string& help) const;

  // What --help ends with.
  void set_footer(const std::string& text) const;
  // Gives the exit status, or an error to be printed.
  void set_action(Action action) const;

  // Once the command line was read: options in the order of the command line, each as often as it is there.
  std::vector<Option> given() const;

 private:
  CLI::App* app_;
  Action* action_;
};

struct Command {
  std::string_view name;
  std::string_view what;  // it does, in a line
  void (*declare)(CommandLine& command);
  int error_status = 1;
};

// Runs the command that the command line names. The exit status.
int run(std::span<const Command> commands, int argument_count, char** arguments);

}  // namespace vmm::block::tool
