#include "block/crypto/openssl.h"

#include <dlfcn.h>

#include <optional>

#include "block/crypto/locked_memory.h"
#include "vmm/base/check.h"

namespace vmm::block {
namespace {

// The name has the version of the interface in it.
constexpr const char* kLibrary = "libcrypto.so.3";

template <typename Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  return function != nullptr;
}

// CRYPTO_set_mem_functions(3).
void* allocate(size_t bytes, const char* /*file*/, int /*line*/) { return LockedMemory::allocate(bytes); }
void* reallocate(void* memory, size_t bytes, const char* /*file*/, int /*line*/) {
  return LockedMemory::reallocate(memory, bytes);
}
void free(void* memory, const char* /*file*/, int /*line*/) { LockedMemory::free(memory); }

std::optional<OpenSsl> load_library() {
  void* const library = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return std::nullopt;
  }
  OpenSsl functions;
  bool has_all = true;
// NOLINTNEXTLINE(cppcoreguidelines-macro-usage)
#define VMM_FIND(name) has_all = find(library, #name, functions.name) && has_all;
  VMM_OPENSSL_FUNCTIONS(VMM_FIND)
#undef VMM_FIND
  if (!has_all) {
    return std::nullopt;
  }
  // Refused where another part of the process has used the library before: then its keys lie where its other
  // memory does.
  functions.CRYPTO_set_mem_functions(allocate, reallocate, free);
  return functions;
}

const std::optional<OpenSsl>& library() {
  static const std::optional<OpenSsl> kLoaded = load_library();
  return kLoaded;
}

}  // namespace

Result<const OpenSsl*> OpenSsl::load() {
  if (!library()) {
    return fail("encryption needs OpenSSL 3, and this host has no {}; install it (Debian: libssl3)",
                kLibrary);
  }
  return &*library();
}

const OpenSsl& OpenSsl::loaded() {
  VMM_CHECK(library().has_value(), "OpenSSL was used before it was loaded");
  return *library();
}

}  // namespace vmm::block
