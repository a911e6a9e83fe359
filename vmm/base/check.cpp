#include "vmm/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace vmm {

void check_failed(const char* condition, const char* message, const char* file, int line) {
  // stdio, not the log: the log may be what is broken.
  static_cast<void>(std::fprintf(stderr, "vmm: internal error: %s (%s) at %s:%d; please report it\n", message,
                                 condition, file, line));
  std::abort();
}

}  // namespace vmm
