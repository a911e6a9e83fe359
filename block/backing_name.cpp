#include "block/backing_name.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

namespace vmm::block {
namespace {

constexpr std::string_view kJsonPrefix = "json:";
constexpr std::string_view kFilePrefix = "file:";
// Deeper ones are not made by any tool, and cost stack.
constexpr int kMaxJsonDepth = 8;

using Json = nlohmann::json;

const std::string* string_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : found->get_ptr<const std::string*>();
}

std::unexpected<Error> bad_json(const std::string& name, const std::string& image) {
  return fail(
      "{}: its backing file's name {} is not understood: only the drivers file, raw and qcow2 with a "
      "filename "
      "are; give the file by its path",
      image, name);
}

// {"driver": "qcow2", "file": {"driver": "file", "filename": "a"}}, or with "file.filename", or the file
// alone.
Result<BackingName> parse_json(const std::string& name, const std::string& image) {
  int depth = 0;
  const Json::parser_callback_t limit = [&depth](int at, Json::parse_event_t /*event*/, Json& /*value*/) {
    depth = std::max(depth, at);
    return at <= kMaxJsonDepth;
  };
  const Json json = Json::parse(name.substr(kJsonPrefix.size()), limit, false);
  if (!json.is_object() || depth > kMaxJsonDepth) {
    return bad_json(name, image);
  }
  BackingName result;
  const std::string* driver = string_of(json, "driver");
  const std::string* filename = nullptr;
  const std::string* protocol = nullptr;
  if (driver != nullptr && is_file_driver(*driver)) {
    filename = string_of(json, "filename");
  } else {
    if (driver != nullptr) {
      result.format = *driver;
    }
    const auto file = json.find("file");
    const bool is_nested = file != json.end() && file->is_object();
    filename = is_nested ? string_of(*file, "filename") : string_of(json, "file.filename");
    protocol = is_nested ? string_of(*file, "driver") : string_of(json, "file.driver");
  }
  if (filename == nullptr || (protocol != nullptr && !is_file_driver(*protocol))) {
    return bad_json(name, image);
  }
  result.path = *filename;
  return result;
}

// "nbd://host", "rbd:pool": letters, digits, + - . before a colon, and no slash before it.
bool has_protocol(std::string_view name) {
  const size_t colon = name.find(':');
  return colon != std::string_view::npos && colon != 0 &&
         name.substr(0, colon).find('/') == std::string_view::npos;
}

}  // namespace

bool is_file_driver(const std::string& name) { return name == "file" || name == "host_device"; }

Result<BackingName> parse_backing_name(const std::string& name, const std::string& image) {
  BackingName result;
  if (name.starts_with(kJsonPrefix)) {
    VMM_ASSIGN_OR_RETURN(result, parse_json(name, image));
  } else if (name.starts_with(kFilePrefix)) {
    result.path = name.substr(kFilePrefix.size());
  } else if (has_protocol(name)) {
    return fail(
        "{}: its backing file {} is reached by a protocol that is not known here; only files and block "
        "devices "
        "are",
        image, name);
  } else {
    result.path = name;
  }
  if (result.path.empty()) {
    return fail("{}: the name of its backing file is empty", image);
  }
  if (!result.path.starts_with('/')) {
    result.path = std::filesystem::path(image).parent_path() / result.path;
  }
  return result;
}

}  // namespace vmm::block
