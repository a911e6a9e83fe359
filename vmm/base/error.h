// Error and Result: how the host's, a file's or the configuration's faults travel up to main.
//
// An Error is one sentence for a person: it names the file, element or option, and says what to do. It is
// never used on the data path (see IoStatus in block/block_device.h). Threads: values, free to move between
// threads.
#pragma once

#include <fmt/format.h>

#include <expected>
#include <string>
#include <utility>

namespace vmm {

// Which of vmm's exit statuses an error leads to.
enum class ErrorKind : unsigned char {
  kHost,           // the host, an image or a kernel file failed: exit status 1
  kConfiguration,  // the command line or the domain file is wrong: exit status 2
};

class Error {
 public:
  explicit Error(std::string message, ErrorKind kind = ErrorKind::kHost)
      : message_(std::move(message)), kind_(kind) {}

  const std::string& message() const { return message_; }
  ErrorKind kind() const { return kind_; }

  // The same fault, seen from further up: "disk vda: cannot open …".
  Error within(std::string_view context) const {
    return Error(fmt::format("{}: {}", context, message_), kind_);
  }

 private:
  std::string message_;
  ErrorKind kind_;
};

template <typename T>
using Result = std::expected<T, Error>;

using Status = Result<void>;

// return fail("{}: the kernel is {} bytes long, shorter than its header", path, size);
template <typename... Args>
[[nodiscard]] std::unexpected<Error> fail(fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(Error(fmt::format(format, std::forward<Args>(args)...)));
}

// The same for a fault of the command line or of the domain file.
template <typename... Args>
[[nodiscard]] std::unexpected<Error> fail_configuration(fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(Error(fmt::format(format, std::forward<Args>(args)...), ErrorKind::kConfiguration));
}

// The text of an errno value, in English and without locks ("No such file or directory").
std::string errno_text(int error_number);

// Propagate: VMM_TRY(statement that gives a Status or Result whose value is not wanted).
#define VMM_TRY(expression)                                      \
  do {                                                           \
    if (auto vmm_try_result = (expression); !vmm_try_result) {   \
      return std::unexpected(std::move(vmm_try_result).error()); \
    }                                                            \
  } while (false)

#define VMM_CONCAT_INNER(a, b) a##b
#define VMM_CONCAT(a, b) VMM_CONCAT_INNER(a, b)
// NOLINTBEGIN(bugprone-macro-parentheses): what is declared cannot be in parentheses
// VMM_ASSIGN_OR_RETURN(auto kernel, load(path)): declares `kernel`, or returns the error.
#define VMM_ASSIGN_OR_RETURN(declaration, expression) \
  VMM_ASSIGN_OR_RETURN_INNER(VMM_CONCAT(vmm_result_, __LINE__), declaration, expression)
#define VMM_ASSIGN_OR_RETURN_INNER(result, declaration, expression) \
  auto result = (expression);                                       \
  if (!result) {                                                    \
    return std::unexpected(std::move(result).error());              \
  }                                                                 \
  declaration = std::move(*result)
// NOLINTEND(bugprone-macro-parentheses)
}  // namespace vmm
