#include "devices/virtio/pci.h"

#include <gtest/gtest.h>

#include "tests/unit/virtio/rig.h"

namespace vmm::virtio {
namespace {

constexpr uint32_t kQueueMessage = 0x41;
constexpr uint32_t kConfigMessage = 0x40;

class Pci : public testing::Test {
 protected:
  void start_with_msix(bool function_masked = false) {
    rig_.start();
    driver_.enable_msix(function_masked);
    driver_.program_vector(0, kConfigMessage);
    driver_.program_vector(1, kQueueMessage);
    driver_.set_config_vector(0);
    driver_.set_queue_vector(0, 1);
  }
  uint8_t get_id() { return rig_.run(0, kGetId, 0, {{Rig::data_of(0), 20, true}}); }

  Rig rig_;
  FakePciDriver& driver_ = *rig_.pci_driver;
};

TEST_F(Pci, IdentifiesItselfAsAModernDisk) {
  EXPECT_EQ(driver_.config<uint32_t>(0x00), 0x1042'1af4U);
  EXPECT_EQ(driver_.config<uint8_t>(0x08), 1);
  EXPECT_EQ(driver_.config<uint32_t>(0x08) >> 8, 0x010000U);
  EXPECT_EQ(driver_.config<uint8_t>(0x3d), 1);
}

TEST_F(Pci, HasAllCapabilities) {
  for (uint8_t type = 1; type <= 5; ++type) {
    EXPECT_NE(driver_.capabilities[type], 0) << int{type};
  }
  EXPECT_EQ(driver_.config<uint16_t>(driver_.msix_capability + 2U), 1);
}

TEST_F(Pci, CapabilitiesAreReadOnly) {
  const uint8_t cap = driver_.capabilities[1];
  driver_.set_config<uint32_t>(cap + 8U, 0xffff'ffff);
  driver_.set_config<uint32_t>(cap + 4U, 0xffff'ffff);
  EXPECT_EQ(driver_.config<uint32_t>(cap + 8U), 0U);
  EXPECT_EQ(driver_.config<uint8_t>(cap + 4U), 0);
}

TEST_F(Pci, QueueAddressesReadBack) {
  driver_.negotiate(kVersion1);
  driver_.set_queue(0, rig_.queues[0].layout());
  EXPECT_EQ(driver_.queue_descriptors(0), kQueueBase);
  driver_.select_queue(0);
  rig_.mmio.write<uint64_t>(driver_.common(32), 0x1'2345'6000);
  EXPECT_EQ(driver_.queue_descriptors(0), 0x1'2345'6000U);
}

// --- Interrupts ---

TEST_F(Pci, WithoutMsixTheWireIsHighUntilIsrIsRead) {
  rig_.start();
  EXPECT_EQ(get_id(), kOk);
  EXPECT_TRUE(rig_.line.level);
  EXPECT_EQ(driver_.config<uint16_t>(pci::kStatus) & pci::kStatusInterrupt, pci::kStatusInterrupt);
  EXPECT_EQ(driver_.take_isr(), kInterruptQueue);
  EXPECT_FALSE(rig_.line.level);
  EXPECT_EQ(driver_.config<uint16_t>(pci::kStatus) & pci::kStatusInterrupt, 0);
  EXPECT_EQ(driver_.take_isr(), 0);
}

TEST_F(Pci, TheInterruptDisableBitLowersTheWire) {
  rig_.start();
  get_id();
  driver_.set_config<uint16_t>(pci::kCommand, 0x0407);
  EXPECT_FALSE(rig_.line.level);
  driver_.set_config<uint16_t>(pci::kCommand, 0x0007);
  EXPECT_TRUE(rig_.line.level);
}

TEST_F(Pci, AResetLowersTheWire) {
  rig_.start();
  get_id();
  driver_.set_status(0);
  EXPECT_FALSE(rig_.line.level);
}

TEST_F(Pci, WithMsixTheQueueSendsItsMessage) {
  start_with_msix();
  EXPECT_EQ(get_id(), kOk);
  EXPECT_EQ(rig_.msi.signals(kQueueMessage), 1);
  EXPECT_FALSE(rig_.line.level);
  EXPECT_EQ(driver_.take_isr(), 0);
}

TEST_F(Pci, ABatchInterruptsOnce) {
  start_with_msix();
  for (const uint16_t head : Heads{0, 4, 8}) {
    rig_.add(head, kGetId, 0, {{Rig::data_of(head), 20, true}});
  }
  rig_.kick();
  EXPECT_EQ(rig_.queues[0].take_all_used().size(), 3U);
  EXPECT_EQ(rig_.msi.signals(kQueueMessage), 1);
}

TEST_F(Pci, ConfigurationChangesSendTheirMessageAndSetIsr) {
  start_with_msix();
  rig_.core().config_changed();
  EXPECT_EQ(rig_.msi.signals(kConfigMessage), 1);
  EXPECT_EQ(driver_.take_isr(), kInterruptConfig);
}

TEST_F(Pci, ACompletionOnAMaskedVectorPendsUntilItIsUnmasked) {
  start_with_msix();
  driver_.mask_vector(1, true);
  get_id();
  EXPECT_EQ(rig_.msi.signals(kQueueMessage), 0);
  EXPECT_EQ(driver_.pending_bits(), 2U);
  driver_.mask_vector(1, false);
  EXPECT_EQ(rig_.msi.signals(kQueueMessage), 1);
  EXPECT_EQ(driver_.pending_bits(), 0U);
}

TEST_F(Pci, TheFunctionMaskHoldsMessagesBack) {
  start_with_msix(true);
  get_id();
  EXPECT_EQ(rig_.msi.signals(kQueueMessage), 0);
  driver_.enable_msix();
  EXPECT_EQ(rig_.msi.signals(kQueueMessage), 1);
}

TEST_F(Pci, AVectorThatDoesNotExistReadsAsNone) {
  EXPECT_EQ(driver_.queue_vector(0), 0xffff);
  driver_.set_queue_vector(0, 1);
  EXPECT_EQ(driver_.queue_vector(0), 1);
  driver_.set_queue_vector(0, 2);
  EXPECT_EQ(driver_.queue_vector(0), 0xffff);
}

TEST_F(Pci, AQueueWithoutVectorIsSilent) {
  start_with_msix();
  driver_.set_queue_vector(0, 0xffff);
  EXPECT_EQ(get_id(), kOk);
  EXPECT_EQ(rig_.msi.signals(kQueueMessage), 0);
  EXPECT_FALSE(rig_.line.level);
}

TEST_F(Pci, AResetForgetsVectors) {
  start_with_msix();
  driver_.set_status(0);
  EXPECT_EQ(driver_.queue_vector(0), 0xffff);
}

// --- Doorbells and BARs ---

TEST_F(Pci, EachQueueHasItsOwnDoorbell) {
  Rig rig({.block = {.queue_count = 3}});
  rig.start(kUsualFeatures | kMultiQueue);
  EXPECT_EQ(rig.doorbells.count(), 3U);
  const uint64_t first = rig.pci_driver->notify_address(0);
  EXPECT_EQ(rig.pci_driver->notify_address(2), first + 8);
  EXPECT_TRUE(rig.doorbells.has_at(first + 8));
}

TEST_F(Pci, DoorbellsMoveWithTheBar) {
  rig_.start();
  const uint64_t before = driver_.notify_address(0);
  driver_.set_config<uint32_t>(0x10, 0xd000'0000);
  EXPECT_FALSE(rig_.doorbells.has_at(before));
  EXPECT_TRUE(rig_.doorbells.has_at(driver_.notify_address(0)));
  EXPECT_EQ(rig_.doorbells.count(), 1U);
  EXPECT_EQ(get_id(), kOk);
}

TEST_F(Pci, DoorbellsGoAndComeWithMemoryDecoding) {
  rig_.start();
  driver_.set_config<uint16_t>(pci::kCommand, 0);
  EXPECT_EQ(rig_.doorbells.count(), 0U);
  driver_.set_config<uint16_t>(pci::kCommand, pci::kCommandMemorySpace);
  EXPECT_EQ(rig_.doorbells.count(), 1U);
  EXPECT_EQ(get_id(), kOk);
}

TEST_F(Pci, SizingABarWhileDoorbellsAreAttachedIsHarmless) {
  rig_.start();
  const auto before = driver_.config<uint32_t>(0x10);
  driver_.set_config<uint32_t>(0x10, 0xffff'ffff);
  EXPECT_EQ(rig_.doorbells.count(), 0U);
  driver_.set_config<uint32_t>(0x10, before);
  EXPECT_EQ(rig_.doorbells.count(), 1U);
  EXPECT_EQ(get_id(), kOk);
}

TEST_F(Pci, PowerOnResetDetachesAndUnmapsAll) {
  start_with_msix();
  get_id();
  bool is_quiet = false;
  rig_.core().quiesce([&] { is_quiet = true; });
  rig_.turn();
  ASSERT_TRUE(is_quiet);
  rig_.bus.reset();
  EXPECT_EQ(rig_.doorbells.count(), 0U);
  EXPECT_EQ(driver_.config<uint32_t>(0x10), 0U);
  EXPECT_FALSE(rig_.line.level);
  rig_.core().resume();
  rig_.turn();
  ASSERT_TRUE(pci::assign_resources(rig_.bus));
  EXPECT_EQ(driver_.status(), 0);
  rig_.queues[0].jump_to(0);
  start_with_msix();
  EXPECT_EQ(get_id(), kOk);
}

// --- The window in configuration space ---

class Window : public Pci {
 protected:
  void point(uint8_t bar, uint32_t offset, uint32_t length) {
    const uint8_t cap = driver_.capabilities[5];
    driver_.set_config<uint8_t>(cap + 4U, bar);
    driver_.set_config<uint32_t>(cap + 8U, offset);
    driver_.set_config<uint32_t>(cap + 12U, length);
  }
  uint32_t data_offset() { return driver_.capabilities[5] + 16U; }
};

TEST_F(Window, ReadsAndWritesRegisters) {
  point(0, 20, 1);
  driver_.set_config<uint8_t>(data_offset(), kStatusAcknowledge);
  EXPECT_EQ(driver_.status(), kStatusAcknowledge);
  EXPECT_EQ(driver_.config<uint8_t>(data_offset()), kStatusAcknowledge);
  point(0, 18, 2);
  EXPECT_EQ(driver_.config<uint16_t>(data_offset()), 1);
  point(0, 0x2000, 4);
  EXPECT_EQ(driver_.config<uint32_t>(data_offset()), kDiskBytes / 512);
}

TEST_F(Window, WorksWhileBarsAreNotDecoded) {
  driver_.set_config<uint16_t>(pci::kCommand, 0);
  point(0, 0x2000, 4);
  EXPECT_EQ(driver_.config<uint32_t>(data_offset()), kDiskBytes / 512);
}

TEST_F(Window, Notifies) {
  rig_.start();
  rig_.add(0, kGetId, 0, {{Rig::data_of(0), 20, true}});
  point(0, 0x3000, 2);
  driver_.set_config<uint16_t>(data_offset(), 0);
  rig_.turn();
  EXPECT_EQ(rig_.status(0), kOk);
}

TEST_F(Window, ImpossiblePlacesDoNothing) {
  struct Case {
    uint8_t bar;
    uint32_t offset;
    uint32_t length;
  };
  for (const Case& bad : {Case{6, 0, 4}, Case{255, 0, 4}, Case{2, 0, 4}, Case{0, 0x4000, 4}, Case{0, 2, 4},
                          Case{0, 0xffff'fffc, 4}, Case{0, 0, 3}, Case{0, 0, 0}, Case{0, 0, 8}}) {
    point(bad.bar, bad.offset, bad.length);
    driver_.set_config<uint32_t>(data_offset(), 0x5555'5555);
    EXPECT_EQ(driver_.config<uint32_t>(data_offset()), 0x5555'5555U);
  }
}

}  // namespace
}  // namespace vmm::virtio
