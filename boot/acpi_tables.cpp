#include "boot/acpi_tables.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <string>
#include <string_view>

#include "boot/aml.h"
#include "vmm/base/bytes.h"
#include "vmm/base/check.h"
#include "vmm/core/layout.h"

// Compiled from boot/acpi/*.asl.
extern const unsigned char vmm_dsdt_pc[];
extern const unsigned long vmm_dsdt_pc_size;
extern const unsigned char vmm_dsdt_microvm[];
extern const unsigned long vmm_dsdt_microvm_size;

namespace vmm::boot {

namespace {

using Bytes = std::vector<std::byte>;

// ACPI 6.5, section 5.2.6: the header of every table.
constexpr size_t kTableHeaderBytes = 36;
constexpr size_t kTableLength = 4;
constexpr size_t kTableChecksum = 9;
constexpr std::string_view kOemId = "VMM   ";
constexpr std::string_view kOemTableId = "VMMTABLE";
constexpr std::string_view kCreatorId = "VMM ";

template <typename T>
void append(Bytes& to, T value) {
  const size_t at = to.size();
  to.resize(at + sizeof value);
  store_le<T>(to.data() + at, value);
}

template <typename T>
void put_at(Bytes& to, size_t offset, T value) {
  store_le<T>(to.data() + offset, value);
}

void put_text(Bytes& to, std::string_view text) {
  const auto bytes = as_bytes(text);
  to.insert(to.end(), bytes.begin(), bytes.end());
}

// A table without its length and checksum, which place() fills in.
Bytes begin_table(std::string_view signature, uint8_t revision) {
  Bytes table;
  put_text(table, signature);
  append<uint32_t>(table, 0);
  append(table, revision);
  append<uint8_t>(table, 0);
  put_text(table, kOemId);
  put_text(table, kOemTableId);
  append<uint32_t>(table, 1);
  put_text(table, kCreatorId);
  append<uint32_t>(table, 1);
  return table;
}

// Section 5.2.10. Written by the guest (global lock, waking vector), hence of its own alignment.
Bytes make_facs() {
  constexpr uint32_t kFacsBytes = 64;
  constexpr size_t kVersion = 32;
  Bytes facs;
  put_text(facs, "FACS");
  append(facs, kFacsBytes);
  facs.resize(kFacsBytes);
  put_at<uint8_t>(facs, kVersion, 2);
  return facs;
}

// Section 5.2.9, table 5.9: offsets.
enum FadtField : uint8_t {
  kFirmwareCtrl = 36,
  kDsdt = 40,
  kPreferredPmProfile = 45,
  kSciInt = 46,
  kSmiCmd = 48,
  kAcpiEnable = 52,
  kAcpiDisable = 53,
  kPm1aEvtBlk = 56,
  kPm1aCntBlk = 64,
  kPmTmrBlk = 76,
  kGpe0Blk = 80,
  kPm1EvtLen = 88,
  kPm1CntLen = 89,
  kPmTmrLen = 91,
  kGpe0BlkLen = 92,
  kPLvl2Lat = 96,
  kPLvl3Lat = 98,
  kCentury = 108,
  kIaPcBootArch = 109,
  kFlags = 112,
  kResetReg = 116,
  kResetValue = 128,
  kMinorVersion = 131,
  kXDsdt = 140,
  kXPm1aEvtBlk = 148,
  kXPm1aCntBlk = 172,
  kXPmTmrBlk = 208,
  kXGpe0Blk = 220,
};
constexpr size_t kFadtBytes = 276;

constexpr uint8_t kFadtRevision = 6;
constexpr uint8_t kFadtMinorVersion = 3;
constexpr uint8_t kProfileDesktop = 1;
constexpr uint16_t kSmiCommandPort = 0xb2;
constexpr uint8_t kAcpiEnableValue = 0xf1;
constexpr uint8_t kAcpiDisableValue = 0xf0;
constexpr uint8_t kRtcCenturyIndex = 0x32;
constexpr uint8_t kResetByReset = 6;  // hard reset by port 0xcf9
constexpr uint16_t kNoC2 = 0xfff;     // more than 100 us: there is no C2 state
constexpr uint16_t kNoC3 = 0xfff;     // more than 1000 us: there is no C3 state
constexpr uint16_t kBootLegacyDevices = 1U << 0;
constexpr uint16_t kBoot8042 = 1U << 1;
constexpr uint16_t kBootVgaNotPresent = 1U << 2;
constexpr uint32_t kFlagWbinvd = 1U << 0;
constexpr uint32_t kFlagProcC1 = 1U << 2;
constexpr uint32_t kFlagNoFixedSleepButton = 1U << 5;
constexpr uint32_t kFlagNoFixedRtcWake = 1U << 6;
constexpr uint32_t kFlagResetRegister = 1U << 10;

// Section 5.2.3.2: a generic address in port space.
void put_port(Bytes& to, size_t offset, uint16_t port, uint8_t bits) {
  constexpr uint8_t kSystemIo = 1;
  constexpr uint8_t kAccessByte = 1;
  const uint8_t access = bits == 8 ? kAccessByte : bits == 16 ? uint8_t{2} : uint8_t{3};
  put_at(to, offset, kSystemIo);
  put_at(to, offset + 1, bits);
  put_at(to, offset + 3, access);
  put_at<uint64_t>(to, offset + 4, port);
}

void put_power_management(Bytes& fadt) {
  constexpr uint16_t kEvent = layout::kPmBase + layout::kPmEventOffset;
  constexpr uint16_t kControl = layout::kPmBase + layout::kPmControlOffset;
  constexpr uint16_t kTimer = layout::kPmBase + layout::kPmTimerOffset;
  put_at<uint32_t>(fadt, kPm1aEvtBlk, kEvent);
  put_at<uint32_t>(fadt, kPm1aCntBlk, kControl);
  put_at<uint32_t>(fadt, kPmTmrBlk, kTimer);
  put_at<uint32_t>(fadt, kGpe0Blk, layout::kGpe0Base);
  put_at<uint8_t>(fadt, kPm1EvtLen, 4);
  put_at<uint8_t>(fadt, kPm1CntLen, 2);
  put_at<uint8_t>(fadt, kPmTmrLen, 4);
  put_at<uint8_t>(fadt, kGpe0BlkLen, 4);
  put_port(fadt, kXPm1aEvtBlk, kEvent, 32);
  put_at<uint8_t>(fadt, kXPm1aEvtBlk + 3, 2);  // two registers of 16 bits: accessed by words
  put_port(fadt, kXPm1aCntBlk, kControl, 16);
  put_port(fadt, kXPmTmrBlk, kTimer, 32);
  put_port(fadt, kXGpe0Blk, layout::kGpe0Base, 32);
  put_at<uint8_t>(fadt, kXGpe0Blk + 3, 1);  // likewise by bytes
}

Bytes make_fadt(const AcpiConfig& config) {
  Bytes fadt = begin_table("FACP", kFadtRevision);
  fadt.resize(kFadtBytes);
  put_at(fadt, kPreferredPmProfile, kProfileDesktop);
  put_at(fadt, kSciInt, static_cast<uint16_t>(layout::kSciIrq));
  put_at<uint32_t>(fadt, kSmiCmd, kSmiCommandPort);
  put_at(fadt, kAcpiEnable, kAcpiEnableValue);
  put_at(fadt, kAcpiDisable, kAcpiDisableValue);
  put_power_management(fadt);
  put_at(fadt, kPLvl2Lat, kNoC2);
  put_at(fadt, kPLvl3Lat, kNoC3);
  put_at(fadt, kCentury, kRtcCenturyIndex);
  const auto keyboard = config.has_i8042 ? kBoot8042 : uint16_t{0};
  put_at(fadt, kIaPcBootArch, static_cast<uint16_t>(kBootLegacyDevices | kBootVgaNotPresent | keyboard));
  // The power button is the fixed one (PWR_BUTTON is 0).
  put_at(fadt, kFlags,
         kFlagWbinvd | kFlagProcC1 | kFlagNoFixedSleepButton | kFlagNoFixedRtcWake | kFlagResetRegister);
  put_port(fadt, kResetReg, layout::kResetControl, 8);
  put_at(fadt, kResetValue, kResetByReset);
  put_at(fadt, kMinorVersion, kFadtMinorVersion);
  return fadt;
}

// Section 5.2.12: interrupt controller structures.
constexpr uint8_t kMadtRevision = 5;
constexpr uint32_t kMadtPcAt = 1;  // the two 8259s exist
constexpr uint32_t kApicEnabled = 1;
constexpr uint32_t kFirstX2ApicId = 255;  // 255 is the broadcast id of 8-bit ids
// MPS INTI flags, table 5.23.
constexpr uint16_t kConforms = 0;
constexpr uint16_t kLevelActiveHigh = 0x0d;

void put_processor(Bytes& madt, uint32_t uid, uint32_t apic_id) {
  if (apic_id < kFirstX2ApicId && uid < kFirstX2ApicId) {
    append<uint8_t>(madt, 0);
    append<uint8_t>(madt, 8);
    append(madt, static_cast<uint8_t>(uid));
    append(madt, static_cast<uint8_t>(apic_id));
    append(madt, kApicEnabled);
  } else {
    append<uint8_t>(madt, 9);
    append<uint8_t>(madt, 16);
    append<uint16_t>(madt, 0);
    append(madt, apic_id);
    append(madt, kApicEnabled);
    append(madt, uid);
  }
}

void put_io_apic(Bytes& madt) {
  append<uint8_t>(madt, 1);
  append<uint8_t>(madt, 12);
  append<uint8_t>(madt, 0);  // its id
  append<uint8_t>(madt, 0);
  append(madt, static_cast<uint32_t>(layout::kIoApicAddress));
  append<uint32_t>(madt, 0);  // its first GSI
}

void put_override(Bytes& madt, uint8_t irq, uint32_t gsi, uint16_t flags) {
  append<uint8_t>(madt, 2);
  append<uint8_t>(madt, 10);
  append<uint8_t>(madt, 0);  // ISA
  append(madt, irq);
  append(madt, gsi);
  append(madt, flags);
}

// NMI at LINT1 of every CPU, as the PC has it.
void put_nmi(Bytes& madt, bool has_x2apic) {
  append<uint8_t>(madt, 4);
  append<uint8_t>(madt, 6);
  append<uint8_t>(madt, 0xff);
  append(madt, kConforms);
  append<uint8_t>(madt, 1);
  if (has_x2apic) {
    append<uint8_t>(madt, 10);
    append<uint8_t>(madt, 12);
    append(madt, kConforms);
    append<uint32_t>(madt, UINT32_MAX);
    append<uint8_t>(madt, 1);
    append<uint8_t>(madt, 0);
    append<uint16_t>(madt, 0);
  }
}

Bytes make_madt(const AcpiConfig& config) {
  Bytes madt = begin_table("APIC", kMadtRevision);
  append(madt, static_cast<uint32_t>(layout::kLocalApicAddress));
  append(madt, kMadtPcAt);
  bool has_x2apic = false;
  for (size_t i = 0; i < config.apic_ids.size(); ++i) {
    put_processor(madt, static_cast<uint32_t>(i), config.apic_ids[i]);
    has_x2apic = has_x2apic || config.apic_ids[i] >= kFirstX2ApicId || i >= kFirstX2ApicId;
  }
  put_io_apic(madt);
  put_override(madt, 0, 2, kConforms);  // the PIT is wired to input 2
  if (config.machine == MachineKind::kPc) {
    put_override(madt, 5, 5, kLevelActiveHigh);  // what the PCI link devices may choose from
  }
  put_override(madt, layout::kSciIrq, layout::kSciIrq, kLevelActiveHigh);
  if (config.machine == MachineKind::kPc) {
    put_override(madt, 10, 10, kLevelActiveHigh);
    put_override(madt, 11, 11, kLevelActiveHigh);
  }
  put_nmi(madt, has_x2apic);
  return madt;
}

std::string processor_name(size_t index) { return fmt::format("C{:03X}", index); }

// Microsoft, "Virtual Machine Generation ID": the id never changes while the guest runs, so that no event
// tells of it. iasl takes no such _CID, hence it is not in the DSDT.
Bytes generation_id_device(GuestAddress address) {
  constexpr std::string_view kName = "VM_Gen_Counter";
  Bytes body = aml::name_string("_HID", "VMMG0001");
  aml::append(body, aml::name_string("_CID", kName));
  aml::append(body, aml::name_string("_DDN", kName));
  aml::append(body, aml::name_integers("ADDR", {address.value() & 0xffff'ffff, address.value() >> 32U}));
  return aml::device("VGEN", body);
}

// The processors, and the integers that the DSDT looks at: what differs between guests of one machine kind.
Bytes make_ssdt(const AcpiConfig& config) {
  Bytes body;
  aml::append(body, aml::name_integer("VCOM", config.serial_mask));
  aml::append(body, aml::name_integer("VKBD", config.has_i8042 ? 1 : 0));
  aml::append(body, aml::name_integer("VPAN", config.has_panic_device ? 1 : 0));
  if (config.machine == MachineKind::kPc) {
    aml::append(body, aml::name_integer("VP3B", config.pci_window32_start));
    const GuestRange window = config.pci_window64.value_or(GuestRange{});
    aml::append(body, aml::name_integer("VP6B", window.start.value()));
    aml::append(body, aml::name_integer("VP6L", window.length_bytes));
  } else {
    aml::append(body, aml::name_integer("VMIO", config.virtio_mmio_mask));
  }
  Bytes devices;
  if (config.generation_id) {
    aml::append(devices, generation_id_device(*config.generation_id));
  }
  for (size_t i = 0; i < config.apic_ids.size(); ++i) {
    Bytes processor = aml::name_string("_HID", "ACPI0007");
    aml::append(processor, aml::name_integer("_UID", i));
    aml::append(devices, aml::device(processor_name(i), processor));
  }
  aml::append(body, aml::scope("_SB_", devices));
  Bytes ssdt = begin_table("SSDT", 2);
  aml::append(ssdt, body);
  return ssdt;
}

Bytes dsdt_of(MachineKind machine) {
  const auto bytes = machine == MachineKind::kPc
                         ? std::as_bytes(std::span(vmm_dsdt_pc, vmm_dsdt_pc_size))
                         : std::as_bytes(std::span(vmm_dsdt_microvm, vmm_dsdt_microvm_size));
  return {bytes.begin(), bytes.end()};
}

// Lays tables one after the other and keeps the lists of what is to be done when their address is known.
class TablesBuilder {
 public:
  uint32_t place(const Bytes& bytes) {
    auto& tables = blobs_.tables;
    const size_t at = align_up(tables.size(), 8);
    tables.resize(at);
    tables.insert(tables.end(), bytes.begin(), bytes.end());
    return static_cast<uint32_t>(at);
  }

  uint32_t place_table(Bytes bytes) {
    put_at(bytes, kTableLength, static_cast<uint32_t>(bytes.size()));
    put_at<uint8_t>(bytes, kTableChecksum, 0);
    const uint32_t at = place(bytes);
    blobs_.checksums.push_back({.blob = AcpiBlobs::Blob::kTables,
                                .offset = at + static_cast<uint32_t>(kTableChecksum),
                                .start = at,
                                .length = static_cast<uint32_t>(bytes.size())});
    return at;
  }

  void point(AcpiBlobs::Blob blob, uint32_t offset, uint8_t size_bytes, uint32_t target) {
    auto& bytes = blob == AcpiBlobs::Blob::kTables ? blobs_.tables : blobs_.rsdp;
    if (size_bytes == 4) {
      put_at<uint32_t>(bytes, offset, target);
    } else {
      put_at<uint64_t>(bytes, offset, target);
    }
    blobs_.pointers.push_back({.blob = blob, .offset = offset, .size_bytes = size_bytes});
  }

  // Section 5.2.7 and 5.2.8: RSDT with entries of 4 bytes, XSDT with 8.
  uint32_t place_root(std::string_view signature, uint8_t entry_bytes, std::span<const uint32_t> targets) {
    Bytes table = begin_table(signature, 1);
    table.resize(kTableHeaderBytes + targets.size() * entry_bytes);
    const uint32_t at = place_table(table);
    for (size_t i = 0; i < targets.size(); ++i) {
      point(AcpiBlobs::Blob::kTables, at + static_cast<uint32_t>(kTableHeaderBytes + i * entry_bytes),
            entry_bytes, targets[i]);
    }
    return at;
  }

  // Section 5.2.5.3.
  void make_rsdp(uint32_t rsdt, uint32_t xsdt) {
    constexpr uint32_t kRsdpBytes = 36;
    constexpr uint32_t kFirstPartBytes = 20;
    Bytes& rsdp = blobs_.rsdp;
    put_text(rsdp, "RSD PTR ");
    append<uint8_t>(rsdp, 0);
    put_text(rsdp, kOemId);
    append<uint8_t>(rsdp, 2);
    rsdp.resize(kRsdpBytes);
    put_at(rsdp, 20, kRsdpBytes);
    point(AcpiBlobs::Blob::kRsdp, 16, 4, rsdt);
    point(AcpiBlobs::Blob::kRsdp, 24, 8, xsdt);
    blobs_.checksums.push_back(
        {.blob = AcpiBlobs::Blob::kRsdp, .offset = 8, .start = 0, .length = kFirstPartBytes});
    blobs_.checksums.push_back(
        {.blob = AcpiBlobs::Blob::kRsdp, .offset = 32, .start = 0, .length = kRsdpBytes});
  }

  AcpiBlobs take() { return std::move(blobs_); }

 private:
  AcpiBlobs blobs_;
};

void add_at(Bytes& bytes, const AcpiBlobs::Pointer& pointer, uint64_t address) {
  std::byte* place = bytes.data() + pointer.offset;
  if (pointer.size_bytes == 4) {
    store_le<uint32_t>(place, static_cast<uint32_t>(load_le<uint32_t>(place) + address));
  } else {
    store_le<uint64_t>(place, load_le<uint64_t>(place) + address);
  }
}

std::byte checksum_of(std::span<const std::byte> bytes) {
  const auto sum = std::accumulate(bytes.begin(), bytes.end(), 0U, [](unsigned total, std::byte byte) {
    return total + std::to_integer<unsigned>(byte);
  });
  return static_cast<std::byte>((0U - sum) & 0xff);
}

}  // namespace

AcpiBlobs build_acpi(const AcpiConfig& config) {
  VMM_CHECK(!config.apic_ids.empty(), "a machine has at least one CPU");
  VMM_CHECK(config.apic_ids.size() <= kMaximumAcpiProcessors, "more CPUs than the ACPI tables can name");
  TablesBuilder builder;
  const uint32_t facs = builder.place(make_facs());
  const uint32_t dsdt = builder.place(dsdt_of(config.machine));
  const uint32_t ssdt = builder.place_table(make_ssdt(config));
  const uint32_t fadt = builder.place_table(make_fadt(config));
  // X_FIRMWARE_CTRL stays 0: only one of the two may be set (section 5.2.9).
  builder.point(AcpiBlobs::Blob::kTables, fadt + kFirmwareCtrl, 4, facs);
  builder.point(AcpiBlobs::Blob::kTables, fadt + kDsdt, 4, dsdt);
  builder.point(AcpiBlobs::Blob::kTables, fadt + kXDsdt, 8, dsdt);
  const uint32_t madt = builder.place_table(make_madt(config));
  const uint32_t roots[] = {fadt, madt, ssdt};
  const uint32_t rsdt = builder.place_root("RSDT", 4, roots);
  const uint32_t xsdt = builder.place_root("XSDT", 8, roots);
  builder.make_rsdp(rsdt, xsdt);
  return builder.take();
}

void AcpiBlobs::relocate(GuestAddress tables_address) {
  const auto bytes_of = [this](Blob blob) -> Bytes& { return blob == Blob::kTables ? tables : rsdp; };
  VMM_CHECK(tables_address.value() + tables.size() <= layout::kFourGiB, "ACPI tables lie below 4 GiB");
  for (const Pointer& pointer : pointers) {
    add_at(bytes_of(pointer.blob), pointer, tables_address.value());
  }
  for (const Checksum& sum : checksums) {
    Bytes& bytes = bytes_of(sum.blob);
    bytes[sum.offset] = std::byte{0};
    bytes[sum.offset] = checksum_of(std::span(bytes).subspan(sum.start, sum.length));
  }
}

Result<GuestAddress> install_acpi(const GuestMemory& memory, const AcpiConfig& config) {
  if (config.apic_ids.size() > kMaximumAcpiProcessors) {
    return fail_configuration("<vcpu>: the ACPI tables can name {} CPUs, not {}; give the guest fewer",
                              kMaximumAcpiProcessors, config.apic_ids.size());
  }
  AcpiBlobs blobs = build_acpi(config);
  // The RSDP first: who looks for it searches every 16 bytes of this area (section 5.2.5.1).
  constexpr GuestAddress kRsdp(layout::kHighBiosStart);
  constexpr GuestAddress kTables(layout::kHighBiosStart + AcpiBlobs::kTablesAlignment);
  constexpr uint64_t room = layout::kSmbiosStart - kTables.value();
  if (blobs.tables.size() > room) {
    return fail_configuration(
        "<vcpu>: the ACPI tables of {} CPUs need {} bytes, and there is room for {}; give the "
        "guest fewer",
        config.apic_ids.size(), blobs.tables.size(), room);
  }
  blobs.relocate(kTables);
  if (!memory.write_bytes(kTables, blobs.tables) || !memory.write_bytes(kRsdp, blobs.rsdp)) {
    return fail_configuration("<memory>: the ACPI tables need memory up to 1 MiB; give the guest more");
  }
  return kRsdp;
}

}  // namespace vmm::boot
