// Interrupts from every kind of source: PIC, I/O APIC, local APIC, MSI-X and INTx of a PCI device,
// virtio-mmio.
#include "tests/guests/runtime/acpi.h"
#include "tests/guests/runtime/apic.h"
#include "tests/guests/runtime/clock.h"
#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/report.h"
#include "tests/guests/runtime/start.h"
#include "tests/guests/runtime/virtio.h"

namespace guest {
namespace {

constexpr uint8_t kPicBase = 0x20;
constexpr uint8_t kTimerVector = 0x60;
constexpr uint8_t kLowVector = 0x61;
constexpr uint8_t kHighVector = 0x91;
constexpr uint8_t kDeviceVector = 0x71;
constexpr uint8_t kOtherVector = 0x72;
constexpr uint32_t kSelf = 1 << 18;
constexpr uint32_t kAssert = 1 << 14;
constexpr uint32_t kExternal = 0x700;
constexpr uint32_t kPeriodic = 1 << 17;

constinit volatile uint32_t counts[256] = {};
constinit volatile uint8_t order[8] = {};
constinit volatile uint32_t order_length = 0;
constinit Madt madt = {};
constinit VirtioDevice device = {};
constinit VirtQueue queue = {};
constinit BlockDriver driver = {};
alignas(16) constinit uint8_t buffer[512] = {};

void count(uint64_t vector) {
  counts[vector] = counts[vector] + 1;
  if (order_length < 8) {
    order[order_length] = static_cast<uint8_t>(vector);
    order_length = order_length + 1;
  }
}

void on_pic(InterruptFrame& frame) {
  count(frame.vector);
  pic_eoi(static_cast<uint32_t>(frame.vector - kPicBase));
}

void on_apic(InterruptFrame& frame) {
  count(frame.vector);
  apic_eoi();
}

// INTx stays asserted until the device is asked why.
void on_intx(InterruptFrame& frame) {
  count(frame.vector);
  device.interrupt_status();
  apic_eoi();
}

void reset_counts() {
  for (volatile uint32_t& c : counts) c = 0;
  order_length = 0;
}

bool arrives(uint8_t vector, uint32_t at_least = 1, uint64_t milliseconds = 2000) {
  return wait_until(
      [=] {
        allow_interrupts();
        return counts[vector] >= at_least;
      },
      milliseconds);
}

bool stays_away(uint8_t vector) {
  const uint32_t before = counts[vector];
  return !arrives(vector, before + 1, 20);
}

bool has_pit() { return start_pit_2(0xffff); }

void test_pic() {
  if (!madt.has_pic || !has_pit()) return skip("PIC", "the machine has none, or no PIT");
  initialise_pic(kPicBase, 0xffff);
  check_equal("PIC mask reads back", pic_mask(), 0xffff);
  for (uint8_t irq = 0; irq < 16; irq++) set_handler(kPicBase + irq, on_pic);
  apic_write(kApicLint0, kExternal);
  set_pit_0(2, 1193);  // 1 kHz
  check("masked PIC input stays away", stays_away(kPicBase));
  check("and its request is seen", wait_until([] { return (pic_requests() & 1) != 0; }));
  set_pic_mask(0xfffe);
  check("PIT through the PIC, again and again", arrives(kPicBase, 5), counts[kPicBase]);
  set_pic_mask(0xffff);
  allow_interrupts();
  reset_counts();
  check("masked again", stays_away(kPicBase));
  check("HLT is woken by the PIC", [] {
    set_pic_mask(0xfffe);
    reset_counts();
    wait_for_interrupt();
    set_pic_mask(0xffff);
    return counts[kPicBase] >= 1;
  }());
  apic_write(kApicLint0, kApicMasked);
  set_pic_mask(0xffff);
}

void test_io_apic() {
  if (!check("I/O APIC", has_io_apic())) return;
  check("I/O APIC has at least 24 pins", io_apic_pins() >= 24, io_apic_pins());
  io_apic_write(0x10 + 23 * 2, kRouteMasked | 0x55);
  check_equal("a redirection entry reads back", io_apic_read(0x10 + 23 * 2), kRouteMasked | 0x55);
  if (!has_pit()) return skip("PIT through the I/O APIC", "there is no PIT");
  set_handler(kTimerVector, on_apic);
  const uint32_t gsi = madt.isa_gsi[0];
  set_pit_0(2, 1193);
  reset_counts();
  route(gsi, kRouteMasked | kTimerVector);
  check("masked I/O APIC input stays away", stays_away(kTimerVector));
  route(gsi, kTimerVector);
  check("PIT through the I/O APIC, again and again", arrives(kTimerVector, 5), "GSI ", gsi);
  route(gsi, kOtherVector);
  set_handler(kOtherVector, on_apic);
  check("an entry that is changed sends the new vector", arrives(kOtherVector));
  route(gsi, kRouteMasked);
  set_pit_0(0, 0xffff);  // counts down once, and is quiet in what follows
}

void test_apic_timer() {
  set_handler(kTimerVector, on_apic);
  reset_counts();
  apic_write(kApicDivide, kApicDivideBy1);
  apic_write(kApicTimer, kTimerVector);
  apic_write(kApicInitialCount, 1'000'000);
  check("local APIC timer, once", arrives(kTimerVector) && stays_away(kTimerVector));
  apic_write(kApicTimer, kTimerVector | kPeriodic);
  apic_write(kApicInitialCount, 1'000'000);
  check("local APIC timer, periodic", arrives(kTimerVector, 6));
  apic_write(kApicTimer, kTimerVector | kApicMasked);
  allow_interrupts();
  check("local APIC timer, masked", stays_away(kTimerVector));
  apic_write(kApicTimer, kTimerVector);
  reset_counts();
  apic_write(kApicInitialCount, 5'000'000);
  wait_for_interrupt();
  check_equal("HLT is woken by the local APIC timer", counts[kTimerVector], 1);
}

void test_self_ipi() {
  set_handler(kLowVector, on_apic);
  set_handler(kHighVector, on_apic);
  reset_counts();
  send_ipi(0, kSelf | kAssert | kLowVector);
  check("self IPI", arrives(kLowVector));
  reset_counts();
  send_ipi(0, kSelf | kAssert | kLowVector);
  send_ipi(0, kSelf | kAssert | kHighVector);
  arrives(kLowVector);
  check("of two pending vectors the higher comes first", order[0] == kHighVector && order[1] == kLowVector);
  reset_counts();
  apic_write(kApicTaskPriority, 0x70);
  send_ipi(0, kSelf | kAssert | kLowVector);
  send_ipi(0, kSelf | kAssert | kHighVector);
  check("task priority lets higher classes through alone", arrives(kHighVector) && stays_away(kLowVector));
  apic_write(kApicTaskPriority, 0);
  check("and the others when it falls", arrives(kLowVector));
}

bool request() { return driver.request(kBlkIn, 0, buffer, sizeof buffer) == kBlkOk; }

struct MsiX {
  uint8_t capability;
  uint64_t table;
  uint64_t pending;
  uint32_t vectors;

  [[nodiscard]] uint64_t entry(uint32_t index) const { return table + index * 16ULL; }
  void set(uint32_t index, uint8_t vector) const {
    write32(entry(index), 0xfee0'0000 | local_apic_id() << 12);
    write32(entry(index) + 4, 0);
    write32(entry(index) + 8, vector);
    write32(entry(index) + 12, 0);
  }
  void mask(uint32_t index, bool on) const { write32(entry(index) + 12, on ? 1 : 0); }
  [[nodiscard]] bool is_pending(uint32_t index) const {
    return (read32(pending + index / 32 * 4ULL) >> index % 32 & 1) != 0;
  }
  void control(bool enable, bool function_mask) const {
    const uint16_t old = pci_read16(device.pci(), capability + 2U);
    pci_write16(device.pci(), capability + 2U,
                static_cast<uint16_t>((old & 0x3fff) | (enable ? 0x8000 : 0) | (function_mask ? 0x4000 : 0)));
  }
};

MsiX find_msi_x() {
  const uint8_t capability = pci_capability(device.pci(), 0x11);
  if (capability == 0) return {};
  const uint32_t table = pci_read32(device.pci(), capability + 4U);
  const uint32_t pending = pci_read32(device.pci(), capability + 8U);
  return {capability, pci_bar_address(device.pci(), table & 7) + (table & ~7U),
          pci_bar_address(device.pci(), pending & 7) + (pending & ~7U),
          (pci_read16(device.pci(), capability + 2U) & 0x7ffU) + 1};
}

bool start_with_vector(uint16_t vector) {
  if (!device.negotiate(0)) return false;
  queue.initialise(16, false);
  if (!device.enable_queue(0, queue, vector)) return false;
  device.start();
  driver.device = &device;
  driver.queue = &queue;
  return true;
}

void test_vector_masking(const MsiX& msi) {
  reset_counts();
  msi.mask(1, true);
  check("request with its vector masked", request());
  check("masked MSI-X vector stays away", stays_away(kDeviceVector));
  check("and is pending", msi.is_pending(1));
  msi.mask(1, false);
  check("unmasked it arrives", arrives(kDeviceVector));
  check("and is no longer pending", !msi.is_pending(1));
  check("once", stays_away(kDeviceVector));
  msi.control(true, true);
  check("request with the function masked", request());
  check("masked function stays quiet", stays_away(kDeviceVector) && msi.is_pending(1));
  reset_counts();
  msi.control(true, false);
  check("function unmasked, it arrives", arrives(kDeviceVector) && !msi.is_pending(1));
}

void test_msi_x() {
  const MsiX msi = find_msi_x();
  if (!check("MSI-X capability", msi.capability != 0)) return;
  check("MSI-X vectors for configuration and a queue", msi.vectors >= 2, msi.vectors);
  check_equal("vectors are masked after reset", read32(msi.entry(msi.vectors - 1) + 12) & 1, 1);
  set_handler(kDeviceVector, on_apic);
  set_handler(kOtherVector, on_apic);
  msi.control(true, false);
  msi.set(0, kOtherVector);
  msi.set(1, kDeviceVector);
  if (!check("queue takes its vector", start_with_vector(1))) return;
  reset_counts();
  check("request", request());
  check("MSI-X arrives", arrives(kDeviceVector));
  check_equal("and no other", counts[kOtherVector], 0);
  test_vector_masking(msi);
  reset_counts();
  msi.mask(1, true);
  msi.set(1, kOtherVector);
  check("a changed entry sends the new vector",
        request() && arrives(kOtherVector) && counts[kDeviceVector] == 0);
  reset_counts();
  queue.suppress_interrupts();
  check("a driver that wants no interrupt gets none", request() && stays_away(kOtherVector));
  queue.want_interrupt();
  check("a vector that is not there is refused",
        device.reset() && !start_with_vector(static_cast<uint16_t>(msi.vectors)));
  check("without a vector there is no interrupt",
        start_with_vector(kNoVector) && request() && stays_away(kOtherVector));
  msi.control(false, false);
}

void test_intx() {
  const uint8_t line = pci_read8(device.pci(), 0x3c);
  if (pci_read8(device.pci(), 0x3d) == 0 || line == 0 || line > 15)
    return skip("INTx", "the device has none");
  set_handler(kDeviceVector, on_intx);
  reset_counts();
  route(line, kDeviceVector | kRouteLevel);
  check("INTx arrives", start_with_vector(kNoVector) && request() && arrives(kDeviceVector), "GSI ", line);
  allow_interrupts();
  reset_counts();
  check("reading ISR status lowers the line", stays_away(kDeviceVector));
  constexpr uint16_t kDisableIntx = 1 << 10;
  const uint16_t command = pci_read16(device.pci(), kPciCommand);
  pci_write16(device.pci(), kPciCommand, command | kDisableIntx);
  check("INTx switched off stays away", request() && stays_away(kDeviceVector));
  check("but its status says it", (pci_read16(device.pci(), 6) & 0x08) != 0);
  pci_write16(device.pci(), kPciCommand, command);
  check("switched on it arrives", arrives(kDeviceVector));
  route(line, kRouteMasked);
}

void test_mmio() {
  const uint64_t offset = device.mmio() & 0xffff;
  const auto gsi = static_cast<uint32_t>(16 + offset / (option_is("monitor", "qemu") ? 0x200 : 0x1000));
  set_handler(kDeviceVector, on_intx);
  reset_counts();
  route(gsi, kDeviceVector);
  check("virtio-mmio interrupts", start_with_vector(kNoVector) && request() && arrives(kDeviceVector), "GSI ",
        gsi);
  check("and again", request() && arrives(kDeviceVector, 2));
  queue.suppress_interrupts();
  reset_counts();
  check("a driver that wants no interrupt gets none", request() && stays_away(kDeviceVector));
  route(gsi, kRouteMasked);
}

}  // namespace
}  // namespace guest

void guest::run() {
  if (!check("MADT", find_madt(madt))) return;
  enable_local_apic();
  mask_all_routes();
  tsc_frequency();
  test_pic();
  test_io_apic();
  test_apic_timer();
  test_self_ipi();
  if (!device.find(kVirtioBlock)) return skip("device interrupts", "there is no virtio-blk device");
  if (!device.is_pci()) return test_mmio();
  test_msi_x();
  test_intx();
}
