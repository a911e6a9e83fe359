// vmm-img: what can be done with disk images while no guest uses them.
#include <array>
#include <cstdio>
#include <exception>

#include "block/tool/command_line.h"
#include "block/tool/commands.h"
#include "block/tool/interrupt.h"

namespace vmm::block::tool {
namespace {

constexpr auto kCommands = std::to_array<Command>({
    {.name = "amend", .what = "Give an image other options", .declare = declare_amend},
    {.name = "bench", .what = "Measure how fast a disk is read or written", .declare = declare_bench},
    {.name = "bitmap", .what = "Change the dirty bitmaps of an image", .declare = declare_bitmap},
    {.name = "check",
     .what = "Tell whether an image's metadata are right, or repair them",
     .declare = declare_check},
    {.name = "commit",
     .what = "Write what an image holds into the one that it stands on",
     .declare = declare_commit},
    {.name = "compare",
     .what = "Tell whether two disks have the same contents",
     .declare = declare_compare,
     .error_status = 2},
    {.name = "convert", .what = "Copy what images hold into a new image", .declare = declare_convert},
    {.name = "create", .what = "Make a new image", .declare = declare_create},
    {.name = "dd", .what = "Copy a part of what an image holds into a new image", .declare = declare_dd},
    {.name = "info", .what = "Show what an image is", .declare = declare_info},
    {.name = "map", .what = "Show where the bytes of a disk lie", .declare = declare_map},
    {.name = "measure", .what = "Tell how long a new image will be", .declare = declare_measure},
    {.name = "rebase", .what = "Let an image stand on another one, or on none", .declare = declare_rebase},
    {.name = "resize", .what = "Give the disk in an image another size", .declare = declare_resize},
    {.name = "serve", .what = "Serve a disk to NBD clients at a unix socket", .declare = declare_serve},
    {.name = "snapshot",
     .what = "List, make, apply or delete internal snapshots of an image",
     .declare = declare_snapshot},
    {.name = "unmark",
     .what = "Forget that an image is not what its guest had last",
     .declare = declare_unmark},
});

}  // namespace
}  // namespace vmm::block::tool

int main(int argument_count, char** arguments) {
  vmm::block::tool::clean_up_when_interrupted();
  try {
    return vmm::block::tool::run(vmm::block::tool::kCommands, argument_count, arguments);
  } catch (const std::exception& error) {
    // Only libraries throw, and only when memory runs out or we misuse them.
    static_cast<void>(std::fprintf(stderr, "vmm-img: %s\n", error.what()));
    return 1;
  }
}
