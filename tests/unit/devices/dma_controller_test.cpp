#include "devices/dma_controller.h"

#include <gtest/gtest.h>

#include "tests/unit/fakes/port_access.h"

namespace vmm {
namespace {

TEST(DmaController, AddressesAndCountsAreWrittenByHalves) {
  DmaController dma;
  BusDevice& ports = dma.master_ports();
  out8(ports, 12, 0);
  out8(ports, 3, 0x34);
  out8(ports, 3, 0x12);
  out8(ports, 4, 0xcd);
  out8(ports, 4, 0xab);
  EXPECT_EQ(in(ports, 3), 0x34U);
  EXPECT_EQ(in(ports, 3), 0x12U);
  EXPECT_EQ(in(ports, 4), 0xcdU);
  EXPECT_EQ(in(ports, 4), 0xabU);
}

TEST(DmaController, TheFlipFlopIsCleared) {
  DmaController dma;
  BusDevice& ports = dma.master_ports();
  for (const uint64_t clear : {12U, 13U}) {
    out8(ports, 0, 0x11);
    out8(ports, clear, 0);
    out8(ports, 0, 0x22);
    out8(ports, 0, 0x33);
    EXPECT_EQ(in(ports, 0), 0x22U);
    EXPECT_EQ(in(ports, 0), 0x33U);
  }
}

TEST(DmaController, TheSecondOneIsAtEvenPortsAndByItself) {
  DmaController dma;
  out8(dma.slave_ports(), 2, 0x55);
  out8(dma.slave_ports(), 2, 0x66);
  EXPECT_EQ(in(dma.slave_ports(), 2), 0x55U);
  EXPECT_EQ(in(dma.slave_ports(), 2), 0x66U);
  EXPECT_EQ(in(dma.master_ports(), 1), 0U);
}

TEST(DmaController, NoChannelEverAsks) {
  DmaController dma;
  for (uint64_t port = 8; port < DmaController::kMasterPorts; ++port) {
    out8(dma.master_ports(), port, 0xff);
    EXPECT_EQ(in(dma.master_ports(), port), 0U);
  }
}

TEST(DmaController, PagesKeepWhatIsWrittenUntilAReset) {
  DmaController dma;
  for (uint64_t port = 0; port < DmaController::kPagePorts; ++port) {
    out8(dma.page_ports(), port, static_cast<uint8_t>(port + 1));
  }
  EXPECT_EQ(in(dma.page_ports(), 0), 1U);
  EXPECT_EQ(in(dma.page_ports(), 14), 15U);
  dma.reset();
  EXPECT_EQ(in(dma.page_ports(), 14), 0U);
}

}  // namespace
}  // namespace vmm
