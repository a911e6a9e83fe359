// A network device whose rings somebody else serves while the driver is ready: what is handed over and taken
// back, and when.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "devices/virtio/net.h"
#include "devices/virtio/net_features.h"
#include "tests/unit/fakes/fake_net_end.h"
#include "tests/unit/fakes/fake_ring_host.h"
#include "tests/unit/virtio/small_device_rig.h"

namespace vmm::virtio {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::UnorderedElementsAre;

constexpr uint64_t kPacketPlace = 0x20'0000;
constexpr uint64_t kControlPlace = 0x30'0000;
constexpr uint64_t kFeaturesOfOne = kVersion1 | feature_mask(net::kMac);

struct HostedRig {
  explicit HostedRig(uint16_t pairs = 1, Transport transport = Transport::kPci)
      : end(pairs), guest(device_of(), transport, *loop) {}

  VirtioNet& device_of() {
    device = std::make_unique<VirtioNet>(
        end, VirtioNet::Options{.mac = {0x52, 0x54, 0, 1, 2, 3}, .host_of_rings = &host});
    return *device;
  }
  void start_with_vectors() {
    FakePciDriver& driver = guest.pci_driver();
    driver.negotiate(kFeaturesOfOne);
    driver.enable_msix();
    for (uint16_t queue = 0; queue < guest.queues.size(); ++queue) {
      driver.program_vector(queue, queue);
      driver.set_queue(queue, guest.queues[queue].layout());
      driver.set_queue_vector(queue, queue);
      driver.enable_queue(queue);
    }
    driver.add_status(kStatusDriverOk);
    guest.turn();
  }
  const EventFd* vector(size_t number) { return &guest.msi().vectors[number]->event; }
  void send(uint16_t head) {
    guest.queues[1].add(head, {{kPacketPlace, kPacketHeaderBytes + 60, false}});
    guest.kick(1);
  }
  void set_link(bool is_up) {
    device->set_link(is_up);
    guest.core().config_changed();
    guest.turn();
  }

  FakeRingHost host;
  std::unique_ptr<EventLoop> loop = *EventLoop::create();
  FakeNetEnd end;
  std::unique_ptr<VirtioNet> device;
  SmallDeviceRig guest;
};

TEST(HostedRings, AreHandedOverWhenTheDriverIsReady) {
  HostedRig rig;
  EXPECT_THAT(rig.host.rings, IsEmpty());
  rig.guest.start(kFeaturesOfOne);
  EXPECT_THAT(rig.host.rings, UnorderedElementsAre(Key(0), Key(1)));
  EXPECT_EQ(rig.host.features, kFeaturesOfOne);
  rig.send(0);
  EXPECT_TRUE(rig.end.sent.empty());
  EXPECT_NE(rig.host.rings[1].kick->drain(), 0U);
}

TEST(HostedRings, GoBackAtAReset) {
  HostedRig rig;
  rig.guest.start(kFeaturesOfOne);
  rig.host.rings[1].next_available = 5;
  rig.guest.restart();
  ASSERT_THAT(rig.host.rings, UnorderedElementsAre(Key(0), Key(1)));
  EXPECT_EQ(rig.host.rings[1].next_available, 0);
  rig.guest.driver->set_status(0);
  rig.guest.turn();
  EXPECT_THAT(rig.host.rings, IsEmpty());
  EXPECT_EQ(rig.guest.driver->status(), 0);
}

TEST(HostedRings, GoBackWhileTheDeviceIsHeld) {
  HostedRig rig;
  rig.guest.start(kFeaturesOfOne);
  bool is_quiet = false;
  rig.guest.core().quiesce([&] { is_quiet = true; });
  rig.guest.turn();
  EXPECT_TRUE(is_quiet);
  EXPECT_THAT(rig.host.rings, IsEmpty());
  rig.send(0);
  EXPECT_TRUE(rig.end.sent.empty());
  rig.guest.core().resume();
  rig.guest.turn();
  EXPECT_THAT(rig.host.rings, UnorderedElementsAre(Key(0), Key(1)));
}

TEST(HostedRings, AreServedHereWhileThereIsNoLink) {
  HostedRig rig;
  rig.guest.start(kFeaturesOfOne);
  rig.send(0);
  rig.send(1);
  rig.host.rings[1].next_available = 1;  // it has done the first
  rig.set_link(false);
  EXPECT_THAT(rig.host.rings, IsEmpty());
  EXPECT_EQ(rig.device->counters().values().sent.dropped, 1U);
  EXPECT_EQ(rig.guest.queues[1].used_index(), 2);
  rig.send(2);
  rig.set_link(true);
  ASSERT_THAT(rig.host.rings, UnorderedElementsAre(Key(0), Key(1)));
  EXPECT_EQ(rig.host.rings[1].next_available, 3);
  EXPECT_TRUE(rig.end.sent.empty());
}

TEST(HostedRings, HaveNoBufferOfTheDevicesHand) {
  HostedRig rig;
  rig.guest.start(kFeaturesOfOne);
  rig.set_link(false);
  rig.guest.queues[0].add(0, {{kPacketPlace, 2048, true}});
  rig.guest.kick(0);
  EXPECT_TRUE(rig.end.wanted[0]);
  rig.set_link(true);
  EXPECT_FALSE(rig.end.wanted[0]);
  EXPECT_EQ(rig.host.rings[0].next_available, 0);
}

TEST(HostedRings, OfPairsThatAreNotUsedStayHere) {
  HostedRig rig(2);
  rig.guest.start(kFeaturesOfOne | feature_mask(net::kMultiqueue) | feature_mask(net::kControlQueue));
  EXPECT_THAT(rig.host.rings, UnorderedElementsAre(Key(0), Key(1)));
  const auto set_pairs = [&](uint8_t pairs) {
    const std::vector<std::byte> command{std::byte{4}, std::byte{0}, std::byte{pairs}, std::byte{0}};
    ASSERT_TRUE(rig.guest.memory.write_bytes(GuestAddress(kControlPlace), command));
    rig.guest.queues[4].add(0, {{kControlPlace, 4, false}, {kControlPlace + 16, 1, true}});
    rig.guest.kick(4);
    EXPECT_TRUE(rig.guest.queues[4].take_used());
  };
  set_pairs(2);
  EXPECT_THAT(rig.host.rings, UnorderedElementsAre(Key(0), Key(1), Key(2), Key(3)));
  set_pairs(1);
  EXPECT_THAT(rig.host.rings, UnorderedElementsAre(Key(0), Key(1)));
}

TEST(HostedRings, SignalTheVectorUnlessItIsMasked) {
  HostedRig rig;
  rig.start_with_vectors();
  EXPECT_EQ(rig.host.rings[0].call, rig.vector(0));
  EXPECT_EQ(rig.host.rings[1].call, rig.vector(1));
  rig.guest.pci_driver().mask_vector(1, true);
  rig.guest.turn();
  EXPECT_EQ(rig.host.rings[0].call, rig.vector(0));
  const EventFd* const masked = rig.host.rings[1].call;
  EXPECT_NE(masked, rig.vector(1));
  masked->signal();
  rig.guest.turn();
  EXPECT_EQ(rig.guest.pci_driver().pending_bits(), 2U);
  EXPECT_EQ(rig.guest.msi().signals(1), 0);
  rig.guest.pci_driver().mask_vector(1, false);
  rig.guest.turn();
  EXPECT_EQ(rig.guest.msi().signals(1), 1);
  EXPECT_EQ(rig.host.rings[1].call, rig.vector(1));
}

TEST(HostedRings, RaiseTheWireWithoutVectors) {
  HostedRig rig;
  rig.guest.start(kFeaturesOfOne);
  rig.host.rings[0].call->signal();
  rig.guest.turn();
  EXPECT_TRUE(rig.guest.line().level);
  EXPECT_EQ(rig.guest.pci_driver().take_isr(), kInterruptQueue);
}

TEST(HostedRings, InterruptOnMmio) {
  HostedRig rig(1, Transport::kMmio);
  rig.guest.start(kFeaturesOfOne);
  const int before = rig.guest.line().rises;
  rig.host.rings[1].call->signal();
  rig.guest.turn();
  EXPECT_EQ(rig.guest.line().rises, before + 1);
}

// A call that came last is not lost when the ring goes back.
TEST(HostedRings, LoseNoInterruptOnTheirWayBack) {
  HostedRig rig;
  rig.guest.start(kFeaturesOfOne);
  rig.host.rings[0].call->signal();
  rig.guest.core().quiesce([] {});
  rig.guest.turn();
  EXPECT_TRUE(rig.guest.line().level);
}

TEST(HostedRings, ThatContradictThemselvesNeedAReset) {
  HostedRig rig;
  rig.guest.start(kFeaturesOfOne);
  rig.host.rings[1].error->signal();
  rig.guest.turn();
  EXPECT_THAT(rig.host.rings, ElementsAre(Key(0)));
  EXPECT_NE(rig.guest.driver->status() & kStatusNeedsReset, 0);
  rig.guest.restart();
  EXPECT_THAT(rig.host.rings, UnorderedElementsAre(Key(0), Key(1)));
  EXPECT_EQ(rig.guest.driver->status() & kStatusNeedsReset, 0);
}

TEST(HostedRings, AreServedHereWhereNobodyWantsThem) {
  HostedRig rig;
  rig.host.refuses = true;
  rig.guest.start(kFeaturesOfOne);
  rig.send(0);
  EXPECT_EQ(rig.end.sent.size(), 1U);
  EXPECT_TRUE(rig.guest.queues[1].take_used());
  EXPECT_EQ(rig.guest.driver->status() & kStatusNeedsReset, 0);
}

TEST(HostedRings, GoBackAtTheEnd) {
  FakeRingHost host;
  auto loop = *EventLoop::create();
  FakeNetEnd end;
  VirtioNet device(end, {.host_of_rings = &host});
  {
    SmallDeviceRig guest(device, Transport::kPci, *loop);
    guest.start(kFeaturesOfOne);
    EXPECT_EQ(host.rings.size(), 2U);
  }
  EXPECT_THAT(host.rings, IsEmpty());
}

}  // namespace
}  // namespace vmm::virtio
