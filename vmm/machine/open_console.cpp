#include "vmm/machine/open_console.h"

#include <utility>

#include "vmm/base/log.h"
#include "vmm/machine/output_files.h"

namespace vmm {
namespace {

Result<std::unique_ptr<Console>> open_own_end(const domain::Domain& domain, const domain::Serial& end,
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
      return open_pty_console(loop, [&name](const std::string& path) {
        log::tell(fmt::format("{} is on {}", name, path), log::Level::kInfo);
      });
    case domain::CharBackend::kUnix:
      return open_socket_console(loop, end.path, end.listen ? SocketMode::kBind : SocketMode::kConnect);
    case domain::CharBackend::kNull:
      return make_null_console();
  }
  return make_null_console();
}

}  // namespace

Result<std::unique_ptr<SharedConsole>> open_console(const domain::Domain& domain, const domain::Serial& end,
                                                    EventLoop& loop, std::function<void()> on_quit,
                                                    const std::string& name) {
  VMM_ASSIGN_OR_RETURN(std::unique_ptr<Console> own,
                       open_own_end(domain, end, loop, std::move(on_quit), name));
  std::unique_ptr<Console> log;
  if (!end.log_path.empty()) {
    VMM_TRY(refuse_as_output(domain, end.log_path));
    VMM_ASSIGN_OR_RETURN(log, open_file_console(loop, end.log_path, end.log_append));
  }
  return std::make_unique<SharedConsole>(loop, name, std::move(own), std::move(log));
}

}  // namespace vmm
