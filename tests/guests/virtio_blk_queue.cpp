// virtio-blk: descriptors that begin and end anywhere, many requests at a time, indexes that wrap, resets.
#include "tests/guests/runtime/clock.h"
#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/report.h"
#include "tests/guests/runtime/start.h"
#include "tests/guests/virtio_blk.h"

namespace guest::blk {
namespace {

constexpr uint32_t kSlots = 512;

constinit BlockHeader headers[kSlots] = {};
constinit volatile uint8_t statuses[kSlots] = {};
alignas(16) constinit Descriptor indirect[64] = {};

// Lays descriptors down one after another in a table, each pointing at the next.
class Chain {
 public:
  Chain(Descriptor* table, uint16_t first) : table_(table), next_(first), first_(first) {}

  Chain& add(const volatile void* data, uint32_t length, uint16_t flags) {
    if (next_ > first_) {
      table_[next_ - 1].flags |= kNext;
      table_[next_ - 1].next = next_;
    }
    table_[next_] = {address_of(data), length, flags, 0};
    next_++;
    return *this;
  }
  // In pieces of `step` bytes.
  Chain& add_in_pieces(const volatile void* data, uint32_t length, uint32_t step, uint16_t flags) {
    const auto* bytes = static_cast<const volatile uint8_t*>(data);
    for (uint32_t done = 0; done < length; done += step) {
      add(bytes + done, length - done < step ? length - done : step, flags);
    }
    return *this;
  }
  [[nodiscard]] uint16_t next() const { return next_; }

 private:
  Descriptor* table_;
  uint16_t next_;
  uint16_t first_;
};

uint8_t run(uint32_t type, uint64_t sector, const Chain& /*laid down*/) {
  headers[0] = {type, 0, sector};
  statuses[0] = 0xff;
  return driver.run_chain(0, statuses[0]);
}

Chain chain() { return {queues[0].descriptors, 0}; }

void test_split_anywhere() {
  fill_pattern(buffer, 1024, 20);
  check_equal("write with header and data split at odd places",
              run(kBlkOut, 40,
                  chain()
                      .add_in_pieces(&headers[0], 16, 5, 0)
                      .add(buffer, 1, 0)
                      .add(buffer + 1, 510, 0)
                      .add(buffer + 511, 2, 0)
                      .add(buffer + 513, 511, 0)
                      .add(statuses, 1, kWrite)),
              kBlkOk);
  check("what the split write wrote", read_pattern(40, 2, 20));
  memset(buffer, 0, 1024);
  check_equal("read with every header byte and odd data pieces on their own",
              run(kBlkIn, 40,
                  chain()
                      .add_in_pieces(&headers[0], 16, 1, 0)
                      .add_in_pieces(buffer, 1024, 77, kWrite)
                      .add(statuses, 1, kWrite)),
              kBlkOk);
  check("what the split read read", pattern_holds(buffer, 1024, 20));
}

void test_joined() {
  static constinit struct {
    BlockHeader header;
    uint8_t data[512];
  } out = {};
  static constinit uint8_t in[513] = {};
  out.header = {kBlkOut, 0, 50};
  fill_pattern(out.data, 512, 21);
  check_equal("write with header and data in one descriptor",
              run(kBlkOut, 50, chain().add(&out, sizeof out, 0).add(statuses, 1, kWrite)), kBlkOk);
  headers[0] = {kBlkIn, 0, 50};
  in[512] = 0xff;
  chain().add(&headers[0], 16, 0).add(in, 513, kWrite);
  check_equal("read with data and status in one descriptor", driver.run_chain(0, in[512]), kBlkOk);
  check("what it read", memcmp(in, out.data, 512) == 0);
}

// The status is the last byte that the device may write, wherever the data before it ends.
void test_status_in_a_later_descriptor() {
  static constinit uint8_t tail[8] = {};
  memset(tail, 0xff, sizeof tail);
  headers[0] = {kBlkIn, 0, 50};
  chain().add(&headers[0], 16, 0).add(buffer, 508, kWrite).add(tail, 5, kWrite);
  check_equal("read whose data ends in the descriptor of the status", driver.run_chain(0, tail[4]), kBlkOk);
  check("what is behind the status is untouched", tail[5] == 0xff && tail[7] == 0xff);
}

void test_indirect() {
  if ((device.features() & kIndirect) == 0) return skip("indirect descriptors", "not offered");
  fill_pattern(buffer, 4096, 22);
  const Chain table =
      Chain(indirect, 0).add(&headers[0], 16, 0).add_in_pieces(buffer, 4096, 100, 0).add(statuses, 1, kWrite);
  queues[0].descriptors[0] = {address_of(indirect), table.next() * uint32_t{sizeof(Descriptor)},
                              kIndirectTable, 0};
  check_equal("indirect write", run(kBlkOut, 72, table), kBlkOk);
  check("what the indirect write wrote", read_pattern(72, 8, 22));
  // The table may follow ordinary descriptors (2.7.5.3.2); QEMU 7.2 takes it only as the first one.
  if (option_is("monitor", "qemu")) return;
  headers[0] = {kBlkIn, 0, 72};
  memset(buffer, 0, 4096);
  const Chain rest = Chain(indirect, 0).add(buffer, 4096, kWrite).add(statuses, 1, kWrite);
  queues[0].descriptors[0] = {address_of(&headers[0]), 16, kNext, 1};
  queues[0].descriptors[1] = {address_of(indirect), rest.next() * uint32_t{sizeof(Descriptor)},
                              kIndirectTable, 0};
  check_equal("indirect table behind a direct descriptor", run(kBlkIn, 72, rest), kBlkOk);
  check("what it read", pattern_holds(buffer, 4096, 22));
}

uint8_t* block_of(uint32_t slot, uint64_t size = 4096) { return buffer + slot * size; }

// Request number `slot` in descriptors 3·slot and on.
void lay_down(VirtQueue& queue, uint16_t slot, uint32_t type, uint64_t sector, void* data, uint32_t length) {
  headers[slot] = {type, 0, sector};
  statuses[slot] = 0xff;
  const uint16_t data_flags = type == kBlkOut ? 0 : kWrite;
  const auto head = static_cast<uint16_t>(slot * 3);
  Chain(queue.descriptors, head)
      .add(&headers[slot], 16, 0)
      .add(data, length, data_flags)
      .add(&statuses[slot], 1, kWrite);
  queue.offer(head);
}

// Takes `count` completions: each slot exactly once, each with status OK.
bool collect(VirtQueue& queue, uint32_t count) {
  uint64_t seen[kSlots / 64] = {};
  for (uint32_t i = 0; i < count; i++) {
    UsedElement element = {};
    if (!wait_until([&] { return queue.take_used(element); }, 10'000)) return false;
    const uint32_t slot = element.id / 3;
    if (element.id % 3 != 0 || slot >= kSlots || (seen[slot / 64] >> slot % 64 & 1) != 0) return false;
    seen[slot / 64] |= 1ULL << slot % 64;
    if (statuses[slot] != kBlkOk) return false;
  }
  return true;
}

void test_in_flight() {
  VirtQueue& queue = queues[0];
  const auto count = static_cast<uint16_t>(queue.size / 3 < 256 ? queue.size / 3 : 256);
  for (uint16_t i = 0; i < count; i++) fill_pattern(block_of(i), 4096, 100U + i);
  for (uint16_t i = 0; i < count; i++) lay_down(queue, i, kBlkOut, 1024 + i * 8U, block_of(i), 4096);
  device.submit(0, queue);
  check("many writes in flight", collect(queue, count), "of ", count);
  memset(buffer, 0, uint64_t{count} * 4096);
  // Backwards, so that the order of slots and the order of sectors differ.
  for (uint16_t i = 0; i < count; i++)
    lay_down(queue, i, kBlkIn, 1024 + (count - 1U - i) * 8U, block_of(i), 4096);
  device.submit(0, queue);
  check("many reads in flight", collect(queue, count), "of ", count);
  bool holds = true;
  for (uint16_t i = 0; i < count; i++)
    holds = holds && pattern_holds(block_of(i), 4096, 100U + count - 1U - i);
  check("each read got its own sectors", holds);
}

void test_several_queues() {
  const auto offered = static_cast<uint32_t>(device.config(kQueues, 2));
  if ((device.features() & kBlkMultiQueue) == 0 || offered < 2) return skip("several queues", "not offered");
  const auto count = static_cast<uint16_t>(offered < kQueueCount ? offered : kQueueCount);
  bool enabled = device.negotiate(kAllFeatures);
  for (uint16_t i = 0; i < count; i++) {
    queues[i].initialise(64, (device.features() & kEventIndex) != 0);
    enabled = enabled && device.enable_queue(i, queues[i]);
    queues[i].suppress_interrupts();
  }
  if (!check("several queues are enabled", enabled)) return;
  device.start();
  for (uint16_t i = 0; i < count; i++) {
    for (uint16_t k = 0; k < 16; k++) {
      const uint16_t slot = static_cast<uint16_t>(i * 16 + k);
      headers[slot] = {kBlkIn, 0, 1024U + slot * 8U};
      statuses[slot] = 0xff;
      Chain(queues[i].descriptors, static_cast<uint16_t>(k * 3))
          .add(&headers[slot], 16, 0)
          .add(block_of(slot), 4096, kWrite)
          .add(&statuses[slot], 1, kWrite);
      queues[i].offer(static_cast<uint16_t>(k * 3));
    }
  }
  for (uint16_t i = 0; i < count; i++) device.submit(i, queues[i]);
  bool done = true;
  for (uint16_t i = 0; i < count; i++) {
    done = done && wait_until([&] { return queues[i].used_index() == 16; }, 10'000);
  }
  for (uint32_t slot = 0; slot < count * 16U; slot++) done = done && statuses[slot] == kBlkOk;
  check("requests on several queues at once", done);
  driver.start(device, queues[0], kAllFeatures);
}

// More than 65536 requests, in batches that do not divide 65536, so that indexes wrap in the middle of one.
void test_index_wrap(bool event_index) {
  VirtQueue& queue = queues[0];
  if (!driver.start(device, queue, event_index ? kAllFeatures : kAllFeatures & ~kEventIndex, 128)) return;
  constexpr uint16_t kBatch = 42;
  uint32_t done = 0;
  bool good = true;
  while (good && done < 66'000) {
    for (uint16_t i = 0; i < kBatch; i++) lay_down(queue, i, kBlkGetId, 0, block_of(i, 32), 20);
    device.submit(0, queue);
    good = collect(queue, kBatch);
    done += kBatch;
  }
  check(event_index ? "indexes wrap, with event index" : "indexes wrap, without event index", good, "after ",
        done, " requests");
}

void test_reset_in_flight() {
  VirtQueue& queue = queues[0];
  if (!driver.start(device, queue, kAllFeatures)) return;
  bool untouched = true;
  bool alive = true;
  for (int turn = 0; turn < 20 && alive; turn++) {
    for (uint16_t i = 0; i < 16; i++)
      lay_down(queue, i, kBlkIn, uint64_t{i} * 128, block_of(i, 65536), 65536);
    device.submit(0, queue);
    alive = device.reset();
    memset(buffer, 0x5a, kBufferSize);
    alive = alive && driver.start(device, queue, kAllFeatures);
    static constinit uint8_t other[4096] = {};
    alive = alive && driver.request(kBlkIn, 0, other, 4096) == kBlkOk;
    untouched = untouched && all_bytes_are(buffer, kBufferSize, 0x5a);
  }
  check("reset with requests in flight", alive);
  check("after a reset nothing is written to old buffers", untouched);
}

void test_queue_sizes() {
  const uint16_t maximum = device.queue_maximum(0);
  bool good = maximum >= 4 && (maximum & (maximum - 1)) == 0;
  for (uint16_t size = 4; size <= maximum && size <= kLargestQueue; size = static_cast<uint16_t>(size * 2)) {
    good = good && driver.start(device, queues[0], kAllFeatures, size) && queues[0].size == size;
    for (int i = 0; i < 20; i++) good = good && driver.request(kBlkGetId, 0, buffer, 20) == kBlkOk;
  }
  check("each power of two as queue size", good, "largest ", maximum);
  check_equal("no queue behind the last one",
              device.queue_maximum(static_cast<uint16_t>(device.config(kQueues, 2))), 0);
}

}  // namespace

void test_framing() {
  test_split_anywhere();
  test_joined();
  test_status_in_a_later_descriptor();
  test_indirect();
}

void test_many() {
  driver.start(device, queues[0], kAllFeatures, kLargestQueue);
  test_in_flight();
  test_several_queues();
  test_index_wrap(true);
  test_index_wrap(false);
}

void test_resets() {
  test_reset_in_flight();
  test_queue_sizes();
}

}  // namespace guest::blk
