#include "vmm/cli/check_guest.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "vmm/cli/exit_status.h"
#include "vmm/cli/messages.h"
#include "vmm/cli/read_guest.h"
#include "vmm/control/guest_folder.h"
#include "vmm/control/metrics_server.h"
#include "vmm/machine/host_check.h"
#include "vmm/machine/output_files.h"

namespace vmm::cli {
namespace {

class GuestCheck {
 public:
  explicit GuestCheck(const Options& options) : options_(options) {}

  int run() {
    auto reading = read_guest(options_);
    if (!reading) {
      note(std::unexpected(reading.error()));
      return status();
    }
    tell_all(reading->diagnostics, ErrorKind::kConfiguration);
    if (reading->domain) {
      check(*std::move(reading->domain));
    } else if (reading->incomplete) {
      take(check_host_of_incomplete(*reading->incomplete, secrets()));
    }
    return status();
  }

 private:
  void check(domain::Domain domain) {
    note(apply_options(options_, domain));
    note(check_outputs(domain));
    if (options_.control_path.empty() && !options_.throwaway.every_disk &&
        control::is_guest_running(domain.name)) {
      note(std::unexpected(control::name_is_taken(domain.name)));
    }
    take(check_host(domain, secrets()));
  }

  DiskSecrets secrets() {
    auto read = read_secrets(options_.secrets);
    if (!read) {
      note(std::unexpected(read.error()));
    }
    return std::move(read).value_or(DiskSecrets());
  }

  Status check_outputs(const domain::Domain& domain) const {
    if (!options_.log_path.empty()) {
      VMM_TRY(refuse_as_output(domain, options_.log_path));
    }
    if (!options_.pid_path.empty()) {
      VMM_TRY(refuse_as_output(domain, options_.pid_path));
    }
    if (!options_.control_path.empty()) {
      const Status socket = check_socket_path(options_.control_path);
      if (!socket) {
        return std::unexpected(socket.error().within("--control"));
      }
    }
    return check_metrics();
  }

  // Who has a port now may not have it then.
  Status check_metrics() const {
    if (options_.metrics_place.empty()) {
      return {};
    }
    VMM_ASSIGN_OR_RETURN(const std::optional<uint16_t> port, control::metrics_port(options_.metrics_place));
    const Status place = port ? Status() : check_socket_path(options_.metrics_place);
    if (!place) {
      return std::unexpected(place.error().within("--metrics"));
    }
    return {};
  }

  void take(HostCheck checked) {
    if (options_.is_strict) {
      domain::make_errors_of_warnings(checked.found);
    }
    tell_all(checked.found, checked.worst.value_or(ErrorKind::kHost));
    tell_all(checked.found_now, ErrorKind::kHost);
  }

  void tell_all(const std::vector<domain::Diagnostic>& diagnostics, ErrorKind kind) {
    for (const domain::Diagnostic& each : diagnostics) {
      const bool is_shown =
          each.severity == domain::Severity::kError ||
          log::enabled(each.severity == domain::Severity::kWarning ? log::Level::kWarning : log::Level::kInfo,
                       log::Component::kDomain);
      if (is_shown) {
        tell(each);
      }
      if (each.severity == domain::Severity::kError) {
        count(kind);
      }
    }
  }

  void note(const Status& status) {
    if (!status) {
      tell_error(status.error());
      count(status.error().kind());
    }
  }

  void count(ErrorKind kind) { status_ = std::max<int>(status_, exit_status_of(Error("", kind), {})); }

  int status() const { return status_; }

  const Options& options_;
  int status_ = kGuestEnded;
};

}  // namespace

int check_guest(const Options& options) {
  log::set_levels(options.log_levels);
  return GuestCheck(options).run();
}

}  // namespace vmm::cli
