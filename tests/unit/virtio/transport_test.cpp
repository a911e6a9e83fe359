// What both transports must do: negotiation, queue set-up, reset, quiescing.
#include <gtest/gtest.h>

#include "tests/unit/virtio/rig.h"

namespace vmm::virtio {
namespace {

class Transports : public testing::TestWithParam<Transport> {
 protected:
  Rig rig_{{.transport = GetParam(), .block = {.queue_count = 2}}};
  FakeVirtioDriver& driver_ = *rig_.driver;
};

INSTANTIATE_TEST_SUITE_P(All, Transports, testing::Values(Transport::kPci, Transport::kMmio),
                         [](const auto& param_info) {
                           return param_info.param == Transport::kPci ? "Pci" : "Mmio";
                         });

TEST_P(Transports, ReadsAndWritesGoThrough) {
  rig_.start();
  rig_.fill_disk(0, 512, 0x5c);
  EXPECT_EQ(rig_.run(0, kIn, 0, {{Rig::data_of(0), 512, true}}), kOk);
  EXPECT_EQ(rig_.byte(Rig::data_of(0)), 0x5c);
  EXPECT_EQ(rig_.line.rises, 1);
}

TEST_P(Transports, ModernFeaturesAreOfferedAndNoOthers) {
  const uint64_t features = driver_.device_features();
  const uint64_t ring_and_transport = features >> 24 << 24;
  EXPECT_EQ(ring_and_transport, kVersion1 | kIndirect | kEventIndex);
}

TEST_P(Transports, UnknownFeaturesAreRefused) {
  driver_.negotiate(kVersion1 | (1U << 24));
  EXPECT_EQ(driver_.status(), kStatusAcknowledge | kStatusDriver);
}

TEST_P(Transports, ALegacyDriverIsRefused) {
  driver_.negotiate(kFlush);
  EXPECT_EQ(driver_.status() & kStatusFeaturesOk, 0);
  driver_.add_status(kStatusDriverOk);
  EXPECT_EQ(driver_.status() & kStatusDriverOk, 0);
}

TEST_P(Transports, FeaturesAreFixedOnceAccepted) {
  driver_.negotiate(kVersion1);
  driver_.set_driver_features(kVersion1 | kFlush);
  EXPECT_EQ(rig_.core().state().driver_features, kVersion1);
}

TEST_P(Transports, TheDriverCannotClearStatusBitsNorSetNeedsReset) {
  driver_.negotiate(kVersion1);
  driver_.set_status(kStatusAcknowledge | kStatusNeedsReset);
  EXPECT_EQ(driver_.status(), kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk);
}

TEST_P(Transports, QueuesBeyondTheLastHaveNoSize) {
  EXPECT_EQ(driver_.queue_size(0), 256);
  EXPECT_EQ(driver_.queue_size(1), 256);
  EXPECT_EQ(driver_.queue_size(2), 0);
  EXPECT_EQ(driver_.queue_size(0xffff), 0);
  driver_.set_queue(2, rig_.queues[0].layout());
  driver_.enable_queue(2);
  EXPECT_FALSE(driver_.is_queue_enabled(2));
}

TEST_P(Transports, ImpossibleQueueSizesAreIgnored) {
  driver_.negotiate(kVersion1);
  for (const uint16_t size : Heads{0, 3, 512, 0x8000, 0xffff}) {
    QueueLayout layout = rig_.queues[0].layout();
    layout.size = size;
    driver_.set_queue(0, layout);
    EXPECT_EQ(rig_.core().state().queues[0].size, 256);
  }
}

TEST_P(Transports, ALiveQueueCannotBeChanged) {
  rig_.start();
  const VirtioCore::State before = rig_.core().state();
  QueueLayout other = rig_.queues[0].layout();
  other.size = 16;
  other.descriptors = GuestAddress(0x50'0000);
  driver_.set_queue(0, other);
  EXPECT_EQ(rig_.core().state().queues[0].size, before.queues[0].size);
  EXPECT_EQ(rig_.core().state().queues[0].areas, before.queues[0].areas);
  EXPECT_TRUE(driver_.is_queue_enabled(0));
  EXPECT_EQ(rig_.run(0, kIn, 0, {{Rig::data_of(0), 512, true}}), kOk);
}

TEST_P(Transports, AQueueCannotBeEnabledAfterDriverOk) {
  driver_.bring_up(kVersion1, {rig_.queues[0].layout()});
  driver_.set_queue(1, rig_.queues[1].layout());
  driver_.enable_queue(1);
  EXPECT_FALSE(driver_.is_queue_enabled(1));
  rig_.add(0, kIn, 0, {{Rig::data_of(0), 512, true}}, 1);
  rig_.kick(1);
  EXPECT_EQ(rig_.queues[1].used_index(), 0);
}

TEST_P(Transports, AQueueOutsideOfMemoryNeedsAReset) {
  QueueLayout layout = rig_.queues[0].layout();
  layout.used = GuestAddress(kNoRam);
  driver_.bring_up(kVersion1, {layout, rig_.queues[1].layout()});
  rig_.turn();
  EXPECT_EQ(driver_.status() & kStatusNeedsReset, kStatusNeedsReset);
  EXPECT_EQ(rig_.core().interrupt_status(), kInterruptConfig);
  rig_.start();
  EXPECT_EQ(rig_.run(0, kIn, 0, {{Rig::data_of(0), 512, true}}), kOk);
}

TEST_P(Transports, ABrokenQueueNeedsAResetAndWorksAfterIt) {
  rig_.start();
  rig_.queues[0].make_available(0x7fff);
  rig_.kick();
  EXPECT_EQ(driver_.status(), 0x0f | kStatusNeedsReset);
  EXPECT_EQ(rig_.core().interrupt_status() & kInterruptConfig, kInterruptConfig);
  const int rises = rig_.line.rises;
  rig_.kick();
  EXPECT_EQ(rig_.line.rises, rises);
  rig_.queues[0].jump_to(0);
  driver_.set_status(0);
  rig_.turn();
  EXPECT_EQ(driver_.status(), 0);
  rig_.start();
  rig_.queues[0].jump_to(0);
  EXPECT_EQ(rig_.run(0, kIn, 0, {{Rig::data_of(0), 512, true}}), kOk);
}

TEST_P(Transports, ANotificationBeforeDriverOkIsNotLost) {
  driver_.negotiate(kUsualFeatures);
  driver_.set_queue(0, rig_.queues[0].layout());
  driver_.enable_queue(0);
  rig_.add(0, kIn, 0, {{Rig::data_of(0), 512, true}});
  driver_.notify(0);
  rig_.turn();
  EXPECT_EQ(rig_.status(0), kNotWritten);
  driver_.add_status(kStatusDriverOk);
  rig_.turn();
  EXPECT_EQ(rig_.status(0), kOk);
}

TEST_P(Transports, NotificationsOfQueuesThatDoNotExistDoNothing) {
  rig_.start();
  rig_.core().notify(2);
  rig_.core().notify(0xffff'ffff);
  rig_.turn();
  EXPECT_EQ(driver_.status(), 0x0f);
}

TEST_P(Transports, DoorbellsAreAttachedWithDriverOkForEnabledQueues) {
  driver_.negotiate(kVersion1);
  driver_.set_queue(0, rig_.queues[0].layout());
  driver_.enable_queue(0);
  EXPECT_EQ(rig_.doorbells.count(), 0U);
  driver_.add_status(kStatusDriverOk);
  EXPECT_EQ(rig_.doorbells.count(), 1U);
}

TEST_P(Transports, WithoutDoorbellsNotificationsStillArrive) {
  rig_.doorbells.is_full = true;
  rig_.start();
  EXPECT_EQ(rig_.doorbells.count(), 0U);
  EXPECT_EQ(rig_.run(0, kIn, 0, {{Rig::data_of(0), 512, true}}), kOk);
}

TEST_P(Transports, AChangedConfigurationHasANewGenerationAndInterrupts) {
  rig_.start();
  const uint8_t before = driver_.config_generation();
  rig_.core().config_changed();
  EXPECT_NE(driver_.config_generation(), before);
  EXPECT_EQ(rig_.core().interrupt_status(), kInterruptConfig);
  EXPECT_EQ(rig_.line.rises, 1);
}

TEST_P(Transports, WithoutADriverNothingInterrupts) {
  rig_.core().config_changed();
  EXPECT_EQ(rig_.core().interrupt_status(), 0);
  EXPECT_EQ(rig_.line.rises, 0);
}

// --- Reset ---

TEST_P(Transports, AResetClearsAllRegisters) {
  rig_.start();
  driver_.set_status(0);
  rig_.turn();
  EXPECT_EQ(driver_.status(), 0);
  EXPECT_FALSE(driver_.is_queue_enabled(0));
  const VirtioCore::State state = rig_.core().state();
  EXPECT_EQ(state.driver_features, 0U);
  EXPECT_EQ(state.queues[0].size, 256);
  EXPECT_EQ(state.queues[0].areas[0], 0U);
}

TEST_P(Transports, ResetWaitsForWhatIsInFlightAndForgetsIt) {
  rig_.start();
  rig_.disk.set_deferred(true);
  rig_.add(0, kIn, 0, {{Rig::data_of(0), 512, true}});
  rig_.kick();
  ASSERT_EQ(rig_.disk.in_flight(), 1U);
  driver_.set_status(0);
  rig_.turn();
  EXPECT_NE(driver_.status(), 0);
  rig_.disk.complete_all();
  rig_.turn();
  EXPECT_EQ(driver_.status(), 0);
  EXPECT_EQ(rig_.status(0), kNotWritten);
  EXPECT_EQ(rig_.queues[0].used_index(), 0);
  EXPECT_EQ(rig_.line.rises, 0);
}

TEST_P(Transports, ResetDropsWhatALimitOfTheDiskMadeWait) {
  rig_.start();
  rig_.disk.set_deferred(true);
  rig_.disk.set_limited(true);
  rig_.add(0, kOut, 0, {{Rig::data_of(0), 512, false}});
  rig_.add(4, kIn, 0, {{Rig::data_of(4), 512, true}});
  rig_.kick();
  ASSERT_EQ(rig_.disk.in_flight(), 2U);
  driver_.set_status(0);
  rig_.turn();
  EXPECT_EQ(driver_.status(), 0);
  EXPECT_EQ(rig_.disk.in_flight(), 0U);
  EXPECT_EQ(rig_.status(0), kNotWritten);
  EXPECT_EQ(rig_.queues[0].used_index(), 0);
}

TEST_P(Transports, ADriverThatDoesNotWaitForTheResetIsServedAfterIt) {
  rig_.start();
  rig_.disk.set_deferred(true);
  rig_.add(0, kIn, 0, {{Rig::data_of(0), 512, true}});
  rig_.kick();
  driver_.bring_up(kUsualFeatures, rig_.layouts());
  rig_.queues[0].jump_to(0);
  rig_.add(4, kIn, 0, {{Rig::data_of(4), 512, true}});
  rig_.kick();
  EXPECT_EQ(driver_.status(), 0x0f);
  EXPECT_EQ(rig_.disk.in_flight(), 1U);
  rig_.disk.set_deferred(false);
  rig_.disk.complete_all();
  rig_.turn();
  EXPECT_EQ(rig_.status(0), kNotWritten);
  EXPECT_EQ(rig_.status(4), kOk);
  EXPECT_EQ(rig_.queues[0].take_all_used(), (std::vector<FakeVirtqueue::Used>{{4, 513}}));
}

TEST_P(Transports, ManyResetsWithoutTheLoopRunningEndInOneState) {
  rig_.start();
  for (int i = 0; i < 1000; ++i) {
    driver_.bring_up(kUsualFeatures, rig_.layouts());
  }
  driver_.set_status(0);
  EXPECT_NE(driver_.status(), 0);
  rig_.turn();
  EXPECT_EQ(driver_.status(), 0);
  rig_.start();
  EXPECT_EQ(rig_.run(0, kIn, 0, {{Rig::data_of(0), 512, true}}), kOk);
}

TEST_P(Transports, AResetBeforeDriverOkIsDoneAtOnce) {
  driver_.negotiate(kVersion1);
  driver_.set_status(0);
  EXPECT_EQ(driver_.status(), 0);
}

TEST_P(Transports, RangesOfARequestStopAtAReset) {
  rig_.start();
  rig_.disk.set_deferred(true);
  rig_.fill(Rig::data_of(0), 64, 0);
  for (uint64_t segment = 0; segment < 3; ++segment) {
    rig_.set_byte(Rig::data_of(0) + 16 * segment + 8, 1);
  }
  rig_.run(0, kWriteZeroesRequest, 0, {{Rig::data_of(0), 48, false}});
  ASSERT_EQ(rig_.disk.history().size(), 1U);
  driver_.set_status(0);
  rig_.turn();
  rig_.disk.complete_all();
  rig_.turn();
  EXPECT_EQ(rig_.disk.history().size(), 1U);
  EXPECT_EQ(driver_.status(), 0);
}

// --- Quiescing ---

TEST_P(Transports, QuiesceCallsBackOnceAllIsDoneAndShown) {
  rig_.start();
  rig_.disk.set_deferred(true);
  rig_.add(0, kIn, 0, {{Rig::data_of(0), 512, true}});
  rig_.kick();
  bool is_quiet = false;
  rig_.core().quiesce([&] {
    is_quiet = true;
    EXPECT_EQ(rig_.queues[0].used_index(), 1);
  });
  rig_.turn();
  EXPECT_FALSE(is_quiet);
  rig_.disk.complete_all();
  rig_.turn();
  EXPECT_TRUE(is_quiet);
}

TEST_P(Transports, AQuietDeviceTakesNothingUntilItResumes) {
  rig_.start();
  bool is_quiet = false;
  rig_.core().quiesce([&] { is_quiet = true; });
  rig_.turn();
  ASSERT_TRUE(is_quiet);
  EXPECT_EQ(rig_.run(0, kIn, 0, {{Rig::data_of(0), 512, true}}), kNotWritten);
  rig_.core().resume();
  rig_.turn();
  EXPECT_EQ(rig_.status(0), kOk);
}

TEST_P(Transports, AnIdleDeviceIsQuietAtOnce) {
  bool is_quiet = false;
  rig_.core().quiesce([&] { is_quiet = true; });
  rig_.turn();
  EXPECT_TRUE(is_quiet);
  rig_.core().resume();
  rig_.start();
  EXPECT_EQ(rig_.run(0, kIn, 0, {{Rig::data_of(0), 512, true}}), kOk);
}

TEST_P(Transports, PowerOnResetOfAQuietDeviceStartsAfresh) {
  rig_.start();
  bool is_quiet = false;
  rig_.core().quiesce([&] { is_quiet = true; });
  rig_.turn();
  ASSERT_TRUE(is_quiet);
  rig_.core().power_on_reset();
  rig_.core().resume();
  rig_.turn();
  EXPECT_EQ(driver_.status(), 0);
  rig_.start();
  EXPECT_EQ(rig_.run(0, kIn, 0, {{Rig::data_of(0), 512, true}}), kOk);
}

TEST_P(Transports, StateSaysWhereTheQueuesAre) {
  rig_.start();
  rig_.run(0, kIn, 0, {{Rig::data_of(0), 512, true}});
  rig_.core().quiesce([] {});
  rig_.turn();
  const DeviceRunner::State state = rig_.core().runner_state();
  ASSERT_EQ(state.queues.size(), 2U);
  EXPECT_EQ(state.queues[0].next_available, 1);
  EXPECT_EQ(state.queues[0].next_used, 1);
  EXPECT_EQ(state.queues[1].next_available, 0);
}

// --- MMIO only ---

class Mmio : public testing::Test {
 protected:
  Rig rig_{{.transport = Transport::kMmio}};
  FakeMmioDriver& driver_ = static_cast<FakeMmioDriver&>(*rig_.driver);
};

TEST_F(Mmio, IdentifiesItself) {
  EXPECT_EQ(driver_.read(0x00), 0x74726976U);
  EXPECT_EQ(driver_.read(0x04), 2U);
  EXPECT_EQ(driver_.read(0x08), 2U);
}

TEST_F(Mmio, InterruptsUntilAcknowledgedAndPulsesForEach) {
  rig_.start();
  rig_.run(0, kGetId, 0, {{Rig::data_of(0), 20, true}});
  EXPECT_EQ(driver_.read(0x60), 1U);
  EXPECT_EQ(rig_.line.rises, 1);
  EXPECT_FALSE(rig_.line.level);
  rig_.run(0, kGetId, 0, {{Rig::data_of(0), 20, true}});
  EXPECT_EQ(rig_.line.rises, 2);
  driver_.write(0x64, 1);
  EXPECT_EQ(driver_.read(0x60), 0U);
}

TEST_F(Mmio, RegistersTakeAlignedDwordsOnly) {
  EXPECT_EQ(rig_.mmio.read<uint8_t>(Rig::kMmioBase), 0);
  EXPECT_EQ(rig_.mmio.read<uint32_t>(Rig::kMmioBase + 2), 0U);
  rig_.mmio.write<uint8_t>(Rig::kMmioBase + 0x70, 1);
  EXPECT_EQ(driver_.status(), 0);
}

TEST_F(Mmio, ThereIsNoSharedMemory) {
  for (uint64_t offset = 0xb0; offset <= 0xbc; offset += 4) {
    EXPECT_EQ(driver_.read(offset), 0xffff'ffffU);
  }
}

TEST_F(Mmio, AQueueIsTakenBackBeforeDriverOkButNotAfter) {
  driver_.negotiate(kVersion1);
  driver_.set_queue(0, rig_.queues[0].layout());
  driver_.enable_queue(0);
  driver_.write(0x44, 0);
  EXPECT_FALSE(driver_.is_queue_enabled(0));
  driver_.enable_queue(0);
  driver_.add_status(kStatusDriverOk);
  driver_.write(0x44, 0);
  EXPECT_TRUE(driver_.is_queue_enabled(0));
}

}  // namespace
}  // namespace vmm::virtio
