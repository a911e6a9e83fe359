#include "vmm/domain/clone_text.h"

#include <tinyxml2.h>

#include <algorithm>
#include <set>
#include <utility>

#include "vmm/domain/diagnostics.h"
#include "vmm/domain/element.h"
#include "vmm/domain/write_domain.h"

namespace vmm::domain {
namespace {

namespace fs = std::filesystem;
using tinyxml2::XMLElement;

constexpr size_t kLongestCloneName = 200;  // it begins the names of files, which have 255 bytes

Status check_name(const std::string& name, const Domain& domain) {
  const bool is_name = !name.empty() && name.front() != '.' && name.front() != '-' &&
                       name.find('/') == std::string::npos && trimmed(name) == name &&
                       printable(name, kLongestCloneName) == name;
  if (!is_name) {
    return fail_configuration(
        "NAME '{}': give one of at most {} printable characters, without '/', and not with '.' or '-' first",
        printable(name), kLongestCloneName);
  }
  if (name == domain.name) {
    return fail_configuration("NAME '{}': {} has this name already; give the clone another one", name,
                              domain.file_name);
  }
  return {};
}

// As people and libvirt write domain files.
class Printer final : public tinyxml2::XMLPrinter {
  void PrintSpace(int depth) override { Print("%*s", depth * 2, ""); }
};

std::string_view value_of(const XMLElement& element, const char* name) {
  const char* const value = element.Attribute(name);
  return value == nullptr ? "" : value;
}

std::string_view child_value(const XMLElement& element, const char* child, const char* name) {
  const XMLElement* const found = element.FirstChildElement(child);
  return found == nullptr ? "" : value_of(*found, name);
}

void set_text(XMLElement& element, const std::string& text) {
  element.DeleteChildren();  // it may be in pieces, with comments between them
  element.SetText(text.c_str());
}

void remove_child(XMLElement& parent, const char* name) {
  if (XMLElement* const child = parent.FirstChildElement(name)) {
    parent.DeleteChild(child);
  }
}

class CloneEditor {
 public:
  CloneEditor(const Domain& domain, const CloneOptions& options) : domain_(domain), options_(options) {}

  void edit(XMLElement& root) {
    edit_identity(root);
    if (XMLElement* const os = root.FirstChildElement("os")) {
      for (const char* const name : {"kernel", "initrd", "loader"}) {
        keep_path(os->FirstChildElement(name));
      }
    }
    if (XMLElement* const metadata = root.FirstChildElement("metadata")) {
      edit_metadata(*metadata);
    }
    XMLElement* const devices = root.FirstChildElement("devices");
    for (XMLElement* each = devices == nullptr ? nullptr : devices->FirstChildElement(); each != nullptr;
         each = each->NextSiblingElement()) {
      edit_device(*each);
    }
  }

  std::vector<CloneText::Overlay> overlays;
  std::vector<CloneText::Moved> serial_ports;

 private:
  void edit_identity(XMLElement& root) {
    XMLElement* const name = root.FirstChildElement("name");
    set_text(*name, options_.name);
    XMLElement* uuid = root.FirstChildElement("uuid");
    if (uuid == nullptr) {
      uuid = root.GetDocument()->NewElement("uuid");
      root.InsertAfterChild(name, uuid);
    }
    set_text(*uuid, uuid_text(options_.uuid));
    if (XMLElement* const generation_id = root.FirstChildElement("genid")) {
      generation_id->DeleteChildren();  // another at each start
    }
    // The same again, for the SMBIOS tables.
    XMLElement* const sysinfo = root.FirstChildElement("sysinfo");
    XMLElement* const system = sysinfo == nullptr ? nullptr : sysinfo->FirstChildElement("system");
    for (XMLElement* entry = system == nullptr ? nullptr : system->FirstChildElement("entry");
         entry != nullptr; entry = entry->NextSiblingElement("entry")) {
      if (value_of(*entry, "name") == "uuid") {
        set_text(*entry, uuid_text(options_.uuid));
      }
    }
  }

  void edit_device(XMLElement& device) {
    const std::string_view name = device.Name();
    if (name == "disk") {
      edit_disk(device);
    } else if (name == "serial" || name == "console") {
      edit_serial(device);
    } else if (name == "interface") {
      edit_interface(device);
    }
  }

  // Its address is another's.
  void edit_interface(XMLElement& interface) {
    remove_child(interface, "mac");
    if (XMLElement* const rom = interface.FirstChildElement("rom")) {
      keep_path(*rom, "file");
    }
    XMLElement* const backend = interface.FirstChildElement("backend");
    if (backend != nullptr && backend->Attribute("logFile") != nullptr) {
      name_anew(*backend, "logFile");
    }
  }

  // Of <vmm:user-network>, whatever its prefix is.
  void edit_metadata(XMLElement& metadata) {
    constexpr std::string_view kUserNetwork = "user-network";
    for (XMLElement* each = metadata.FirstChildElement(); each != nullptr;
         each = each->NextSiblingElement()) {
      if (std::string_view(each->Name()).ends_with(kUserNetwork)) {
        keep_path(*each, "tftp");
      }
    }
  }

  // From the new folder.
  std::string kept_path(std::string_view path) const {
    const bool stays = path.empty() || path.front() == '/' || options_.old_folder == options_.new_folder;
    return stays ? std::string(path) : (options_.old_folder / path).string();
  }

  void keep_path(XMLElement* element) const {
    const char* const text = element == nullptr ? nullptr : element->GetText();
    if (text != nullptr && kept_path(trimmed(text)) != trimmed(text)) {
      set_text(*element, kept_path(trimmed(text)));
    }
  }

  void keep_path(XMLElement& element, const char* attribute) const {
    if (element.Attribute(attribute) != nullptr) {
      element.SetAttribute(attribute, kept_path(value_of(element, attribute)).c_str());
    }
  }

  void edit_disk(XMLElement& element) {
    XMLElement* const source = element.FirstChildElement("source");
    if (source == nullptr) {
      return;
    }
    const auto disk = std::ranges::find_if(domain_.disks, [&element](const Disk& each) {
      return each.line == element.GetLineNum() && each.target == child_value(element, "target", "dev");
    });
    const bool is_written =
        disk != domain_.disks.end() && !disk->read_only && !disk->shareable && !disk->transient;
    if (!is_written) {
      keep_path(*source, "file");
      keep_path(*source, "dev");
      return;
    }
    const std::string file = fmt::format("{}-{}.qcow2", options_.name, disk->target);
    const bool was_absolute =
        disk->source_type == DiskSource::kBlock || value_of(*source, "file").starts_with('/');
    const fs::path path = options_.new_folder / file;
    put_overlay(element, *source, was_absolute ? path.string() : file);
    overlays.push_back({.disk = static_cast<size_t>(disk - domain_.disks.begin()), .path = path});
  }

  static void put_overlay(XMLElement& disk, XMLElement& source, const std::string& file) {
    disk.SetAttribute("type", "file");
    source.DeleteAttribute("dev");
    source.SetAttribute("file", file.c_str());
    XMLElement* driver = disk.FirstChildElement("driver");
    if (driver == nullptr) {
      driver = disk.GetDocument()->NewElement("driver");
      driver->SetAttribute("name", "qemu");
      disk.InsertFirstChild(driver);
    }
    driver->SetAttribute("type", "qcow2");
    // It says that the image stands on nothing.
    remove_child(disk, "backingStore");
    for (XMLElement* const parent : {&source, &disk}) {
      XMLElement* const encryption = parent->FirstChildElement("encryption");
      if (encryption != nullptr && encryption->Attribute("format") != nullptr) {
        encryption->SetAttribute("format", "luks");
      }
    }
  }

  void edit_serial(XMLElement& port) {
    XMLElement* const log = port.FirstChildElement("log");
    if (log != nullptr && log->Attribute("file") != nullptr) {
      name_anew(*log, "file");
    }
    XMLElement* const source = port.FirstChildElement("source");
    const std::string_view type = value_of(port, "type");
    if (source == nullptr || source->Attribute("path") == nullptr || (type != "file" && type != "unix")) {
      return;
    }
    // Who connects to a socket takes it from nobody.
    if (value_of(*source, "mode") == "connect") {
      keep_path(*source, "path");
      return;
    }
    name_anew(*source, "path");
  }

  void name_anew(XMLElement& element, const char* attribute) {
    const fs::path old = value_of(element, attribute);
    const fs::path moved = old.parent_path() / fmt::format("{}-{}", options_.name, old.filename().native());
    element.SetAttribute(attribute, kept_path(moved.native()).c_str());
    // A serial port may be there once more, as the console.
    if (seen_.insert(old).second) {
      serial_ports.push_back({.from = options_.old_folder / old, .to = options_.old_folder / moved});
    }
  }

  const Domain& domain_;
  const CloneOptions& options_;
  std::set<fs::path> seen_;
};

}  // namespace

Result<CloneText> clone_domain_text(std::string_view text, const Domain& domain,
                                    const CloneOptions& options) {
  VMM_TRY(check_name(options.name, domain));
  tinyxml2::XMLDocument document;
  document.Parse(text.data(), text.size());
  XMLElement* const root = document.RootElement();
  if (document.Error() || root == nullptr || root->FirstChildElement("name") == nullptr) {
    return fail_configuration("{}: has changed while it was read", domain.file_name);
  }
  CloneEditor editor(domain, options);
  editor.edit(*root);
  Printer printer;
  document.Print(&printer);
  return CloneText{.text = printer.CStr(),
                   .overlays = std::move(editor.overlays),
                   .serial_ports = std::move(editor.serial_ports)};
}

}  // namespace vmm::domain
