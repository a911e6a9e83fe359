// Domain files: libvirt's domain XML, understood or refused, never guessed.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/domain/diagnostics.h"
#include "vmm/domain/domain.h"

namespace vmm::domain {

// A longer file is refused unread. Real ones are a few KiB; a hundred disks are 60 KiB.
inline constexpr size_t kMaxFileBytes = size_t{1} << 20;

struct Reading {
  std::optional<Domain> domain;         // absent if there is an error among the diagnostics
  std::optional<Domain> incomplete;     // then: what could be read of it, with defaults where it could not
  std::vector<Diagnostic> diagnostics;  // by line; a bounded number of them
};

// Reads a domain out of `text`. `file_name` is what messages call it; relative paths in it are relative to
// `base_folder`. `settings` are those of --set, "PATH=VALUE" each: values that are others than in the file.
// Does not touch the host. Any thread.
Reading parse_domain(std::string_view text, const std::string& file_name,
                     const std::filesystem::path& base_folder, std::span<const std::string> settings = {});

// For --strict. Of the severities only: what was read stays.
void make_errors_of_warnings(std::vector<Diagnostic>& diagnostics);

// What load_domain() makes of a reading.
Result<Domain> take_domain(Reading reading);

// The domain that the file describes; its warnings go to the log. Errors are of ErrorKind::kConfiguration,
// all that the file has in one: one line each, without an end of line after the last. A file that cannot be
// read is one of them.
Result<Domain> load_domain(const std::filesystem::path& path, std::span<const std::string> settings = {});

// The same of a file's text, see parse_domain().
Result<Domain> load_domain_text(std::string_view text, const std::filesystem::path& path,
                                std::span<const std::string> settings = {});

// The text of a domain file, or of one byte more than kMaxFileBytes. Errors: as load_domain().
Result<std::string> read_domain_file(const std::filesystem::path& path);
// The same, of what is open; `name` is for messages.
Result<std::string> read_domain_text(int fd, const std::string& name);

}  // namespace vmm::domain
