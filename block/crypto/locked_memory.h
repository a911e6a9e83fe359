// LockedMemory: where keys and passphrases lie: never in swap space, nor in a core dump, and wiped when they
// are let go of.
//
// OpenSSL has all its memory here, so that the round keys of its ciphers are no exception. Threads: any.
#pragma once

#include <cstddef>

namespace vmm::block {

class LockedMemory {
 public:
  // Aligned for anything, not zeroed. nullptr: the host is out of memory.
  static void* allocate(size_t bytes);
  // nullptr: `memory` stays as it is. Contents move as with realloc(3).
  static void* reallocate(void* memory, size_t bytes);
  static void free(void* memory);

  // False: the host did not let all of it be locked (setrlimit(2), RLIMIT_MEMLOCK), and some can be swapped.
  static bool is_all_locked();
};

}  // namespace vmm::block
