// What a service manager is told of its service (sd_notify(3)).
//
// Threads: any.
#pragma once

#include <string_view>

namespace vmm {

// Lines such as READY=1, STATUS=…, STOPPING=1. Nothing happens where nobody waits for them (no
// $NOTIFY_SOCKET), or where they cannot be told.
void tell_service_manager(std::string_view lines);

}  // namespace vmm
