// Hostile: rings and set-up. Indexes that jump, heads outside the queue, queues changed while they are live,
// registers written out of order.
#include <initializer_list>

#include "tests/guests/hostile.h"
#include "tests/guests/runtime/apic.h"
#include "tests/guests/runtime/clock.h"
#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/report.h"
#include "tests/guests/runtime/start.h"

namespace guest::hostile {
namespace {

constinit BlockHeader header = {};
constinit volatile uint8_t status = 0;

struct Case {
  const char* name = nullptr;
  void (*act)() = nullptr;
  bool qemu_dies = false;  // QEMU 7.2 ends by an assertion
};

void set_available_index(uint16_t index) {
  queue.available[1] = index;
  full_fence();
}

void lay_read() {
  header = {kBlkIn, 0, 0};
  queue.descriptors[0] = {address_of(&header), sizeof header, kNext, 1};
  queue.descriptors[1] = {address_of(buffer), 512, kNext | kWrite, 2};
  queue.descriptors[2] = {address_of(&status), 1, kWrite, 0};
}

void offer_read() {
  lay_read();
  queue.offer(0);
  queue.publish();
  device.notify(0);
}

void settle() {
  wait_until([] { return queue.used_index() != queue.next_used || (device.status() & kNeedsReset) != 0; },
             30);
}

// Register offsets of the common configuration on PCI and of MMIO, by what they are.
uint64_t size_register() { return device.common_ + (device.is_pci() ? 0x18 : 0x38); }
uint64_t descriptors_register() { return device.common_ + (device.is_pci() ? 0x20 : 0x80); }
void write_size(uint16_t size) {
  device.select_queue(0);
  if (device.is_pci()) {
    write16(size_register(), size);
  } else {
    write32(size_register(), size);
  }
}

// All rings at one address.
void place_queue(uint64_t address, uint16_t size = 64) {
  device.set_queue(0, size, address, address, address);
}

// Reset, up to where features are agreed on.
void start_over() {
  device.reset();
  device.set_status(kAcknowledge);
  device.set_status(kAcknowledge | kDriver);
}

void work_with_queue_at(uint64_t address, uint16_t size = 64) {
  device.negotiate(0);
  place_queue(address, size);
  device.start();
  device.notify(0);
}

constexpr Case kRingCases[] = {
    {"head outside the queue",
     [] {
       queue.offer(64);
       queue.publish();
       device.notify(0);
     }},
    {"head 65535",
     [] {
       queue.offer(0xffff);
       queue.publish();
       device.notify(0);
     }},
    {"available index jumps by one more than the queue",
     [] {
       lay_read();
       set_available_index(65);
       device.notify(0);
     }},
    {"available index jumps by half its range",
     [] {
       lay_read();
       set_available_index(0x8000);
       device.notify(0);
     }},
    {"available index goes back",
     [] {
       offer_read();
       settle();
       set_available_index(0);
       device.notify(0);
     }},
    {"one head offered many times",
     [] {
       lay_read();
       for (int i = 0; i < 64; i++) queue.offer(0);
       queue.publish();
       device.notify(0);
     }},
    {"descriptors changed after they were offered",
     [] {
       offer_read();
       queue.descriptors[1] = {0xffff'ffff'0000, 0xffff'ffff, 0xffff, 0xffff};
     }},
    {"size changed while live",
     [] {
       write_size(4);
       offer_read();
       write_size(1024);
       offer_read();
     },
     true},
    {"addresses changed while live",
     [] {
       write32(descriptors_register(), 0xffff'f000);
       write32(descriptors_register() + 4, 0x7fff);
       offer_read();
     }},
    {"queue enabled again while live",
     [] {
       place_queue(0xffff'ffff'f000);
       offer_read();
     }},
    {"features changed while live",
     [] {
       device.set_driver_features(~0ULL);
       device.set_driver_features(0);
       offer_read();
     }},
    {"status bits taken back while live",
     [] {
       device.set_status(kAcknowledge);
       offer_read();
       device.set_status(0xff);
       offer_read();
     }},
    {"doorbells of queues that are not there",
     [] {
       const uint64_t ours = device.is_pci() ? device.notify_address_[0] : device.common_ + 0x50;
       for (uint32_t i = 1; i < 0x1'0000; i = i * 3 + 1) {
         if (device.is_pci()) {
           write16(ours, static_cast<uint16_t>(i));
         } else {
           write32(ours, i);
         }
       }
     }},
    {"doorbell rung for nothing",
     [] {
       for (int i = 0; i < 1000; i++) device.notify(0);
     }},
};

constexpr Case kSetUpCases[] = {
    {"queue outside memory", [] { work_with_queue_at(0x7fff'ffff'0000); }},
    {"queue at the end of the address space", [] { work_with_queue_at(~0ULL & ~0xfffULL); }},
    {"queue over the end of memory", [] { work_with_queue_at(end_of_memory() - 16); }},
    {"queue in the hole", [] { work_with_queue_at(0xfee0'0000); }},
    {"queue at odd addresses", [] { work_with_queue_at(address_of(&queue) + 1); }},
    {"queue of size 0", [] { work_with_queue_at(address_of(&queue), 0); }},
    {"queue whose size is no power of two", [] { work_with_queue_at(address_of(&queue), 3); }},
    {"queue of size 65535", [] { work_with_queue_at(address_of(&queue), 0xffff); }},
    {"DRIVER_OK before FEATURES_OK",
     [] {
       start_over();
       place_queue(address_of(&queue));
       device.set_status(kAcknowledge | kDriver | kDriverOk);
       device.notify(0);
     }},
    {"DRIVER_OK without queues",
     [] {
       device.negotiate(0);
       device.start();
       device.notify(0);
     }},
    {"doorbell before DRIVER_OK",
     [] {
       device.negotiate(0);
       place_queue(address_of(&queue));
       device.notify(0);
     }},
    {"features that are not offered",
     [] {
       start_over();
       device.set_driver_features(~0ULL);
       device.set_status(kAcknowledge | kDriver | kFeaturesOk);
       device.start();
       device.notify(0);
     }},
    {"queues that are not there",
     [] {
       device.negotiate(0);
       for (uint32_t i = 1; i < 0x1'0000; i = i * 7 + 1) {
         device.set_queue(static_cast<uint16_t>(i), 64, address_of(&queue), address_of(&queue),
                          address_of(&queue));
       }
       device.start();
     }},
    {"resets one after another",
     [] {
       for (int i = 0; i < 50; i++) {
         offer_read();
         device.set_status(0);
       }
     }},
};

void test_vectors() {
  if (!device.is_pci()) return;
  const uint8_t capability = pci_capability(device.pci(), 0x11);
  if (capability == 0) return;
  const uint32_t place = pci_read32(device.pci(), capability + 4U);
  const uint64_t entries = pci_bar_address(device.pci(), place & 7) + (place & ~7U);
  const uint16_t control = pci_read16(device.pci(), capability + 2U);
  const uint32_t vectors = (control & 0x7ffU) + 1;
  pci_write16(device.pci(), capability + 2U, control | 0x8000);
  device.negotiate(0);
  for (const uint32_t vector : {vectors, vectors + 1, 0x7ffU, 0xfffeU}) {
    device.enable_queue(0, queue, static_cast<uint16_t>(vector));
  }
  recovers("vectors that are not there");
  // Messages to memory, to nowhere, and to all CPUs; the delivery modes are fixed ones, the others end the
  // CPU.
  for (const uint64_t address : {0ULL, 0x1000ULL, 0xffff'ffff'ffff'fffcULL, 0xfee0'0000ULL, 0xfeef'f00cULL}) {
    for (uint32_t i = 0; i < vectors; i++) {
      write32(entries + i * 16ULL, static_cast<uint32_t>(address));
      write32(entries + i * 16ULL + 4, static_cast<uint32_t>(address >> 32));
      write32(entries + i * 16ULL + 8, 0xffff'0000 | (0x40U + i));
      write32(entries + i * 16ULL + 12, 0);
    }
    device.negotiate(0);
    queue.initialise(64, false);
    device.enable_queue(0, queue, 0);
    device.start();
    offer_read();
    settle();
  }
  pci_write16(device.pci(), capability + 2U, control);
  recovers("messages to anywhere");
}

}  // namespace

void test_bad_rings() {
  for (const Case& c : kRingCases) {
    if (c.qemu_dies && option_is("monitor", "qemu")) continue;
    if (!driver.start(device, queue, kIndirect | kEventIndex, 64))
      return fail(c.name, "the device does not start");
    c.act();
    settle();
    recovers(c.name);
  }
}

void test_bad_set_up() {
  for (const Case& c : kSetUpCases) {
    if (c.qemu_dies && option_is("monitor", "qemu")) continue;
    queue.initialise(64, false);
    c.act();
    settle();
    recovers(c.name);
  }
  test_vectors();
}

}  // namespace guest::hostile
