#include "vmm/machine/firmware.h"

#include <sys/mman.h>

#include <algorithm>
#include <string>
#include <utility>

#include "boot/firmware_files.h"
#include "vmm/core/layout.h"
#include "vmm/machine/smbios.h"

namespace vmm {
namespace {

std::vector<GuestRange> ram_of(const GuestMemory& memory) {
  std::vector<GuestRange> ranges;
  for (const GuestMemory::Region& region : memory.regions()) {
    ranges.push_back({region.start, region.mapping.size()});
  }
  return ranges;
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
  for (boot::FirmwareFile& file : boot::smbios_files(smbios_config(domain))) {
    add(std::move(file));
  }
  if (domain.os.boot_menu_ms) {
    fw_cfg_.set_number<uint16_t>(FwCfg::Item::kBootMenu, 1);
    add(boot::number_file("etc/boot-menu-wait", *domain.os.boot_menu_ms, sizeof(uint16_t)));
  }
  // Where it is not said SeaBIOS would wait for a minute.
  constexpr uint32_t kNever = UINT32_MAX;
  add(boot::number_file("etc/boot-fail-wait", domain.os.reboot_after_ms.value_or(kNever), sizeof(uint32_t)));
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

void Firmware::add_option_rom(std::string_view name, std::vector<std::byte> content) {
  fw_cfg_.set_file(boot::option_rom_file(name), std::move(content));
}

Status Firmware::reset() {
  fw_cfg_.reset();
  return boot::shadow_firmware(memory_, image_.bytes);
}

}  // namespace vmm
