// The subcommands of vmm-img. Each adds its options to the command line and runs when it was chosen. Words
// and option letters are qemu-img's, so that scripts for it work with both.
//
// A command gives its exit status, or an error, which main() prints: then the status is 1 (for compare 2, as
// there 1 is an answer).
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "vmm/base/error.h"

namespace vmm::block::tool {

struct Chosen {
  std::function<Result<int>()> run;
  int error_status = 1;
};

void add_amend(CLI::App& app, Chosen& chosen);
void add_bench(CLI::App& app, Chosen& chosen);
void add_bitmap(CLI::App& app, Chosen& chosen);
void add_check(CLI::App& app, Chosen& chosen);
void add_commit(CLI::App& app, Chosen& chosen);
void add_compare(CLI::App& app, Chosen& chosen);
void add_convert(CLI::App& app, Chosen& chosen);
void add_create(CLI::App& app, Chosen& chosen);
void add_dd(CLI::App& app, Chosen& chosen);
void add_info(CLI::App& app, Chosen& chosen);
void add_map(CLI::App& app, Chosen& chosen);
void add_measure(CLI::App& app, Chosen& chosen);
void add_rebase(CLI::App& app, Chosen& chosen);
void add_resize(CLI::App& app, Chosen& chosen);
void add_serve(CLI::App& app, Chosen& chosen);
void add_snapshot(CLI::App& app, Chosen& chosen);

}  // namespace vmm::block::tool
