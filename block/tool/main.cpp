// The command line of vmm-img: what can be done with disk images while no guest uses them.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>

#include "block/tool/command.h"
#include "block/tool/interrupt.h"
#include "vmm/base/log.h"

namespace vmm::block::tool {
namespace {

int report(const std::string& message, int status) {
  static_cast<void>(std::fprintf(stderr, "vmm-img: %s\n", message.c_str()));
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

int main_with(int argument_count, char** arguments) {
  CLI::App app{"Makes, shows, checks, converts, compares, measures, resizes and serves disk images."};
  app.name("vmm-img");
  app.set_version_flag("-V,--version", "vmm-img " VMM_VERSION);
  app.require_subcommand(1);
  app.failure_message(failure_message);
  // As getopt: what comes last counts.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  Chosen chosen;
  add_amend(app, chosen);
  add_bench(app, chosen);
  add_bitmap(app, chosen);
  add_check(app, chosen);
  add_commit(app, chosen);
  add_compare(app, chosen);
  add_convert(app, chosen);
  add_create(app, chosen);
  add_dd(app, chosen);
  add_info(app, chosen);
  add_map(app, chosen);
  add_measure(app, chosen);
  add_rebase(app, chosen);
  add_resize(app, chosen);
  add_serve(app, chosen);
  add_snapshot(app, chosen);
  try {
    app.parse(argument_count, arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : chosen.error_status;
  }
  const auto status = chosen.run();
  return status ? *status : report(status.error().message(), chosen.error_status);
}

}  // namespace
}  // namespace vmm::block::tool

int main(int argument_count, char** arguments) {
  vmm::block::tool::clean_up_when_interrupted();
  try {
    return vmm::block::tool::main_with(argument_count, arguments);
  } catch (const std::exception& error) {
    // Only libraries throw, and only when memory runs out or we misuse them.
    static_cast<void>(std::fprintf(stderr, "vmm-img: %s\n", error.what()));
    return 1;
  }
}
