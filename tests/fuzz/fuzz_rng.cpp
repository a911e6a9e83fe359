// An entropy device, its source that has more, less or nothing, time that passes, and a driver that does what
// it likes. No more is given than the source had and the rate allows.
//
// Input: options, then operations (see run() and queue_driver.h).
#include <algorithm>
#include <chrono>
#include <optional>

#include "devices/virtio/rng.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/queue_driver.h"
#include "tests/unit/fakes/fake_clock.h"

namespace vmm::virtio {
namespace {

constexpr int kMaxSteps = 1000;
constexpr std::chrono::milliseconds kPeriod(500);

class RngFuzzer {
 public:
  explicit RngFuzzer(fuzz::Input& input) : input_(input) {}

  void run() {
    for (int i = 0; i < kMaxSteps && !input_.is_empty(); ++i) {
      const uint8_t operation = input_.take<uint8_t>();
      switch (operation) {
        case 0xff:
          source_bytes_ = input_.take<uint16_t>();
          break;
        case 0xfe:
          VMM_CHECK(pass(std::chrono::milliseconds(input_.take<uint16_t>())) <= 1000,
                    "the alarms go off too often");
          driver_.serve();
          break;
        default:
          driver_.step(operation);
      }
    }
    driver_.stop();
    // The rest of what is asked for comes in time.
    source_bytes_ = VirtioRng::kPoolBytes;
    pass(kPeriod);
    VMM_CHECK(device_.can_accept(0), "the guest waits for ever");
  }

 private:
  int pass(std::chrono::nanoseconds time) { return run_for(clock_, {&period_alarm_, &retry_alarm_}, time); }
  size_t fill(std::span<std::byte> to) {
    const size_t count = std::min(to.size(), source_bytes_);
    std::ranges::fill(to.first(count), std::byte{0x5a});
    return count;
  }

  fuzz::Input& input_;
  FakeClock clock_;
  FakeAlarm period_alarm_{clock_}, retry_alarm_{clock_};
  size_t source_bytes_ = VirtioRng::kPoolBytes;
  std::optional<VirtioRng::Rate> rate_ =
      input_.chance()
          ? std::optional(VirtioRng::Rate{.bytes = input_.take<uint8_t>() + uint64_t{1}, .period = kPeriod})
          : std::nullopt;
  VirtioRng device_{[this](std::span<std::byte> to) { return fill(to); },
                    rate_,
                    {.period = period_alarm_, .retry = retry_alarm_}};
  fuzzing::QueueDriver driver_{input_, device_};
};

}  // namespace
}  // namespace vmm::virtio

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::fuzz::silence_log();
  vmm::virtio::fuzzing::ram().clear();
  vmm::fuzz::Input input(data, size);
  vmm::virtio::RngFuzzer(input).run();
  return 0;
}
