// Just enough of an AML writer for what differs from guest to guest: named integers and processor devices.
//
// Standard: ACPI 6.5, section 20.2 (AML byte stream).
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

namespace vmm::boot::aml {

using Bytes = std::vector<std::byte>;

// REQUIRES of all names: four characters of [A-Z0-9_].

// Name (name, value)
Bytes name_integer(std::string_view name, uint64_t value);
// Name (name, "text")
Bytes name_string(std::string_view name, std::string_view text);
// Name (name, Package () {values…})
Bytes name_integers(std::string_view name, std::initializer_list<uint64_t> values);
// Device (name) { body }. REQUIRES: body shorter than 2^28 - 8 bytes.
Bytes device(std::string_view name, const Bytes& body);
// Scope (\name) { body }
Bytes scope(std::string_view name, const Bytes& body);

void append(Bytes& to, const Bytes& more);

}  // namespace vmm::boot::aml
