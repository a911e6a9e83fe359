#include "vmm/base/error.h"

#include <cstring>

namespace vmm {

std::string errno_text(int error_number) {
  const char* text = strerrordesc_np(error_number);
  return text != nullptr ? text : fmt::format("error {}", error_number);
}

}  // namespace vmm
