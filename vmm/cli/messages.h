// What vmm tells on standard error: lines of text, coloured where a person looks at them, or JSON
// (--message-format=json).
//
// Text is "vmm: guest.xml:14: …", with the severity before the file where it is no error. JSON is an object a
// line, with the members severity ("error", "warning", "note"), file and line (of the domain file; "" and 0
// where the message is about none), element, message and hint ("" where there is none). What log::tell()
// tells of the run is a note. Threads: begin_messages() the main thread, before others start; the rest any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "vmm/base/error.h"
#include "vmm/domain/diagnostics.h"

namespace vmm::cli {

enum class MessageFormat : uint8_t { kText, kJson };

// From now on everything is told so, and with it what the log would write to standard error. domain_file: as
// messages call it.
void begin_messages(MessageFormat format, std::string domain_file);

void tell(const domain::Diagnostic& diagnostic);

// Each line of it is a message, which may begin with the domain file's name and a line number.
void tell_error(const Error& error);

// For tests: without an end of line.
std::string text_of_message(const domain::Diagnostic& diagnostic, bool has_colours);
std::string json_of_message(const domain::Diagnostic& diagnostic);

}  // namespace vmm::cli
