// Measures virtio-blk, over PCI or MMIO, whichever there is: random reads and writes of 4 KiB and 64 KiB at
// queue depth 1 and 32. In ring 3, polling the used ring with interrupts suppressed. What is on the disk is
// lost.
//
// Command line: seconds=N or ops=N (of each measurement; default 1 second), depth=N, bs=N,
// op=randread|randwrite (only that one). Prints for each: BENCH randread bs=4096 depth=1 ops=1234
// ns=1000000000
#include <initializer_list>

#include "tests/guests/runtime/clock.h"
#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/report.h"
#include "tests/guests/runtime/start.h"
#include "tests/guests/runtime/virtio.h"

namespace guest {
namespace {

constexpr uint16_t kMaximumDepth = 32;
constexpr uint32_t kMaximumLength = 65536;
constexpr uint32_t kWarmUpOps = 64;
constexpr uint64_t kFeatures = kBlkBlockSize | kBlkFlush | kEventIndex;

constinit VirtioDevice device = {};
constinit VirtQueue queue = {};
constinit BlockDriver driver = {};
constinit BlockHeader headers[kMaximumDepth] = {};
constinit volatile uint8_t statuses[kMaximumDepth] = {};
alignas(4096) constinit uint8_t buffers[kMaximumDepth * kMaximumLength] = {};

struct Measurement {
  const char* name;
  uint32_t type;
  uint32_t length;
  uint16_t depth;
};

class Load {
 public:
  Load(const Measurement& what, uint64_t capacity)
      : what_(what), blocks_(capacity / (what.length / kSectorSize)) {
    for (uint16_t slot = 0; slot < what.depth; slot++) lay_down(slot);
  }

  // Runs until `ops` are done (0: no such limit) and `ticks` of the TSC are over. False: a request failed.
  bool run(uint64_t ops, uint64_t ticks) {
    const uint64_t start = tsc();
    uint64_t submitted = 0;
    done_ = 0;
    for (uint16_t slot = 0; slot < what_.depth; slot++, submitted++) send(slot);
    device.submit(0, queue);
    bool stopping = false;
    while (done_ < submitted) {
      const uint64_t before = submitted;
      UsedElement element = {};
      while (queue.take_used(element)) {
        const auto slot = static_cast<uint16_t>(element.id / 3);
        if (slot >= what_.depth || statuses[slot] != kBlkOk) return false;
        done_++;
        stopping = stopping || (ops != 0 ? submitted >= ops : tsc() - start >= ticks);
        if (stopping) continue;
        send(slot);
        submitted++;
      }
      if (submitted != before) {
        device.submit(0, queue);
      } else {
        pause();
        if (tsc() - start > ticks + 30 * tsc_frequency()) return false;
      }
    }
    elapsed_ = tsc() - start;
    return true;
  }

  [[nodiscard]] uint64_t done() const { return done_; }
  [[nodiscard]] uint64_t nanoseconds() const {
    const uint64_t hertz = tsc_frequency();
    return elapsed_ / hertz * 1'000'000'000 + elapsed_ % hertz * 1'000'000'000 / hertz;
  }

 private:
  void lay_down(uint16_t slot) const {
    const uint16_t flags = what_.type == kBlkIn ? kWrite : 0;
    const auto head = static_cast<uint16_t>(slot * 3);
    Descriptor* const d = &queue.descriptors[head];
    d[0] = {address_of(&headers[slot]), sizeof(BlockHeader), kNext, static_cast<uint16_t>(head + 1)};
    d[1] = {address_of(buffers + uint64_t{slot} * kMaximumLength), what_.length,
            static_cast<uint16_t>(flags | kNext), static_cast<uint16_t>(head + 2)};
    d[2] = {address_of(&statuses[slot]), 1, kWrite, 0};
  }

  void send(uint16_t slot) {
    headers[slot] = {what_.type, 0, random() % blocks_ * (what_.length / kSectorSize)};
    statuses[slot] = 0xff;
    queue.offer(static_cast<uint16_t>(slot * 3));
  }

  uint64_t random() {  // xorshift64
    seed_ ^= seed_ << 13;
    seed_ ^= seed_ >> 7;
    seed_ ^= seed_ << 17;
    return seed_;
  }

  Measurement what_;
  uint64_t blocks_;
  uint64_t seed_ = 88172645463325252;
  uint64_t done_ = 0;
  uint64_t elapsed_ = 0;
};

// What is done in ring 3, where there are no ports: a KVM that has no hardware runs this at full speed.
Load* under_way = nullptr;
bool is_done = false;
void work() {
  is_done = under_way->run(kWarmUpOps, 0) &&
            under_way->run(option_number("ops", 0), option_number("seconds", 1) * tsc_frequency());
}

void measure(const Measurement& what) {
  if (!driver.start(device, queue, kFeatures, 128)) return;
  Load load(what, device.config(0, 8));
  under_way = &load;
  run_in_user_mode(work);
  const bool done = is_done;
  if (check(what.name, done, "a request failed, or took too long")) {
    print("BENCH ", what.name, " bs=", what.length, " depth=", what.depth, " ops=", load.done(),
          " ns=", load.nanoseconds());
  }
}

// So that what the host did for us can be read from its /proc: end=wait.
void wait_to_be_killed() {
  constexpr uint64_t kMostSeconds = 60;
  const uint64_t begin = tsc();
  while (tsc() - begin < kMostSeconds * tsc_frequency()) {
    asm volatile("pause");
  }
}

void measure_all() {
  if (!device.find(kVirtioBlock)) return fail("find the disk", "there is no virtio-blk device");
  print("disk on ", device.is_pci() ? "PCI" : "MMIO", ", TSC ", tsc_frequency(), " Hz by ",
        tsc_frequency_source());
  for (const uint32_t type : {kBlkIn, kBlkOut}) {
    for (const uint32_t length : {4096U, 65536U}) {
      for (const uint16_t depth : {uint16_t{1}, kMaximumDepth}) {
        const char* const name = type == kBlkIn ? "randread" : "randwrite";
        const bool wanted = option_number("depth", depth) == depth && option_number("bs", length) == length &&
                            (option("op") == nullptr || option_is("op", name));
        if (wanted) measure({name, type, length, depth});
      }
    }
  }
  if (option_is("end", "wait")) wait_to_be_killed();
}

}  // namespace
}  // namespace guest

void guest::run() { measure_all(); }
