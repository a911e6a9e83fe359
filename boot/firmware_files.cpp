#include "boot/firmware_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "boot/memory_map.h"
#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::boot {
namespace {

constexpr uint32_t kE820Ram = 1;

constexpr std::string_view kTablesFile = "etc/acpi/tables";
constexpr std::string_view kRsdpFile = "etc/acpi/rsdp";

// An entry of the loader's script.
constexpr size_t kEntryBytes = 128;
constexpr size_t kFileNameBytes = 56;
constexpr uint32_t kAllocate = 1;
constexpr uint32_t kAddPointer = 2;
constexpr uint32_t kAddChecksum = 3;
constexpr uint8_t kZoneHigh = 1;
constexpr uint8_t kZoneFseg = 2;  // below 1 MiB, where the RSDP is searched for

std::string_view file_of(AcpiBlobs::Blob blob) {
  return blob == AcpiBlobs::Blob::kTables ? kTablesFile : kRsdpFile;
}

class LoaderScript {
 public:
  void allocate(std::string_view file, uint32_t alignment, uint8_t zone) {
    begin(kAllocate);
    name(file);
    number(alignment);
    number(zone);
    end();
  }
  void add_pointer(std::string_view in, std::string_view to, uint32_t offset, uint8_t size_bytes) {
    begin(kAddPointer);
    name(in);
    name(to);
    number(offset);
    number(size_bytes);
    end();
  }
  void add_checksum(std::string_view file, const AcpiBlobs::Checksum& sum) {
    begin(kAddChecksum);
    name(file);
    number(sum.offset);
    number(sum.start);
    number(sum.length);
    end();
  }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  void begin(uint32_t command) { number(command); }
  void end() { bytes_.resize(align_up(bytes_.size(), kEntryBytes)); }
  void name(std::string_view text) {
    VMM_CHECK(text.size() < kFileNameBytes, "the name of a firmware file is too long");
    const size_t at = bytes_.size();
    bytes_.resize(at + kFileNameBytes);
    std::ranges::copy(std::as_bytes(std::span(text)), bytes_.begin() + static_cast<std::ptrdiff_t>(at));
  }
  template <std::unsigned_integral T>
  void number(T value) {
    const size_t at = bytes_.size();
    bytes_.resize(at + sizeof(T));
    store_le<T>(bytes_.data() + at, value);
  }

  std::vector<std::byte> bytes_;
};

}  // namespace

FirmwareFile memory_file(std::span<const GuestRange> ram) {
  FirmwareFile file{.name = "etc/e820", .content = std::vector<std::byte>(ram.size() * kE820EntryBytes)};
  std::byte* entry = file.content.data();
  for (const GuestRange& range : ram) {
    store_le<uint64_t>(entry, range.start.value());
    store_le<uint64_t>(entry + 8, range.length_bytes);
    store_le<uint32_t>(entry + 16, kE820Ram);
    entry += kE820EntryBytes;
  }
  return file;
}

std::vector<FirmwareFile> acpi_files(const AcpiConfig& config) {
  AcpiBlobs blobs = build_acpi(config);
  LoaderScript script;
  script.allocate(kRsdpFile, AcpiBlobs::kRsdpAlignment, kZoneFseg);
  script.allocate(kTablesFile, AcpiBlobs::kTablesAlignment, kZoneHigh);
  for (const AcpiBlobs::Pointer& pointer : blobs.pointers) {
    script.add_pointer(file_of(pointer.blob), kTablesFile, pointer.offset, pointer.size_bytes);
  }
  for (const AcpiBlobs::Checksum& sum : blobs.checksums) {
    script.add_checksum(file_of(sum.blob), sum);
  }
  std::vector<FirmwareFile> files;
  files.push_back({std::string(kTablesFile), std::move(blobs.tables)});
  files.push_back({std::string(kRsdpFile), std::move(blobs.rsdp)});
  files.push_back({"etc/table-loader", script.take()});
  return files;
}

std::vector<FirmwareFile> smbios_files(const SmbiosConfig& config) {
  SmbiosTables smbios = build_smbios(config);
  std::vector<FirmwareFile> files;
  files.push_back({"etc/smbios/smbios-anchor", std::move(smbios.anchor)});
  files.push_back({"etc/smbios/smbios-tables", std::move(smbios.tables)});
  return files;
}

FirmwareFile boot_order_file(std::span<const std::string> device_paths) {
  std::string text;
  for (const std::string& path : device_paths) {
    text += path + "\n";
  }
  text += "HALT\n";
  const auto bytes = std::as_bytes(std::span(text.c_str(), text.size() + 1));
  return {"bootorder", {bytes.begin(), bytes.end()}};
}

FirmwareFile number_file(std::string name, uint64_t value, size_t bytes) {
  std::vector<std::byte> content(sizeof value);
  store_le<uint64_t>(content.data(), value);
  content.resize(bytes);
  return {std::move(name), std::move(content)};
}

std::string virtio_disk_path(uint8_t pci_slot) {
  return fmt::format("/pci@i0cf8/scsi@{:x}/disk@0,0", pci_slot);
}

std::string ide_drive_path(uint8_t pci_slot, uint8_t pci_function, unsigned channel, unsigned unit) {
  return fmt::format("/pci@i0cf8/ide@{:x},{:x}/drive@{:x}/disk@{:x}", pci_slot, pci_function, channel, unit);
}

std::string network_card_path(uint8_t pci_slot) {
  return fmt::format("/pci@i0cf8/ethernet@{:x}/ethernet-phy@0", pci_slot);
}

std::string option_rom_file(std::string_view name) { return fmt::format("genroms/{}", name); }

std::string option_rom_path(std::string_view name) { return fmt::format("/rom@{}", option_rom_file(name)); }

}  // namespace vmm::boot
