#include "block/backing_name.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

namespace vmm::block {
namespace {

constexpr std::string_view kJsonPrefix = "json:";
constexpr std::string_view kFilePrefix = "file:";
// Deeper ones are not made by any tool, and cost stack.
constexpr int kMaxJsonDepth = 8;

using Json = nlohmann::json;

// Where a key is of another kind it stays, and is refused with those that are left.
std::optional<std::string> take(Json& object, const std::string& key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) {
    return std::nullopt;
  }
  std::string value = found->get<std::string>();
  object.erase(found);
  return value;
}

// As JSON has it, so that nothing in it is a command for a terminal.
std::string quoted(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::unexpected<Error> bad_json(const std::string& image, const std::string& reason) {
  return fail(
      "{}: its json: name for another file {}; only the drivers file, raw, qcow2 and qcow with a filename "
      "are understood: give the file by its path (vmm-img rebase -u -b … -F …)",
      image, reason);
}

// An option that is not known may be one that changes what is read.
Status expect_empty(const Json& object, const std::string& image) {
  return object.empty() ? Status()
                        : bad_json(image, "has the option " + quoted(object.begin().key()) +
                                              ", which is not known here");
}

std::unexpected<Error> bad_driver(const std::string& driver, const std::string& image) {
  return bad_json(image, "has the driver " + quoted(driver) + ", which is not known here");
}

// {"driver": "file", "filename": "a"}, or the same with a prefix before both keys.
Result<std::string> take_filename(Json& object, const std::string& prefix, const std::string& image) {
  const auto driver = take(object, prefix + "driver");
  if (driver && !is_file_driver(*driver)) {
    return bad_driver(*driver, image);
  }
  auto filename = take(object, prefix + "filename");
  VMM_TRY(expect_empty(object, image));
  return filename ? Result<std::string>(std::move(*filename)) : bad_json(image, "has no filename");
}

bool is_image_driver(const std::string& name) { return name == "raw" || name == "qcow2" || name == "qcow"; }

Result<std::string> take_nested_filename(Json& json, const std::string& image) {
  const auto file = json.find("file");
  if (file == json.end() || !file->is_object()) {
    return take_filename(json, "file.", image);
  }
  Json nested = std::move(*file);
  json.erase(file);
  VMM_TRY(expect_empty(json, image));
  return take_filename(nested, "", image);
}

// {"driver": "qcow2", "file": {"driver": "file", "filename": "a"}}, or with "file.filename", or the file
// alone.
Result<BackingName> parse_json(const std::string& name, const std::string& image) {
  int depth = 0;
  const Json::parser_callback_t limit = [&depth](int at, Json::parse_event_t /*event*/, Json& /*value*/) {
    depth = std::max(depth, at);
    return at <= kMaxJsonDepth;
  };
  Json json = Json::parse(name.substr(kJsonPrefix.size()), limit, false);
  if (!json.is_object() || depth > kMaxJsonDepth) {
    return bad_json(image, "is no JSON object");
  }
  BackingName result;
  result.format = take(json, "driver");
  if (result.format && is_file_driver(*result.format)) {
    result.format.reset();
    VMM_ASSIGN_OR_RETURN(result.path, take_filename(json, "", image));
    return result;
  }
  if (result.format && !is_image_driver(*result.format)) {
    return bad_driver(*result.format, image);
  }
  VMM_ASSIGN_OR_RETURN(result.path, take_nested_filename(json, image));
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
  const bool is_json = name.starts_with(kJsonPrefix);
  if (is_json) {
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
  if (!is_json && !result.path.starts_with('/')) {
    result.path = std::filesystem::path(image).parent_path() / result.path;
  }
  return result;
}

std::string chain_text(const std::vector<std::string>& paths) {
  constexpr size_t kFirst = 6;
  constexpr size_t kLast = 3;
  std::string text;
  for (size_t i = 0; i < paths.size(); ++i) {
    if (i >= kFirst && i + kLast < paths.size()) {
      text += i == kFirst ? fmt::format(" -> … {} others …", paths.size() - kFirst - kLast) : "";
      continue;
    }
    text += (text.empty() ? "" : " -> ") + paths[i];
  }
  return text;
}

std::optional<Format> format_named(const std::string& name) {
  if (name == "qcow2") {
    return Format::kQcow2;
  }
  if (name == "raw" || is_file_driver(name)) {
    return Format::kRaw;
  }
  if (name == "qcow") {
    return Format::kQcow;
  }
  return std::nullopt;
}

}  // namespace vmm::block
