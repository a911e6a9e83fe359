// Dirty bitmaps: valid as long as they tell the truth, and marked where they would not any more.
#include "block/qcow2/bitmaps.h"

#include <gmock/gmock.h>

#include "tests/unit/block/qcow2/offline.h"

namespace vmm::block::qcow2 {
namespace {

using testing::HasSubstr;

constexpr uint64_t kBytesPerBit = 512;
constexpr uint64_t kClusterBytes = 512;
constexpr uint64_t kBitsPerCluster = kClusterBytes * 8;

class Qcow2Bitmaps : public testing::Test {
 protected:
  Qcow2Bitmaps() {
    options_.create.cluster_bits = 9;
    options_.create.size_bytes = 3 * kBitsPerCluster * kBytesPerBit;  // three clusters of bits
    disk_ = make_disk(options_);
    OpenImage image(disk_, options_, false);
    EXPECT_EQ(image.write_value(0, 65536, 7), IoStatus::kOk);
  }

  // The first cluster of bits is all ones, the second has data, the third is zero.
  void add(const std::string& name, uint32_t flags) {
    Header header = read_header(*disk_).value();
    auto change = MetadataChange::begin(*disk_, header);
    ASSERT_TRUE(change) << change.error().message();
    const std::vector<std::byte> bits(kClusterBytes, std::byte{0x55});
    const std::array<uint64_t, 3> table = {1, change->write_new(bits).value(), 0};
    std::vector<std::byte> directory(24);
    store_be<uint64_t>(directory.data(), change->write_new_l1(table).value());
    store_be<uint32_t>(directory.data() + 8, table.size());
    store_be<uint32_t>(directory.data() + 12, flags);
    directory[16] = std::byte{1};
    directory[17] = std::byte{9};
    store_be<uint16_t>(directory.data() + 18, static_cast<uint16_t>(name.size()));
    const auto text = as_bytes(name);
    directory.insert(directory.end(), text.begin(), text.end());
    directory.resize(align_up(directory.size(), 8));
    Header now = header;
    now.bitmaps = BitmapsExtension{.count = 1,
                                   .directory_bytes = directory.size(),
                                   .directory_offset = change->write_new(directory).value()};
    now.autoclear |= kAutoclearBitmaps;
    ASSERT_TRUE(change->commit(now));
    // No room for names of features besides in clusters of 512 bytes.
    now.feature_names.clear();
    ASSERT_TRUE(write_header(*disk_, now));
    ASSERT_TRUE(disk_->sync());
    expect_clean(*disk_);
  }

  static void expect_clean(CrashDisk& disk) {
    const CheckResult result = check_of(disk);
    EXPECT_TRUE(result.is_clean()) << text_of(result);
  }

  static std::vector<Bitmap> bitmaps_of(CrashDisk& disk) {
    std::vector<Bitmap> bitmaps;
    const Status visited = visit_bitmaps(disk, read_header(disk).value(), [&](const Bitmap& bitmap) {
      bitmaps.push_back(bitmap);
      return Status();
    });
    EXPECT_TRUE(visited) << visited.error().message();
    return bitmaps;
  }
  uint32_t flags() { return bitmaps_of(*disk_).at(0).flags; }

  // The first bitmap's, each as a byte.
  static std::vector<uint8_t> bits_of(CrashDisk& disk) {
    const Bitmap bitmap = bitmaps_of(disk).at(0);
    const auto table = read_table(disk, bitmap.table_offset, uint64_t{bitmap.table_entries} * 8).value();
    std::vector<uint8_t> bits;
    for (const uint64_t entry : table) {
      std::vector<std::byte> data(kClusterBytes, entry == 1 ? std::byte{0xff} : std::byte{0});
      if (entry > 1) {
        EXPECT_TRUE(disk.read(FileOffset(entry), data));
      }
      for (uint64_t i = 0; i < kBitsPerCluster; ++i) {
        bits.push_back(std::to_integer<uint8_t>(data[i / 8] >> (i % 8) & std::byte{1}));
      }
    }
    return bits;
  }

  // As add() made them, of a disk that was cut to `kept` bits and then had `all`.
  static std::vector<uint8_t> expected_bits(uint64_t kept, uint64_t all) {
    std::vector<uint8_t> bits(std::max<uint64_t>(align_up(all, kBitsPerCluster), kBitsPerCluster));
    for (uint64_t i = 0; i < std::min(kept, all); ++i) {
      bits[i] = i < kBitsPerCluster ? 1 : i < 2 * kBitsPerCluster ? (i + 1) % 2 : 0;
    }
    return bits;
  }

  Status run(const Change& change) { return change_image(*disk_, change); }

  WorldOptions options_;
  std::shared_ptr<CrashDisk> disk_;
};

TEST_F(Qcow2Bitmaps, ReadingChangesNothing) {
  add("b", kBitmapAuto);
  const auto before = disk_->content();
  {
    OpenImage image(disk_, options_, true);
    static_cast<void>(image.read_all());
  }
  EXPECT_EQ(disk_->content(), before);
}

TEST_F(Qcow2Bitmaps, OneThatTracksWritesIsInconsistentBeforeTheFirstOfThem) {
  add("b", kBitmapAuto);
  {
    const OpenImage image(disk_, options_, false);
    // Whatever comes next: it is durable.
    std::mt19937_64 random(1);
    CrashDisk left(disk_->crash(random));
    EXPECT_EQ(bitmaps_of(left).at(0).flags, kBitmapAuto | kBitmapInUse);
  }
  expect_clean(*disk_);
}

TEST_F(Qcow2Bitmaps, OneThatDoesNotTrackWritesStaysValid) {
  add("b", 0);
  {
    OpenImage image(disk_, options_, false);
    ASSERT_EQ(image.write_value(0, 65536, 8), IoStatus::kOk);
  }
  EXPECT_EQ(flags(), 0U);
  EXPECT_EQ(bits_of(*disk_), expected_bits(UINT64_MAX, 3 * kBitsPerCluster));
  expect_clean(*disk_);
}

TEST_F(Qcow2Bitmaps, SnapshotsLeaveThemValid) {
  add("b", kBitmapAuto);
  ASSERT_TRUE(run(creates("s")));
  ASSERT_TRUE(run(deletes("s")));
  EXPECT_EQ(flags(), kBitmapAuto);
  EXPECT_EQ(bits_of(*disk_), expected_bits(UINT64_MAX, 3 * kBitsPerCluster));
  ASSERT_TRUE(run(creates("s")));
  const Status applied = run(applies("s"));
  ASSERT_FALSE(applied);
  EXPECT_THAT(applied.error().message(), HasSubstr("dirty bitmaps"));
  EXPECT_EQ(flags(), kBitmapAuto);
}

TEST_F(Qcow2Bitmaps, FollowADiskThatGetsAnotherSize) {
  for (const uint64_t bits : {uint64_t{4096} + 100, uint64_t{3}, uint64_t{8192}, uint64_t{0}}) {
    SCOPED_TRACE(bits);
    disk_ = make_disk(options_);
    add("b", kBitmapAuto);
    ASSERT_TRUE(run(shrinks(bits * kBytesPerBit)));
    expect_clean(*disk_);
    EXPECT_EQ(flags(), kBitmapAuto);
    EXPECT_EQ(bits_of(*disk_), expected_bits(bits, bits));
    ASSERT_TRUE(run(grows(20'000 * kBytesPerBit, 0, Preallocation::kOff)));
    expect_clean(*disk_);
    EXPECT_EQ(flags(), kBitmapAuto);
    EXPECT_EQ(bits_of(*disk_), expected_bits(bits, 20'000));
  }
}

TEST_F(Qcow2Bitmaps, ThatWouldBecomeTooLargeAreRefusedAndNothingChanges) {
  add("b", kBitmapAuto);
  const auto before = disk_->content();
  Header header = read_header(*disk_).value();
  const Status status = check_bitmap_resize(*disk_, header, uint64_t{1} << 42U);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message(), HasSubstr("'b' would become too large"));
  EXPECT_EQ(disk_->content(), before);
}

TEST_F(Qcow2Bitmaps, ThatOthersMarkedAsInconsistentAreNotLookedAt) {
  add("b", kBitmapAuto);
  Header header = read_header(*disk_).value();
  // As a program does that does not know them.
  std::array<std::byte, 8> none{};
  ASSERT_TRUE(disk_->write(FileOffset(kAutoclearFieldOffset), none));
  ASSERT_TRUE(disk_->write(FileOffset(header.bitmaps->directory_offset),
                           std::vector<std::byte>(64, std::byte{0xee})));
  EXPECT_FALSE(read_header(*disk_)->bitmaps);
  EXPECT_EQ(check_of(*disk_).corruptions, 0U);
  {
    OpenImage image(disk_, options_, false);
    ASSERT_EQ(image.write_value(0, 65536, 8), IoStatus::kOk);
  }
  EXPECT_EQ(check_of(*disk_).corruptions, 0U);
  EXPECT_EQ(read_header(*disk_)->autoclear, 0U);
  ASSERT_TRUE(run(shrinks(512)));
}

TEST_F(Qcow2Bitmaps, ACrashWhileTheDiskGetsAnotherSizeLeavesThemRight) {
  for (const auto& [bits, change] :
       {std::pair(uint64_t{5000}, shrinks(5000 * kBytesPerBit)),
        std::pair(uint64_t{20'000}, grows(20'000 * kBytesPerBit, 0, Preallocation::kOff))}) {
    disk_ = make_disk(options_);
    add("b", kBitmapAuto);
    std::mt19937_64 random(bits);
    WatchedFile file(disk_);
    file.after_call = [&] {
      CrashDisk left(disk_->crash(random));
      const CheckResult result = check_of(left);
      ASSERT_EQ(result.corruptions, 0U) << text_of(result);
      const Header header = read_header(left).value();
      ASSERT_TRUE(header.bitmaps);
      ASSERT_EQ(bits_of(left), expected_bits(UINT64_MAX, header.size_bytes / kBytesPerBit));
    };
    ASSERT_TRUE(change_image(file, change));
    EXPECT_EQ(bits_of(*disk_), expected_bits(UINT64_MAX, bits));
  }
}

}  // namespace
}  // namespace vmm::block::qcow2
