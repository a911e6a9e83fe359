// Key slots that come and go: whatever crash comes, who may open the volume can, and who may not cannot.
#include <gmock/gmock.h>

#include <algorithm>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "block/crypto/luks.h"
#include "vmm/base/bytes.h"

namespace vmm::block {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr size_t kSlotOverTwoSectors = 6;  // in the header: bytes 496 to 543
constexpr LuksFormat kCheapFormat = {.cipher = {}, .slot_iterations = 2, .digest_iterations = 2};

std::vector<std::byte> volume(std::string_view passphrase) {
  return format_luks(kCheapFormat, Secret::copy_of(passphrase)).value().bytes;
}

// Writes that are not synced are lost, or there, sector by sector.
class ForgetfulStore {
 public:
  explicit ForgetfulStore(std::vector<std::byte> bytes) : visible_(bytes), stable_(std::move(bytes)) {}

  std::function<void(const std::vector<std::byte>& left)> judge = [](const auto&) {};

  LuksStore store() {
    return {.read = [this](uint64_t offset, std::span<std::byte> to) -> Status {
              std::copy_n(visible_.begin() + static_cast<ptrdiff_t>(offset), to.size(), to.begin());
              return {};
            },
            .write = [this](uint64_t offset, std::span<const std::byte> from) -> Status {
              for (size_t i = 0; i < from.size(); ++i) {
                visible_[offset + i] = from[i];
              }
              crash();
              return {};
            },
            .sync = [this]() -> Status {
              stable_ = visible_;
              crash();
              return {};
            },
            .header_bytes = visible_.size()};
  }

  const std::vector<std::byte>& bytes() const { return visible_; }

 private:
  void crash() {
    for (int i = 0; i < 3; ++i) {
      std::vector<std::byte> left = stable_;
      for (size_t sector = 0; sector < left.size(); sector += kLuksSectorBytes) {
        if (random_() % 2 == 0) {
          std::copy_n(visible_.begin() + static_cast<ptrdiff_t>(sector), kLuksSectorBytes,
                      left.begin() + static_cast<ptrdiff_t>(sector));
        }
      }
      judge(left);
    }
  }

  std::mt19937_64 random_{5};
  std::vector<std::byte> visible_;
  std::vector<std::byte> stable_;
};

bool opens(const std::vector<std::byte>& bytes, std::string_view passphrase) {
  const LuksReader read = [&bytes](uint64_t offset, std::span<std::byte> to) -> Status {
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(offset), to.size(), to.begin());
    return {};
  };
  return open_luks(read, bytes.size(), Secret::copy_of(passphrase)).has_value();
}

Result<size_t> add(ForgetfulStore& store, std::string_view known, std::string_view added,
                   std::optional<size_t> slot = std::nullopt) {
  return add_luks_slot(store.store(), Secret::copy_of(known), Secret::copy_of(added), slot, milliseconds(1));
}

std::string refused_with(const auto& result) { return result ? "accepted" : result.error().message(); }

TEST(LuksSlots, OneThatIsAddedOpensTheVolumeAtLast) {
  for (const size_t slot : {size_t{1}, kSlotOverTwoSectors}) {
    ForgetfulStore store(volume("first"));
    int refused = 0;
    int opened = 0;
    store.judge = [&](const auto& left) {
      EXPECT_TRUE(opens(left, "first"));
      const bool is_open = opens(left, "second");
      ++(is_open ? opened : refused);
      EXPECT_EQ(parse_luks_header(left)->slots[slot].is_active, is_open);
      EXPECT_FALSE(opens(left, "third"));
    };
    const auto added = add(store, "first", "second", slot);
    ASSERT_TRUE(added) << added.error().message();
    EXPECT_EQ(*added, slot);
    EXPECT_TRUE(opens(store.bytes(), "second"));
    EXPECT_GT(refused, 0);
    EXPECT_GT(opened, 0);
  }
}

TEST(LuksSlots, OneThatIsErasedLeavesTheOthersAndItsKeyMaterialIsGone) {
  for (const size_t slot : {size_t{1}, kSlotOverTwoSectors}) {
    ForgetfulStore store(volume("first"));
    ASSERT_TRUE(add(store, "first", "second", slot));
    const auto before = store.bytes();
    store.judge = [slot](const auto& left) {
      EXPECT_TRUE(opens(left, "first"));
      EXPECT_EQ(parse_luks_header(left)->slots[slot].is_active, opens(left, "second"));
    };
    const std::vector<size_t> slots = {slot};
    ASSERT_TRUE(erase_luks_slots(store.store(), slots));
    EXPECT_FALSE(opens(store.bytes(), "second"));
    const LuksHeader header = parse_luks_header(before).value();
    const uint64_t place = header.slots[slot].key_material_sector * kLuksSectorBytes;
    const uint64_t length = luks_key_material_bytes(header);
    EXPECT_FALSE(std::equal(before.begin() + static_cast<ptrdiff_t>(place),
                            before.begin() + static_cast<ptrdiff_t>(place + length),
                            store.bytes().begin() + static_cast<ptrdiff_t>(place)));
  }
}

TEST(LuksSlots, AreFoundByTheirPassphrase) {
  ForgetfulStore store(volume("first"));
  ASSERT_TRUE(add(store, "first", "second", 3));
  ASSERT_TRUE(add(store, "second", "first", 6));
  EXPECT_THAT(find_luks_slots(store.store(), Secret::copy_of("first")).value(), ElementsAre(0, 6));
  EXPECT_THAT(find_luks_slots(store.store(), Secret::copy_of("second")).value(), ElementsAre(3));
  EXPECT_THAT(find_luks_slots(store.store(), Secret::copy_of("third")).value(), ElementsAre());
}

TEST(LuksSlots, TheLastOneIsNotErased) {
  ForgetfulStore store(volume("first"));
  const auto before = store.bytes();
  const std::vector<size_t> all = {0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_THAT(refused_with(erase_luks_slots(store.store(), all)),
              HasSubstr("no LUKS key slot would be left"));
  EXPECT_EQ(store.bytes(), before);
}

TEST(LuksSlots, OneThatIsInUseIsNotWrittenOver) {
  ForgetfulStore store(volume("first"));
  const auto before = store.bytes();
  EXPECT_THAT(refused_with(add(store, "first", "second", 0)), HasSubstr("slot 0 is in use"));
  EXPECT_THAT(refused_with(add(store, "first", "second", 8)), HasSubstr("none has the number 8"));
  EXPECT_THAT(refused_with(add(store, "wrong", "second")), HasSubstr("does not open"));
  EXPECT_EQ(store.bytes(), before);
}

// The header says where a slot's key material is to lie; one that nobody uses may say anything.
TEST(LuksSlots, OneWhoseKeyMaterialWouldLieElsewhereIsNotUsed) {
  constexpr size_t kMaterialOfSlot1 = 208 + 48 + 40;
  for (const uint32_t sector : {uint32_t{0}, uint32_t{8}, uint32_t{1'000'000}}) {
    std::vector<std::byte> bytes = volume("first");
    store_be<uint32_t>(bytes.data() + kMaterialOfSlot1, sector);
    ForgetfulStore store(bytes);
    EXPECT_THAT(refused_with(add(store, "first", "second", 1)), HasSubstr("LUKS key slot"));
    EXPECT_EQ(store.bytes(), bytes);
  }
}

}  // namespace
}  // namespace vmm::block
