// VMM_CHECK: the third kind of failure, a fault of our own. Always on, whatever NDEBUG says. Never to be
// reached by what a guest or an image contains.
#pragma once

namespace vmm {

[[noreturn]] void check_failed(const char* condition, const char* message, const char* file, int line);

}  // namespace vmm

#define VMM_CHECK(condition, message)                               \
  do {                                                              \
    if (!(condition)) [[unlikely]] {                                \
      ::vmm::check_failed(#condition, message, __FILE__, __LINE__); \
    }                                                               \
  } while (false)
