// The parts of a domain's text, each the counterpart of a function in reader.h.
#pragma once

#include <filesystem>
#include <string>

#include "vmm/domain/domain.h"
#include "vmm/domain/xml_writer.h"

namespace vmm::domain {

void write_os(const Domain& domain, XmlWriter& writer);
void write_sysinfo(const Domain& domain, XmlWriter& writer);
void write_disk(const Disk& disk, XmlWriter& writer);
void write_interface(const Interface& interface, XmlWriter& writer);
void write_balloon(const Domain& domain, XmlWriter& writer);
void write_rng(const Rng& rng, XmlWriter& writer);
void write_panic_device(const PanicDevice& device, XmlWriter& writer);
void write_watchdog(const Watchdog& watchdog, XmlWriter& writer);
void write_serial(const Serial& serial, XmlWriter& writer);
void write_virtio_console(const Serial& console, XmlWriter& writer);
void write_debug_console(const DebugConsole& console, XmlWriter& writer);

// Parts of devices; of an empty alias nothing.
void write_alias(const std::string& alias, XmlWriter& writer);
void write_pci_address(const PciAddress& address, XmlWriter& writer);

// A path as it stands in the text: absolute.
std::string written_path(const std::filesystem::path& path);

inline std::string yes_or_no(bool value) { return value ? "yes" : "no"; }
inline std::string on_or_off(bool value) { return value ? "on" : "off"; }

}  // namespace vmm::domain
