#include "vmm/core/io_bus.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace vmm {
namespace {

class RecordingDevice final : public BusDevice {
 public:
  void read(uint64_t offset, std::span<std::byte> data) override {
    offsets.push_back(offset);
    for (std::byte& byte : data) {
      byte = std::byte{0x5a};
    }
  }
  void write(uint64_t offset, std::span<const std::byte> data) override {
    offsets.push_back(offset);
    written.insert(written.end(), data.begin(), data.end());
  }
  std::vector<uint64_t> offsets;
  std::vector<std::byte> written;
};

TEST(IoBus, DevicesSeeOffsetsFromWhereTheyWereAdded) {
  IoBus bus;
  RecordingDevice device;
  ASSERT_TRUE(bus.add(0x3f8, 8, device));
  std::array<std::byte, 1> byte{};
  EXPECT_TRUE(bus.read(0x3fd, byte));
  EXPECT_EQ(byte[0], std::byte{0x5a});
  EXPECT_TRUE(bus.write(0x3f8, byte));
  EXPECT_EQ(device.offsets, (std::vector<uint64_t>{5, 0}));
}

TEST(IoBus, NobodyReadsAsAllOnes) {
  IoBus bus;
  std::array<std::byte, 4> data{};
  EXPECT_FALSE(bus.read(0x1234, data));
  EXPECT_EQ(data[3], std::byte{0xff});
  EXPECT_FALSE(bus.write(0x1234, data));
}

TEST(IoBus, AnAccessThatRunsPastTheEndIsUnanswered) {
  IoBus bus;
  RecordingDevice device;
  ASSERT_TRUE(bus.add(0x10, 4, device));
  std::array<std::byte, 4> data{};
  EXPECT_TRUE(bus.read(0x10, data));
  EXPECT_FALSE(bus.read(0x11, data));
  EXPECT_FALSE(bus.read(0xf, data));
  EXPECT_EQ(device.offsets.size(), 1U);
}

TEST(IoBus, OverlapsAreRefused) {
  IoBus bus;
  RecordingDevice device;
  ASSERT_TRUE(bus.add(0x100, 0x10, device));
  EXPECT_FALSE(bus.add(0x10f, 1, device));
  EXPECT_FALSE(bus.add(0xf8, 0x10, device));
  EXPECT_FALSE(bus.add(0x100, 0x10, device));
  EXPECT_FALSE(bus.add(0, 0x1000, device));
  EXPECT_FALSE(bus.add(0x200, 0, device));
  EXPECT_FALSE(bus.add(UINT64_MAX, 2, device));
  EXPECT_TRUE(bus.add(0x110, 1, device));
  EXPECT_TRUE(bus.add(0xf0, 0x10, device));
}

TEST(IoBus, LastByteOfTheAddressSpaceCanBeAnswered) {
  IoBus bus;
  RecordingDevice device;
  ASSERT_TRUE(bus.add(UINT64_MAX - 3, 4, device));
  std::array<std::byte, 4> data{};
  EXPECT_TRUE(bus.read(UINT64_MAX - 3, data));
  EXPECT_FALSE(bus.read(UINT64_MAX - 2, data));
}

TEST(IoBus, RemovedDevicesAnswerNoMore) {
  IoBus bus;
  RecordingDevice device;
  ASSERT_TRUE(bus.add(0x100, 4, device));
  bus.remove(0x100);
  std::array<std::byte, 1> data{};
  EXPECT_FALSE(bus.read(0x100, data));
  EXPECT_TRUE(bus.add(0x102, 4, device));
}

}  // namespace
}  // namespace vmm
