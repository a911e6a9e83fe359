#include "vmm/machine/firmware.h"

#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "boot/firmware_files.h"
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
    auto& bios = config.bios.emplace();
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

std::vector<GuestRange> ram_of(const GuestMemory& memory) {
  std::vector<GuestRange> ranges;
  for (const GuestMemory::Region& region : memory.regions()) {
    ranges.push_back({region.start, region.mapping.size()});
  }
  return ranges;
}

boot::SmbiosConfig smbios_config(const domain::Domain& domain, const GuestMemory& memory) {
  boot::SmbiosConfig config;
  config.uuid = domain.uuid;
  config.sockets = domain.topology.sockets;
  config.cores_per_socket = domain.topology.dies * domain.topology.cores;
  config.threads_per_socket = config.cores_per_socket * domain.topology.threads;
  config.low_memory_bytes = memory.bytes_below(GuestAddress(layout::kFourGiB));
  config.high_memory_bytes = memory.size_bytes() - config.low_memory_bytes;
  config.system.manufacturer = "vmm";
  config.system.product = "pc";
  config.chassis.manufacturer = "vmm";
  if (domain.os.smbios) {
    apply(*domain.os.smbios, config);
  }
  return config;
}

Result<Mapping> make_rom(const boot::FirmwareImage& image) {
  VMM_ASSIGN_OR_RETURN(Mapping rom, Mapping::map("the firmware", image.bytes.size(), PROT_READ | PROT_WRITE,
                                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  std::ranges::copy(image.bytes, rom.data());
  return rom;
}

}  // namespace

Firmware::Firmware(const GuestMemory& memory, boot::FirmwareImage image, Mapping rom)
    : memory_(memory), image_(std::move(image)), rom_(std::move(rom)), fw_cfg_(memory) {}

Result<std::unique_ptr<Firmware>> Firmware::create(const domain::Domain& domain, const GuestMemory& memory,
                                                   IoBus& ports, Vm& vm) {
  auto image = boot::read_firmware(domain.os.loader.native());
  if (!image) {
    const bool is_named = domain.os.loader_line != 0;
    return std::unexpected(
        image.error().within(domain.where(is_named ? domain.os.loader_line : domain.os.line) +
                             (is_named ? ": <os>/<loader>" : ": <os>")));
  }
  VMM_ASSIGN_OR_RETURN(Mapping rom, make_rom(*image));
  const GuestAddress rom_address = image->rom_address();
  std::unique_ptr<Firmware> firmware(new Firmware(memory, *std::move(image), std::move(rom)));
  VMM_TRY(vm.add_rom(rom_address, firmware->rom_));
  VMM_TRY(ports.add(layout::kFwCfg, FwCfg::kPorts, firmware->fw_cfg_.ports()));
  VMM_TRY(ports.add(layout::kFwCfgDma, FwCfg::kDmaPorts, firmware->fw_cfg_.dma_ports()));
  firmware->describe(domain);
  return firmware;
}

void Firmware::describe(const domain::Domain& domain) {
  const auto cpus = static_cast<uint16_t>(domain.vcpus);
  fw_cfg_.set_number<uint64_t>(FwCfg::Item::kRamBytes, memory_.size_bytes());
  fw_cfg_.set_number<uint16_t>(FwCfg::Item::kCpuCount, cpus);
  fw_cfg_.set_number<uint16_t>(FwCfg::Item::kMaxCpus, cpus);
  fw_cfg_.set_number<uint32_t>(FwCfg::Item::kIrq0Override, 1);
  if (domain.uuid) {
    const auto bytes = std::as_bytes(std::span(*domain.uuid));
    fw_cfg_.set_item(FwCfg::Item::kUuid, {bytes.begin(), bytes.end()});
  }
  const auto add = [this](boot::FirmwareFile file) { fw_cfg_.set_file(file.name, std::move(file.content)); };
  add(boot::memory_file(ram_of(memory_)));
  for (boot::FirmwareFile& file : boot::smbios_files(smbios_config(domain, memory_))) {
    add(std::move(file));
  }
  if (domain.os.boot_menu_ms) {
    fw_cfg_.set_number<uint16_t>(FwCfg::Item::kBootMenu, 1);
    add(boot::number_file("etc/boot-menu-wait", *domain.os.boot_menu_ms, sizeof(uint16_t)));
  }
  if (domain.os.reboot_after_ms) {
    add(boot::number_file("etc/boot-fail-wait", *domain.os.reboot_after_ms, sizeof(uint32_t)));
  }
  const bool has_com1 =
      std::ranges::any_of(domain.serials, [](const auto& serial) { return serial.port == 0; });
  if (has_com1 && domain.os.firmware_uses_serial) {
    add(boot::number_file("etc/sercon-port", layout::kSerialPorts[0], sizeof(uint16_t)));
  }
}

void Firmware::set_acpi(const boot::AcpiConfig& config) {
  for (boot::FirmwareFile& file : boot::acpi_files(config)) {
    fw_cfg_.set_file(file.name, std::move(file.content));
  }
}

void Firmware::set_boot_order(const std::vector<std::string>& device_paths) {
  boot::FirmwareFile file = boot::boot_order_file(device_paths);
  fw_cfg_.set_file(file.name, std::move(file.content));
}

Status Firmware::reset() {
  fw_cfg_.reset();
  return boot::shadow_firmware(memory_, image_.bytes);
}

}  // namespace vmm
