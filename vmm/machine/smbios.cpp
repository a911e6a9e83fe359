#include "vmm/machine/smbios.h"

#include <algorithm>
#include <map>
#include <string>

#include "vmm/core/layout.h"

namespace vmm {
namespace {

// What the domain says of an entry, or what stands there already.
void take(const std::map<std::string, std::string>& entries, const char* name, std::string& to) {
  if (const auto place = entries.find(name); place != entries.end()) {
    to = place->second;
  }
}

void apply(const domain::SmbiosEntries& entries, boot::SmbiosConfig& config) {
  if (!entries.bios.empty()) {
    auto& bios = config.bios ? *config.bios : config.bios.emplace();
    take(entries.bios, "vendor", bios.vendor);
    take(entries.bios, "version", bios.version);
    take(entries.bios, "date", bios.date);
    take(entries.bios, "release", bios.release);
  }
  take(entries.system, "manufacturer", config.system.manufacturer);
  take(entries.system, "product", config.system.product);
  take(entries.system, "version", config.system.version);
  take(entries.system, "serial", config.system.serial);
  take(entries.system, "sku", config.system.sku);
  take(entries.system, "family", config.system.family);
  if (!entries.board.empty()) {
    auto& board = config.board.emplace();
    take(entries.board, "manufacturer", board.manufacturer);
    take(entries.board, "product", board.product);
    take(entries.board, "version", board.version);
    take(entries.board, "serial", board.serial);
    take(entries.board, "asset", board.asset);
    take(entries.board, "location", board.location);
  }
  take(entries.chassis, "manufacturer", config.chassis.manufacturer);
  take(entries.chassis, "version", config.chassis.version);
  take(entries.chassis, "serial", config.chassis.serial);
  take(entries.chassis, "asset", config.chassis.asset);
  take(entries.chassis, "sku", config.chassis.sku);
  config.oem_strings = entries.oem_strings;
}

}  // namespace

boot::SmbiosConfig smbios_config(const domain::Domain& domain) {
  boot::SmbiosConfig config;
  config.uuid = domain.uuid;
  config.sockets = domain.topology.sockets;
  config.cores_per_socket = domain.topology.dies * domain.topology.cores;
  config.threads_per_socket = config.cores_per_socket * domain.topology.threads;
  config.low_memory_bytes = std::min(domain.memory_bytes, layout::kMmioHoleStart);
  config.high_memory_bytes = domain.memory_bytes - config.low_memory_bytes;
  config.system.manufacturer = "vmm";
  config.system.product = domain.os.machine == domain::MachineType::kPc ? "pc" : "microvm";
  config.chassis.manufacturer = "vmm";
  if (!domain.os.kernel.empty()) {
    config.bios = boot::SmbiosConfig::Bios{.vendor = "vmm"};  // there is no firmware to describe itself
  }
  if (domain.os.smbios) {
    apply(*domain.os.smbios, config);
  }
  return config;
}

}  // namespace vmm
