#include "boot/virtio_mmio_args.h"

#include <gtest/gtest.h>

namespace vmm::boot {
namespace {

TEST(VirtioMmioArguments, NoSlotsNoText) { EXPECT_EQ(virtio_mmio_arguments(0), ""); }

TEST(VirtioMmioArguments, EachSlotIsNamedWithAddressAndGsi) {
  EXPECT_EQ(virtio_mmio_arguments(0b101),
            " virtio_mmio.device=4K@0xfeb00000:16 virtio_mmio.device=4K@0xfeb02000:18");
}

TEST(VirtioMmioArguments, SlotsThatDoNotExistAreNotNamed) {
  EXPECT_EQ(virtio_mmio_arguments(0xffffff80), " virtio_mmio.device=4K@0xfeb07000:23");
}

}  // namespace
}  // namespace vmm::boot
