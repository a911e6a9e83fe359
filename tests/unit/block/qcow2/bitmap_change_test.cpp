// Changes of dirty bitmaps: old or new at any crash, and right whatever the granularities are.
#include "block/qcow2/bitmap_change.h"

#include <gmock/gmock.h>

#include <functional>

#include "tests/unit/block/qcow2/offline.h"

namespace vmm::block::qcow2 {
namespace {

using testing::HasSubstr;

using Bits = std::vector<bool>;
struct BitmapState {
  uint32_t flags = 0;
  uint32_t granularity_bits = 0;
  Bits bits;
  bool operator==(const BitmapState&) const = default;
};
using BitmapStates = std::map<std::string, BitmapState>;

// As a reader of the specification finds them, not with the code that is tested.
BitmapStates bitmaps_in(CrashDisk& disk) {
  BitmapStates states;
  const Header header = read_header(disk).value();
  const Status visited = visit_bitmaps(disk, header, [&](const Bitmap& bitmap) -> Status {
    BitmapState state{.flags = bitmap.flags, .granularity_bits = bitmap.granularity_bits, .bits = {}};
    VMM_ASSIGN_OR_RETURN(const auto table,
                         read_table(disk, bitmap.table_offset, uint64_t{bitmap.table_entries} * 8));
    for (const uint64_t entry : table) {
      std::vector<std::byte> data(header.cluster_bytes(), entry == 1 ? std::byte{0xff} : std::byte{0});
      if (entry > 1) {
        VMM_TRY(disk.read(FileOffset(entry), data));
      }
      for (uint64_t i = 0; i < data.size() * 8; ++i) {
        state.bits.push_back((data[i / 8] >> (i % 8) & std::byte{1}) != std::byte{0});
      }
    }
    const uint64_t bits = divide_up(header.size_bytes, uint64_t{1} << bitmap.granularity_bits);
    for (size_t i = bits; i < state.bits.size(); ++i) {
      EXPECT_FALSE(state.bits[i]) << "behind the end of the disk";
    }
    state.bits.resize(bits);
    EXPECT_TRUE(states.emplace(bitmap.name, std::move(state)).second);
    return {};
  });
  EXPECT_TRUE(visited) << visited.error().message();
  return states;
}

using Steps = std::function<Status(BitmapSet& set)>;

Status change_bitmaps(SyncFile& file, const Steps& steps) {
  return change_image(file, [&](SyncFile& image, Header& header) -> Status {
    VMM_ASSIGN_OR_RETURN(BitmapSet set, BitmapSet::read(image, header));
    VMM_TRY(steps(set));
    return set.commit(header);
  });
}

std::shared_ptr<CrashDisk> image_with(uint32_t cluster_bits, uint64_t size_bytes,
                                      const std::string& backing = "") {
  WorldOptions options;
  options.create.cluster_bits = cluster_bits;
  options.create.size_bytes = size_bytes;
  options.create.backing_file = backing;
  return make_disk(options);
}

// Sets bits in a bitmap of the image by hand: those for which is_dirty holds.
void dirty(CrashDisk& disk, const std::string& name, const std::function<bool(uint64_t)>& is_dirty) {
  const Header header = read_header(disk).value();
  auto change = MetadataChange::begin(disk, header);
  ASSERT_TRUE(change);
  std::vector<std::pair<uint64_t, uint64_t>> places;  // of an entry of a table, and what it is to be
  ASSERT_TRUE(visit_bitmaps(disk, header, [&](const Bitmap& bitmap) -> Status {
    const uint64_t bits = divide_up(header.size_bytes, uint64_t{1} << bitmap.granularity_bits);
    for (uint64_t entry = 0; bitmap.name == name && entry < bitmap.table_entries; ++entry) {
      std::vector<std::byte> data(header.cluster_bytes());
      bool is_full = true;
      for (uint64_t i = 0; i < data.size() * 8; ++i) {
        const uint64_t bit = entry * data.size() * 8 + i;
        const bool is_set = bit < bits && is_dirty(bit);
        is_full = is_full && is_set;
        data[i / 8] |= is_set ? std::byte{1} << (i % 8) : std::byte{0};
      }
      const uint64_t place = bitmap.table_offset + entry * 8;
      places.emplace_back(place, is_full ? 1 : 0);
      if (!is_full) {
        VMM_ASSIGN_OR_RETURN(places.back().second, change->write_new(data));
      }
    }
    return {};
  }));
  Header now = header;
  ASSERT_TRUE(change->commit(now));
  for (const auto& [place, value] : places) {
    std::array<std::byte, 8> bytes{};
    store_be<uint64_t>(bytes.data(), value);
    ASSERT_TRUE(disk.write(FileOffset(place), bytes));
  }
  ASSERT_TRUE(disk.sync());
}

void expect_clean(CrashDisk& disk) {
  const CheckResult result = check_of(disk);
  EXPECT_TRUE(result.is_clean()) << text_of(result);
}

bool every_third(uint64_t bit) { return bit % 3 == 1; }
bool the_first(uint64_t bit) { return bit < 5000; }

TEST(Qcow2BitmapChange, IsAllThereOrNotAtAllAtAnyCrash) {
  const std::vector<Steps> changes = {[](BitmapSet& set) { return set.add("new", std::nullopt); },
                                      [](BitmapSet& set) -> Status {
                                        VMM_TRY(set.merge("a", set, "b"));
                                        VMM_TRY(set.set_tracking("a", false));
                                        return set.remove("b");
                                      },
                                      [](BitmapSet& set) { return set.clear("a"); },
                                      [](BitmapSet& set) -> Status {
                                        VMM_TRY(set.remove("a"));
                                        return set.remove("b");
                                      },
                                      [](BitmapSet& set) -> Status {
                                        VMM_TRY(set.remove("a"));
                                        VMM_TRY(set.add("a", 512));
                                        return set.merge("a", set, "b");
                                      }};
  std::mt19937_64 random(7);
  for (const uint32_t cluster_bits : {9U, 10U, 12U, 16U}) {
    for (const std::string& backing : {std::string(), std::string("base"), std::string(200, 'n')}) {
      for (const Steps& steps : changes) {
        auto disk = image_with(cluster_bits, 4 << 20U, cluster_bits == 9 ? "" : backing);
        ASSERT_TRUE(change_bitmaps(*disk, [](BitmapSet& set) -> Status {
          VMM_TRY(set.add("a", 1024));
          return set.add("b", 512);
        }));
        dirty(*disk, "a", the_first);
        dirty(*disk, "b", every_third);
        auto copy = std::make_shared<CrashDisk>(disk->content());
        ASSERT_TRUE(change_bitmaps(*copy, steps));
        expect_clean(*copy);
        const BitmapStates before = bitmaps_in(*disk);
        const BitmapStates after = bitmaps_in(*copy);
        ASSERT_NE(before, after);
        WatchedFile file(disk);
        file.after_call = [&] {
          CrashDisk left(disk->crash(random));
          const CheckResult result = check_of(left);
          ASSERT_EQ(result.corruptions, 0U) << text_of(result);
          const BitmapStates found = bitmaps_in(left);
          ASSERT_TRUE(found == before || found == after) << "neither old nor new, at call " << file.calls;
          ASSERT_EQ(read_header(left)->backing_file, cluster_bits == 9 ? "" : backing);
        };
        ASSERT_TRUE(change_bitmaps(file, steps));
        ASSERT_EQ(bitmaps_in(*disk), after);
        expect_clean(*disk);
      }
    }
  }
}

TEST(Qcow2BitmapChange, OneThatFailsLeavesTheOldOnes) {
  auto disk = image_with(12, 4 << 20U);
  ASSERT_TRUE(change_bitmaps(*disk, [](BitmapSet& set) { return set.add("a", 512); }));
  dirty(*disk, "a", every_third);
  fail_at_each_step(*disk, {}, [](SyncFile& file, Header& header) -> Status {
    VMM_ASSIGN_OR_RETURN(BitmapSet set, BitmapSet::read(file, header));
    VMM_TRY(set.clear("a"));
    return set.commit(header);
  });
}

TEST(Qcow2BitmapChange, MergesWhatIsDirtyAtAnyGranularity) {
  constexpr uint64_t kSize = (9 << 20U) + 512;
  std::mt19937_64 random(3);
  for (const auto& [from, to] : {std::pair(9U, 9U), std::pair(9U, 16U), std::pair(16U, 9U),
                                 std::pair(12U, 31U), std::pair(31U, 12U), std::pair(13U, 11U)}) {
    for (const auto& is_dirty : std::initializer_list<std::function<bool(uint64_t)>>{
             every_third, the_first, [](uint64_t) { return true; }, [](uint64_t bit) { return bit == 0; },
             [from](uint64_t bit) { return bit == (kSize - 1) >> from; },
             [&random](uint64_t) { return random() % 100 == 0; }}) {
      auto disk = image_with(9, kSize);
      ASSERT_TRUE(change_bitmaps(*disk, [&](BitmapSet& set) -> Status {
        VMM_TRY(set.add("from", uint64_t{1} << from));
        return set.add("to", uint64_t{1} << to);
      }));
      dirty(*disk, "from", is_dirty);
      dirty(*disk, "to", [](uint64_t bit) { return bit == 2; });
      BitmapStates states = bitmaps_in(*disk);
      const Bits source = states["from"].bits;
      Bits& expected = states["to"].bits;
      for (uint64_t offset = 0; offset < kSize; offset += 512) {
        expected[offset >> to] = expected[offset >> to] || source[offset >> from];
      }
      ASSERT_TRUE(change_bitmaps(*disk, [](BitmapSet& set) { return set.merge("to", set, "from"); }));
      ASSERT_EQ(bitmaps_in(*disk), states) << from << " to " << to;
      expect_clean(*disk);
    }
  }
}

TEST(Qcow2BitmapChange, StepsSeeWhatThoseBeforeThemDid) {
  auto disk = image_with(12, 4 << 20U);
  ASSERT_TRUE(change_bitmaps(*disk, [](BitmapSet& set) { return set.add("a", 512); }));
  dirty(*disk, "a", every_third);
  const Bits bits = bitmaps_in(*disk)["a"].bits;
  ASSERT_TRUE(change_bitmaps(*disk, [](BitmapSet& set) -> Status {
    VMM_TRY(set.add("b", 512));
    VMM_TRY(set.merge("b", set, "a"));
    VMM_TRY(set.clear("a"));
    VMM_TRY(set.add("c", 512));
    VMM_TRY(set.merge("c", set, "b"));
    return set.remove("b");
  }));
  BitmapStates states = bitmaps_in(*disk);
  EXPECT_EQ(states.size(), 2U);
  EXPECT_EQ(states["c"].bits, bits);
  EXPECT_EQ(states["a"].bits, Bits(bits.size()));
  expect_clean(*disk);
}

TEST(Qcow2BitmapChange, AnInconsistentOneCanOnlyBeRemoved) {
  auto disk = image_with(12, 4 << 20U);
  ASSERT_TRUE(change_bitmaps(*disk, [](BitmapSet& set) -> Status {
    VMM_TRY(set.add("a", std::nullopt));
    return set.add("b", std::nullopt);
  }));
  {
    const OpenImage image(disk, {}, false);
  }  // would not be tracked
  for (const Steps& steps :
       std::initializer_list<Steps>{[](BitmapSet& set) { return set.clear("a"); },
                                    [](BitmapSet& set) { return set.set_tracking("a", false); },
                                    [](BitmapSet& set) { return set.merge("b", set, "a"); }}) {
    const Status done = change_bitmaps(*disk, steps);
    ASSERT_FALSE(done);
    EXPECT_THAT(done.error().message(), HasSubstr("inconsistent"));
  }
  ASSERT_TRUE(change_bitmaps(*disk, [](BitmapSet& set) { return set.remove("a"); }));
  EXPECT_EQ(bitmaps_in(*disk).size(), 1U);
  expect_clean(*disk);
}

TEST(Qcow2BitmapChange, WhatCannotBeIsRefusedInWords) {
  auto disk = image_with(12, 4 << 20U);
  const auto refusal = [&](const Steps& steps) {
    const Status done = change_bitmaps(*disk, steps);
    return done ? "accepted" : done.error().message();
  };
  ASSERT_TRUE(change_bitmaps(*disk, [](BitmapSet& set) { return set.add("a", 512); }));
  const auto before = disk->content();
  EXPECT_THAT(refusal([](BitmapSet& set) { return set.add("a", 512); }), HasSubstr("already"));
  EXPECT_THAT(refusal([](BitmapSet& set) { return set.add("", 512); }), HasSubstr("1 to 1023 bytes"));
  EXPECT_THAT(refusal([](BitmapSet& set) { return set.add(std::string(1024, 'x'), 512); }),
              HasSubstr("1 to 1023 bytes"));
  EXPECT_THAT(refusal([](BitmapSet& set) { return set.remove("b"); }), HasSubstr("no dirty bitmap 'b'"));
  auto other = image_with(12, 5 << 20U);
  ASSERT_TRUE(change_bitmaps(*other, [](BitmapSet& set) { return set.add("o", 512); }));
  EXPECT_THAT(refusal([&](BitmapSet& set) -> Status {
                VMM_ASSIGN_OR_RETURN(BitmapSet others, BitmapSet::read(*other, read_header(*other).value()));
                return set.merge("a", others, "o");
              }),
              HasSubstr("of one size"));
  EXPECT_EQ(disk->content(), before);
}

}  // namespace
}  // namespace vmm::block::qcow2
