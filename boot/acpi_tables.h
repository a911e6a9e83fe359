// The ACPI tables of our machines: RSDP, RSDT, XSDT, FADT, FACS, MADT, DSDT (from boot/acpi/*.asl) and an
// SSDT with the processors.
//
// Standard: ACPI 6.5; tables in the revisions of ACPI 6.3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/core/guest_address.h"
#include "vmm/core/guest_memory.h"
#include "vmm/core/layout.h"

namespace vmm::boot {

enum class MachineKind : uint8_t { kPc, kMicrovm };

struct AcpiConfig {
  MachineKind machine = MachineKind::kPc;
  std::vector<uint32_t> apic_ids = {};  // of the vCPUs, in their order; at least one
  uint32_t serial_mask = 0;             // bit n: COM(n + 1) exists
  uint32_t virtio_mmio_mask = 0;        // bit n: slot n of layout::kVirtioMmioStart exists (microvm)
  bool has_i8042 = true;                // keyboard and mouse
  bool has_panic_device = false;        // at layout::kPanicPort
  std::optional<GuestAddress> generation_id = std::nullopt;  // where the 16 bytes are
  uint64_t pci_window32_start =
      layout::kPciMmioStart;  // pc: memory window for 32-bit BARs, up to kPciMmioEnd
  std::optional<GuestRange> pci_window64 = std::nullopt;  // pc: memory window for 64-bit BARs above RAM
};

// Tables not yet bound to addresses. Pointers between them hold offsets into `tables` until relocate(), or a
// firmware that is handed the same lists through fw_cfg's table loader, adds the address of `tables`; then
// the checksums are due.
struct AcpiBlobs {
  enum class Blob : uint8_t { kTables, kRsdp };
  struct Pointer {  // little-endian, size_bytes (4 or 8) wide, at `offset` of `blob`; points into kTables
    Blob blob = Blob::kTables;
    uint32_t offset = 0;
    uint8_t size_bytes = 4;
  };
  struct Checksum {  // the byte at `offset` makes [start, start + length) sum to 0 modulo 256
    Blob blob = Blob::kTables;
    uint32_t offset = 0;
    uint32_t start = 0;
    uint32_t length = 0;
  };
  static constexpr uint32_t kTablesAlignment = 64;  // the FACS wants it
  static constexpr uint32_t kRsdpAlignment = 16;

  std::vector<std::byte> tables;
  std::vector<std::byte> rsdp;
  std::vector<Pointer> pointers;
  std::vector<Checksum> checksums;  // in the order in which they must be done

  // Binds the tables to addresses, in place. REQUIRES: not done before; addresses below 4 GiB.
  void relocate(GuestAddress tables_address);
};

// The SSDT's names for processors have three digits.
inline constexpr size_t kMaximumAcpiProcessors = 0x1000;

// REQUIRES: 1 to kMaximumAcpiProcessors CPUs.
AcpiBlobs build_acpi(const AcpiConfig& config);

// Writes the tables into the area from layout::kHighBiosStart up to layout::kSmbiosStart and gives the RSDP's
// address. An error where they do not fit (about 1,000 CPUs).
Result<GuestAddress> install_acpi(const GuestMemory& memory, const AcpiConfig& config);

}  // namespace vmm::boot
