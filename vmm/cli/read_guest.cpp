#include "vmm/cli/read_guest.h"

#include <unistd.h>

#include <filesystem>
#include <string>

#include "vmm/cli/find_domain.h"
#include "vmm/domain/install_disc.h"
#include "vmm/domain/packet_files.h"
#include "vmm/domain/quick_domain.h"
#include "vmm/domain/throwaway.h"
#include "vmm/machine/output_files.h"

namespace vmm::cli {
namespace {

// Where a message about the text of `vmm run` points to.
constexpr const char* kQuickFileName = "vmm run --print";
constexpr const char* kStandardInput = "<stdin>";

Result<domain::Reading> read_named(const Options& options) {
  if (!options.quick) {
    if (options.is_domain_on_input) {
      VMM_ASSIGN_OR_RETURN(const std::string text,
                           domain::read_domain_text(STDIN_FILENO, options.domain_path));
      return domain::parse_domain(text, options.domain_path, {}, options.settings);
    }
    VMM_ASSIGN_OR_RETURN(const std::string text, domain::read_domain_file(options.domain_path));
    const std::filesystem::path folder = std::filesystem::path(options.domain_path).parent_path();
    return domain::parse_domain(text, options.domain_path, folder, options.settings);
  }
  VMM_ASSIGN_OR_RETURN(const std::string text, domain::quick_domain_text(*options.quick));
  return domain::parse_domain(text, options.domain_path, {}, options.settings);
}

}  // namespace

Status find_guest(Options& options) {
  if (options.quick) {
    options.domain_path = kQuickFileName;
    return {};
  }
  if (options.domain_path == "-") {
    options.domain_path = kStandardInput;
    options.is_domain_on_input = true;
    return {};
  }
  VMM_ASSIGN_OR_RETURN(options.domain_path, find_domain_file(options.domain_path));
  return {};
}

Result<domain::Reading> read_guest(const Options& options) {
  VMM_ASSIGN_OR_RETURN(domain::Reading reading, read_named(options));
  reading.diagnostics.insert(reading.diagnostics.begin(), options.warnings.begin(), options.warnings.end());
  if (options.is_strict) {
    domain::make_errors_of_warnings(reading.diagnostics);
  }
  return reading;
}

Status apply_options(const Options& options, domain::Domain& domain) {
  domain.is_strict = options.is_strict;
  if (!options.install_path.empty()) {
    VMM_TRY(domain::insert_install_disc(domain, std::filesystem::absolute(options.install_path)));
  }
  if (!options.packet_path.empty()) {
    VMM_TRY(domain::set_packet_files(domain, options.packet_path));
    for (const domain::Interface& interface : domain.interfaces) {
      VMM_TRY(refuse_as_output(domain, interface.packet_file));
    }
  }
  return domain::make_throwaway(domain, options.throwaway);
}

}  // namespace vmm::cli
