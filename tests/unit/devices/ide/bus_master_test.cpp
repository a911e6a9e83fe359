#include "devices/ide/bus_master.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tests/unit/fakes/guest_ram.h"
#include "vmm/base/bytes.h"

namespace vmm::ide {
namespace {

constexpr uint64_t kRam = 4 << 20;
constexpr uint32_t kTable = 0x2000;

class BusMasterTest : public testing::Test {
 protected:
  struct Entry {
    uint32_t address = 0;
    uint32_t count = 0;
    bool is_last = false;
  };
  void build(const std::vector<Entry>& entries, uint32_t table = kTable) {
    for (size_t i = 0; i < entries.size(); ++i) {
      const uint64_t high = entries[i].count | (entries[i].is_last ? 1U << 31 : 0);
      EXPECT_TRUE(ram_.write<uint64_t>(GuestAddress(table + 8 * i), high << 32 | entries[i].address));
    }
  }
  void start(bool to_memory, uint32_t table = kTable) {
    for (size_t i = 0; i < 4; ++i) {
      engine_.write(4 + i, static_cast<uint8_t>((table >> (8 * i)) & 0xff));
    }
    engine_.write(0, to_memory ? 0x08 : 0x00);
    engine_.write(0, to_memory ? 0x09 : 0x01);
  }
  static std::vector<std::byte> numbered(size_t length) {
    std::vector<std::byte> bytes(length);
    for (size_t i = 0; i < length; ++i) {
      bytes[i] = static_cast<std::byte>((i * 7 + i / 256) & 0xff);
    }
    return bytes;
  }
  std::vector<std::byte> memory_at(uint64_t address, size_t length) {
    std::vector<std::byte> bytes(length);
    EXPECT_TRUE(ram_.read_bytes(GuestAddress(address), bytes));
    return bytes;
  }
  uint8_t status() { return engine_.read(2); }

  GuestMemory ram_ = make_guest_ram({{0, kRam}});
  BusMaster engine_{ram_};
};

TEST_F(BusMasterTest, RegistersKeepWhatTheStandardKeeps) {
  engine_.write(0, 0xff);
  EXPECT_EQ(engine_.read(0), 0x09);
  for (size_t i = 4; i < 8; ++i) {
    engine_.write(i, 0xff);
  }
  EXPECT_EQ(engine_.read(4), 0xfc);
  EXPECT_EQ(engine_.read(7), 0xff);
  engine_.write(2, 0x60);
  EXPECT_EQ(status() & 0x60, 0x60);
  engine_.write(1, 0xff);
  EXPECT_EQ(engine_.read(1), 0);
  EXPECT_EQ(engine_.read(3), 0);
}

TEST_F(BusMasterTest, OnesClearErrorAndInterruptAndNothingElse) {
  engine_.note_interrupt();
  EXPECT_EQ(status(), 0x04);
  engine_.write(2, 0x00);
  EXPECT_EQ(status(), 0x04);
  engine_.write(2, 0x05);
  EXPECT_EQ(status(), 0x00);
}

TEST_F(BusMasterTest, GathersAndScattersAsTheTableSays) {
  build({{.address = 0x10000, .count = 6}, {.address = 0x20000, .count = 10, .is_last = true}});
  start(true);
  const auto data = numbered(16);
  const BusMaster::Moved moved = engine_.to_memory(data, true);
  EXPECT_EQ(moved.bytes, 16U);
  EXPECT_FALSE(moved.has_failed);
  EXPECT_EQ(status() & 0x03, 0);
  EXPECT_EQ(memory_at(0x10000, 6), std::vector(data.begin(), data.begin() + 6));
  EXPECT_EQ(memory_at(0x20000, 10), std::vector(data.begin() + 6, data.end()));
  start(false);
  std::vector<std::byte> back(16);
  EXPECT_EQ(engine_.from_memory(back, true).bytes, 16U);
  EXPECT_EQ(back, data);
}

TEST_F(BusMasterTest, ACountOfZeroIs64KiB) {
  build({{.address = 0x10000, .count = 0, .is_last = true}});
  start(true);
  const auto data = numbered(0x10000);
  EXPECT_EQ(engine_.to_memory(data, true).bytes, 0x10000U);
  EXPECT_FALSE(engine_.is_active());
  EXPECT_EQ(memory_at(0x10000, 0x10000), data);
}

TEST_F(BusMasterTest, OddCountsAndAddressesAreEven) {
  build({{.address = 0x10001, .count = 5, .is_last = true}});
  start(true);
  EXPECT_EQ(engine_.to_memory(numbered(8), true).bytes, 4U);
  EXPECT_EQ(memory_at(0x10000, 4), numbered(4));
}

TEST_F(BusMasterTest, AShortTableStopsTheEngineWithoutAnError) {
  build({{.address = 0x10000, .count = 4, .is_last = true}});
  start(true);
  const BusMaster::Moved moved = engine_.to_memory(numbered(8), true);
  EXPECT_EQ(moved.bytes, 4U);
  EXPECT_FALSE(moved.has_failed);
  EXPECT_EQ(status(), 0x00);
}

TEST_F(BusMasterTest, ALongTableLeavesTheEngineRunning) {
  build({{.address = 0x10000, .count = 64, .is_last = true}});
  start(true);
  EXPECT_EQ(engine_.to_memory(numbered(8), true).bytes, 8U);
  EXPECT_TRUE(engine_.is_active());
  EXPECT_EQ(engine_.to_memory(numbered(8), true).bytes, 8U);
  EXPECT_EQ(memory_at(0x10008, 8), numbered(8));
  engine_.write(0, 0x08);
  EXPECT_EQ(status(), 0x00);
}

TEST_F(BusMasterTest, AnEntryIsCopiedWhenItIsReached) {
  build({{.address = 0x10000, .count = 8, .is_last = true}});
  start(true);
  EXPECT_EQ(engine_.to_memory(numbered(4), true).bytes, 4U);
  build({{.address = 0x30000, .count = 8, .is_last = true}});
  EXPECT_EQ(engine_.to_memory(numbered(4), true).bytes, 4U);
  EXPECT_EQ(memory_at(0x10004, 4), numbered(4));
}

TEST_F(BusMasterTest, MemoryThatIsNotThereIsAnError) {
  build({{.address = 0x10000, .count = 4}, {.address = kRam - 2, .count = 4, .is_last = true}});
  start(true);
  const BusMaster::Moved moved = engine_.to_memory(numbered(8), true);
  EXPECT_EQ(moved.bytes, 4U);
  EXPECT_TRUE(moved.has_failed);
  EXPECT_EQ(status(), 0x02);
}

TEST_F(BusMasterTest, ATableThatIsNotInMemoryIsAnError) {
  for (const uint32_t table : {uint32_t{0xffff'fffc}, static_cast<uint32_t>(kRam - 4)}) {
    start(true, table);
    EXPECT_TRUE(engine_.to_memory(numbered(8), true).has_failed);
    EXPECT_EQ(status(), 0x02);
    engine_.write(2, 0x02);
  }
}

TEST_F(BusMasterTest, AnEntryAtTheTopOf32BitsDoesNotWrapAround) {
  build({{.address = 0xffff'fffe, .count = 4, .is_last = true}});
  start(true);
  EXPECT_TRUE(engine_.to_memory(numbered(4), true).has_failed);
}

// CVE-2014-9718: a table without an end.
TEST_F(BusMasterTest, AnEndlessTableEndsWithItsLargestSize) {
  build(std::vector<Entry>(BusMaster::kMaxEntries + 100, {.address = 0x80000, .count = 2}), 0x10000);
  start(true, 0x10000);
  const BusMaster::Moved moved = engine_.to_memory(numbered(2 * BusMaster::kMaxEntries + 64), true);
  EXPECT_EQ(moved.bytes, 2 * BusMaster::kMaxEntries);
  EXPECT_TRUE(moved.has_failed);
}

TEST_F(BusMasterTest, WithoutBusMasteringOrInTheWrongDirectionNothingMoves) {
  build({{.address = 0x10000, .count = 4, .is_last = true}});
  start(true);
  EXPECT_TRUE(engine_.to_memory(numbered(4), false).has_failed);
  start(true);
  std::vector<std::byte> bytes(4);
  EXPECT_TRUE(engine_.from_memory(bytes, true).has_failed);
  EXPECT_EQ(memory_at(0x10000, 4), std::vector<std::byte>(4));
}

TEST_F(BusMasterTest, StartingAgainBeginsWithTheFirstEntry) {
  build({{.address = 0x10000, .count = 8, .is_last = true}});
  start(true);
  EXPECT_EQ(engine_.to_memory(numbered(4), true).bytes, 4U);
  start(true);
  EXPECT_EQ(engine_.to_memory(numbered(6), true).bytes, 6U);
  EXPECT_EQ(memory_at(0x10000, 6), numbered(6));
}

}  // namespace
}  // namespace vmm::ide
