#include "vmm/domain/apply_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/domain/element.h"
#include "vmm/domain/element_table.h"
#include "vmm/domain/serial_numbers.h"
#include "vmm/domain/setting_table.h"
#include "vmm/domain/xml_scan.h"
#include "vmm/domain/xml_writer.h"

namespace vmm::domain {
namespace {

using tinyxml2::XMLAttribute;
using tinyxml2::XMLElement;

std::string_view attribute_of(const XMLElement& element, const char* name) {
  const char* const value = element.Attribute(name);
  return value == nullptr ? "" : value;
}

std::string_view target_of(const XMLElement& disk) {
  const XMLElement* const target = disk.FirstChildElement("target");
  return target == nullptr ? "" : attribute_of(*target, "dev");
}

// "vda, vdb"; empty: there is none.
std::string targets_of(const XMLElement& devices) {
  std::string result;
  for (const XMLElement* disk = devices.FirstChildElement("disk"); disk != nullptr;
       disk = disk->NextSiblingElement("disk")) {
    result += fmt::format("{}{}", result.empty() ? "" : ", ", target_of(*disk));
  }
  return printable(result);
}

// A <serial> or <console> that is no COM port is none that serial.N names.
std::string_view target_type(const XMLElement& element) {
  const XMLElement* const target = element.FirstChildElement("target");
  return target == nullptr ? "" : attribute_of(*target, "type");
}

std::optional<uint64_t> port_of(const XMLElement& serial) {
  const XMLElement* const target = serial.FirstChildElement("target");
  return target == nullptr ? std::nullopt : parse_unsigned(attribute_of(*target, "port"));
}

// The first console is a serial port where there is no other.
XMLElement* find_console(XMLElement& devices, uint64_t port) {
  XMLElement* console = devices.FirstChildElement("console");
  while (console != nullptr && target_type(*console) == "virtio") {
    console = console->NextSiblingElement("console");
  }
  return console != nullptr && port_of(*console).value_or(0) == port ? console : nullptr;
}

XMLElement* find_serial(XMLElement& devices, uint64_t port) {
  std::vector<XMLElement*> serials;
  std::vector<std::optional<uint64_t>> said;
  for (XMLElement* each = devices.FirstChildElement("serial"); each != nullptr;
       each = each->NextSiblingElement("serial")) {
    if (target_type(*each) != "isa-debug") {
      serials.push_back(each);
      said.push_back(port_of(*each));
    }
  }
  if (serials.empty()) {
    return find_console(devices, port);
  }
  const auto numbers = serial_numbers(said);
  const auto found = std::ranges::find(numbers, std::optional(port));
  return found == numbers.end() ? nullptr : serials[static_cast<size_t>(found - numbers.begin())];
}

// A <vcpu> that says something else is nothing without the number.
constexpr const char* kDefaultVcpus = "1";

class SettingsEditor {
 public:
  SettingsEditor(std::span<const std::string> settings, XMLElement& root, Reporter& report)
      : settings_(settings), root_(root), report_(report) {}

  Origins run() {
    for (size_t i = 0; i < settings_.size(); ++i) {
      line_ = -static_cast<int>(i) - 1;
      apply(settings_[i]);
    }
    return std::move(origins_);
  }

 private:
  void refuse(std::string text) { report_.error(line_, std::move(text)); }

  void apply(std::string_view setting) {
    const size_t equals = setting.find('=');
    const std::string_view path = setting.substr(0, equals);
    if (equals == std::string_view::npos) {
      return refuse("has no value; write --set PATH=VALUE");
    }
    const std::string value(trimmed(setting.substr(equals + 1)));
    if (scan_xml(escaped_value(value))) {
      return refuse("has bytes that are no UTF-8, or control characters, which XML cannot hold");
    }
    std::string_view instance;
    const SettingRule* const rule = find_setting(path, instance);
    if (rule == nullptr) {
      return refuse_unknown(path);
    }
    if (times_set(path) > 1) {
      return refuse("is set twice; keep one");
    }
    XMLElement* const base = find_base(*rule, instance, value.empty());
    if (base == nullptr) {
      return;
    }
    remove_what_goes_with(*rule);
    if (value.empty()) {
      take_away(*rule, *base);
    } else {
      set(*rule, *base, value);
    }
  }

  ptrdiff_t times_set(std::string_view path) const {
    return std::ranges::count_if(
        settings_, [path](std::string_view each) { return each.substr(0, each.find('=')) == path; });
  }

  // "vda" of "disk.vda.cahce": what `path` has where the rule's "*" stands.
  static std::string_view instance_in(std::string_view path, const SettingRule& rule) {
    const std::string_view before = rule.path.substr(0, rule.path.find('*'));
    for (auto dots = std::ranges::count(before, '.'); dots > 0; --dots) {
      const size_t dot = path.find('.');
      if (dot == std::string_view::npos || dot + 1 == path.size()) {
        return "vda";
      }
      path.remove_prefix(dot + 1);
    }
    return path.substr(0, path.find('.'));
  }

  void refuse_unknown(std::string_view path) {
    std::vector<std::string> names;
    for (const SettingRule& rule : setting_table()) {
      names.push_back(setting_path(rule, instance_in(path, rule)));
    }
    const std::vector<std::string_view> candidates(names.begin(), names.end());
    const std::string_view nearest = nearest_name(path, candidates);
    refuse(nearest.empty() ? "there is nothing of this name to be set; --set help lists what there is"
                           : fmt::format("there is nothing of this name to be set; did you mean {}?",
                                         printable(nearest)));
  }

  // The element that the rule's path begins at: <domain>, or the one that "*" names. nullptr: there is none.
  XMLElement* find_base(const SettingRule& rule, std::string_view instance, bool is_empty) {
    if (instance.empty()) {
      return &root_;
    }
    if (rule.path.starts_with("cputune.")) {
      return find_pin(rule, instance, is_empty);
    }
    XMLElement* const devices = root_.FirstChildElement("devices");
    if (rule.path.starts_with("interface.")) {
      return find_interface(devices, instance);
    }
    return rule.path.starts_with("disk.") ? find_disk(devices, instance) : find_port(devices, instance);
  }

  XMLElement* find_disk(XMLElement* devices, std::string_view target) {
    for (XMLElement* disk = devices == nullptr ? nullptr : devices->FirstChildElement("disk");
         disk != nullptr; disk = disk->NextSiblingElement("disk")) {
      if (target_of(*disk) == target) {
        return disk;
      }
    }
    const std::string targets = devices == nullptr ? std::string() : targets_of(*devices);
    refuse(targets.empty()
               ? "there is no disk in the file"
               : fmt::format("there is no disk {} in the file; it has {}", printable(target), targets));
    return nullptr;
  }

  // By their order in the file.
  XMLElement* find_interface(XMLElement* devices, std::string_view number) {
    const auto wanted = parse_unsigned(number);
    uint64_t count = 0;
    for (XMLElement* each = devices == nullptr ? nullptr : devices->FirstChildElement("interface");
         each != nullptr; each = each->NextSiblingElement("interface")) {
      if (wanted == count++) {
        return each;
      }
    }
    refuse(count == 0 ? "there is no interface in the file"
                      : fmt::format("there is no interface {} in the file; it has {}, of which the first is "
                                    "interface.0",
                                    printable(number), count));
    return nullptr;
  }

  XMLElement* find_port(XMLElement* devices, std::string_view number) {
    const auto port = parse_unsigned(number);
    XMLElement* const serial = devices == nullptr || !port ? nullptr : find_serial(*devices, *port);
    if (serial == nullptr) {
      refuse(fmt::format("there is no serial port {} in the file; COM1 is serial.0", printable(number)));
    }
    return serial;
  }

  // Where there is none, it is made for a value: a thread is there without its pin.
  XMLElement* find_pin(const SettingRule& rule, std::string_view number, bool is_empty) {
    const bool is_vcpus = rule.element == "cputune/vcpupin";
    const char* const name = is_vcpus ? "vcpupin" : "iothreadpin";
    const char* const attribute = is_vcpus ? "vcpu" : "iothread";
    XMLElement* const tune = root_.FirstChildElement("cputune");
    for (XMLElement* pin = tune == nullptr ? nullptr : tune->FirstChildElement(name); pin != nullptr;
         pin = pin->NextSiblingElement(name)) {
      if (attribute_of(*pin, attribute) == number) {
        return pin;
      }
    }
    if (is_empty) {
      return nullptr;
    }
    XMLElement& made = add_child(make_child(root_, "cputune"), name);
    set_attribute(made, attribute, std::string(number));
    return &made;
  }

  void set(const SettingRule& rule, XMLElement& base, const std::string& value) {
    make_room(rule, base, value);
    switch (rule.kind) {
      case SettingKind::kValue:
      case SettingKind::kMain:
        return set_value(rule, base, value);
      case SettingKind::kPath:
      case SettingKind::kMainPath:
        return set_value(rule, base, absolute(value));
      case SettingKind::kSize:
        return set_size(rule, base, value);
      case SettingKind::kSwitch:
        return set_switch(rule, base, value);
      case SettingKind::kBootOrder:
        return set_boot_order(base, value);
      case SettingKind::kDiskSource:
        return set_disk_source(base, value);
      case SettingKind::kDiskType:
        return set_disk_type(base, value);
    }
  }

  void remove_what_goes_with(const SettingRule& rule) {
    if (rule.path == "memory" && times_set("currentMemory") == 0) {
      remove(root_, "currentMemory");
    } else if (rule.path == "vcpu") {
      if (XMLElement* const vcpu = root_.FirstChildElement("vcpu")) {
        vcpu->DeleteAttribute("current");
      }
    } else if (rule.path == "iothreads") {
      remove(root_, "iothreadids");
    }
  }

  // Of what gainsays the value, or means nothing beside it.
  void make_room(const SettingRule& rule, XMLElement& base, std::string_view value) {
    const bool is_end_without_source = rule.path == "serial.*.type" && value != "file" && value != "unix";
    if (is_end_without_source || (rule.path == "interface.*.type" && attribute_of(base, "type") != value)) {
      remove(base, "source");
    } else if (rule.path == "os.boot") {
      remove_boot_numbers("disk");
      remove_boot_numbers("interface");
    } else if (rule.element == "devices/disk/boot" || rule.element == "devices/interface/boot") {
      remove_boot_devices();
    }
  }

  void remove_boot_numbers(const char* name) {
    XMLElement* const devices = root_.FirstChildElement("devices");
    for (XMLElement* device = devices == nullptr ? nullptr : devices->FirstChildElement(name);
         device != nullptr; device = device->NextSiblingElement(name)) {
      remove(*device, "boot");
    }
  }

  void remove_boot_devices() {
    XMLElement* const os = root_.FirstChildElement("os");
    while (os != nullptr && remove(*os, "boot")) {
    }
  }

  // False: there is none; or it was set, and what gainsays another is the reader's to refuse.
  bool remove(XMLElement& parent, const char* name) {
    XMLElement* const child = parent.FirstChildElement(name);
    if (child == nullptr || is_ours(*child)) {
      return false;
    }
    parent.DeleteChild(child);
    return true;
  }

  bool is_ours(const XMLElement& element) const {
    bool result = origins_.line_of(element) < 0;
    for (const XMLAttribute* each = element.FirstAttribute(); each != nullptr; each = each->Next()) {
      result = result || origins_.line_of(*each) < 0;
    }
    return result;
  }

  static std::string absolute(const std::string& path) {
    std::error_code error;
    const std::filesystem::path result = std::filesystem::absolute(path, error);
    return error ? path : result.native();
  }

  // Names of the elements from below `base`, which is the root or what "*" names, to the rule's own.
  std::vector<std::string> names_below(const SettingRule& rule, const XMLElement& base) const {
    std::string_view rest = rule.element;
    if (&base != &root_) {
      const size_t device_end = rest.find('/', rest.find('/') + 1);
      rest = device_end == std::string_view::npos ? std::string_view() : rest.substr(device_end + 1);
    }
    std::vector<std::string> names;
    while (!rest.empty()) {
      const size_t slash = std::min(rest.find('/'), rest.size());
      names.emplace_back(rest.substr(0, slash));
      rest.remove_prefix(std::min(slash + 1, rest.size()));
    }
    return names;
  }

  // The rule's element; those that are missing are made.
  XMLElement& make_element(const SettingRule& rule, XMLElement& base) {
    XMLElement* element = &base;
    for (const std::string& name : names_below(rule, base)) {
      element = &make_child(*element, name);
    }
    return *element;
  }

  // The same, but nullptr where it is missing.
  XMLElement* find_element(const SettingRule& rule, XMLElement& base) const {
    XMLElement* element = &base;
    for (const std::string& name : names_below(rule, base)) {
      element = element == nullptr ? nullptr : element->FirstChildElement(name.c_str());
    }
    return element;
  }

  // An empty value: what the file says is taken away, so that the default holds. Nothing is made for it, and
  // nothing is left that would say something else by being there.
  void take_away(const SettingRule& rule, XMLElement& base) {
    XMLElement* const element = find_element(rule, base);
    if (element == nullptr) {
      return;
    }
    switch (rule.kind) {
      case SettingKind::kMain:
      case SettingKind::kMainPath:
      case SettingKind::kSwitch:
      case SettingKind::kDiskSource:  // a pin is itself what "*" names
        return remove_with_hollow_parents(*element, element == &base ? root_ : base);
      case SettingKind::kBootOrder:
        return remove_boot_devices();
      case SettingKind::kDiskType:
        return set_disk_type(base, "");
      case SettingKind::kValue:
      case SettingKind::kPath:
      case SettingKind::kSize:
        break;
    }
    take_value_away(rule, *element, base);
  }

  void take_value_away(const SettingRule& rule, XMLElement& element, XMLElement& base) {
    if (rule.attribute != kTextOf) {
      element.DeleteAttribute(std::string(rule.attribute).c_str());
      if (is_hollow(element)) {
        remove_with_hollow_parents(element, base);
      }
    } else if (!has_other_value(rule, element)) {
      remove_with_hollow_parents(element, base);
    } else if (rule.path == "vcpu") {
      set_text(element, kDefaultVcpus);
    } else {
      element.DeleteChildren();
    }
  }

  // Beside its text, one that is set by itself.
  static bool has_other_value(const SettingRule& rule, const XMLElement& element) {
    return std::ranges::any_of(setting_table(), [&](const SettingRule& other) {
      return other.element == rule.element && other.attribute != rule.attribute &&
             element.Attribute(std::string(other.attribute).c_str()) != nullptr;
    });
  }

  static bool is_hollow(const XMLElement& element) {
    return element.FirstAttribute() == nullptr && element.NoChildren();
  }

  // `base` stays.
  void remove_with_hollow_parents(XMLElement& element, const XMLElement& base) {
    XMLElement* gone = &element;
    while (gone != &base && gone != &root_) {
      XMLElement* const parent = gone->Parent()->ToElement();
      parent->DeleteChild(gone);
      if (!is_hollow(*parent)) {
        return;
      }
      gone = parent;
    }
  }

  XMLElement& make_child(XMLElement& parent, const std::string& name) {
    if (XMLElement* const found = parent.FirstChildElement(name.c_str())) {
      return *found;
    }
    return add_child(parent, name.c_str());
  }

  XMLElement& add_child(XMLElement& parent, const char* name) {
    XMLElement* const made = root_.GetDocument()->NewElement(name);
    parent.InsertEndChild(made);
    origins_.note(made, line_);
    return *made;
  }

  void set_attribute(XMLElement& element, const char* name, const std::string& value) {
    element.SetAttribute(name, value.c_str());
    origins_.note(element.FindAttribute(name), line_);
  }

  void set_text(XMLElement& element, const std::string& value) {
    element.DeleteChildren();
    element.SetText(value.c_str());
    origins_.note(&element, line_);
  }

  void set_value(const SettingRule& rule, XMLElement& base, const std::string& value) {
    XMLElement& element = make_element(rule, base);
    if (rule.attribute == kTextOf) {
      set_text(element, value);
    } else {
      set_attribute(element, std::string(rule.attribute).c_str(), value);
      if (rule.element == "vcpu" && element.NoChildren()) {
        set_text(element, kDefaultVcpus);
      }
    }
  }

  void set_size(const SettingRule& rule, XMLElement& base, std::string_view value) {
    const size_t unit = value.find_first_not_of("0123456789");
    if (unit == 0 || unit == std::string_view::npos) {
      return refuse("give a number and its unit, such as 2GiB or 512MiB");
    }
    set_value(rule, base, std::string(value.substr(0, unit)));
    set_attribute(make_element(rule, base), "unit", std::string(value.substr(unit)));
  }

  void set_switch(const SettingRule& rule, XMLElement& base, std::string_view value) {
    if (value != "yes" && value != "no") {
      return refuse("yes and no can be");
    }
    if (value == "no") {
      take_away(rule, base);
    } else {
      make_element(rule, base);
    }
  }

  void set_boot_order(XMLElement& root, std::string_view value) {
    remove_boot_devices();
    XMLElement& os = make_child(root, "os");
    while (!value.empty()) {
      const size_t comma = std::min(value.find(','), value.size());
      set_attribute(add_child(os, "boot"), "dev", std::string(value.substr(0, comma)));
      value.remove_prefix(std::min(comma + 1, value.size()));
    }
  }

  static const char* source_attribute(const XMLElement& disk) {
    return attribute_of(disk, "type") == "block" ? "dev" : "file";
  }

  // All that said where the image was goes, a server's name too.
  void set_disk_source(XMLElement& disk, const std::string& value) {
    XMLElement& source = make_child(disk, "source");
    delete_attributes_but(source, {"startupPolicy"});
    delete_children_but(source, {"encryption", "dataStore", "seclabel"});
    remove(disk, "auth");
    remove(disk, "backingStore");  // what the file before stood on
    origins_.note(&source, line_);
    set_attribute(source, source_attribute(disk), absolute(value));
  }

  static void delete_attributes_but(XMLElement& element, std::initializer_list<std::string_view> kept) {
    const XMLAttribute* each = element.FirstAttribute();
    while (each != nullptr) {
      const XMLAttribute* const next = each->Next();
      if (std::ranges::find(kept, std::string_view(each->Name())) == kept.end()) {
        element.DeleteAttribute(each->Name());
      }
      each = next;
    }
  }

  static void delete_children_but(XMLElement& element, std::initializer_list<std::string_view> kept) {
    XMLElement* each = element.FirstChildElement();
    while (each != nullptr) {
      XMLElement* const next = each->NextSiblingElement();
      if (std::ranges::find(kept, std::string_view(each->Name())) == kept.end()) {
        element.DeleteChild(each);
      }
      each = next;
    }
  }

  // Empty: the default, "file".
  void set_disk_type(XMLElement& disk, const std::string& value) {
    XMLElement* const source = disk.FirstChildElement("source");
    const char* const before = source_attribute(disk);
    disk.DeleteAttribute("type");
    if (!value.empty()) {
      set_attribute(disk, "type", value);
    }
    const XMLAttribute* const path = source == nullptr ? nullptr : source->FindAttribute(before);
    if (path == nullptr || source_attribute(disk) == std::string_view(before)) {
      return;
    }
    const std::string kept = path->Value();
    const int line = origins_.line_of(*path);
    source->DeleteAttribute(before);
    source->SetAttribute(source_attribute(disk), kept.c_str());
    origins_.note(source->FindAttribute(source_attribute(disk)), line);
  }

  std::span<const std::string> settings_;
  XMLElement& root_;
  Reporter& report_;
  Origins origins_;
  int line_ = 0;  // of the setting that is applied
};

}  // namespace

Origins apply_settings(std::span<const std::string> settings, XMLElement& root, Reporter& report) {
  return SettingsEditor(settings, root, report).run();
}

}  // namespace vmm::domain
