// What vmm tells on standard error (or in the journal, where that is what it is): lines of text, coloured
// where a person looks at them, or JSON
// (--message-format=json).
//
// Text is "vmm: guest.xml:14: …", with the severity before the file where it is no error. JSON is an object a
// line, with the members severity ("error", "warning", "note"), file, line, element, message and hint. file
// is the domain file's path, "vmm run --print" for the one that `vmm run` has made, or "--set PATH=VALUE" for
// what came of that option; "" where the message is about none of these. line is the domain file's, from 1; 0
// where there is none. element and hint may be "". What log::tell() tells of the run is a note. Threads:
// begin_messages() the main thread, before others start; the rest any.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "vmm/base/error.h"
#include "vmm/domain/diagnostics.h"

namespace vmm::cli {

enum class MessageFormat : uint8_t { kText, kJson };

// From now on everything is told so, and with it what the log would write to standard error. domain_file: as
// messages call it; settings: those of --set.
void begin_messages(MessageFormat format, std::string domain_file,
                    std::span<const std::string> settings = {});

void tell(const domain::Diagnostic& diagnostic);

// Each line of it is a message, which may begin with the domain file's name and a line number.
void tell_error(const Error& error);

// For tests: without an end of line.
std::string text_of_message(const domain::Diagnostic& diagnostic, bool has_colours);
std::string json_of_message(const domain::Diagnostic& diagnostic);

}  // namespace vmm::cli
