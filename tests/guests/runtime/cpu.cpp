#include "tests/guests/runtime/cpu.h"

#include "tests/guests/runtime/report.h"

extern "C" {
extern const uint8_t interrupt_stubs[];
extern uint64_t boot_gdt_tss[2];
extern const uint8_t boot_gdt_pointer[];
extern uint8_t interrupt_stack_top[];
extern uint64_t fault_stack;
void enter_user_mode(void (*function)());
void call_until_fault(void (*function)());
void fault_landing();
void leave_user_mode();
void interrupt_dispatch(guest::InterruptFrame* frame);
}

namespace guest {
namespace {

struct Gate {
  uint64_t low;
  uint64_t high;
};

constexpr uint8_t kUserReturnVector = 0x81;
constexpr uint16_t kTaskSelector = 0x48;

alignas(16) constinit Gate interrupt_table[256] = {};
constinit InterruptHandler handlers[256] = {};
// 64-bit TSS (SDM volume 3, 8.7) as 32-bit words: RSP0 is words 1 and 2, the I/O map base the upper half of
// word 25.
alignas(16) constinit uint32_t task_state[26] = {};
constinit uint64_t fault_resume = 0;
constinit uint64_t fault_vector = kNoFault;

Gate make_gate(uint64_t target, unsigned ring) {
  const uint64_t attributes = 0x8e | ring << 5;
  return {(target & 0xffff) | uint64_t{kCode64} << 16 | attributes << 40 | (target >> 16 & 0xffff) << 48,
          target >> 32};
}

void report_exception(const InterruptFrame& frame) {
  uint64_t cr2 = 0;
  if ((frame.cs & 3) == 0) asm volatile("movq %%cr2, %0" : "=r"(cr2));
  fail("no unexpected interrupt", "vector ", frame.vector, " error ", Hex{frame.error_code}, " at ",
       Hex{frame.rip}, " cs ", Hex{frame.cs}, " rsp ", Hex{frame.rsp}, " cr2 ", Hex{cr2});
  finish();
}

}  // namespace

void set_handler(uint8_t vector, InterruptHandler handler) { handlers[vector] = handler; }

void load_interrupt_table() {
  struct [[gnu::packed]] {
    uint16_t limit;
    uint64_t base;
  } const pointer = {sizeof interrupt_table - 1, address_of(interrupt_table)};
  asm volatile("lidt %0" ::"m"(pointer));
}

void initialise_cpu() {
  for (unsigned vector = 0; vector < 256; vector++) {
    interrupt_table[vector] = make_gate(address_of(interrupt_stubs) + uint64_t{vector} * 16, 0);
  }
  interrupt_table[kUserReturnVector] = make_gate(reinterpret_cast<uint64_t>(&leave_user_mode), 3);
  load_interrupt_table();

  const uint64_t task = address_of(task_state);
  const uint64_t stack = address_of(interrupt_stack_top);
  task_state[1] = static_cast<uint32_t>(stack);
  task_state[2] = static_cast<uint32_t>(stack >> 32);
  task_state[25] = uint32_t{sizeof task_state} << 16;
  boot_gdt_tss[0] =
      (sizeof task_state - 1) | (task & 0xffffff) << 16 | uint64_t{0x89} << 40 | (task >> 24 & 0xff) << 56;
  boot_gdt_tss[1] = task >> 32;
  asm volatile("lgdt (%0)" ::"r"(boot_gdt_pointer) : "memory");
  asm volatile("ltr %0" ::"r"(kTaskSelector));
}

void run_in_user_mode(void (*function)()) { enter_user_mode(function); }

bool in_user_mode() {
  uint16_t selector = 0;
  asm volatile("movw %%cs, %0" : "=r"(selector));
  return (selector & 3) == 3;
}

uint64_t fault_of(void (*function)()) {
  fault_resume = reinterpret_cast<uint64_t>(&fault_landing);
  fault_vector = kNoFault;
  call_until_fault(function);
  fault_resume = 0;
  return fault_vector;
}

bool try_read_msr(uint32_t index, uint64_t& value) {
  uint32_t low = 0;
  uint32_t high = 0;
  fault_vector = kNoFault;
  asm volatile(
      "leaq 1f(%%rip), %%rax\n\t"
      "movq %%rax, %[resume]\n\t"
      "rdmsr\n"
      "1:"
      : "=&a"(low), "=&d"(high), [resume] "=m"(fault_resume)
      : "c"(index)
      : "memory");
  value = uint64_t{high} << 32 | low;
  fault_resume = 0;
  return fault_vector == kNoFault;
}

bool try_write_msr(uint32_t index, uint64_t value) {
  fault_vector = kNoFault;
  asm volatile(
      "leaq 1f(%%rip), %%rsi\n\t"
      "movq %%rsi, %[resume]\n\t"
      "wrmsr\n"
      "1:"
      : [resume] "=m"(fault_resume)
      : "c"(index), "a"(static_cast<uint32_t>(value)), "d"(static_cast<uint32_t>(value >> 32))
      : "memory", "rsi");
  fault_resume = 0;
  return fault_vector == kNoFault;
}

}  // namespace guest

void interrupt_dispatch(guest::InterruptFrame* frame) {
  using namespace guest;
  if (const auto handler = handlers[frame->vector & 0xff]) {
    handler(*frame);
  } else if (frame->vector < 32 && fault_resume != 0) {
    fault_vector = frame->vector;
    frame->rip = fault_resume;
    if (fault_resume == reinterpret_cast<uint64_t>(&fault_landing)) {
      frame->cs = kCode64;
      frame->ss = kData;
      frame->rsp = fault_stack;
      frame->rflags = 2;
    }
    fault_resume = 0;
  } else {
    report_exception(*frame);
  }
}

// The compiler calls these for copies and initialisations of its own.
void* memcpy(void* to, const void* from, size_t length) {
  void* const start = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length)::"memory");
  return start;
}

void* memmove(void* to, const void* from, size_t length) {
  if (to <= from) return memcpy(to, from, length);
  auto* target = static_cast<uint8_t*>(to);
  const auto* source = static_cast<const uint8_t*>(from);
  while (length-- > 0) target[length] = source[length];
  return to;
}

void* memset(void* to, int value, size_t length) {
  void* const start = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(length) : "a"(value) : "memory");
  return start;
}

int memcmp(const void* left, const void* right, size_t length) {
  const auto* a = static_cast<const uint8_t*>(left);
  const auto* b = static_cast<const uint8_t*>(right);
  for (size_t i = 0; i < length; i++) {
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  }
  return 0;
}

size_t strlen(const char* text) {
  size_t length = 0;
  while (text[length] != 0) length++;
  return length;
}
