#include "vmm/control/qmp_schema.h"

#include <set>
#include <utility>

namespace vmm::control {
namespace {

// Tells each type once, behind the first that needs it.
class SchemaWriter {
 public:
  void command(const CommandSchema& command) {
    const std::string argument = argument_type(command.name, command.arguments);
    list_.push_back({{"name", command.name},
                     {"meta-type", "command"},
                     {"arg-type", argument},
                     {"ret-type", name_of(*command.result)}});
    type(*command.result);
  }
  void event(const EventSchema& event) {
    const std::string argument = argument_type(event.name, event.data);
    list_.push_back({{"name", event.name}, {"meta-type", "event"}, {"arg-type", argument}});
  }
  Json take() { return std::move(list_); }

 private:
  std::string argument_type(const char* name, std::span<const Member> members) {
    if (members.empty()) {
      type(kEmptyType);
      return kEmptyType.name;
    }
    const std::string own = std::string(name) + "-arg";
    type(object_of(own.c_str(), members));
    return own;
  }

  void type(const Type& type) {
    const std::string name = name_of(type);
    if (!told_.insert(name).second) {
      return;
    }
    switch (type.meta) {
      case Type::Meta::kBuiltin:
        list_.push_back({{"name", name}, {"meta-type", "builtin"}, {"json-type", type.json_type}});
        return;
      case Type::Meta::kEnum:
        return enumeration(type);
      case Type::Meta::kArray:
        list_.push_back({{"name", name}, {"meta-type", "array"}, {"element-type", name_of(*type.element)}});
        return this->type(*type.element);
      case Type::Meta::kObject:
        return object(type);
    }
  }

  void enumeration(const Type& type) {
    Json members = Json::array();
    Json values = Json::array();
    for (const char* value : type.values) {
      members.push_back({{"name", value}});
      values.push_back(value);
    }
    list_.push_back({{"name", type.name}, {"meta-type", "enum"}, {"members", members}, {"values", values}});
  }

  void object(const Type& type) {
    Json members = Json::array();
    for (const Member& member : type.members) {
      Json told{{"name", member.name}, {"type", name_of(*member.type)}};
      if (member.is_optional) {
        told["default"] = nullptr;
      }
      members.push_back(std::move(told));
    }
    Json told{{"name", type.name}, {"meta-type", "object"}, {"members", members}};
    if (type.tag != nullptr) {
      Json variants = Json::array();
      for (const Variant& variant : type.variants) {
        variants.push_back({{"case", variant.tag_value}, {"type", variant.type->name}});
      }
      told["tag"] = type.tag;
      told["variants"] = std::move(variants);
    }
    list_.push_back(std::move(told));
    for (const Member& member : type.members) {
      this->type(*member.type);
    }
    for (const Variant& variant : type.variants) {
      this->type(*variant.type);
    }
  }

  Json list_ = Json::array();
  std::set<std::string> told_;
};

}  // namespace

std::string name_of(const Type& type) {
  return type.meta == Type::Meta::kArray ? "[" + name_of(*type.element) + "]" : type.name;
}

Json schema_of(std::span<const CommandSchema> commands, std::span<const EventSchema> events) {
  SchemaWriter writer;
  for (const CommandSchema& command : commands) {
    writer.command(command);
  }
  for (const EventSchema& event : events) {
    writer.event(event);
  }
  return writer.take();
}

}  // namespace vmm::control
