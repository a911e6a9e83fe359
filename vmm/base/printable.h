// Text that came from elsewhere (names in images, arguments, what guests say), as it may stand in a message
// on somebody's terminal.
//
// Threads: any.
#pragma once

#include <string>
#include <string_view>

namespace vmm {

// In one line: each control character (ECMA-48: C0, DEL, C1 in UTF-8) and each character that turns the
// direction of writing (Unicode, annex 9) is a '?'.
std::string printable(std::string_view text);
// Ends of lines and tabs stay.
std::string printable_lines(std::string_view text);

}  // namespace vmm
