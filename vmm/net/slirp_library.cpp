#include "vmm/net/slirp_library.h"

#include <dlfcn.h>

namespace vmm::net {
namespace {

constexpr const char* kFile = "libslirp.so.0";

template <typename Function>
Status find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  if (function == nullptr) {
    return fail("{} has no {}: it is older than 4.7", kFile, name);
  }
  return {};
}

Result<SlirpLibrary> load_library() {
  void* const library = ::dlopen(kFile, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return fail("cannot load {}, which user networking needs (Debian's package libslirp0): {}", kFile,
                ::dlerror());
  }
  SlirpLibrary functions;
  VMM_TRY(find(library, "slirp_new", functions.create));
  VMM_TRY(find(library, "slirp_cleanup", functions.destroy));
  VMM_TRY(find(library, "slirp_pollfds_fill", functions.pollfds_fill));
  VMM_TRY(find(library, "slirp_pollfds_poll", functions.pollfds_poll));
  VMM_TRY(find(library, "slirp_input", functions.input));
  VMM_TRY(find(library, "slirp_handle_timer", functions.handle_timer));
  VMM_TRY(find(library, "slirp_add_hostxfwd", functions.add_forward));
  VMM_TRY(find(library, "slirp_remove_hostxfwd", functions.remove_forward));
  return functions;
}

}  // namespace

Result<const SlirpLibrary*> SlirpLibrary::load() {
  static const Result<SlirpLibrary> library = load_library();
  if (!library) {
    return std::unexpected(library.error());
  }
  return &*library;
}

}  // namespace vmm::net
