// libslirp, a TCP/IP stack in user space (https://gitlab.freedesktop.org/slirp/libslirp; 4.7 or later).
//
// Loaded when the first interface needs it: it and GLib are files to open and to relocate, which starts of
// guests without a network do not pay for. Threads: any; libslirp has global state, so all of its stacks
// belong to one thread at a time.
#pragma once

#include <slirp/libslirp.h>

#include "vmm/base/error.h"

namespace vmm::net {

struct SlirpLibrary {
  // Loaded once, and never unloaded.
  static Result<const SlirpLibrary*> load();

  decltype(&::slirp_new) create = nullptr;
  decltype(&::slirp_cleanup) destroy = nullptr;
  decltype(&::slirp_pollfds_fill) pollfds_fill = nullptr;
  decltype(&::slirp_pollfds_poll) pollfds_poll = nullptr;
  decltype(&::slirp_input) input = nullptr;
  decltype(&::slirp_handle_timer) handle_timer = nullptr;
  decltype(&::slirp_add_hostxfwd) add_forward = nullptr;
  decltype(&::slirp_remove_hostxfwd) remove_forward = nullptr;
};

}  // namespace vmm::net
