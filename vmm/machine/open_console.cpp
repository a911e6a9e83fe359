#include "vmm/machine/open_console.h"

#include <utility>

#include "vmm/base/log.h"
#include "vmm/machine/output_files.h"

namespace vmm {

Result<std::unique_ptr<Console>> open_console(const domain::Domain& domain, const domain::Serial& end,
                                              EventLoop& loop, std::function<void()> on_quit,
                                              const std::string& name) {
  switch (end.backend) {
    case domain::CharBackend::kStdio:
      return open_stdio_console(loop, std::move(on_quit));
    case domain::CharBackend::kFile:
      VMM_TRY(refuse_as_output(domain, end.path));
      return open_file_console(loop, end.path, end.append);
    case domain::CharBackend::kPty:
      // Else nobody finds it.
      return open_pty_console(
          loop, [&name](const std::string& path) { log::tell(fmt::format("{} is on {}", name, path)); });
    case domain::CharBackend::kUnix:
      return open_socket_console(loop, end.path, end.listen ? SocketMode::kBind : SocketMode::kConnect);
    case domain::CharBackend::kNull:
      return make_null_console();
  }
  return make_null_console();
}

}  // namespace vmm
