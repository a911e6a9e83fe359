// What convert reads: images, and what comes through standard input.
//
// Threads: one; blocks. Errors name the file or the option.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "block/disk_options.h"
#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"

namespace vmm::block::tool {

// The name of standard input, and as a target of standard output.
inline constexpr const char* kStream = "-";

// -l: "snapshot.id=…,snapshot.name=…" (or one of them), or an ID or else a name.
Result<SnapshotChoice> parse_snapshot_choice(const std::string& text);

// Standard input as a file that can be opened by its path, as long as the object lives: where it is a file,
// that one; where it is a pipe, a copy in `folder` without a name.
struct StandardInput {
  UniqueFd fd;
  std::string path;
};
bool has_standard_input_file();
Result<StandardInput> open_standard_input(const std::string& folder);

// Raw files without anything above them, open to be copied by the kernel; nothing: one of them has been
// replaced since `opened` was told of it.
std::optional<std::vector<UniqueFd>> open_raw_files(const std::vector<std::string>& paths,
                                                    const std::vector<FileState>& opened);

}  // namespace vmm::block::tool
