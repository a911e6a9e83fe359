#include "vmm/domain/load.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "vmm/base/log.h"
#include "vmm/base/unique_fd.h"
#include "vmm/domain/reader.h"
#include "vmm/domain/xml_tree.h"

namespace vmm::domain {

namespace {

std::string lines_of(const std::vector<Diagnostic>& diagnostics, Severity severity) {
  std::string result;
  for (const Diagnostic& each : diagnostics) {
    if (each.severity == severity) {
      result += result.empty() ? "" : "\n";
      result += to_line(each);
    }
  }
  return result;
}

void log_remarks(const std::vector<Diagnostic>& diagnostics) {
  for (const Diagnostic& each : diagnostics) {
    if (each.severity == Severity::kWarning) {
      log::warning("{}", to_line_of_log(each));
    } else if (each.severity == Severity::kNote) {
      log::info("{}", to_line_of_log(each));
    }
  }
}

bool names_a_setting(const Diagnostic& diagnostic, std::span<const std::string> settings) {
  return std::ranges::any_of(
      settings, [&diagnostic](const std::string& each) { return diagnostic.file == name_of_setting(each); });
}

// An error may show in a line of the file that is right by itself.
void blame_settings(std::string_view text, const std::filesystem::path& base_folder,
                    std::span<const std::string> settings, std::vector<Diagnostic>& diagnostics) {
  const bool is_said = std::ranges::any_of(diagnostics, [settings](const Diagnostic& each) {
    return each.severity == Severity::kError && names_a_setting(each, settings);
  });
  if (is_said || !parse_domain(text, {}, base_folder).domain) {
    return;
  }
  for (const std::string& each : settings) {
    diagnostics.push_back(
        {Severity::kError, name_of_setting(each), 0,
         settings.size() == 1 ? "the file is right without it" : "the file is right without what is set"});
  }
}

}  // namespace

Result<std::string> read_domain_file(const std::filesystem::path& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) {
    return fail_configuration("{}: cannot open the domain file: {}", path.native(), errno_text(errno));
  }
  return read_domain_text(file.get(), path.native());
}

Result<std::string> read_domain_text(int fd, const std::string& name) {
  // Grows with the file: memory that is never used is not touched.
  constexpr size_t kFirstBytes = size_t{16} << 10U;
  std::string text;
  size_t length = 0;
  while (length <= kMaxFileBytes) {
    if (length == text.size()) {
      text.resize(std::min(std::max(kFirstBytes, text.size() * 2), size_t{kMaxFileBytes} + 1));
    }
    const ssize_t count = ::read(fd, text.data() + length, text.size() - length);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0 && errno == EISDIR) {
      return fail_configuration("{}: is a folder; give the domain file in it", name);
    }
    if (count < 0) {
      return fail_configuration("{}: cannot read the domain file: {}", name, errno_text(errno));
    }
    if (count == 0) {
      break;
    }
    length += static_cast<size_t>(count);
  }
  text.resize(length);
  return text;
}

std::string Domain::where(int line) const {
  if (line < 0) {
    return name_of_setting(settings.at(static_cast<size_t>(-line - 1)));
  }
  return line > 0 ? fmt::format("{}:{}", file_name, line) : file_name;
}

Status Domain::warn(const std::string& text) const {
  if (is_strict) {
    return fail_configuration("{}", text);
  }
  log::warning("{}", text);
  return {};
}

Reading parse_domain(std::string_view text, const std::string& file_name,
                     const std::filesystem::path& base_folder, std::span<const std::string> settings) {
  Reporter report(file_name, settings);
  Reading reading;
  if (text.size() > kMaxFileBytes) {
    report.error(0, fmt::format("longer than {} bytes; this is not a domain file", kMaxFileBytes));
  } else if (const auto tree = read_xml_tree(text, settings, report)) {
    Domain domain = read_domain(ReadContext{report, base_folder}, *tree);
    domain.file_name = file_name;
    domain.settings.assign(settings.begin(), settings.end());
    (report.has_errors() ? reading.incomplete : reading.domain) = std::move(domain);
  }
  reading.diagnostics = report.take();
  if (!reading.domain && !settings.empty()) {
    blame_settings(text, base_folder, settings, reading.diagnostics);
  }
  return reading;
}

void make_errors_of_warnings(std::vector<Diagnostic>& diagnostics) {
  for (Diagnostic& each : diagnostics) {
    each.severity = each.severity == Severity::kWarning ? Severity::kError : each.severity;
  }
}

Result<Domain> take_domain(Reading reading) {
  log_remarks(reading.diagnostics);
  std::string errors = lines_of(reading.diagnostics, Severity::kError);
  if (!errors.empty()) {
    return std::unexpected(Error(std::move(errors), ErrorKind::kConfiguration));
  }
  return *std::move(reading.domain);
}

Result<Domain> load_domain(const std::filesystem::path& path, std::span<const std::string> settings) {
  VMM_ASSIGN_OR_RETURN(const std::string text, read_domain_file(path));
  return load_domain_text(text, path, settings);
}

Result<Domain> load_domain_text(std::string_view text, const std::filesystem::path& path,
                                std::span<const std::string> settings) {
  return take_domain(parse_domain(text, path.native(), path.parent_path(), settings));
}

}  // namespace vmm::domain
