// Judges values by what query-qmp-schema says of them, as a client that knows nothing else does.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

namespace vmm::control {

class SchemaCheck {
 public:
  // schema: what query-qmp-schema returned.
  explicit SchemaCheck(nlohmann::json schema) : schema_(std::move(schema)) {}

  // meta_type: "command", or whichever; an empty object: there is none.
  nlohmann::json find(const std::string& name, const std::string& meta_type = "") const {
    for (const nlohmann::json& each : schema_) {
      const bool is_type = each["meta-type"] != "command" && each["meta-type"] != "event";
      if (each["name"] == name && (meta_type.empty() ? is_type : each["meta-type"] == meta_type)) {
        return each;
      }
    }
    return nlohmann::json::object();
  }

  // Empty: the value has that type; else why not.
  std::string complaint(const std::string& type_name, const nlohmann::json& value) const {
    const nlohmann::json type = find(type_name);
    if (type.empty()) {
      return "no type " + type_name;
    }
    const std::string meta = type["meta-type"];
    if (meta == "builtin") {
      return is_builtin(type["json-type"], value) ? "" : value.dump() + " is no " + type_name;
    }
    if (meta == "enum") {
      const auto& values = type["values"];
      return std::find(values.begin(), values.end(), value) != values.end()
                 ? ""
                 : value.dump() + " is not of " + type_name;
    }
    return meta == "array" ? array_complaint(type, value) : object_complaint(type, value);
  }

 private:
  static bool is_builtin(const std::string& json_type, const nlohmann::json& value) {
    return (json_type == "string" && value.is_string()) || (json_type == "boolean" && value.is_boolean()) ||
           (json_type == "int" && value.is_number_integer()) ||
           (json_type == "number" && value.is_number()) || (json_type == "null" && value.is_null());
  }

  std::string array_complaint(const nlohmann::json& type, const nlohmann::json& value) const {
    if (!value.is_array()) {
      return value.dump() + " is no array";
    }
    for (const nlohmann::json& element : value) {
      if (const std::string why = complaint(type["element-type"], element); !why.empty()) {
        return why;
      }
    }
    return "";
  }

  std::string object_complaint(const nlohmann::json& type, const nlohmann::json& value) const {
    if (!value.is_object()) {
      return value.dump() + " is no object";
    }
    nlohmann::json members = type["members"];
    if (type.contains("tag")) {
      for (const nlohmann::json& variant : type["variants"]) {
        if (variant["case"] == value[type["tag"].get<std::string>()]) {
          const nlohmann::json told = find(variant["type"]);
          for (const nlohmann::json& more : told["members"]) {
            members.push_back(more);
          }
        }
      }
    }
    for (const auto& [name, each] : value.items()) {
      const auto member = std::find_if(members.begin(), members.end(), [&name](const nlohmann::json& known) {
        return known["name"] == name;
      });
      if (member == members.end()) {
        return fmt::format("{} is not told of {}", name, type["name"].get<std::string>());
      }
      if (const std::string why = complaint((*member)["type"], each); !why.empty()) {
        return name + ": " + why;
      }
    }
    for (const nlohmann::json& member : members) {
      if (!member.contains("default") && !value.contains(member["name"].get<std::string>())) {
        return member["name"].get<std::string>() + " is missing";
      }
    }
    return "";
  }

  const nlohmann::json schema_;
};

}  // namespace vmm::control
