// A guest that does everything wrong which it can. What counts is that the machine goes on, and that after a
// reset of the device a proper request works. What is on the disk is lost.
#include "tests/guests/hostile.h"

#include "tests/guests/runtime/clock.h"
#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/report.h"
#include "tests/guests/runtime/start.h"

namespace guest::hostile {

constinit VirtioDevice device = {};
constinit VirtQueue queue = {};
constinit BlockDriver driver = {};
alignas(4096) constinit uint8_t buffer[4096] = {};

namespace {

constinit uint64_t seed = 88172645463325252;

constexpr uint64_t kFeatures = kIndirect | kEventIndex | kBlkFlush;

bool start() { return driver.start(device, queue, kFeatures, 64); }

struct Shape {
  const char* name = nullptr;
  // Lays a chain down from descriptor 0; header and status are there to be used.
  void (*lay)(Descriptor* d) = nullptr;
  bool may_work = false;  // the standard forbids it to the driver, but does not say what a device does
};

constinit BlockHeader header = {};
constinit volatile uint8_t status = 0;
alignas(16) constinit Descriptor table[16] = {};

Descriptor header_at(uint16_t next) { return {address_of(&header), sizeof header, kNext, next}; }
Descriptor status_end() { return {address_of(&status), 1, kWrite, 0}; }
Descriptor data(uint64_t address, uint32_t length, uint16_t next) {
  return {address, length, kNext | kWrite, next};
}

void around(Descriptor* d, Descriptor middle) {
  d[0] = header_at(1);
  d[1] = middle;
  d[2] = status_end();
}

constexpr Shape kShapes[] = {
    {"data far outside memory", [](Descriptor* d) { around(d, data(0x7fff'ffff'0000, 4096, 2)); }},
    {"data at the end of the address space", [](Descriptor* d) { around(d, data(~0ULL - 511, 512, 2)); }},
    {"data that wraps around the address space",
     [](Descriptor* d) { around(d, data(~0ULL - 511, 4096, 2)); }},
    {"data in the hole below 4 GiB", [](Descriptor* d) { around(d, data(0xfee0'0000, 4096, 2)); }},
    {"data behind the end of memory", [](Descriptor* d) { around(d, data(end_of_memory(), 512, 2)); }},
    {"data that begins in memory and ends outside",
     [](Descriptor* d) { around(d, data(end_of_memory() - 512, 4096, 2)); }},
    {"data of 4 GiB", [](Descriptor* d) { around(d, data(address_of(buffer), 0xffff'fe00, 2)); }},
    {"data of no length", [](Descriptor* d) { around(d, data(address_of(buffer), 0, 2)); }, true},
    {"a descriptor that is its own next", [](Descriptor* d) { around(d, data(address_of(buffer), 512, 1)); }},
    {"two descriptors that are each other's next",
     [](Descriptor* d) {
       around(d, data(address_of(buffer), 512, 2));
       d[2] = data(address_of(buffer), 512, 1);
     }},
    {"next outside the queue", [](Descriptor* d) { around(d, data(address_of(buffer), 512, 64)); }},
    {"next far outside the queue", [](Descriptor* d) { around(d, data(address_of(buffer), 512, 0xffff)); }},
    {"readable behind writable",
     [](Descriptor* d) {
       around(d, data(address_of(buffer), 512, 2));
       d[2] = {address_of(buffer), 512, kNext, 3};
       d[3] = status_end();
     }},
    {"header too short",
     [](Descriptor* d) {
       d[0] = {address_of(&header), 8, kNext, 1};
       d[1] = status_end();
     }},
    {"header outside memory",
     [](Descriptor* d) {
       around(d, data(address_of(buffer), 512, 2));
       d[0].address = 0xffff'0000'0000;
     }},
    {"no status", [](Descriptor* d) { d[0] = {address_of(&header), sizeof header, 0, 0}; }},
    {"status outside memory",
     [](Descriptor* d) {
       around(d, data(address_of(buffer), 512, 2));
       d[2].address = 0xffff'0000'0000;
     }},
    {"status that cannot be written",
     [](Descriptor* d) {
       d[0] = header_at(1);
       d[1] = {address_of(&status), 1, 0, 0};
     }},
    {"nothing that can be read", [](Descriptor* d) { d[0] = status_end(); }},
    {"nothing at all", [](Descriptor* d) { d[0] = {0, 0, 0, 0}; }},
    {"all flags at once", [](Descriptor* d) { around(d, {address_of(buffer), 512, 0xffff, 2}); }, true},
    {"indirect table outside memory",
     [](Descriptor* d) { d[0] = {0x7fff'0000'0000, 48, kIndirectTable, 0}; }},
    {"indirect table over the end of memory",
     [](Descriptor* d) { d[0] = {end_of_memory() - 16, 48, kIndirectTable, 0}; }},
    {"indirect table of no length", [](Descriptor* d) { d[0] = {address_of(table), 0, kIndirectTable, 0}; }},
    {"indirect table of half a descriptor",
     [](Descriptor* d) { d[0] = {address_of(table), 24, kIndirectTable, 0}; }},
    {"indirect table of 4 GiB",
     [](Descriptor* d) { d[0] = {address_of(table), 0xffff'fff0, kIndirectTable, 0}; }},
    {"indirect table with a next one",
     [](Descriptor* d) {
       around(table, data(address_of(buffer), 512, 2));
       d[0] = {address_of(table), 48, kIndirectTable | kNext, 1};
       d[1] = status_end();
     },
     true},
    {"indirect table in an indirect table",
     [](Descriptor* d) {
       around(table, data(address_of(buffer), 512, 2));
       table[1] = {address_of(table), 48, kIndirectTable, 0};
       d[0] = {address_of(table), 48, kIndirectTable, 0};
     }},
    {"indirect table with a loop",
     [](Descriptor* d) {
       around(table, data(address_of(buffer), 512, 1));
       d[0] = {address_of(table), 48, kIndirectTable, 0};
     }},
    {"indirect table whose next is outside it",
     [](Descriptor* d) {
       around(table, data(address_of(buffer), 512, 3));
       d[0] = {address_of(table), 48, kIndirectTable, 0};
     }},
};

// Gives the device time to do something wrong, and lets it answer or not.
void let_it_work() {
  wait_until([] { return queue.used_index() != queue.next_used || (device.status() & kNeedsReset) != 0; },
             30);
}

}  // namespace

uint64_t end_of_memory() {
  const StartInfo& info = start_info();
  uint64_t end = 0;
  for (uint32_t i = 0; i < info.memory_ranges; i++) {
    const MemoryRange& range = info.memory[i];
    const uint64_t range_end = range.address + range.length;
    // Firmware reserves some at the end, so that reserved ranges count where they follow.
    const bool low = range_end <= 0xc000'0000;
    if (low && (range.type == 1 || range.address == end) && range_end > end) end = range_end;
  }
  return end;
}

uint64_t random() {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}

bool recovers(const char* after) {
  bool works = device.reset() && start();
  for (uint32_t i = 0; i < sizeof buffer; i++) buffer[i] = static_cast<uint8_t>(i * 7 + i / 256);
  works = works && driver.request(kBlkOut, 64, buffer, sizeof buffer) == kBlkOk;
  memset(buffer, 0, sizeof buffer);
  works = works && driver.request(kBlkIn, 64, buffer, sizeof buffer) == kBlkOk;
  for (uint32_t i = 0; i < sizeof buffer; i++)
    works = works && buffer[i] == static_cast<uint8_t>(i * 7 + i / 256);
  return check(after, works, "the disk does not work after a reset");
}

void test_bad_chains() {
  for (const Shape& shape : kShapes) {
    if (!device.reset() || !start()) return fail(shape.name, "the device does not start");
    header = {kBlkIn, 0, 0};
    status = 0xff;
    memset(table, 0, sizeof table);
    shape.lay(queue.descriptors);
    queue.offer(0);
    queue.publish();
    device.notify(0);
    let_it_work();
    const bool refused = status != kBlkOk || shape.may_work || option_is("monitor", "qemu");
    if (!refused) fail(shape.name, "the request was carried out");
    recovers(shape.name);
  }
}

}  // namespace guest::hostile

void guest::run() {
  using namespace hostile;
  if (!device.find(kVirtioBlock)) return fail("find the disk", "there is no virtio-blk device");
  print("memory ends at ", Hex{end_of_memory()});
  if (!recovers("before everything")) return;
  test_bad_chains();
  test_bad_rings();
  test_bad_set_up();
  test_random_accesses();
}
