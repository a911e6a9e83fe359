#include "tests/guests/runtime/apic.h"

#include "tests/guests/runtime/acpi.h"

namespace guest {
namespace {

constexpr uint32_t kDeliveryPending = 1 << 12;
constexpr uint16_t kMaster = 0x20;
constexpr uint16_t kSlave = 0xa0;

constinit uint64_t io_apic = 0;
constinit bool io_apic_searched = false;

void on_spurious(InterruptFrame&) {}  // wants no EOI

}  // namespace

void enable_local_apic() {
  set_handler(kSpuriousVector, on_spurious);
  apic_write(kApicTaskPriority, 0);
  apic_write(kApicSpurious, 0x100 | kSpuriousVector);
}

uint32_t local_apic_id() { return apic_read(kApicId) >> 24; }

void send_ipi(uint32_t destination, uint32_t command) {
  apic_write(kApicCommandHigh, destination << 24);
  apic_write(kApicCommand, command);
  for (uint32_t i = 0; i < 100'000 && (apic_read(kApicCommand) & kDeliveryPending) != 0; i++) pause();
}

bool has_io_apic() {
  if (!io_apic_searched) {
    io_apic_searched = true;
    static constinit Madt madt = {};
    if (find_madt(madt)) io_apic = madt.io_apic;
  }
  return io_apic != 0;
}

uint32_t io_apic_read(uint32_t index) {
  if (!has_io_apic()) return 0;
  write32(io_apic, index);
  return read32(io_apic + 0x10);
}

void io_apic_write(uint32_t index, uint32_t value) {
  if (!has_io_apic()) return;
  write32(io_apic, index);
  write32(io_apic + 0x10, value);
}

uint32_t io_apic_pins() { return has_io_apic() ? (io_apic_read(1) >> 16 & 0xff) + 1 : 0; }

void route(uint32_t gsi, uint32_t vector_and_flags) {
  io_apic_write(0x10 + gsi * 2, kRouteMasked);
  io_apic_write(0x11 + gsi * 2, local_apic_id() << 24);
  io_apic_write(0x10 + gsi * 2, vector_and_flags);
}

void mask_all_routes() {
  const uint32_t pins = io_apic_pins();
  for (uint32_t gsi = 0; gsi < pins; gsi++) io_apic_write(0x10 + gsi * 2, kRouteMasked);
}

void initialise_pic(uint8_t vector_base, uint16_t mask) {
  out8(kMaster, 0x11);  // ICW1: cascade, ICW4 follows
  out8(kSlave, 0x11);
  out8(kMaster + 1, vector_base);
  out8(kSlave + 1, static_cast<uint8_t>(vector_base + 8));
  out8(kMaster + 1, 4);  // the slave is at IRQ 2
  out8(kSlave + 1, 2);
  out8(kMaster + 1, 1);  // 8086 mode
  out8(kSlave + 1, 1);
  set_pic_mask(mask);
}

uint16_t pic_mask() { return static_cast<uint16_t>(in8(kMaster + 1) | in8(kSlave + 1) << 8); }

void set_pic_mask(uint16_t mask) {
  out8(kMaster + 1, static_cast<uint8_t>(mask));
  out8(kSlave + 1, static_cast<uint8_t>(mask >> 8));
}

uint16_t pic_requests() {
  out8(kMaster, 0x0a);  // OCW3: the next read is IRR
  out8(kSlave, 0x0a);
  return static_cast<uint16_t>(in8(kMaster) | in8(kSlave) << 8);
}

void pic_eoi(uint32_t irq) {
  if (irq >= 8) out8(kSlave, 0x20);
  out8(kMaster, 0x20);
}

}  // namespace guest
