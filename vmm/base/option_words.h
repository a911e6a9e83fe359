// Words of an option of the command line, separated by commas: "size=1G,backing=a,,b" has two. A comma that
// is part of a word is doubled, as in QEMU's options. Threads: no state.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vmm {

// At least one, which may be empty.
std::vector<std::string> split_option_words(std::string_view text);

}  // namespace vmm
