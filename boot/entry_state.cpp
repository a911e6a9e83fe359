#include "boot/entry_state.h"

#include <array>

#include "boot/low_memory.h"
#include "vmm/base/bytes.h"

namespace vmm::boot {

namespace {

// Intel SDM volume 3: section 2.5 (CR0, CR4), 2.2.1 (IA32_EFER).
constexpr uint64_t kCr0ProtectedMode = 1U << 0;
constexpr uint64_t kCr0ExtensionType = 1U << 4;
constexpr uint64_t kCr0Paging = 1U << 31;
constexpr uint64_t kCr4PhysicalAddressExtension = 1U << 5;
constexpr uint64_t kEferLongModeEnable = 1U << 8;
constexpr uint64_t kEferLongModeActive = 1U << 10;

// Section 3.4.5.1 (code and data), 3.5 (system segments). "Accessed", so that no CPU writes to the table.
constexpr uint8_t kTypeCodeReadable = 0xb;
constexpr uint8_t kTypeDataWritable = 0x3;
constexpr uint8_t kTypeBusyTss = 0xb;

constexpr uint16_t kCodeSelector = 0x10;
constexpr uint16_t kDataSelector = 0x18;
constexpr uint16_t kTaskSelector = 0x20;
constexpr size_t kGdtBytes = 0x30;  // the TSS descriptor takes two entries in long mode

// Section 4.5, tables 4-15 to 4-18.
constexpr uint64_t kPagePresentWritable = 0x3;
constexpr uint64_t kPageLarge = 1U << 7;
constexpr uint64_t kTableBytes = 4096;
constexpr size_t kTableEntries = 512;
constexpr size_t kDirectories = 4;  // 1 GiB each
constexpr uint64_t kLargePageBytes = 2ULL << 20;

SegmentState flat_code(bool is_long) {
  return {.selector = kCodeSelector,
          .type = kTypeCodeReadable,
          .is_long = is_long,
          .default_size_32 = !is_long,
          .granularity_4k = true};
}

SegmentState flat_data() {
  return {
      .selector = kDataSelector, .type = kTypeDataWritable, .default_size_32 = true, .granularity_4k = true};
}

SegmentState task_segment() {
  return {.selector = kTaskSelector, .limit = 0x67, .type = kTypeBusyTss, .is_code_or_data = false};
}

// Section 3.4.5, figure 3-8.
uint64_t descriptor(const SegmentState& segment) {
  const uint64_t limit = segment.granularity_4k ? segment.limit >> 12 : segment.limit;
  const uint64_t access = segment.type | (segment.is_code_or_data ? 1U << 4 : 0U) |
                          (uint32_t{segment.privilege} << 5) | (segment.present ? 1U << 7 : 0U);
  const uint64_t flags = (segment.is_long ? 1U << 1 : 0U) | (segment.default_size_32 ? 1U << 2 : 0U) |
                         (segment.granularity_4k ? 1U << 3 : 0U);
  return (limit & 0xffff) | ((segment.base & 0xff'ffff) << 16) | (access << 40) |
         ((limit >> 16 & 0xf) << 48) | (flags << 52) | ((segment.base >> 24 & 0xff) << 56);
}

Status write_gdt(const GuestMemory& memory, const EntryState& state) {
  std::array<std::byte, kGdtBytes> table{};
  for (const SegmentState& segment : {state.code, state.data, state.task}) {
    store_le<uint64_t>(table.data() + segment.selector, descriptor(segment));
  }
  return put(memory, low::kGdt, table);
}

Status write_page_tables(const GuestMemory& memory) {
  std::array<std::byte, kTableBytes> table{};
  store_le<uint64_t>(table.data(), (low::kPageTables + kTableBytes) | kPagePresentWritable);
  VMM_TRY(put(memory, low::kPageTables, table));
  for (size_t i = 0; i < kDirectories; ++i) {
    store_le<uint64_t>(table.data() + 8 * i,
                       (low::kPageTables + (2 + i) * kTableBytes) | kPagePresentWritable);
  }
  VMM_TRY(put(memory, low::kPageTables + kTableBytes, table));
  for (size_t i = 0; i < kDirectories; ++i) {
    for (size_t j = 0; j < kTableEntries; ++j) {
      const uint64_t address = (i * kTableEntries + j) * kLargePageBytes;
      store_le<uint64_t>(table.data() + 8 * j, address | kPageLarge | kPagePresentWritable);
    }
    VMM_TRY(put(memory, low::kPageTables + (2 + i) * kTableBytes, table));
  }
  return {};
}

EntryState common_state(EntryState::Mode mode, GuestAddress entry) {
  const bool is_long = mode == EntryState::Mode::kLong64;
  EntryState state;
  state.mode = mode;
  state.instruction_pointer = entry;
  state.stack_pointer = GuestAddress(low::kStackTop);
  state.cr0 = kCr0ProtectedMode | kCr0ExtensionType;
  state.code = flat_code(is_long);
  state.data = flat_data();
  state.task = task_segment();
  state.gdt = GuestAddress(low::kGdt);
  state.gdt_limit = kGdtBytes - 1;
  return state;
}

}  // namespace

Status put(const GuestMemory& memory, uint64_t address, std::span<const std::byte> bytes) {
  if (!memory.write_bytes(GuestAddress(address), bytes)) {
    return fail("the guest has no memory at {:#x}, where direct boot needs {} bytes; give it more <memory>",
                address, bytes.size());
  }
  return {};
}

Result<EntryState> enter_long64(const GuestMemory& memory, GuestAddress entry, GuestAddress boot_params) {
  EntryState state = common_state(EntryState::Mode::kLong64, entry);
  state.rsi = boot_params.value();
  state.cr0 |= kCr0Paging;
  state.cr3 = low::kPageTables;
  state.cr4 = kCr4PhysicalAddressExtension;
  state.efer = kEferLongModeEnable | kEferLongModeActive;
  VMM_TRY(write_gdt(memory, state));
  VMM_TRY(write_page_tables(memory));
  return state;
}

Result<EntryState> enter_protected32(const GuestMemory& memory, GuestAddress entry, GuestAddress start_info) {
  EntryState state = common_state(EntryState::Mode::kProtected32, entry);
  state.rbx = start_info.value();
  VMM_TRY(write_gdt(memory, state));
  return state;
}

}  // namespace vmm::boot
