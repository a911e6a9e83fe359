// The one table of what --set can set: values of a domain file that have a name on the command line.
//
// What a value may be is not said here: it is checked as that of the element which it stands for
// (element_table.h), and docs/domain-xml.md shows it out of both tables. Threads: constant.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace vmm::domain {

enum class SettingKind : uint8_t {
  kValue,       // as it stands
  kPath,        // of a file; a relative one is taken relative to the current folder
  kSize,        // a number with its unit, "2GiB"
  kSwitch,      // yes or no: whether the element is there
  kBootOrder,   // "cdrom,hd": the kinds of devices, in that order
  kDiskSource,  // a path, in the attribute that the disk's type= wants
  kDiskType,    // and with it the attribute that the path is in
  kMain,        // of an element that is nothing without it
  kMainPath,    // such a one that is a path
};

struct SettingRule {
  // "disk.*.cache": "*" is a disk's <target dev=…/>, or the number of an interface, a serial port, a
  // vCPU or an I/O thread. One at most.
  std::string_view path;
  std::string_view element;    // as Rule::path
  std::string_view attribute;  // as Rule::attribute
  SettingKind kind = SettingKind::kValue;
  std::string_view remark;
};

std::span<const SettingRule> setting_table();

// The path with `instance` in the place of "*".
std::string setting_path(const SettingRule& rule, std::string_view instance);

// Nothing like it: nullptr. `instance` becomes what stands in the place of "*", empty if the rule has none.
const SettingRule* find_setting(std::string_view path, std::string_view& instance);

}  // namespace vmm::domain
