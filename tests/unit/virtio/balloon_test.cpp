// What goes into the balloon, and what is reported as free, goes back to the host; and nothing else does.
#include "devices/virtio/balloon.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "devices/virtio/mmio.h"
#include "tests/unit/fakes/fake_doorbells.h"
#include "tests/unit/fakes/fake_interrupts.h"
#include "tests/unit/fakes/fake_virtio_driver.h"
#include "tests/unit/fakes/fake_virtqueue.h"
#include "tests/unit/fakes/guest_ram.h"
#include "vmm/base/event_loop.h"
#include "vmm/core/layout.h"

namespace vmm::virtio {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kBalloonVersion1 = uint64_t{1} << 32;
constexpr uint64_t kDeflateOnOom = 1U << 2;
constexpr uint64_t kReporting = 1U << 5;
constexpr uint64_t kPage = VirtioBalloon::kPageBytes;
constexpr uint64_t kRamBytes = 8U << 20;
constexpr uint64_t kHighRam = uint64_t{1} << 32;
constexpr uint64_t kHighRamBytes = 1U << 20;
constexpr uint64_t kQueues = 0x1'0000;
constexpr uint64_t kBalloonQueueStride = 0x1'0000;
constexpr uint64_t kPageNumbers = 0x20'0000;

// Guest addresses and lengths.
using Range = std::pair<uint64_t, uint64_t>;

struct BalloonRig {
  explicit BalloonRig(VirtioBalloon::Options options = {.target_pages = 0,
                                                        .deflates_on_oom = true,
                                                        .reports_free_pages = true})
      : device(memory, options, [this](const iovec& pages) { given_back.push_back(to_guest(pages)); }) {
    transport = *VirtioMmio::create(device, {.loop = *loop,
                                             .memory = memory,
                                             .doorbells = doorbells,
                                             .line = line,
                                             .address = GuestAddress(layout::kVirtioMmioStart)});
    VMM_CHECK(bus.add(layout::kVirtioMmioStart, VirtioMmio::kLengthBytes, *transport).has_value(), "taken");
    for (uint16_t i = 0; i < device.queue_count(); ++i) {
      queues.emplace_back(memory, kQueues + i * kBalloonQueueStride, device.queue_size_max());
    }
  }
  BalloonRig(const BalloonRig&) = delete;
  BalloonRig& operator=(const BalloonRig&) = delete;

  Range to_guest(const iovec& pages) const {
    for (const GuestMemory::Region& region : memory.regions()) {
      const auto* const start = static_cast<const std::byte*>(pages.iov_base);
      if (start >= region.mapping.data() && start < region.mapping.data() + region.mapping.size()) {
        return {region.start.value() + static_cast<uint64_t>(start - region.mapping.data()), pages.iov_len};
      }
    }
    ADD_FAILURE() << "not guest memory";
    return {};
  }

  void start(uint64_t features = kBalloonVersion1 | kDeflateOnOom | kReporting) {
    std::vector<QueueLayout> layouts;
    for (const FakeVirtqueue& queue : queues) {
      layouts.push_back(queue.layout());
    }
    driver.bring_up(features, layouts);
    turn();
  }
  void turn() const {
    for (int i = 0; i < 6; ++i) {
      loop->run_once(std::chrono::nanoseconds(0));
    }
  }
  void send(uint16_t queue, const std::vector<FakeBuffer>& buffers) {
    queues[queue].add(0, buffers);
    driver.notify(queue);
    turn();
  }
  void put(uint16_t queue, const std::vector<uint32_t>& pages) {
    for (size_t i = 0; i < pages.size(); ++i) {
      VMM_CHECK(memory.write<uint32_t>(GuestAddress(kPageNumbers + 4 * i), pages[i]), "not in test memory");
    }
    send(queue, {{kPageNumbers, static_cast<uint32_t>(4 * pages.size()), false}});
  }

  std::unique_ptr<EventLoop> loop = *EventLoop::create();
  GuestMemory memory = make_guest_ram({{0, kRamBytes}, {kHighRam, kHighRamBytes}});
  IoBus bus;
  FakeDoorbells doorbells;
  FakeLine line;
  FakeMmio mmio{bus, doorbells};
  std::vector<Range> given_back;
  VirtioBalloon device;
  std::unique_ptr<VirtioMmio> transport;
  FakeMmioDriver driver{layout::kVirtioMmioStart, mmio};
  std::vector<FakeVirtqueue> queues;
};

TEST(Balloon, TellsItsTargetAndKeepsWhatTheDriverHas) {
  BalloonRig rig({.target_pages = 1234});
  EXPECT_EQ(rig.driver.config32(0), 1234U);
  EXPECT_EQ(rig.driver.config32(4), 0U);
  rig.start(kBalloonVersion1);
  const std::array<std::byte, 4> actual = {std::byte{7}, std::byte{1}};
  rig.device.write_config(4, actual);
  rig.device.write_config(0, actual);                      // the target is the device's
  rig.device.write_config(5, std::span(actual).first(2));  // no part of a field
  rig.device.write_config(0xffff'fffc, actual);
  EXPECT_EQ(rig.driver.config32(0), 1234U);
  EXPECT_EQ(rig.driver.config32(4), 0x107U);
  EXPECT_EQ(rig.driver.config32(8), 0U);
  rig.driver.set_status(0);
  EXPECT_EQ(rig.driver.config32(4), 0U);
}

TEST(Balloon, OffersWhatIsAskedFor) {
  EXPECT_EQ(VirtioBalloon(make_guest_ram({{0, kRamBytes}}), {}, {}).features(), 0U);
  BalloonRig rig;
  EXPECT_EQ(rig.driver.device_features() & 0xff, kDeflateOnOom | kReporting);
}

TEST(Balloon, PagesPutIntoItGoBackAsFewRanges) {
  BalloonRig rig;
  rig.start();
  rig.put(0, {0x303, 0x301, 0x302, 0x400, 0x300, 0x301});
  EXPECT_THAT(rig.given_back, ElementsAre(Range(0x300 * kPage, 4 * kPage), Range(0x400 * kPage, kPage)));
  EXPECT_EQ(rig.queues[0].used_index(), 1);
}

TEST(Balloon, PagesTakenOutNeedNothing) {
  BalloonRig rig;
  rig.start();
  rig.put(1, {0x300, 0x301});
  EXPECT_THAT(rig.given_back, IsEmpty());
  EXPECT_EQ(rig.queues[1].used_index(), 1);
}

TEST(Balloon, ReportedRangesGoBack) {
  // As Linux numbers the reporting queue until 6.10, and as the standard does.
  for (const uint16_t queue : {uint16_t{2}, uint16_t{4}}) {
    BalloonRig rig;
    rig.start();
    rig.send(queue, {{0x40'0000, 0x20'0000, true}, {kHighRam, kHighRamBytes, true}});
    EXPECT_THAT(rig.given_back, ElementsAre(Range(0x40'0000, 0x20'0000), Range(kHighRam, kHighRamBytes)));
    EXPECT_EQ(rig.queues[queue].used_index(), 1);
  }
}

TEST(HostileBalloonDriver, PageNumbersOutsideOfMemoryGiveNothingBack) {
  BalloonRig rig;
  rig.start();
  rig.put(0, {0xffff'ffff, 0x800, 0x7ff, 0xb'0000, 0x10'0000, 0x10'0100, 0xf'ffff});
  EXPECT_THAT(rig.given_back, ElementsAre(Range(0x7ff * kPage, kPage), Range(kHighRam, kPage)));
  EXPECT_EQ(rig.queues[0].used_index(), 1);
}

TEST(HostileBalloonDriver, ARequestTooLongIsCarriedOutInPart) {
  BalloonRig rig;
  rig.start();
  std::vector<uint32_t> pages(VirtioBalloon::kMaxPagesOfRequest + 1, 0x300);
  pages.back() = 0x400;
  rig.put(0, pages);
  EXPECT_THAT(rig.given_back, ElementsAre(Range(0x300 * kPage, kPage)));
  // Pieces of any length; what is no whole number at the end is nothing.
  rig.send(0, {{kPageNumbers, 3, false}, {kPageNumbers + 3, 3, false}});
  EXPECT_EQ(rig.given_back.size(), 2U);
  EXPECT_EQ(rig.queues[0].used_index(), 2);
}

TEST(HostileBalloonDriver, OnlyWholePagesOfReportedRangesGoBack) {
  BalloonRig rig;
  rig.start();
  rig.send(2, {{0x40'0001, 3 * kPage, true},
               {0x50'0000, 2 * kPage - 1, true},
               {0x60'0001, 2 * kPage - 2, true},
               {0x60'0fff, 1, true}});
  EXPECT_THAT(rig.given_back, ElementsAre(Range(0x40'1000, 2 * kPage), Range(0x50'0000, kPage)));
}

TEST(HostileBalloonDriver, AReportWithARangeOutsideOfMemoryIsAnsweredAndNotCarriedOut) {
  BalloonRig rig;
  rig.start();
  rig.send(2, {{0x40'0000, kPage, true}, {kRamBytes, kPage, true}});
  rig.send(2, {{kRamBytes - kPage, 2 * kPage, true}});
  EXPECT_THAT(rig.given_back, IsEmpty());
  EXPECT_EQ(rig.queues[2].used_index(), 2);
}

TEST(HostileBalloonDriver, QueuesTakeWhatIsTheirsOnly) {
  BalloonRig rig;
  rig.start();
  rig.send(0, {{0x40'0000, kPage, true}});  // a report where pages are put in
  rig.send(2, {{kPageNumbers, 4, false}});  // page numbers where ranges are reported
  rig.send(1, {{0x40'0000, kPage, true}});
  EXPECT_THAT(rig.given_back, IsEmpty());
  BalloonRig without;
  without.start(kBalloonVersion1 | kDeflateOnOom);
  without.send(2, {{0x40'0000, kPage, true}});  // not negotiated
  EXPECT_THAT(without.given_back, IsEmpty());
  EXPECT_EQ(without.queues[2].used_index(), 1);
}

TEST(HostileBalloonDriver, QueuesMayLieInWhatIsGivenBack) {
  BalloonRig rig;
  rig.start();
  rig.put(0, {kQueues / kPage, (kQueues + kBalloonQueueStride) / kPage, kPageNumbers / kPage});
  EXPECT_EQ(rig.given_back.size(), 3U);
  EXPECT_EQ(rig.driver.status() & kStatusNeedsReset, 0);
}

TEST(Balloon, QuietItGivesNothingBackUntilItGoesOn) {
  BalloonRig rig;
  rig.start();
  bool is_quiet = false;
  rig.transport->core().quiesce([&is_quiet] { is_quiet = true; });
  rig.turn();
  EXPECT_TRUE(is_quiet);
  rig.put(0, {0x300});
  EXPECT_THAT(rig.given_back, IsEmpty());
  rig.transport->core().resume();
  rig.turn();
  EXPECT_THAT(rig.given_back, ElementsAre(Range(0x300 * kPage, kPage)));
}

}  // namespace
}  // namespace vmm::virtio
