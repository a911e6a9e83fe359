// The entropy device, the console of virtio and the debug console, as far as the command line says that they
// are there: rng=1, with rate=BYTES if it is bounded so in a period of seconds; console=1, whose other end
// sends back what it gets; debug=PORT.
#include "tests/guests/runtime/clock.h"
#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/report.h"
#include "tests/guests/runtime/start.h"
#include "tests/guests/runtime/virtio.h"

namespace guest {
namespace {

constexpr uint16_t kVirtioConsole = 3;
constexpr uint16_t kVirtioRng = 4;
constexpr uint16_t kInput = 0;
constexpr uint16_t kOutput = 1;

constinit VirtioDevice device = {};
constinit VirtQueue queues[2] = {};
alignas(4096) constinit uint8_t data[1 << 16] = {};
alignas(4096) constinit uint8_t echo[1 << 16] = {};

bool bring_up(uint16_t queue_count) {
  if (!device.negotiate(kIndirect | kEventIndex)) return false;
  for (uint16_t i = 0; i < queue_count; i++) {
    const uint16_t maximum = device.queue_maximum(i);
    queues[i].initialise(maximum < 64 ? maximum : 64, (device.features() & kEventIndex) != 0);
    if (!device.enable_queue(i, queues[i])) return false;
    queues[i].suppress_interrupts();
  }
  device.start();
  return true;
}

void offer(uint16_t queue, uint16_t head, void* bytes, uint32_t length, bool is_writable) {
  queues[queue].descriptors[head] = {address_of(bytes), length, is_writable ? kWrite : uint16_t{0}, 0};
  queues[queue].offer(head);
  device.submit(queue, queues[queue]);
}

bool take(uint16_t queue, UsedElement& element, uint64_t milliseconds = 20'000) {
  return wait_until([&] { return queues[queue].take_used(element); }, milliseconds);
}

// What one request of this length got; 0: nothing came.
uint32_t ask_for_random_bytes(uint32_t length) {
  UsedElement element = {};
  offer(0, 0, data, length, true);
  return take(0, element) ? element.length : 0;
}

uint32_t distinct_bytes(uint32_t length) {
  bool seen[256] = {};
  uint32_t count = 0;
  for (uint32_t i = 0; i < length; i++) {
    if (!seen[data[i]]) count++;
    seen[data[i]] = true;
  }
  return count;
}

void test_unbounded_rng() {
  const uint32_t got = ask_for_random_bytes(1024);
  check("random bytes come", got > 0 && got <= 1024, got);
  check("they are all kinds of bytes", got < 1024 || distinct_bytes(got) > 200, distinct_bytes(got));
  const uint8_t before[8] = {data[0], data[1], data[2], data[3], data[4], data[5], data[6], data[7]};
  ask_for_random_bytes(8);
  check("and others each time", memcmp(before, data, 8) != 0);
  memset(data, 0, sizeof data);
  const uint32_t large = ask_for_random_bytes(sizeof data);
  check("a large request gets no more than it has room for", large > 0 && large <= sizeof data, large);
  bool good = true;
  for (int i = 0; i < 500 && good; i++) good = ask_for_random_bytes(64) > 0;
  check("a flood of requests", good);
}

void test_bounded_rng(uint32_t rate) {
  uint32_t got = 0;
  UsedElement element = {};
  for (;;) {
    offer(0, 0, data, rate, true);
    if (!take(0, element, 200)) break;
    got += element.length;
  }
  check_equal("bytes in the first period", got, rate);
  check("the request that waits is filled in the next one", take(0, element) && element.length > 0);
}

void test_rng() {
  if (!check("there is an entropy device", device.find(kVirtioRng) && bring_up(1))) return;
  check_equal("its only queue", device.queue_maximum(1), 0);
  const auto rate = static_cast<uint32_t>(option_number("rate", 0));
  if (rate == 0) {
    test_unbounded_rng();
  } else {
    test_bounded_rng(rate);
  }
  check("it can be reset and set up again", bring_up(1));
}

// Sends `length` bytes in one request and reads until as many have come back.
bool is_echoed(uint32_t length, uint8_t seed) {
  for (uint32_t i = 0; i < length; i++) data[i] = static_cast<uint8_t>(seed + i * 7);
  memset(echo, 0, length);
  offer(kOutput, 0, data, length, false);
  UsedElement element = {};
  uint32_t got = 0;
  while (got < length) {
    offer(kInput, 0, echo + got, length - got, true);
    if (!take(kInput, element) || element.length == 0 || element.length > length - got) return false;
    got += element.length;
  }
  return take(kOutput, element) && memcmp(data, echo, length) == 0;
}

void test_console() {
  if (!check("there is a console of virtio", device.find(kVirtioConsole) && bring_up(2))) return;
  check("a line", is_echoed(20, 1));
  check("one byte", is_echoed(1, 2));
  check("64 KiB at once", is_echoed(sizeof data, 3));
  bool good = true;
  for (uint8_t i = 0; i < 50 && good; i++) good = is_echoed(1000, i);
  check("many requests", good);
  check("it can be reset and set up again", bring_up(2) && is_echoed(20, 4));
}

void test_debug_console(uint16_t port) {
  check_equal("the debug console is there", in8(port), 0xe9);
  constexpr char kText[] = "printed by the guest\n";
  for (const char* byte = kText; *byte != 0; byte++) out8(port, static_cast<uint8_t>(*byte));
  out_string(port, kText, sizeof kText - 1);
}

void test() {
  if (option_number("rng", 0) != 0) test_rng();
  if (option_number("console", 0) != 0) test_console();
  if (const auto port = static_cast<uint16_t>(option_number("debug", 0)); port != 0) test_debug_console(port);
}

}  // namespace
}  // namespace guest

void guest::run() { test(); }
