// A virtio disk behind MMIO and a driver that does what it likes: the input writes descriptors, rings and
// registers, and says when the disk completes. Whatever it does, a request is completed at most once, the
// disk sees only requests that it can carry out, and a reset brings the device back.
//
// Input: options, then operations (see Driver::step).
#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <memory>

#include "devices/virtio/block.h"
#include "devices/virtio/mmio.h"
#include "tests/fuzz/guarded_ram.h"
#include "tests/fuzz/input.h"
#include "tests/unit/fakes/fake_block_device.h"
#include "tests/unit/fakes/fake_doorbells.h"
#include "tests/unit/fakes/fake_interrupts.h"
#include "tests/unit/fakes/fake_virtio_driver.h"
#include "vmm/base/event_loop.h"

namespace vmm::virtio {
namespace {

constexpr uint64_t kMmioBase = 0xfeb0'0000;
constexpr uint64_t kDiskBytes = 64 << 10;
constexpr uint64_t kLowBytes = 64 << 10;
constexpr uint64_t kHighStart = 1 << 20;
constexpr uint64_t kHighBytes = 8 << 10;
constexpr uint16_t kMaxQueues = 2;
constexpr uint64_t kQueueStride = 0x2000;  // queue q at q * kQueueStride
constexpr uint64_t kHeaders = 0x4000;      // 16 bytes for each head
constexpr uint64_t kStatuses = 0x5000;
constexpr uint64_t kData = 0x6000;
constexpr int kMaxSteps = 2000;
constexpr int kTurns = 6;
constexpr int kMaxDrainRounds = 100;

const fuzz::GuardedRam& ram() {
  static const fuzz::GuardedRam ram({{0, kLowBytes}, {kHighStart, kHighBytes}});
  return ram;
}

VirtioBlock::Options options_from(fuzz::Input& input) {
  const uint8_t flags = input.take<uint8_t>();
  return {.serial = "fuzz",
          .queue_count = static_cast<uint16_t>(1 + (flags & 1)),
          .queue_size = static_cast<uint16_t>(4U << (flags >> 1 & 3)),
          .is_cache_unsafe = (flags & 8) != 0,
          .has_write_cache = (flags & 16) != 0,
          .offers_discard = (flags & 32) == 0,
          .offers_event_index = (flags & 64) == 0};
}

QueueLayout usual_layout(uint16_t queue, uint16_t size) {
  const uint64_t base = queue * kQueueStride;
  return {.size = size,
          .descriptors = GuestAddress(base),
          .available = GuestAddress(base + 0x1000),
          .used = GuestAddress(base + 0x1800)};
}

// The disk in its small world. All on one thread: turn() is the I/O thread's.
class World {
 public:
  World(const VirtioBlock::Options& options, bool is_read_only)
      : device_(prepared(disk, is_read_only), options) {
    transport = *VirtioMmio::create(device_, {.loop = *loop_,
                                              .memory = memory,
                                              .doorbells = doorbells_,
                                              .line = line_,
                                              .address = GuestAddress(kMmioBase)});
    VMM_CHECK(bus_.add(kMmioBase, VirtioMmio::kLengthBytes, *transport).has_value(), "taken");
  }

  void turn() const {
    for (int i = 0; i < kTurns; ++i) {
      loop_->run_once(std::chrono::nanoseconds(0));
    }
  }

 private:
  static block::FakeBlockDevice& prepared(block::FakeBlockDevice& disk, bool is_read_only) {
    disk.set_read_only(is_read_only);
    return disk;
  }

  std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
  IoBus bus_;
  FakeDoorbells doorbells_;
  FakeLine line_;

 public:
  const GuestMemory& memory = ram().memory();
  FakeMmio mmio{bus_, doorbells_};
  block::FakeBlockDevice disk{kDiskBytes};

 private:
  VirtioBlock device_;

 public:
  std::unique_ptr<VirtioMmio> transport;
  FakeMmioDriver driver{kMmioBase, mmio};
};

class Driver {
 public:
  explicit Driver(fuzz::Input& input)
      : input_(input), options_(options_from(input)), world_(options_, input.chance()) {}

  void run() {
    for (int i = 0; i < kMaxSteps && !input_.is_empty(); ++i) {
      step();
      check_queues();
      check_history();
    }
    finish();
  }

 private:
  void step() {
    switch (input_.below(16)) {
      case 0:
        return scribble();
      case 1:
        return write_descriptor();
      case 2:
        return publish(queue(), input_.take<uint8_t>());
      case 3:
        world_.driver.notify(queue());
        return world_.turn();
      case 4:
        return world_.turn();
      case 5:
        if (world_.disk.in_flight() > 0) {
          world_.disk.complete(input_.below(256) % world_.disk.in_flight());
        }
        return;
      case 6:
        return world_.disk.complete_all();
      case 7:
        return world_.driver.set_status(0);
      case 8:
        return bring_up();
      case 9:
        return world_.driver.write(uint64_t{4} * input_.below(64), input_.take<uint32_t>());
      case 10:
        return access_register();
      case 11:
        return world_.disk.fail_next(static_cast<block::BlockOp>(input_.below(5)),
                                     static_cast<block::IoStatus>(1 + input_.below(5)));
      case 12:
        return set_disk_speed();
      case 13:
        return quiesce_or_resume();
      case 14:
        return set_available_index(queue(), input_.take<uint16_t>());
      default:
        return request();
    }
  }

  uint16_t queue() { return input_.below(options_.queue_count); }

  // Anything anywhere; outside of memory it does nothing.
  void write(uint64_t address, std::span<const std::byte> bytes) const {
    static_cast<void>(world_.memory.write_bytes(GuestAddress(address), bytes));
  }
  void scribble() {
    const auto address = input_.take<uint16_t>();
    write(address, input_.take_bytes(input_.take<uint8_t>()));
  }
  void put_descriptor(uint64_t place, uint64_t address, uint32_t length, uint16_t flags,
                      uint16_t next) const {
    std::array<std::byte, 16> bytes{};
    store_le<uint64_t>(&bytes[0], address);
    store_le<uint32_t>(&bytes[8], length);
    store_le<uint16_t>(&bytes[12], flags);
    store_le<uint16_t>(&bytes[14], next);
    write(place, bytes);
  }
  // Tables lie at multiples of 16: the queue's own, or an indirect one wherever it is.
  void write_descriptor() {
    const uint64_t place = uint64_t{16} * input_.take<uint16_t>();
    const auto address = input_.take<uint32_t>();
    const auto length = input_.take<uint16_t>();
    const auto flags = input_.take<uint8_t>();
    const bool is_long = (flags & 0x80) != 0;
    put_descriptor(place, address, is_long ? uint32_t{length} << 16 : length, flags & 7,
                   input_.take<uint8_t>());
  }

  void set_available_index(uint16_t queue, uint16_t index) {
    available_[queue] = index;
    std::array<std::byte, 2> bytes{};
    store_le<uint16_t>(bytes.data(), index);
    write(usual_layout(queue, 0).available.value() + 2, bytes);
  }
  void publish(uint16_t queue, uint16_t head) {
    std::array<std::byte, 2> bytes{};
    store_le<uint16_t>(bytes.data(), head);
    write(usual_layout(queue, 0).available.value() + 4 +
              uint64_t{2} * (available_[queue] % options_.queue_size),
          bytes);
    set_available_index(queue, static_cast<uint16_t>(available_[queue] + 1));
  }

  // A request as it should be: header, data, status.
  void request() {
    constexpr std::array<uint32_t, 8> kTypes = {0, 1, 4, 8, 11, 13, 5, 0xffff'ffff};
    const uint16_t to = queue();
    const uint32_t type = kTypes[input_.below(kTypes.size())];
    const auto head = static_cast<uint16_t>(input_.below(options_.queue_size) & ~3U);
    const auto sector = input_.take<uint8_t>();
    const auto length = uint32_t{input_.take<uint8_t>()} * 16;
    std::array<std::byte, 16> header{};
    store_le<uint32_t>(&header[0], type);
    store_le<uint64_t>(&header[8], sector);
    write(kHeaders + uint64_t{16} * head, header);
    const uint64_t table = usual_layout(to, 0).descriptors.value() + uint64_t{16} * head;
    const bool is_read = type == 0 || type == 8;
    put_descriptor(table, kHeaders + uint64_t{16} * head, 16, 1, static_cast<uint16_t>(head + 1));
    put_descriptor(table + 16, kData, length, is_read ? 3 : 1, static_cast<uint16_t>(head + 2));
    put_descriptor(table + 32, kStatuses + head, 1, 2, 0);
    publish(to, head);
  }

  void bring_up() {
    const auto choice = input_.take<uint8_t>();
    const uint64_t offered = world_.driver.device_features();
    // Everything that is offered, or without the ring features or the device's own.
    const uint64_t without = ((choice & 1) != 0 ? uint64_t{3} << 28 : 0) | ((choice & 2) != 0 ? 0xffffU : 0U);
    std::vector<QueueLayout> layouts;
    layouts.reserve(options_.queue_count);
    for (uint16_t q = 0; q < options_.queue_count; ++q) {
      layouts.push_back(usual_layout(q, options_.queue_size));
    }
    if ((choice & 4) != 0) {
      layouts[0] = {.size = input_.take<uint16_t>(),
                    .descriptors = GuestAddress(input_.take<uint32_t>()),
                    .available = GuestAddress(input_.take<uint32_t>()),
                    .used = GuestAddress(input_.take<uint32_t>())};
    }
    if ((choice & 8) == 0) {
      for (uint16_t q = 0; q < options_.queue_count; ++q) {
        set_available_index(q, 0);
      }
    }
    world_.driver.bring_up(offered & ~without, layouts);
  }

  void access_register() {
    const uint64_t address = kMmioBase + input_.take<uint16_t>() % VirtioMmio::kLengthBytes;
    const auto value = input_.take<uint64_t>();
    switch (input_.below(8)) {
      case 0:
        return world_.mmio.write<uint8_t>(address, static_cast<uint8_t>(value & 0xff));
      case 1:
        return world_.mmio.write<uint16_t>(address, static_cast<uint16_t>(value & 0xffff));
      case 2:
        return world_.mmio.write<uint32_t>(address, static_cast<uint32_t>(value & 0xffff'ffff));
      case 3:
        return world_.mmio.write<uint64_t>(address, value);
      case 4:
        return static_cast<void>(world_.mmio.read<uint8_t>(address));
      case 5:
        return static_cast<void>(world_.mmio.read<uint16_t>(address));
      case 6:
        return static_cast<void>(world_.mmio.read<uint32_t>(address));
      default:
        return static_cast<void>(world_.mmio.read<uint64_t>(address));
    }
  }

  void set_disk_speed() {
    const auto choice = input_.take<uint8_t>();
    world_.disk.set_deferred((choice & 1) != 0);
    world_.disk.set_capacity(choice < 16 ? std::numeric_limits<uint32_t>::max() : choice >> 4);
  }

  void quiesce_or_resume() {
    if (is_quiesced_) {
      world_.transport->core().resume();
    } else {
      is_quiet_ = false;
      world_.transport->core().quiesce([this] { is_quiet_ = true; });
    }
    is_quiesced_ = !is_quiesced_;
  }

  static uint16_t outstanding(const SplitQueue::State& ring) {
    return static_cast<uint16_t>(ring.next_available - ring.next_used);
  }

  // No more is completed than was made available, and no more is in flight than was taken.
  void check_queues() const {
    uint32_t taken = 0;
    for (const SplitQueue::State& ring : world_.transport->core().runner_state().queues) {
      VMM_CHECK(outstanding(ring) <= options_.queue_size, "more requests are in flight than a queue holds");
      VMM_CHECK(static_cast<uint16_t>(ring.next_used - ring.published_used) <= options_.queue_size,
                "more was shown to the driver than was completed");
      taken += outstanding(ring);
    }
    VMM_CHECK(world_.disk.in_flight() <= taken, "the disk works for nobody");
  }

  void check_history() {
    const auto& history = world_.disk.history();
    for (; checked_ < history.size(); ++checked_) {
      const auto& record = history[checked_];
      VMM_CHECK(
          record.offset.bytes() <= kDiskBytes && record.length_bytes <= kDiskBytes - record.offset.bytes(),
          "a request reaches past the end of the disk");
      const bool changes = record.op != block::BlockOp::kRead && record.op != block::BlockOp::kFlush;
      VMM_CHECK(!changes || !world_.disk.is_read_only(), "a disk that is read only was changed");
      VMM_CHECK(record.op != block::BlockOp::kFlush || !options_.is_cache_unsafe, "a flush was not offered");
    }
  }

  // The guest leaves it alone: all that was taken comes to an end, and so does a reset.
  void finish() {
    if (is_quiesced_) {
      quiesce_or_resume();
    }
    world_.disk.set_deferred(false);
    world_.disk.set_capacity(std::numeric_limits<uint32_t>::max());
    drain();
    for (const SplitQueue::State& ring : world_.transport->core().runner_state().queues) {
      // A chain without a place for its answer is never answered; the queue has stopped there.
      VMM_CHECK(outstanding(ring) <= (ring.is_broken ? 1 : 0), "a request was forgotten");
      VMM_CHECK(ring.published_used == ring.next_used, "a completion was not shown to the driver");
    }
    quiesce_or_resume();
    world_.turn();
    VMM_CHECK(is_quiet_, "a device with nothing to do does not come to rest");
    quiesce_or_resume();
    world_.driver.set_status(0);
    drain();
    VMM_CHECK(world_.driver.status() == 0, "a reset does not end");
    check_history();
  }

  void drain() {
    world_.turn();
    for (int i = 0; i < kMaxDrainRounds && world_.disk.in_flight() > 0; ++i) {
      world_.disk.complete_all();
      world_.turn();
    }
    VMM_CHECK(world_.disk.in_flight() == 0, "the disk does not come to an end");
    world_.turn();
  }

  fuzz::Input& input_;
  const VirtioBlock::Options options_;
  World world_;
  std::array<uint16_t, kMaxQueues> available_{};
  size_t checked_ = 0;
  bool is_quiesced_ = false;
  bool is_quiet_ = false;
};

}  // namespace
}  // namespace vmm::virtio

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::fuzz::silence_log();
  vmm::virtio::ram().clear();
  vmm::fuzz::Input input(data, size);
  vmm::virtio::Driver(input).run();
  return 0;
}
