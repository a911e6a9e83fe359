// The bare CPU: ports, memory-mapped registers, MSRs, CPUID, interrupts, ring 3.
#pragma once

#include <cstddef>
#include <cstdint>

namespace guest {

// Selectors of the descriptor table in entry.S.
inline constexpr uint16_t kCode64 = 0x08;
inline constexpr uint16_t kData = 0x10;
inline constexpr uint16_t kCode32 = 0x18;
inline constexpr uint16_t kCode16 = 0x20;
inline constexpr uint16_t kData16 = 0x28;

inline uint8_t in8(uint16_t port) {
  uint8_t value = 0;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
inline uint16_t in16(uint16_t port) {
  uint16_t value = 0;
  asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
inline uint32_t in32(uint16_t port) {
  uint32_t value = 0;
  asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
inline void out8(uint16_t port, uint8_t value) { asm volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
inline void out16(uint16_t port, uint16_t value) { asm volatile("outw %0, %1" ::"a"(value), "Nd"(port)); }
inline void out32(uint16_t port, uint32_t value) { asm volatile("outl %0, %1" ::"a"(value), "Nd"(port)); }

// Writes `count` bytes to one port: one exit, where a loop would make `count`.
inline void out_string(uint16_t port, const char* bytes, size_t count) {
  asm volatile("rep outsb" : "+S"(bytes), "+c"(count) : "d"(port) : "memory");
}

// The object at a physical address: everything below 4 GiB is mapped where it is.
template <class T>
T* at(uint64_t address) {
  return reinterpret_cast<T*>(address);  // NOLINT(performance-no-int-to-ptr)
}
inline uint64_t address_of(const volatile void* object) { return reinterpret_cast<uint64_t>(object); }

// Device registers: plain moves of exactly this width, which every KVM can decode.
inline uint8_t read8(uint64_t address) {
  uint8_t value = 0;
  asm volatile("movb (%1), %0" : "=q"(value) : "r"(address) : "memory");
  return value;
}
inline uint16_t read16(uint64_t address) {
  uint16_t value = 0;
  asm volatile("movw (%1), %0" : "=r"(value) : "r"(address) : "memory");
  return value;
}
inline uint32_t read32(uint64_t address) {
  uint32_t value = 0;
  asm volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
  return value;
}
inline uint64_t read64(uint64_t address) {
  uint64_t value = 0;
  asm volatile("movq (%1), %0" : "=r"(value) : "r"(address) : "memory");
  return value;
}
inline void write8(uint64_t address, uint8_t value) {
  asm volatile("movb %0, (%1)" ::"q"(value), "r"(address) : "memory");
}
inline void write16(uint64_t address, uint16_t value) {
  asm volatile("movw %0, (%1)" ::"r"(value), "r"(address) : "memory");
}
inline void write32(uint64_t address, uint32_t value) {
  asm volatile("movl %0, (%1)" ::"r"(value), "r"(address) : "memory");
}
inline void write64(uint64_t address, uint64_t value) {
  asm volatile("movq %0, (%1)" ::"r"(value), "r"(address) : "memory");
}

inline uint64_t tsc() {
  uint32_t low = 0;
  uint32_t high = 0;
  asm volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
  return uint64_t{high} << 32 | low;
}

struct CpuidLeaf {
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
};
inline CpuidLeaf cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  CpuidLeaf result;
  asm volatile("cpuid"
               : "=a"(result.eax), "=b"(result.ebx), "=c"(result.ecx), "=d"(result.edx)
               : "a"(leaf), "c"(subleaf));
  return result;
}

inline uint64_t read_msr(uint32_t index) {
  uint32_t low = 0;
  uint32_t high = 0;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index) : "memory");
  return uint64_t{high} << 32 | low;
}
inline void write_msr(uint32_t index, uint64_t value) {
  asm volatile("wrmsr" ::"c"(index), "a"(static_cast<uint32_t>(value)),
               "d"(static_cast<uint32_t>(value >> 32))
               : "memory");
}

inline void enable_interrupts() { asm volatile("sti" ::: "memory"); }
inline void disable_interrupts() { asm volatile("cli" ::: "memory"); }
// Takes what is pending. (QEMU's emulator takes nothing between sti, pause and cli.)
inline void allow_interrupts() { asm volatile("sti; nop; nop; cli" ::: "memory"); }
// Sleeps until an interrupt has been handled. sti takes effect after the next instruction, so none is missed
// between.
inline void wait_for_interrupt() { asm volatile("sti; hlt; cli" ::: "memory"); }
inline void pause() { asm volatile("pause" ::: "memory"); }
inline void full_fence() { asm volatile("lock orl $0, (%%rsp)" ::: "memory", "cc"); }
inline void compiler_barrier() { asm volatile("" ::: "memory"); }

// What interrupt_common pushes.
struct InterruptFrame {
  uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
  uint64_t vector, error_code;
  uint64_t rip, cs, rflags, rsp, ss;
};
using InterruptHandler = void (*)(InterruptFrame&);

// A handler must send the EOI that its interrupt controller wants. nullptr: report a failure and end.
void set_handler(uint8_t vector, InterruptHandler handler);
void load_interrupt_table();  // on this CPU
void initialise_cpu();        // once, on the first CPU

// Runs a function in ring 3, where software back ends of KVM run code natively. Ports may be used there.
void run_in_user_mode(void (*function)());
bool in_user_mode();

// MSR and instruction access which may fault; false: it did.
bool try_read_msr(uint32_t index, uint64_t& value);
bool try_write_msr(uint32_t index, uint64_t value);

// Calls a function, which may fault (in ring 3, too, where it enters that): the vector, or kNoFault.
inline constexpr uint64_t kNoFault = 256;
uint64_t fault_of(void (*function)());

}  // namespace guest

extern "C" {
void* memcpy(void* to, const void* from, size_t length);
void* memmove(void* to, const void* from, size_t length);
void* memset(void* to, int value, size_t length);
int memcmp(const void* left, const void* right, size_t length);
size_t strlen(const char* text);
}
