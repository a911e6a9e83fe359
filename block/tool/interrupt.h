// What Ctrl-C, and the signals that end a program otherwise, leave behind: no half-made file, and a word
// about it.
#pragma once

namespace vmm::block::tool {

// From now on, for the whole program. A signal that was ignored when it started stays so.
void clean_up_when_interrupted();

}  // namespace vmm::block::tool
