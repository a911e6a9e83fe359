#include "vmm/control/qmp_arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace vmm::control {
namespace {

class ArgumentReader {
 public:
  explicit ArgumentReader(const Json& values) : values_(values) {}

  std::optional<std::string> text(const char* name) {
    const Json* value = take(name);
    if (value == nullptr) {
      return std::nullopt;
    }
    if (!value->is_string()) {
      complain(fmt::format("Invalid parameter type for '{}', expected: string", name));
      return std::nullopt;
    }
    auto text = value->get<std::string>();
    // The kernel would take what stands before it for the name of a file.
    if (text.find('\0') != std::string::npos) {
      complain(fmt::format("Parameter '{}' holds a NUL character", name));
      return std::nullopt;
    }
    return text;
  }

  bool flag(const char* name) {
    const Json* value = take(name);
    if (value == nullptr) {
      return false;
    }
    if (!value->is_boolean()) {
      complain(fmt::format("Invalid parameter type for '{}', expected: boolean", name));
      return false;
    }
    return value->get<bool>();
  }

  std::optional<uint64_t> number(const char* name) {
    const Json* value = take(name);
    if (value == nullptr) {
      return std::nullopt;
    }
    if (!value->is_number_unsigned()) {
      complain(fmt::format("Invalid parameter type for '{}', expected: integer", name));
      return std::nullopt;
    }
    return value->get<uint64_t>();
  }

  void complain(std::string description) {
    if (!fault_) {
      fault_ = Fault{.description = std::move(description)};
    }
  }

  // After all were asked for.
  std::optional<Fault> fault() {
    for (const auto& [name, value] : values_.items()) {
      if (std::ranges::find(known_, name) == known_.end()) {
        complain(fmt::format("Parameter '{}' is unexpected", name));
      }
    }
    return fault_;
  }

 private:
  const Json* take(const char* name) {
    known_.emplace_back(name);
    const auto found = values_.find(name);
    return found == values_.end() ? nullptr : &*found;
  }

  const Json& values_;
  std::vector<std::string> known_;
  std::optional<Fault> fault_;
};

std::optional<domain::ImageFormat> read_format(ArgumentReader& reader) {
  const auto name = reader.text("format");
  if (!name) {
    return std::nullopt;
  }
  if (*name == "qcow2") {
    return domain::ImageFormat::kQcow2;
  }
  if (*name != "raw") {
    reader.complain(fmt::format("Unknown driver '{}': raw and qcow2 can be", *name));
  }
  return domain::ImageFormat::kRaw;
}

}  // namespace

std::expected<Request, Fault> read_request(const Json& values, unsigned takes) {
  ArgumentReader reader(values);
  Request request;
  if ((takes & (kDrive | kCdrom)) != 0) {
    auto id = reader.text("id");
    auto device = reader.text("device");
    if (id.has_value() == device.has_value()) {
      reader.complain("Need exactly one of 'device' and 'id'");
    }
    request.device = id ? *std::move(id) : std::move(device).value_or("");
  }
  if ((takes & kConsole) != 0) {
    request.device = reader.text("device").value_or("");
  }
  if ((takes & kForce) != 0) {
    request.is_forced = reader.flag("force");
  }
  if ((takes & kFile) != 0) {
    request.file = reader.text("filename").value_or("");
    request.format = read_format(reader);
    if (request.file.empty()) {
      reader.complain("Parameter 'filename' is missing");
    }
  }
  if ((takes & kBytes) != 0) {
    request.bytes = reader.number("bytes");
  }
  if (auto wrong = reader.fault()) {
    return std::unexpected(*std::move(wrong));
  }
  return request;
}

}  // namespace vmm::control
