#include "boot/firmware_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "tests/unit/boot/boot_test_support.h"
#include "vmm/base/bytes.h"

namespace vmm::boot {
namespace {

constexpr uint64_t kTablesAt = 0x7ff0'0000;
constexpr uint64_t kRsdpAt = 0xf5a00;

AcpiConfig two_cpus() { return {.apic_ids = {0, 1}, .serial_mask = 1}; }

std::string name_at(const Bytes& bytes, size_t offset) {
  return std::string(reinterpret_cast<const char*>(bytes.data() + offset));
}

// What firmware does with the loader's script (SeaBIOS, src/fw/romfile_loader.c), for files that it put at
// given addresses.
class Loader {
 public:
  explicit Loader(std::vector<FirmwareFile> files) {
    for (FirmwareFile& file : files) {
      files_[file.name] = std::move(file.content);
    }
  }

  void run(const std::map<std::string, uint64_t>& addresses) {
    const Bytes script = files_.at("etc/table-loader");
    ASSERT_EQ(script.size() % 128, 0U);
    for (size_t at = 0; at < script.size(); at += 128) {
      const std::string first = name_at(script, at + 4);
      ASSERT_TRUE(files_.contains(first)) << first;
      switch (load_le<uint32_t>(script.data() + at)) {
        case 1:
          alignments_[first] = load_le<uint32_t>(script.data() + at + 60);
          zones_[first] = std::to_integer<uint8_t>(script[at + 64]);
          break;
        case 2: {
          const uint64_t target = addresses.at(name_at(script, at + 60));
          const auto offset = load_le<uint32_t>(script.data() + at + 116);
          ASSERT_TRUE(zones_.contains(first)) << "a pointer in a file that has no place yet";
          std::byte* place = files_[first].data() + offset;
          if (script[at + 120] == std::byte{8}) {
            store_le<uint64_t>(place, load_le<uint64_t>(place) + target);
          } else {
            store_le<uint32_t>(place, static_cast<uint32_t>(load_le<uint32_t>(place) + target));
          }
          break;
        }
        case 3: {
          const auto offset = load_le<uint32_t>(script.data() + at + 60);
          const std::span<std::byte> file(files_[first]);
          const auto range = file.subspan(load_le<uint32_t>(script.data() + at + 64),
                                          load_le<uint32_t>(script.data() + at + 68));
          const unsigned sum = std::accumulate(
              range.begin(), range.end(), 0U,
              [](unsigned total, std::byte byte) { return total + std::to_integer<unsigned>(byte); });
          file[offset] = static_cast<std::byte>((std::to_integer<unsigned>(file[offset]) - sum) & 0xff);
          break;
        }
        default:
          FAIL() << "a command that firmware does not know";
      }
    }
  }

  const Bytes& file(const std::string& name) { return files_[name]; }

  std::map<std::string, Bytes> files_;
  std::map<std::string, uint32_t> alignments_;
  std::map<std::string, uint8_t> zones_;
};

TEST(FirmwareAcpiFiles, BecomeByTheLoaderWhatDirectBootInstalls) {
  Loader loader(acpi_files(two_cpus()));
  loader.run({{"etc/acpi/tables", kTablesAt}, {"etc/acpi/rsdp", kRsdpAt}});
  AcpiBlobs direct = build_acpi(two_cpus());
  direct.relocate(GuestAddress(kTablesAt));
  EXPECT_EQ(loader.file("etc/acpi/tables"), direct.tables);
  EXPECT_EQ(loader.file("etc/acpi/rsdp"), direct.rsdp);
}

TEST(FirmwareAcpiFiles, LieWhereSystemsLookForThem) {
  Loader loader(acpi_files(two_cpus()));
  loader.run({{"etc/acpi/tables", kTablesAt}, {"etc/acpi/rsdp", kRsdpAt}});
  EXPECT_EQ(loader.zones_["etc/acpi/rsdp"], 2);  // below 1 MiB
  EXPECT_EQ(loader.alignments_["etc/acpi/rsdp"], 16U);
  EXPECT_EQ(loader.alignments_["etc/acpi/tables"], 64U);
}

TEST(FirmwareMemoryFile, HasAnEntryOfTypeRamForEachRange) {
  const std::vector<GuestRange> ram = {{GuestAddress(0), 0xc000'0000},
                                       {GuestAddress(1ULL << 32U), 1ULL << 30U}};
  const FirmwareFile file = memory_file(ram);
  EXPECT_EQ(file.name, "etc/e820");
  ASSERT_EQ(file.content.size(), 40U);
  EXPECT_EQ(load_le<uint64_t>(file.content.data() + 20), 1ULL << 32U);
  EXPECT_EQ(load_le<uint64_t>(file.content.data() + 28), 1ULL << 30U);
  EXPECT_EQ(load_le<uint32_t>(file.content.data() + 36), 1U);
}

TEST(FirmwareBootOrder, IsALineForEachDeviceAndAStop) {
  const std::vector<std::string> paths = {network_card_path(17), virtio_disk_path(2),
                                          ide_drive_path(1, 1, 1, 0), option_rom_path("net0.rom")};
  EXPECT_EQ(name_at(boot_order_file(paths).content, 0),
            "/pci@i0cf8/ethernet@11/ethernet-phy@0\n/pci@i0cf8/scsi@2/disk@0,0\n"
            "/pci@i0cf8/ide@1,1/drive@1/disk@0\n/rom@genroms/net0.rom\nHALT\n");
  EXPECT_EQ(option_rom_file("net0.rom"), "genroms/net0.rom");
  EXPECT_EQ(name_at(boot_order_file({}).content, 0), "HALT\n");
  EXPECT_EQ(virtio_disk_path(31), "/pci@i0cf8/scsi@1f/disk@0,0");
}

TEST(FirmwareNumber, IsLittleEndianOfTheSizeAskedFor) {
  const FirmwareFile file = number_file("etc/sercon-port", 0x3f8, 2);
  EXPECT_EQ(file.content, (Bytes{std::byte{0xf8}, std::byte{0x03}}));
}

}  // namespace
}  // namespace vmm::boot
