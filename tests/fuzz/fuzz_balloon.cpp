// A balloon and a driver that writes what it likes into memory and rings. Only whole pages inside guest
// memory go back to the host, those with the queues in them too, and each request is answered once.
//
// Input: options, then operations (see Driver::step).
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <memory>

#include "devices/virtio/balloon.h"
#include "devices/virtio/split_queue.h"
#include "tests/fuzz/guarded_ram.h"
#include "tests/fuzz/input.h"
#include "vmm/base/check.h"

namespace vmm::virtio {
namespace {

constexpr uint64_t kLowBytes = 64 << 10;
constexpr uint64_t kHighStart = 1 << 20;
constexpr uint64_t kHighBytes = 8 << 10;
constexpr uint16_t kQueues = 5;
constexpr uint16_t kQueueSize = 8;
constexpr uint64_t kQueueStride = 0x1000;
constexpr uint64_t kAvailableOffset = 0x400;
constexpr uint64_t kUsedOffset = 0x800;
constexpr int kMaxSteps = 1000;

const fuzz::GuardedRam& ram() {
  static const fuzz::GuardedRam ram({{0, kLowBytes}, {kHighStart, kHighBytes}});
  return ram;
}

void give_back(const iovec& pages) {
  const auto* const start = static_cast<const std::byte*>(pages.iov_base);
  const bool is_inside =
      std::ranges::any_of(ram().memory().regions(), [&](const GuestMemory::Region& region) {
        return start >= region.mapping.data() && start < region.mapping.data() + region.mapping.size() &&
               pages.iov_len <= static_cast<size_t>(region.mapping.data() + region.mapping.size() - start);
      });
  VMM_CHECK(is_inside, "what is given back is not the guest's");
  VMM_CHECK(reinterpret_cast<uintptr_t>(start) % VirtioBalloon::kPageBytes == 0 && pages.iov_len > 0 &&
                pages.iov_len % VirtioBalloon::kPageBytes == 0,
            "what is given back is no whole page");
  VMM_CHECK(::madvise(pages.iov_base, pages.iov_len, MADV_DONTNEED) == 0, "madvise");
}

class Driver final : private ChainReturn {
 public:
  explicit Driver(fuzz::Input& input) : input_(input) {
    for (uint16_t i = 0; i < kQueues; ++i) {
      const uint64_t base = i * kQueueStride;
      const QueueLayout layout{.size = kQueueSize,
                               .descriptors = GuestAddress(base),
                               .available = GuestAddress(base + kAvailableOffset),
                               .used = GuestAddress(base + kUsedOffset)};
      rings_[i] = std::make_unique<SplitQueue>(
          memory_, layout, SplitQueue::Options{.has_indirect = true, .has_event_index = input.chance()});
    }
    const std::array<uint16_t, kQueues> sizes = {kQueueSize, kQueueSize, kQueueSize, kQueueSize, kQueueSize};
    device_.start(*this, input.chance() ? ~uint64_t{0} : 0, sizes);
  }

  void run() {
    for (int i = 0; i < kMaxSteps && !input_.is_empty(); ++i) {
      step();
    }
  }

 private:
  void step() {
    const uint8_t operation = input_.take<uint8_t>();
    const auto queue = static_cast<uint16_t>(operation / 8 % kQueues);
    switch (operation % 8) {
      case 0:
        return configure();
      case 1:
      case 2:
        return scribble();
      case 3:
        return write_descriptor(queue);
      default:
        return publish(queue);
    }
  }

  // Outside of memory it does nothing.
  void write(uint64_t address, std::span<const std::byte> bytes) const {
    static_cast<void>(memory_.write_bytes(GuestAddress(address), bytes));
  }

  void configure() {
    std::array<std::byte, 8> bytes{};
    const uint32_t offset = input_.take<uint8_t>();
    device_.write_config(offset, input_.take_bytes(input_.below(bytes.size())));
    device_.read_config(offset, bytes);
  }

  void scribble() {
    const auto address = input_.take<uint16_t>();
    write(address, input_.take_bytes(input_.take<uint8_t>()));
  }

  void write_descriptor(uint16_t queue) {
    std::array<std::byte, 16> bytes{};
    const uint64_t index = input_.below(kQueueSize);
    store_le<uint64_t>(&bytes[0], input_.take<uint32_t>());
    store_le<uint32_t>(&bytes[8], input_.take<uint32_t>());
    store_le<uint16_t>(&bytes[12], input_.take<uint8_t>() & 7);
    store_le<uint16_t>(&bytes[14], input_.below(kQueueSize));
    write(queue * kQueueStride + index * bytes.size(), bytes);
  }

  // And the device takes it, with all that it finds.
  void publish(uint16_t queue) {
    std::array<std::byte, 2> bytes{};
    const uint64_t available = queue * kQueueStride + kAvailableOffset;
    store_le<uint16_t>(bytes.data(), input_.below(kQueueSize));
    write(available + 4 + uint64_t{2} * (published_[queue] % kQueueSize), bytes);
    store_le<uint16_t>(bytes.data(), ++published_[queue]);
    write(available + 2, bytes);
    SplitQueue& ring = *rings_[queue];
    while (ring.pop() == SplitQueue::Pop::kChain) {
      answers_ = 0;
      VMM_CHECK(device_.handle(queue, ring.popped()) == VirtioDevice::Handled::kTaken,
                "a request was refused");
      VMM_CHECK(answers_ == 1, "a request is answered once");
      static_cast<void>(ring.publish());
    }
  }

  void give_back(uint16_t queue, uint16_t head, uint32_t written_bytes) override {
    VMM_CHECK(written_bytes == 0, "a balloon writes nothing");
    ++answers_;
    rings_[queue]->add_used(head, written_bytes);
  }
  void put_back(uint16_t /*queue*/, uint16_t /*head*/) override {
    VMM_CHECK(false, "a balloon puts nothing back");
  }

  fuzz::Input& input_;
  const GuestMemory& memory_ = ram().memory();
  VirtioBalloon device_{memory_,
                        {.target_pages = 100, .deflates_on_oom = true, .reports_free_pages = true},
                        [](const iovec& pages) { virtio::give_back(pages); }};
  std::array<std::unique_ptr<SplitQueue>, kQueues> rings_;
  std::array<uint16_t, kQueues> published_{};
  int answers_ = 0;
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
