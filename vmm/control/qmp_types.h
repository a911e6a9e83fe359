// The types of QMP's arguments, results and events, as values that query-qmp-schema tells (qmp_schema.h) and
// arguments are judged by (qmp_arguments.h). Names of types are for people: clients look at what they hold.
//
// Threads: constant.
#pragma once

#include <cstdint>
#include <span>

namespace vmm::control {

struct Type;

struct Member {
  const char* name = "";
  const Type* type = nullptr;
  bool is_optional = false;
};
// What Member::is_optional means, in tables.
inline constexpr bool kOptional = true;
// What an object holds besides its members where its tag has this value.
struct Variant {
  const char* tag_value = "";
  const Type* type = nullptr;
};

struct Type {
  enum class Meta : uint8_t { kBuiltin, kEnum, kArray, kObject };
  Meta meta = Meta::kObject;
  const char* name = "";       // of an array: none
  const char* json_type = "";  // kBuiltin
  std::span<const char* const> values{};
  const Type* element = nullptr;
  std::span<const Member> members{};
  const char* tag = nullptr;  // the member that says which variant it is; null: there are none
  std::span<const Variant> variants{};
};

constexpr Type array_of(const Type& element) { return {.meta = Type::Meta::kArray, .element = &element}; }
constexpr Type enum_of(const char* name, std::span<const char* const> values) {
  return {.meta = Type::Meta::kEnum, .name = name, .values = values};
}
constexpr Type object_of(const char* name, std::span<const Member> members) {
  return {.name = name, .members = members};
}

inline constexpr Type kStringType{.meta = Type::Meta::kBuiltin, .name = "str", .json_type = "string"};
inline constexpr Type kBoolType{.meta = Type::Meta::kBuiltin, .name = "bool", .json_type = "boolean"};
inline constexpr Type kIntType{.meta = Type::Meta::kBuiltin, .name = "int", .json_type = "int"};
// The same to clients; here, 0 or more.
inline constexpr Type kUnsignedType{.meta = Type::Meta::kBuiltin, .name = "int", .json_type = "int"};
inline constexpr Type kNumberType{.meta = Type::Meta::kBuiltin, .name = "number", .json_type = "number"};
inline constexpr Type kEmptyType{.name = "empty"};

}  // namespace vmm::control
