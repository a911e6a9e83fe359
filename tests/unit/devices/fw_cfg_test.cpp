#include "devices/fw_cfg.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/unit/fakes/guest_ram.h"
#include "tests/unit/fakes/port_access.h"

namespace vmm {
namespace {

constexpr uint64_t kRamBytes = 1 << 20;
constexpr uint64_t kDescriptor = 0x1000;
constexpr uint64_t kBuffer = 0x2000;
constexpr uint32_t kRead = 2;
constexpr uint32_t kSkip = 4;
constexpr uint32_t kSelect = 8;
constexpr uint32_t kWrite = 16;
constexpr uint32_t kError = 1;

std::vector<std::byte> bytes(std::string_view text) {
  const auto span = std::as_bytes(std::span(text));
  return {span.begin(), span.end()};
}

class FwCfgTest : public testing::Test {
 protected:
  void select(uint16_t item) { out<uint16_t>(fw_cfg_.ports(), 0, item); }

  std::string read(size_t length) {
    std::string text;
    for (size_t i = 0; i < length; ++i) {
      text += static_cast<char>(in(fw_cfg_.ports(), 1));
    }
    return text;
  }

  void write_descriptor(uint32_t control, uint32_t length, uint64_t address) {
    std::array<std::byte, 16> access{};
    store_be<uint32_t>(access.data(), control);
    store_be<uint32_t>(access.data() + 4, length);
    store_be<uint64_t>(access.data() + 8, address);
    ASSERT_TRUE(memory_.write_bytes(GuestAddress(kDescriptor), access));
  }

  // What is left in the control field.
  uint32_t dma(uint32_t control, uint32_t length, uint64_t address = kBuffer) {
    write_descriptor(control, length, address);
    out<uint32_t>(fw_cfg_.dma_ports(), 0, 0);
    out<uint32_t>(fw_cfg_.dma_ports(), 4, __builtin_bswap32(kDescriptor));
    return __builtin_bswap32(memory_.read<uint32_t>(GuestAddress(kDescriptor)).value());
  }

  std::string memory_text(size_t length) {
    std::string text(length, '?');
    EXPECT_TRUE(memory_.read_bytes(GuestAddress(kBuffer), std::as_writable_bytes(std::span(text))));
    return text;
  }

  const GuestMemory memory_ = make_guest_ram({{0, kRamBytes}});
  FwCfg fw_cfg_{memory_};
};

TEST_F(FwCfgTest, IsThereAndCanDoDma) {
  select(0);
  EXPECT_EQ(read(4), "QEMU");
  select(1);
  EXPECT_EQ(read(4), std::string("\3\0\0\0", 4));
  EXPECT_EQ(in<uint32_t>(fw_cfg_.dma_ports(), 0), __builtin_bswap32(0x51454d55));
  EXPECT_EQ(in<uint32_t>(fw_cfg_.dma_ports(), 4), __builtin_bswap32(0x20434647));
}

TEST_F(FwCfgTest, PastItsEndAnItemIsZeroesAndSoIsOneThatIsNotThere) {
  fw_cfg_.set_item(FwCfg::Item::kUuid, bytes("ab"));
  select(2);
  EXPECT_EQ(read(4), std::string("ab\0\0", 4));
  select(0x1234);
  EXPECT_EQ(read(2), std::string(2, '\0'));
}

TEST_F(FwCfgTest, FilesAreListedWithSizeNumberAndName) {
  fw_cfg_.set_file("etc/second", bytes("22"));
  fw_cfg_.set_file("bootorder", bytes("1"));
  select(0x19);
  EXPECT_EQ(read(4), std::string("\0\0\0\2", 4));
  EXPECT_EQ(read(8), std::string("\0\0\0\1\0\x21\0\0", 8));
  EXPECT_EQ(read(56), "bootorder" + std::string(47, '\0'));
  EXPECT_EQ(read(8), std::string("\0\0\0\2\0\x20\0\0", 8));
  EXPECT_EQ(read(56), "etc/second" + std::string(46, '\0'));
  select(0x21);
  EXPECT_EQ(read(1), "1");
}

TEST_F(FwCfgTest, AReplacedFileKeepsItsNumberAndARemovedOneIsNotListed) {
  fw_cfg_.set_file("a", bytes("old"));
  fw_cfg_.set_file("b", bytes("b"));
  fw_cfg_.set_file("a", bytes("newer"));
  select(0x20);
  EXPECT_EQ(read(5), "newer");
  fw_cfg_.remove_file("a");
  select(0x19);
  EXPECT_EQ(read(4), std::string("\0\0\0\1", 4));
  select(0x20);
  EXPECT_EQ(read(1), std::string(1, '\0'));
}

TEST_F(FwCfgTest, DmaCopiesWhatIsSelectedAndGoesOnWhereItStopped) {
  fw_cfg_.set_file("f", bytes("abcdefgh"));
  EXPECT_EQ(dma(kRead | kSelect | 0x20U << 16U, 3), 0U);
  EXPECT_EQ(memory_text(3), "abc");
  EXPECT_EQ(dma(kSkip, 2), 0U);
  EXPECT_EQ(dma(kRead, 2), 0U);
  EXPECT_EQ(memory_text(2), "fg");
  EXPECT_EQ(read(1), "h");
}

TEST_F(FwCfgTest, DmaPastTheEndOfAnItemWritesZeroes) {
  fw_cfg_.set_file("f", bytes("ab"));
  EXPECT_EQ(dma(kRead | kSelect | 0x20U << 16U, 4), 0U);
  EXPECT_EQ(memory_text(4), std::string("ab\0\0", 4));
  EXPECT_EQ(dma(kSkip, UINT32_MAX), 0U);
  EXPECT_EQ(dma(kRead, 2), 0U);
  EXPECT_EQ(memory_text(2), std::string(2, '\0'));
}

TEST_F(FwCfgTest, DmaTakesTheWholeAddressAtOnceToo) {
  write_descriptor(kRead | kSelect, 4, kBuffer);
  out<uint64_t>(fw_cfg_.dma_ports(), 0, __builtin_bswap64(kDescriptor));
  EXPECT_EQ(memory_text(4), "QEMU");
}

TEST_F(FwCfgTest, DmaToWhereNoMemoryIsAnErrorAndSoIsWriting) {
  EXPECT_EQ(dma(kRead | kSelect, 4, kRamBytes - 2), kError);
  EXPECT_EQ(dma(kRead | kSelect, 4, UINT64_MAX - 1), kError);
  EXPECT_EQ(dma(kRead | kSelect, UINT32_MAX, 0), kError);
  EXPECT_EQ(dma(kWrite | kSelect, 4), kError);
  EXPECT_EQ(dma(kRead | kSelect, 0, UINT64_MAX), 0U);
}

TEST_F(FwCfgTest, ADescriptorOutsideMemoryIsForgotten) {
  out<uint32_t>(fw_cfg_.dma_ports(), 0, UINT32_MAX);
  out<uint32_t>(fw_cfg_.dma_ports(), 4, UINT32_MAX);
  out<uint64_t>(fw_cfg_.dma_ports(), 0, __builtin_bswap64(kRamBytes - 4));
  EXPECT_EQ(dma(kRead | kSelect, 4), 0U);
  EXPECT_EQ(memory_text(4), "QEMU");
}

TEST_F(FwCfgTest, AccessesOfOtherSizesAreHarmless) {
  out8(fw_cfg_.ports(), 0, 0x19);
  out8(fw_cfg_.ports(), 1, 0x19);
  out<uint16_t>(fw_cfg_.dma_ports(), 2, 0xffff);
  out8(fw_cfg_.dma_ports(), 7, 0xff);
  EXPECT_EQ(in<uint16_t>(fw_cfg_.ports(), 0), static_cast<uint16_t>('Q') << 8U);
}

TEST_F(FwCfgTest, AResetForgetsTheSelectionAndKeepsTheItems) {
  fw_cfg_.set_file("f", bytes("x"));
  select(0x20);
  fw_cfg_.reset();
  EXPECT_EQ(read(4), "QEMU");
  select(0x20);
  EXPECT_EQ(read(1), "x");
}

}  // namespace
}  // namespace vmm
