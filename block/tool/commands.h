// The commands of vmm-img: each declares its options, and what it does. Words and option letters are
// qemu-img's, so that scripts for it work with both.
#pragma once

namespace vmm::block::tool {

class CommandLine;

void declare_amend(CommandLine& command);
void declare_bench(CommandLine& command);
void declare_bitmap(CommandLine& command);
void declare_check(CommandLine& command);
void declare_commit(CommandLine& command);
void declare_compare(CommandLine& command);
void declare_convert(CommandLine& command);
void declare_create(CommandLine& command);
void declare_dd(CommandLine& command);
void declare_info(CommandLine& command);
void declare_map(CommandLine& command);
void declare_measure(CommandLine& command);
void declare_rebase(CommandLine& command);
void declare_resize(CommandLine& command);
void declare_serve(CommandLine& command);
void declare_snapshot(CommandLine& command);
void declare_unmark(CommandLine& command);

}  // namespace vmm::block::tool
