#include "boot/entry_state.h"

#include <gtest/gtest.h>

#include "boot/low_memory.h"
#include "tests/unit/boot/boot_test_support.h"
#include "vmm/base/bytes.h"

namespace vmm::boot {
namespace {

// Where the page tables lead, as a CPU in long mode walks them.
std::optional<uint64_t> translate(const Guest& guest, uint64_t cr3, uint64_t address) {
  constexpr uint64_t kAddressMask = 0x000f'ffff'ffff'f000;
  uint64_t table = cr3;
  for (const unsigned shift : {39U, 30U}) {
    const uint64_t entry = guest.u64(table + 8 * (address >> shift & 0x1ff));
    if ((entry & 3) != 3) {
      return std::nullopt;
    }
    table = entry & kAddressMask;
  }
  const uint64_t entry = guest.u64(table + 8 * (address >> 21 & 0x1ff));
  if ((entry & 0x83) != 0x83) {
    return std::nullopt;
  }
  return (entry & kAddressMask) + (address & (2 * kMiB - 1));
}

TEST(EnterLong64, RegistersAreThoseOfLongMode) {
  const Guest guest(2 * kMiB);
  const auto state = enter_long64(guest.memory, GuestAddress(0x1000200), GuestAddress(0xa000));
  ASSERT_TRUE(state);
  EXPECT_EQ(state->instruction_pointer, GuestAddress(0x1000200));
  EXPECT_EQ(state->rsi, 0xa000U);
  EXPECT_EQ(state->cr0 & 0x80000001, 0x80000001U);
  EXPECT_EQ(state->cr4 & 0x20, 0x20U);
  EXPECT_EQ(state->efer, 0x500U);
  EXPECT_EQ(state->rflags, 2U);
  EXPECT_EQ(state->code.selector, 0x10);
  EXPECT_EQ(state->data.selector, 0x18);
  EXPECT_TRUE(state->code.is_long);
  EXPECT_FALSE(state->code.default_size_32);
}

TEST(EnterLong64, First4GiBAreIdentityMapped) {
  const Guest guest(2 * kMiB);
  const auto state = enter_long64(guest.memory, GuestAddress(0x1000200), GuestAddress(0xa000));
  ASSERT_TRUE(state);
  for (const uint64_t address :
       {uint64_t{0}, uint64_t{0x1000200}, kGiB - 1, kGiB, 3 * kGiB + 12345, 4 * kGiB - 1}) {
    EXPECT_EQ(translate(guest, state->cr3, address), address);
  }
  EXPECT_EQ(translate(guest, state->cr3, 4 * kGiB), std::nullopt);
  EXPECT_EQ(translate(guest, state->cr3, 1ULL << 39), std::nullopt);
}

TEST(EnterLong64, GdtHoldsWhatTheSegmentsSay) {
  const Guest guest(2 * kMiB);
  const auto state = enter_long64(guest.memory, GuestAddress(0x1000200), GuestAddress(0xa000));
  ASSERT_TRUE(state);
  const uint64_t gdt = state->gdt.value();
  EXPECT_EQ(guest.u64(gdt), 0U);
  EXPECT_EQ(guest.u64(gdt + 0x10), 0x00af'9b00'0000'ffffU);  // 64-bit code, flat
  EXPECT_EQ(guest.u64(gdt + 0x18), 0x00cf'9300'0000'ffffU);  // data, flat
  EXPECT_EQ(guest.u64(gdt + 0x20), 0x0000'8b00'0000'0067U);  // busy TSS
  EXPECT_EQ(state->gdt_limit, 0x2f);
}

TEST(EnterProtected32, RegistersAreThoseOfPvh) {
  const Guest guest(2 * kMiB);
  const auto state = enter_protected32(guest.memory, GuestAddress(0x100000), GuestAddress(0xa000));
  ASSERT_TRUE(state);
  EXPECT_EQ(state->rbx, 0xa000U);
  EXPECT_EQ(state->cr0, 0x11U);
  EXPECT_EQ(state->cr4, 0U);
  EXPECT_EQ(state->efer, 0U);
  EXPECT_EQ(guest.u64(state->gdt.value() + state->code.selector), 0x00cf'9b00'0000'ffffU);
  EXPECT_EQ(state->code.limit, 0xffff'ffffU);
  EXPECT_EQ(state->task.limit, 0x67U);
  EXPECT_EQ(state->task.type, 0xb);
  EXPECT_FALSE(state->task.is_code_or_data);
}

TEST(EnterLong64, StackIsAPageThatNothingElseUses) {
  const Guest guest(2 * kMiB);
  const auto state = enter_long64(guest.memory, GuestAddress(0x1000200), GuestAddress(low::kBootParams));
  ASSERT_TRUE(state);
  EXPECT_EQ(guest.bytes(state->stack_pointer.value() - 4096, 4096), Bytes(4096));
  EXPECT_LE(state->gdt.value() + state->gdt_limit, state->stack_pointer.value() - 4096);
  EXPECT_LE(state->stack_pointer.value(), state->cr3);
}

TEST(Put, OutsideOfMemoryIsAnError) {
  const Guest guest(2 * kMiB);
  EXPECT_TRUE(put(guest.memory, 2 * kMiB - 4, pattern(4)));
  EXPECT_FALSE(put(guest.memory, 2 * kMiB - 4, pattern(5)));
}

}  // namespace
}  // namespace vmm::boot
