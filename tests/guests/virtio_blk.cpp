// Every kind of request to virtio-blk, over PCI or MMIO, whichever there is. What is on writable disks is
// lost.
#include "tests/guests/virtio_blk.h"

#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/report.h"
#include "tests/guests/runtime/start.h"

namespace guest::blk {

constinit VirtioDevice device = {};
constinit VirtQueue queues[kQueueCount] = {};
constinit BlockDriver driver = {};
alignas(4096) constinit uint8_t buffer[kBufferSize] = {};

namespace {

uint64_t pattern(uint64_t seed, uint32_t place) {
  return (seed + 1) * 0x9e37'79b9'7f4a'7c15 + place * 0x1'0001ULL;
}

}  // namespace

void fill_pattern(void* data, uint32_t length, uint64_t seed) {
  auto* const words = static_cast<uint64_t*>(data);
  for (uint32_t i = 0; i < length / 8; i++) words[i] = pattern(seed, i);
}

bool pattern_holds(const void* data, uint32_t length, uint64_t seed, uint32_t offset) {
  const auto* const words = static_cast<const uint64_t*>(data);
  for (uint32_t i = 0; i < length / 8; i++) {
    if (words[i] != pattern(seed, offset / 8 + i)) return false;
  }
  return true;
}

bool all_bytes_are(const void* data, uint32_t length, uint8_t value) {
  const auto* const bytes = static_cast<const uint8_t*>(data);
  for (uint32_t i = 0; i < length; i++) {
    if (bytes[i] != value) return false;
  }
  return true;
}

bool write_pattern(uint64_t sector, uint32_t sectors, uint64_t seed) {
  fill_pattern(buffer, sectors * kSectorSize, seed);
  return driver.request(kBlkOut, sector, buffer, sectors * kSectorSize) == kBlkOk;
}

bool read_pattern(uint64_t sector, uint32_t sectors, uint64_t seed) {
  memset(buffer, 0xee, uint64_t{sectors} * kSectorSize);
  return driver.request(kBlkIn, sector, buffer, sectors * kSectorSize) == kBlkOk &&
         pattern_holds(buffer, sectors * kSectorSize, seed);
}

void test_requests() {
  check_equal("write", driver.request(kBlkOut, 0, buffer, 4096), kBlkOk);
  check_equal("used length of a write", driver.used_length(), 1);
  check("written sectors are read back",
        write_pattern(8, 16, 1) && write_pattern(24, 16, 2) && read_pattern(8, 16, 1));
  check_equal("used length of a read", driver.used_length(), 16 * kSectorSize + 1);
  check("neighbours keep theirs", read_pattern(24, 16, 2));
  const uint64_t capacity = device.config(kCapacity, 8);
  check("last sector", write_pattern(capacity - 1, 1, 3) && read_pattern(capacity - 1, 1, 3));
  check("one request of 1 MiB",
        write_pattern(64, kBufferSize / kSectorSize, 4) && read_pattern(64, kBufferSize / kSectorSize, 4));
  if ((device.features() & kBlkFlush) != 0) {
    check_equal("flush", driver.request(kBlkFlushRequest, 0, nullptr, 0), kBlkOk);
    check_equal("used length of a flush", driver.used_length(), 1);
  } else {
    skip("flush", "not offered");
  }
  memset(buffer, 0xee, 64);
  check_equal("get-id", driver.request(kBlkGetId, 0, buffer, 20), kBlkOk);
  check("the id is the disk's serial",
        memcmp(buffer, "GUEST-vd", 8) == 0 && buffer[9] == 0 && buffer[20] == 0xee);
}

void test_refusals() {
  const uint64_t capacity = device.config(kCapacity, 8);
  check_equal("unknown request type", driver.request(0x7777, 0, buffer, 512), kBlkUnsupported);
  check_equal("read at the end", driver.request(kBlkIn, capacity, buffer, 512), kBlkIoError);
  check_equal("read over the end", driver.request(kBlkIn, capacity - 1, buffer, 1024), kBlkIoError);
  check_equal("write over the end", driver.request(kBlkOut, capacity - 1, buffer, 1024), kBlkIoError);
  check_equal("read of the largest sector", driver.request(kBlkIn, ~0ULL, buffer, 512), kBlkIoError);
  check_equal("sector whose offset wraps to 0", driver.request(kBlkIn, 1ULL << 55, buffer, 512), kBlkIoError);
  check_equal("read of half a sector", driver.request(kBlkIn, 0, buffer, 256), kBlkIoError);
  check_equal("write of a sector and a byte", driver.request(kBlkOut, 0, buffer, 513), kBlkIoError);
  check("and a proper read still works", write_pattern(0, 8, 5) && read_pattern(0, 8, 5));
}

void test_read_only() {
  check("read-only is offered", (device.features() & kBlkReadOnly) != 0);
  check_equal("read of a read-only disk", driver.request(kBlkIn, 0, buffer, 4096), kBlkOk);
  check_equal("write to a read-only disk", driver.request(kBlkOut, 0, buffer, 4096), kBlkIoError);
  BlockRange range = {0, 8, 0};
  // QEMU says OK to it and does nothing.
  const bool refused = driver.request(kBlkDiscardRequest, 0, &range, sizeof range) != kBlkOk;
  if (!option_is("monitor", "qemu")) check("discard on a read-only disk", refused);
  check("write-zeroes on a read-only disk",
        driver.request(kBlkWriteZeroesRequest, 0, &range, sizeof range) != kBlkOk);
  check_equal("flush of a read-only disk", driver.request(kBlkFlushRequest, 0, nullptr, 0), kBlkOk);
}

void test_ranges() {
  if ((device.features() & kBlkWriteZeroes) != 0) {
    const bool may_unmap = device.config(kWriteZeroesMayUnmap, 1) != 0;
    for (uint32_t unmap = 0; unmap <= (may_unmap ? 1U : 0U); unmap++) {
      BlockRange range = {104, 16, unmap};
      const bool done = write_pattern(96, 32, 6) &&
                        driver.request(kBlkWriteZeroesRequest, 0, &range, sizeof range) == kBlkOk &&
                        driver.request(kBlkIn, 96, buffer, 32 * kSectorSize) == kBlkOk;
      const bool zero = all_bytes_are(buffer + 8UL * kSectorSize, 16 * kSectorSize, 0);
      check(unmap != 0 ? "write-zeroes with unmap" : "write-zeroes", done && zero);
      check("beside the zeroes nothing changed",
            pattern_holds(buffer, 8 * kSectorSize, 6) &&
                pattern_holds(buffer + 24UL * kSectorSize, 8 * kSectorSize, 6, 24 * kSectorSize));
    }
    BlockRange over = {device.config(kCapacity, 8) - 8, 16, 0};
    check_equal("write-zeroes over the end", driver.request(kBlkWriteZeroesRequest, 0, &over, sizeof over),
                kBlkIoError);
    BlockRange flags = {0, 8, 2};
    check_equal("write-zeroes with an unknown flag",
                driver.request(kBlkWriteZeroesRequest, 0, &flags, sizeof flags), kBlkUnsupported);
  } else {
    skip("write-zeroes", "not offered");
  }
  if ((device.features() & kBlkDiscard) == 0) return skip("discard", "not offered");
  BlockRange range = {256, 128, 0};
  check_equal("discard", driver.request(kBlkDiscardRequest, 0, &range, sizeof range), kBlkOk);
  check("discarded sectors can be written", write_pattern(256, 128, 7) && read_pattern(256, 128, 7));
  BlockRange unmap = {256, 128, 1};
  check_equal("discard with the flag unmap", driver.request(kBlkDiscardRequest, 0, &unmap, sizeof unmap),
              kBlkUnsupported);
  BlockRange over = {device.config(kCapacity, 8), 8, 0};
  check_equal("discard over the end", driver.request(kBlkDiscardRequest, 0, &over, sizeof over), kBlkIoError);
  check("what was refused changed nothing", read_pattern(256, 128, 7));
}

void test_write_cache() {
  if ((device.features() & kBlkConfigWce) == 0) return skip("write-back bit", "not offered");
  const auto before = static_cast<uint8_t>(device.config(kWriteback, 1));
  device.set_config8(kWriteback, 0);
  check_equal("write-back switched off", device.config(kWriteback, 1), 0);
  check("write-through write", write_pattern(512, 8, 8) && read_pattern(512, 8, 8));
  device.set_config8(kWriteback, 1);
  check_equal("write-back switched on", device.config(kWriteback, 1), 1);
  check("write-back write", write_pattern(512, 8, 9) && read_pattern(512, 8, 9));
  device.set_config8(kWriteback, before);
}

namespace {

void test_disk(uint32_t number) {
  const uint64_t capacity = device.config(kCapacity, 8);
  const uint16_t largest_queue = device.queue_maximum(0);
  if (!driver.start(device, queues[0], kAllFeatures)) return;
  print("disk ", number, device.is_pci() ? " on PCI" : " on MMIO", ", sectors ", capacity, ", features ",
        Hex{device.features()}, ", queue size ", queues[0].size, ", queues ", device.config(kQueues, 2));
  check("version 1 is offered", (device.features() & kVersion1) != 0);
  if ((device.features() & kBlkBlockSize) != 0) {
    const uint64_t size = device.config(kBlockSize, 4);
    check("block size is a power of two of at least 512", size >= 512 && (size & (size - 1)) == 0, size);
  }
  if ((device.features() & kBlkSegMax) != 0) {
    check("seg_max leaves room for header and status", device.config(kSegMax, 4) + 2 <= largest_queue,
          device.config(kSegMax, 4));
  }
  if ((device.features() & kBlkReadOnly) != 0) return test_read_only();
  constexpr struct {
    const char* name;
    void (*function)();
  } kParts[] = {{"requests", test_requests}, {"refusals", test_refusals},
                {"ranges", test_ranges},     {"write-cache", test_write_cache},
                {"framing", test_framing},   {"many", test_many},
                {"resets", test_resets}};
  const char* const only = option("only");
  for (const auto& part : kParts) {
    if (only == nullptr || list_has(only, part.name)) part.function();
  }
}

void test_disks() {
  uint32_t number = 0;
  while (number < 8 && device.find(kVirtioBlock, number)) test_disk(number++);
  check_equal("disks found", number, option_number("disks", 1));
}

}  // namespace
}  // namespace guest::blk

void guest::run() { run_in_user_mode(blk::test_disks); }
