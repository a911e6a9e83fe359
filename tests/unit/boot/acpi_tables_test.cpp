#include "boot/acpi_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>

#include "tests/unit/boot/boot_test_support.h"
#include "vmm/base/bytes.h"
#include "vmm/core/layout.h"

namespace vmm::boot {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

AcpiConfig config_with_cpus(MachineKind machine, uint32_t count) {
  AcpiConfig config{.machine = machine, .serial_mask = 0b0101, .virtio_mmio_mask = 0b11};
  config.apic_ids.resize(count);
  std::iota(config.apic_ids.begin(), config.apic_ids.end(), 0U);
  return config;
}

unsigned sum(const Bytes& bytes) {
  return std::accumulate(
             bytes.begin(), bytes.end(), 0U,
             [](unsigned total, std::byte byte) { return total + std::to_integer<unsigned>(byte); }) &
         0xff;
}

// A guest that looks for its tables as an operating system does: from the RSDP on.
class AcpiGuest {
 public:
  explicit AcpiGuest(const AcpiConfig& config) : guest_(2 * kMiB) {
    const auto rsdp = install_acpi(guest_.memory, config);
    EXPECT_TRUE(rsdp);
    rsdp_ = rsdp ? rsdp->value() : layout::kHighBiosStart;
  }

  const Guest& ram() const { return guest_; }
  uint64_t rsdp() const { return rsdp_; }
  uint64_t rsdt() const { return guest_.u32(rsdp_ + 16); }
  uint64_t xsdt() const { return guest_.u64(rsdp_ + 24); }

  Bytes table_at(uint64_t address) const { return guest_.bytes(address, guest_.u32(address + 4)); }

  // By signature, through the XSDT.
  std::map<std::string, uint64_t> tables() const {
    std::map<std::string, uint64_t> result;
    const uint64_t end = xsdt() + guest_.u32(xsdt() + 4);
    for (uint64_t at = xsdt() + 36; at < end; at += 8) {
      const uint64_t address = guest_.u64(at);
      result[signature(address)] = address;
    }
    return result;
  }

  std::string signature(uint64_t address) const {
    const Bytes bytes = guest_.bytes(address, 4);
    return {reinterpret_cast<const char*>(bytes.data()), 4};
  }

  uint64_t find(const std::string& name) const { return tables().at(name); }
  uint64_t dsdt() const { return guest_.u64(find("FACP") + 140); }

 private:
  Guest guest_;
  uint64_t rsdp_ = 0;
};

class AcpiTables : public testing::TestWithParam<MachineKind> {};

INSTANTIATE_TEST_SUITE_P(Machines, AcpiTables, testing::Values(MachineKind::kPc, MachineKind::kMicrovm),
                         [](const auto& machine) {
                           return machine.param == MachineKind::kPc ? "pc" : "microvm";
                         });

TEST_P(AcpiTables, RsdpLiesWhereItIsSearchedFor) {
  const AcpiGuest guest(config_with_cpus(GetParam(), 1));
  EXPECT_EQ(guest.rsdp() % 16, 0U);
  EXPECT_GE(guest.rsdp(), 0xe0000U);
  EXPECT_LT(guest.rsdp(), 0x100000U);
  const Bytes rsdp = guest.ram().bytes(guest.rsdp(), 36);
  EXPECT_EQ(guest.ram().u64(guest.rsdp()), 0x2052'5450'2044'5352U);  // "RSD PTR "
  EXPECT_EQ(sum(Bytes(rsdp.begin(), rsdp.begin() + 20)), 0U);
  EXPECT_EQ(sum(rsdp), 0U);
}

TEST_P(AcpiTables, EveryChecksumIsRight) {
  const AcpiGuest guest(config_with_cpus(GetParam(), 3));
  EXPECT_EQ(sum(guest.table_at(guest.xsdt())), 0U);
  EXPECT_EQ(sum(guest.table_at(guest.rsdt())), 0U);
  EXPECT_EQ(sum(guest.table_at(guest.dsdt())), 0U);
  const auto tables = guest.tables();
  EXPECT_EQ(tables.size(), 3U);
  for (const auto& [name, address] : tables) {
    EXPECT_EQ(sum(guest.table_at(address)), 0U) << name;
  }
}

TEST_P(AcpiTables, RsdtAndXsdtNameTheSameTables) {
  const AcpiGuest guest(config_with_cpus(GetParam(), 1));
  const uint64_t count = (guest.ram().u32(guest.xsdt() + 4) - 36) / 8;
  EXPECT_EQ(guest.ram().u32(guest.rsdt() + 4), 36 + 4 * count);
  for (uint64_t i = 0; i < count; ++i) {
    EXPECT_EQ(guest.ram().u32(guest.rsdt() + 36 + 4 * i), guest.ram().u64(guest.xsdt() + 36 + 8 * i));
  }
}

TEST_P(AcpiTables, FadtPointsAtDsdtAndFacs) {
  const AcpiGuest guest(config_with_cpus(GetParam(), 1));
  const uint64_t fadt = guest.find("FACP");
  EXPECT_EQ(guest.signature(guest.dsdt()), "DSDT");
  EXPECT_EQ(guest.ram().u32(fadt + 40), guest.dsdt());
  const uint64_t facs = guest.ram().u32(fadt + 36);
  EXPECT_EQ(guest.signature(facs), "FACS");
  EXPECT_EQ(facs % 64, 0U);
  EXPECT_EQ(guest.ram().u64(fadt + 132), 0U);  // X_FIRMWARE_CTRL
}

TEST_P(AcpiTables, FadtNamesThePowerManagementPorts) {
  const AcpiGuest guest(config_with_cpus(GetParam(), 1));
  const Guest& ram = guest.ram();
  const uint64_t fadt = guest.find("FACP");
  EXPECT_EQ(ram.u16(fadt + 46), 9);
  EXPECT_EQ(ram.u32(fadt + 48), 0xb2U);
  EXPECT_EQ(ram.u8(fadt + 52), 0xf1);
  EXPECT_EQ(ram.u8(fadt + 53), 0xf0);
  const std::tuple<uint64_t, uint64_t, uint16_t, uint8_t> blocks[] = {
      {56, 148, 0x600, 32}, {64, 172, 0x604, 16}, {76, 208, 0x608, 32}, {80, 220, 0xafe0, 32}};
  for (const auto& [offset, extended, port, bits] : blocks) {
    EXPECT_EQ(ram.u32(fadt + offset), port);
    EXPECT_EQ(ram.u8(fadt + extended), 1);  // port space
    EXPECT_EQ(ram.u8(fadt + extended + 1), bits);
    EXPECT_EQ(ram.u64(fadt + extended + 4), port);
  }
}

TEST_P(AcpiTables, ResetIsPortCf9WithValue6) {
  const AcpiGuest guest(config_with_cpus(GetParam(), 1));
  const uint64_t fadt = guest.find("FACP");
  EXPECT_EQ(guest.ram().u8(fadt + 116), 1);
  EXPECT_EQ(guest.ram().u64(fadt + 120), 0xcf9U);
  EXPECT_EQ(guest.ram().u8(fadt + 128), 6);
  EXPECT_NE(guest.ram().u32(fadt + 112) & 1U << 10, 0U);
}

TEST_P(AcpiTables, PowerButtonIsFixedAndThereIsNoSleepButton) {
  const AcpiGuest guest(config_with_cpus(GetParam(), 1));
  const uint32_t flags = guest.ram().u32(guest.find("FACP") + 112);
  EXPECT_EQ(flags & 1U << 4, 0U);
  EXPECT_NE(flags & 1U << 5, 0U);
  EXPECT_EQ(flags & 1U << 20, 0U);  // HW_REDUCED_ACPI
}

TEST_P(AcpiTables, BootArchitectureFlagsSayWhetherThereIsAKeyboard) {
  AcpiConfig config = config_with_cpus(GetParam(), 1);
  const AcpiGuest with(config);
  EXPECT_EQ(with.ram().u16(with.find("FACP") + 109), 0b111);
  config.has_i8042 = false;
  const AcpiGuest without(config);
  EXPECT_EQ(without.ram().u16(without.find("FACP") + 109), 0b101);
}

// The entries of the MADT by type, without type and length.
std::map<unsigned, std::vector<Bytes>> madt_entries(const AcpiGuest& guest) {
  std::map<unsigned, std::vector<Bytes>> entries;
  const Bytes madt = guest.table_at(guest.find("APIC"));
  size_t at = 44;
  while (at + 2 <= madt.size()) {
    const auto length = std::to_integer<size_t>(madt[at + 1]);
    EXPECT_GE(length, 2U);
    EXPECT_LE(at + length, madt.size());
    entries[std::to_integer<unsigned>(madt[at])].emplace_back(
        madt.begin() + static_cast<ptrdiff_t>(at + 2), madt.begin() + static_cast<ptrdiff_t>(at + length));
    at += length;
  }
  EXPECT_EQ(at, madt.size());
  return entries;
}

Bytes bytes(std::initializer_list<unsigned> values) {
  Bytes result;
  for (const unsigned value : values) {
    result.push_back(static_cast<std::byte>(value));
  }
  return result;
}

TEST_P(AcpiTables, MadtNamesEveryCpuByItsApicId) {
  AcpiConfig config = config_with_cpus(GetParam(), 3);
  config.apic_ids = {0, 1, 4};
  const auto entries = madt_entries(AcpiGuest(config));
  EXPECT_THAT(entries.at(0), testing::ElementsAre(bytes({0, 0, 1, 0, 0, 0}), bytes({1, 1, 1, 0, 0, 0}),
                                                  bytes({2, 4, 1, 0, 0, 0})));
  EXPECT_FALSE(entries.contains(9));
  EXPECT_THAT(entries.at(4), testing::ElementsAre(bytes({0xff, 0, 0, 1})));
}

TEST_P(AcpiTables, MadtHasX2ApicEntriesForIdsFrom255On) {
  AcpiConfig config = config_with_cpus(GetParam(), 3);
  config.apic_ids = {254, 255, 0x12345};
  const auto entries = madt_entries(AcpiGuest(config));
  EXPECT_EQ(entries.at(0).size(), 1U);
  EXPECT_THAT(entries.at(9), testing::ElementsAre(bytes({0, 0, 255, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0}),
                                                  bytes({0, 0, 0x45, 0x23, 1, 0, 1, 0, 0, 0, 2, 0, 0, 0})));
  EXPECT_EQ(entries.at(10).size(), 1U);
}

TEST_P(AcpiTables, MadtHasOneIoApicFromGsi0) {
  const auto entries = madt_entries(AcpiGuest(config_with_cpus(GetParam(), 1)));
  EXPECT_THAT(entries.at(1), testing::ElementsAre(bytes({0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0})));
}

TEST(AcpiTablesPc, TimerIsAtInput2AndSciAndPciInterruptsAreLevel) {
  const auto entries = madt_entries(AcpiGuest(config_with_cpus(MachineKind::kPc, 1)));
  EXPECT_THAT(entries.at(2),
              testing::ElementsAre(bytes({0, 0, 2, 0, 0, 0, 0, 0}), bytes({0, 5, 5, 0, 0, 0, 0xd, 0}),
                                   bytes({0, 9, 9, 0, 0, 0, 0xd, 0}), bytes({0, 10, 10, 0, 0, 0, 0xd, 0}),
                                   bytes({0, 11, 11, 0, 0, 0, 0xd, 0})));
}

TEST(AcpiTablesMicrovm, OnlyTheSciIsLevel) {
  const auto entries = madt_entries(AcpiGuest(config_with_cpus(MachineKind::kMicrovm, 1)));
  EXPECT_THAT(entries.at(2),
              testing::ElementsAre(bytes({0, 0, 2, 0, 0, 0, 0, 0}), bytes({0, 9, 9, 0, 0, 0, 0xd, 0})));
}

TEST_P(AcpiTables, ManyCpusFit) {
  for (const uint32_t count : {255U, 288U, 1024U}) {
    AcpiGuest guest(config_with_cpus(GetParam(), count));
    EXPECT_EQ(sum(guest.table_at(guest.find("SSDT"))), 0U);
    const auto entries = madt_entries(guest);
    EXPECT_EQ(entries.at(0).size() + (entries.contains(9) ? entries.at(9).size() : 0), count);
  }
}

TEST_P(AcpiTables, TooManyCpusAreAFaultOfTheDomainFile) {
  const Guest guest(2 * kMiB);
  for (const uint32_t count : {4096U, 10000U}) {
    const auto rsdp = install_acpi(guest.memory, config_with_cpus(GetParam(), count));
    ASSERT_FALSE(rsdp);
    EXPECT_EQ(rsdp.error().kind(), ErrorKind::kConfiguration);
    EXPECT_THAT(rsdp.error().message(), HasSubstr("<vcpu>"));
  }
}

TEST_P(AcpiTables, NothingIsWrittenOutsideTheirPartOfTheHighBiosArea) {
  const AcpiGuest guest(config_with_cpus(GetParam(), 288));
  EXPECT_EQ(guest.ram().bytes(0, 0xe0000), Bytes(0xe0000));
  EXPECT_EQ(guest.ram().bytes(0xf0000, 0x10000 + kMiB), Bytes(0x10000 + kMiB));  // SMBIOS has the rest of it
}

// A firmware relocates the same tables elsewhere.
TEST_P(AcpiTables, BlobsCanBeBoundToAnyAddress) {
  AcpiBlobs blobs = build_acpi(config_with_cpus(GetParam(), 2));
  blobs.relocate(GuestAddress(0x7ff00000));
  for (const AcpiBlobs::Pointer& pointer : blobs.pointers) {
    const Bytes& bytes = pointer.blob == AcpiBlobs::Blob::kTables ? blobs.tables : blobs.rsdp;
    ASSERT_LE(pointer.offset + pointer.size_bytes, bytes.size());
    uint64_t target = 0;
    for (size_t i = 0; i < pointer.size_bytes; ++i) {
      target |= std::to_integer<uint64_t>(bytes[pointer.offset + i]) << (8 * i);
    }
    EXPECT_GE(target, 0x7ff00000U);
    EXPECT_LT(target, 0x7ff00000U + blobs.tables.size());
  }
  EXPECT_EQ(sum(blobs.rsdp), 0U);
}

// What the reference compiler makes of the tables: the disassembly of DSDT and SSDT together.
class Disassembly {
 public:
  explicit Disassembly(const AcpiGuest& guest) {
    folder_.write("dsdt.aml", guest.table_at(guest.dsdt()));
    for (const char* name : {"FACP", "APIC", "SSDT"}) {
      folder_.write(std::string(name) + ".aml", guest.table_at(guest.find(name)));
    }
    status_ =
        run("iasl -e SSDT.aml -d dsdt.aml && iasl -e dsdt.aml -d SSDT.aml && iasl -d FACP.aml APIC.aml");
  }

  int status() const { return status_; }
  std::string messages() const { return read("log"); }
  std::string text(const std::string& table) const { return read(table + ".dsl"); }
  int recompile(const std::string& table) const { return run("iasl -we " + table + ".dsl"); }

  // The lines from the one that contains `from` up to the one that contains `to`.
  std::string section(const std::string& table, const std::string& from, const std::string& to) const {
    const std::string all = text(table);
    const size_t start = all.find(from);
    return start == std::string::npos ? "" : all.substr(start, all.find(to, start + from.size()) - start);
  }

 private:
  int run(const std::string& commands) const {
    // NOLINTNEXTLINE(bugprone-command-processor): the folder's name is ours.
    return std::system(("cd '" + folder_.path() + "' && (" + commands + ") > log 2>&1").c_str());
  }
  std::string read(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(folder_.file(name)).rdbuf();
    return text.str();
  }

  TempFolder folder_;
  int status_ = -1;
};

TEST_P(AcpiTables, TheGenerationIdIsFoundByItsCompatibleNameAndOnlyWhereThereIsOne) {
  AcpiConfig config = config_with_cpus(GetParam(), 1);
  EXPECT_THAT(Disassembly(AcpiGuest(config)).text("SSDT"), Not(HasSubstr("VGEN")));
  config.generation_id = GuestAddress(0x1'fedc'b000);
  const Disassembly tables((AcpiGuest(config)));
  EXPECT_EQ(tables.status(), 0) << tables.messages();
  EXPECT_THAT(tables.section("SSDT", "Device (VGEN)", "Device (C000)"),
              AllOf(HasSubstr("Name (_HID, \"VMMG0001\")"), HasSubstr("Name (_CID, \"VM_Gen_Counter\")"),
                    HasSubstr("Name (_DDN, \"VM_Gen_Counter\")"),
                    testing::ContainsRegex("ADDR, Package \\(0x02\\)[^{]*\\{[^0]*0xFEDCB000,[^O]*One")));
}

TEST_P(AcpiTables, ReferenceDisassemblerReadsThemWithoutComplaint) {
  const Disassembly tables(AcpiGuest(config_with_cpus(GetParam(), 2)));
  EXPECT_EQ(tables.status(), 0) << tables.messages();
  EXPECT_THAT(tables.messages(), Not(testing::ContainsRegex("[Ee]rror|[Ww]arning|Invalid|incorrect")));
  for (const char* table : {"FACP", "APIC"}) {
    EXPECT_THAT(tables.text(table), Not(testing::ContainsRegex("Unknown|Invalid|[Ii]ncorrect|terminates")))
        << table;
  }
  EXPECT_EQ(tables.recompile("SSDT"), 0) << tables.messages();
  EXPECT_THAT(tables.text("dsdt"), HasSubstr("Name (_S5"));
}

TEST_P(AcpiTables, SsdtHoldsTheProcessorsAndWhatThisGuestHas) {
  const Disassembly tables(AcpiGuest(config_with_cpus(GetParam(), 2)));
  const std::string ssdt = tables.text("SSDT");
  EXPECT_THAT(ssdt,
              AllOf(HasSubstr("Name (VCOM, 0x05)"), HasSubstr("Name (VKBD, One)"), HasSubstr("Device (C000)"),
                    HasSubstr("Device (C001)"), Not(HasSubstr("Device (C002)"))));
  EXPECT_THAT(ssdt, HasSubstr("Name (_HID, \"ACPI0007\""));
  if (GetParam() == MachineKind::kMicrovm) {
    EXPECT_THAT(ssdt, HasSubstr("Name (VMIO, 0x03)"));
  }
}

TEST_P(AcpiTables, ThePanicDeviceIsThereWhereTheMachineHasOne) {
  AcpiConfig config = config_with_cpus(GetParam(), 1);
  const Disassembly without{AcpiGuest(config)};
  EXPECT_THAT(without.text("SSDT"), HasSubstr("Name (VPAN, Zero)"));
  const std::string device = without.section("dsdt", "Device (PEVT)", "Device (");
  EXPECT_THAT(device, AllOf(HasSubstr("\"QEMU0001\""), HasSubstr("VPAN * 0x0F"),
                            HasSubstr(fmt::format("0x{:04X},", layout::kPanicPort))));
  config.has_panic_device = true;
  EXPECT_THAT(Disassembly(AcpiGuest(config)).text("SSDT"), HasSubstr("Name (VPAN, One)"));
}

TEST(AcpiTablesPc, WindowFor64BitBarsIsInTheSsdt) {
  AcpiConfig config = config_with_cpus(MachineKind::kPc, 1);
  EXPECT_THAT(Disassembly(AcpiGuest(config)).text("SSDT"), HasSubstr("Name (VP6L, Zero)"));
  config.pci_window64 = GuestRange{.start = GuestAddress(1ULL << 36), .length_bytes = 1ULL << 35};
  EXPECT_THAT(
      Disassembly(AcpiGuest(config)).text("SSDT"),
      AllOf(HasSubstr("Name (VP6B, 0x0000001000000000)"), HasSubstr("Name (VP6L, 0x0000000800000000)")));
}

TEST(AcpiTablesPc, WindowFor32BitBarsIsInTheSsdtAndBeginsWhereTheFirmwarePutsThem) {
  AcpiConfig config = config_with_cpus(MachineKind::kPc, 1);
  EXPECT_THAT(Disassembly(AcpiGuest(config)).text("SSDT"), HasSubstr("Name (VP3B, 0xC0000000)"));
  config.pci_window32_start = layout::kFirmwarePciMmioStart;
  EXPECT_THAT(Disassembly(AcpiGuest(config)).text("SSDT"), HasSubstr("Name (VP3B, 0x80000000)"));
}

TEST(AcpiTablesPc, InterruptsOfSlotsFollowThePiix3) {
  const Disassembly tables(AcpiGuest(config_with_cpus(MachineKind::kPc, 1)));
  const std::string dsdt = tables.text("dsdt");
  const char* const links[] = {"LNKA", "LNKB", "LNKC", "LNKD"};
  // iasl prints a package of 4 one element a line.
  std::string squeezed;
  std::ranges::copy_if(dsdt, std::back_inserter(squeezed), [](char c) { return c != ' ' && c != '\n'; });
  for (unsigned slot = 0; slot < 32; ++slot) {
    for (unsigned pin = 0; pin < 4; ++pin) {
      const std::string address = slot == 0 ? "0xFFFF" : fmt::format("0x{:08X}", slot << 16 | 0xffff);
      const std::string pin_text = pin == 0 ? "Zero" : pin == 1 ? "One" : fmt::format("0x{:02X}", pin);
      EXPECT_THAT(squeezed,
                  HasSubstr(fmt::format("{{{},{},{},Zero}}", address, pin_text, links[(slot + pin - 1) & 3])))
          << slot << " " << pin;
    }
  }
}

TEST(AcpiTablesPc, PciWindowsAreThoseOfTheLayout) {
  const Disassembly tables(AcpiGuest(config_with_cpus(MachineKind::kPc, 1)));
  const std::string resources = tables.section("dsdt", "Name (RES0", "Name (RES6");
  EXPECT_THAT(resources,
              AllOf(HasSubstr(fmt::format("0x{:08X},         // Range Minimum", layout::kPciMmioStart)),
                    HasSubstr(fmt::format("0x{:08X},         // Range Maximum", layout::kPciMmioEnd - 1)),
                    HasSubstr("0x0CF8,             // Range Minimum")));
}

TEST(AcpiTablesMicrovm, VirtioSlotsAreThoseOfTheLayout) {
  const Disassembly tables(AcpiGuest(config_with_cpus(MachineKind::kMicrovm, 1)));
  for (uint32_t slot = 0; slot < layout::kVirtioMmioSlots; ++slot) {
    const std::string device = tables.section("dsdt", fmt::format("Device (VR{:02})", slot), "Device (");
    EXPECT_THAT(device, AllOf(HasSubstr("LNRO0005"),
                              HasSubstr(fmt::format(
                                  "0x{:08X},", layout::kVirtioMmioStart + slot * layout::kVirtioMmioStride)),
                              HasSubstr("Edge, ActiveHigh"),
                              HasSubstr(fmt::format("0x{:08X},\n", layout::kVirtioMmioFirstGsi + slot))));
  }
  EXPECT_THAT(tables.text("dsdt"), Not(HasSubstr("PNP0A03")));
}

TEST_P(AcpiTables, BoardDevicesAreWhereTheLayoutSays) {
  const Disassembly tables(AcpiGuest(config_with_cpus(GetParam(), 1)));
  for (uint32_t i = 0; i < 4; ++i) {
    const std::string device = tables.section("dsdt", fmt::format("Device (COM{})", i + 1), "Device (");
    EXPECT_THAT(device, AllOf(HasSubstr(fmt::format("0x{:04X},", layout::kSerialPorts[i])),
                              HasSubstr(fmt::format("{{{}}}", layout::kSerialIrqs[i]))));
  }
  const std::string board = tables.section("dsdt", "Device (MBRS)", "Device (");
  EXPECT_THAT(board, AllOf(HasSubstr(fmt::format("0x{:04X},", layout::kPmBase)),
                           HasSubstr(fmt::format("0x{:04X},", layout::kGpe0Base)),
                           HasSubstr(fmt::format("0x{:08X},", layout::kKvmIdentityMapAddress))));
}

}  // namespace
}  // namespace vmm::boot
