#include "vmm/console/escape_filter.h"

#include <utility>

namespace vmm {
namespace {

constexpr std::byte kEscapeKey{0x01};  // Ctrl-A

}  // namespace

EscapeFilter::Action EscapeFilter::feed(std::byte typed) {
  if (!std::exchange(is_escaped_, false)) {
    is_escaped_ = typed == kEscapeKey;
    return is_escaped_ ? Action::kNothing : Action::kPass;
  }
  switch (std::to_integer<char>(typed)) {
    case std::to_integer<char>(kEscapeKey):
      return Action::kPass;
    case 'x':
    case 'X':
      return Action::kQuit;
    case 'h':
    case 'H':
    case '?':
      return Action::kHelp;
    case 'b':
    case 'B':
      return Action::kBreak;
    default:
      return Action::kNothing;
  }
}

}  // namespace vmm
