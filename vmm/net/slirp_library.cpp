#include "vmm/net/slirp_library.h"

#include <dlfcn.h>

#include "vmm/base/log.h"

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

// What GLib would print by itself, on stderr and as often as a guest makes it.
void log_message(const char* /*domain*/, int /*level*/, const char* message, void* /*context*/) {
  static log::RateLimit limit;
  if (limit.allows()) {
    log::warning("user network: libslirp: {}", message == nullptr ? "" : message);
  }
}

void take_messages(void* library) {
  using Handler = decltype(&log_message);
  using SetHandler = Handler (*)(Handler, void*);
  const auto set_handler = reinterpret_cast<SetHandler>(::dlsym(library, "g_log_set_default_handler"));
  if (set_handler != nullptr) {
    set_handler(log_message, nullptr);
  }
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
  take_messages(library);
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
