// Where things are in the machine: guest-physical addresses, ports and interrupt numbers that more than one
// layer must agree on (devices, ACPI tables, boot loaders, the machine builder).
#pragma once

#include <cstdint>

namespace vmm::layout {

// Guest-physical memory, as i440FX chipsets lay it out (Intel 290549, section 3.2).
inline constexpr uint64_t kEbdaStart = 0x9fc00;  // end of conventional memory; the RSDP lies here
inline constexpr uint64_t kHighBiosStart =
    0xe0000;  // 0xe0000-0xfffff: ACPI and SMBIOS tables with direct boot, firmware otherwise
inline constexpr uint64_t kSmbiosStart =
    0xf0000;  // with direct boot; 0xf0000-0xfffff is searched for the entry point (DSP0134, section 5.2)
inline constexpr uint64_t kOneMiB = 0x100000;
inline constexpr uint64_t kMmioHoleStart =
    0xc000'0000;  // RAM below 4 GiB ends here at the latest; the rest is above 4 GiB
inline constexpr uint64_t kPciMmioStart = 0xc000'0000;  // 32-bit PCI memory window
// SeaBIOS puts BARs from here where RAM ends at or below it, else from kPciMmioStart.
inline constexpr uint64_t kFirmwarePciMmioStart = 0x8000'0000;
inline constexpr uint64_t kPciMmioEnd = 0xfeb0'0000;
inline constexpr uint64_t kVirtioMmioStart =
    0xfeb0'0000;  // machine='microvm': slot n at +n * kVirtioMmioStride
inline constexpr uint64_t kVirtioMmioStride = 0x1000;
inline constexpr uint32_t kVirtioMmioSlots = 8;
inline constexpr uint32_t kVirtioMmioFirstGsi = 16;  // slot n: GSI 16 + n, edge
inline constexpr uint64_t kIoApicAddress = 0xfec0'0000;
inline constexpr uint64_t kLocalApicAddress = 0xfee0'0000;
inline constexpr uint64_t kGenerationIdPage = 0xfeff'b000;  // where the domain has a <genid>; read-only
inline constexpr uint64_t kKvmIdentityMapAddress =
    0xfeff'c000;                                         // one page, KVM's own (real mode on old Intel)
inline constexpr uint64_t kKvmTssAddress = 0xfeff'd000;  // three pages, KVM's own
inline constexpr uint64_t kFourGiB = 0x1'0000'0000;

// Ports.
inline constexpr uint16_t kSerialPorts[4] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};  // COM1 to COM4, 8 ports each
inline constexpr uint32_t kSerialIrqs[4] = {4, 3, 4, 3};
inline constexpr uint16_t kDmaMaster = 0x00;  // 16 ports
inline constexpr uint16_t kI8042Data = 0x60;
inline constexpr uint16_t kSystemControlB = 0x61;
inline constexpr uint16_t kI8042Command = 0x64;
inline constexpr uint16_t kCmosIndex = 0x70;  // and 0x71
inline constexpr uint16_t kPostCode = 0x80;
inline constexpr uint16_t kDmaPages = 0x81;  // 15 ports
inline constexpr uint16_t kSystemControlA = 0x92;
inline constexpr uint16_t kDmaSlave = 0xc0;  // 32 ports
inline constexpr uint16_t kDebugPort = 0x402;
inline constexpr uint16_t kPanicPort = 0x505;
inline constexpr uint16_t kFwCfg = 0x510;     // selector (16 bits), data at 0x511
inline constexpr uint16_t kFwCfgDma = 0x514;  // 8 ports
inline constexpr uint16_t kElcr = 0x4d0;      // and 0x4d1
inline constexpr uint16_t kPciConfigAddress = 0xcf8;
inline constexpr uint16_t kResetControl = 0xcf9;
inline constexpr uint16_t kPciConfigData = 0xcfc;
inline constexpr uint16_t kPciIoStart = 0xc000;  // BARs in port space
inline constexpr uint16_t kPmBase = 0x600;  // ACPI power management block, 64 ports: see devices/acpi_power.h
inline constexpr uint16_t kPmEventOffset = 0x00;    // PM1a_EVT_BLK: status, enable (16 bits each)
inline constexpr uint16_t kPmControlOffset = 0x04;  // PM1a_CNT_BLK
inline constexpr uint16_t kPmTimerOffset = 0x08;    // PM_TMR_BLK, 32 bits
inline constexpr uint16_t kGpe0Base = 0xafe0;       // GPE0_BLK: 2 status, 2 enable bytes

// Ports that KVM answers itself: PIC, PIT and system control port B, edge and level control.
struct Ports {
  uint16_t first;
  uint16_t count;
};
inline constexpr Ports kPortsOfKvm[] = {{0x20, 2}, {0x40, 4}, {kSystemControlB, 1}, {0xa0, 2}, {kElcr, 2}};

// Interrupt inputs (GSIs) beside the ISA ones above.
inline constexpr uint32_t kKeyboardIrq = 1;
inline constexpr uint32_t kRtcIrq = 8;
inline constexpr uint32_t kSciIrq = 9;
inline constexpr uint32_t kMouseIrq = 12;
inline constexpr uint32_t kPciIrqs[4] = {10, 11, 10, 11};  // PIRQA..D -> IRQ, as set before the guest starts
inline constexpr uint32_t kIoApicPins = 24;

// SLP_TYP values written to PM1a_CNT, as the DSDT's \_S5 and \_S3 packages say.
inline constexpr uint8_t kSleepTypeS5 = 0;

}  // namespace vmm::layout
