// The host's end of a serial port, a console of virtio or a debug console, as the domain names it, with its
// log.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/console/shared_console.h"
#include "vmm/domain/domain.h"

namespace vmm {

// name: for the person who is told where a pseudo-terminal is, as "serial port 0". on_quit: the person at the
// terminal wants to leave. REQUIRES: the loop does not turn. An error does not say which element it is about.
Result<std::unique_ptr<SharedConsole>> open_console(const domain::Domain& domain, const domain::Serial& end,
                                                    EventLoop& loop, std::function<void()> on_quit,
                                                    const std::string& name);

}  // namespace vmm
