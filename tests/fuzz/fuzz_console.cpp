// A console of virtio, somebody who types, a reader that is slow or stops, and a driver that does what it
// likes. Nothing is typed twice, no output waits once there is room, and a device that is stopped keeps
// nothing.
//
// Input: operations (see run() and queue_driver.h).
#include <chrono>
#include <memory>

#include "devices/virtio/console.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/queue_driver.h"
#include "vmm/base/event_loop.h"

namespace vmm::virtio {
namespace {

constexpr int kMaxSteps = 1000;

// Counts, so that gigabytes of output take no memory.
class CountingSink final : public ByteSink {
 public:
  size_t write(std::span<const std::byte> bytes) override {
    const size_t count = std::min(bytes.size(), room);
    room -= count;
    return count;
  }
  void input_room() override { ++input_room_calls; }

  size_t room = 0;
  int input_room_calls = 0;
};

// One for all inputs: it costs descriptors.
EventLoop& the_loop() {
  static const std::unique_ptr<EventLoop> loop = *EventLoop::create();
  return *loop;
}

class ConsoleFuzzer {
 public:
  explicit ConsoleFuzzer(fuzz::Input& input) : input_(input) {}
  // What the device has posted is about the device.
  ~ConsoleFuzzer() { turn(); }
  ConsoleFuzzer(const ConsoleFuzzer&) = delete;
  ConsoleFuzzer& operator=(const ConsoleFuzzer&) = delete;

  void run() {
    for (int i = 0; i < kMaxSteps && !input_.is_empty(); ++i) {
      const uint8_t operation = input_.take<uint8_t>();
      switch (operation) {
        case 0xff:
          type(input_.take_bytes(input_.take<uint8_t>()));
          break;
        case 0xfe:
          sink_.room = input_.take<uint16_t>();
          device_.output_room();
          break;
        case 0xfd:
          turn();
          driver_.serve();
          break;
        case 0xfc:
          device_.let_go();
          break;
        default:
          driver_.step(operation);
      }
    }
    driver_.stop();
    VMM_CHECK(device_.can_accept(1), "output waits for nothing");
  }

 private:
  void turn() { the_loop().run_once(std::chrono::nanoseconds(0)); }

  void type(std::span<const std::byte> bytes) {
    VMM_CHECK(device_.receive(bytes) <= bytes.size(), "more was taken than was typed");
    VMM_CHECK(bytes.empty() || device_.can_accept(0), "what is typed is there");
  }

  fuzz::Input& input_;
  CountingSink sink_;
  VirtioConsole device_{sink_, the_loop()};
  fuzzing::QueueDriver driver_{input_, device_};
};

}  // namespace
}  // namespace vmm::virtio

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::fuzz::silence_log();
  vmm::virtio::fuzzing::ram().clear();
  vmm::fuzz::Input input(data, size);
  vmm::virtio::ConsoleFuzzer(input).run();
  return 0;
}
