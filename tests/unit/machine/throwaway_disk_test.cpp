// What becomes of what a guest wrote to a throwaway disk.
#include "vmm/machine/throwaway_disk.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "block/image_file.h"
#include "block/open.h"
#include "tests/unit/block/disk_harness.h"

namespace vmm {
namespace {

namespace fs = std::filesystem;

using block::allocated_bytes;
using block::IoStatus;
using block::pattern_bytes;
using block::read_file;
using block::write_file;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

constexpr size_t kImageBytes = size_t{1} << 20U;

class ThrowawayEnd : public testing::Test {
 protected:
  ThrowawayEnd() : bytes_(pattern_bytes(kImageBytes, 3)) { write_file(base_, bytes_); }

  // A guest has written a sector to it and has ended.
  ThrowawayDisk written_disk(const block::OverlayFile::Options& options) {
    auto overlay = block::OverlayFile::create(base_, options);
    EXPECT_TRUE(overlay) << overlay.error().message();
    ThrowawayDisk disk{.target = "vda", .file = *overlay};
    const auto image = block::open_disk(*loop_, {.path = base_, .overlay = *overlay});
    EXPECT_TRUE(image) << image.error().message();
    const auto sector = pattern_bytes(512, 4);
    EXPECT_EQ(write_disk(loop_, **image, 1024, sector), IoStatus::kOk);
    std::ranges::copy(sector, bytes_.begin() + 1024);
    EXPECT_TRUE(block::drain(*loop_, **image, std::chrono::seconds(10)));
    return disk;
  }

  ThrowawayDisk committed_disk() {
    ThrowawayDisk disk = written_disk({.folder = folder_.file(""), .may_be_kept = true});
    disk.base = block::DiskOptions{.path = base_, .expected = *block::state_of_file(base_)};
    return disk;
  }

  // What failed; empty: nothing did.
  std::string finish(ThrowawayDisk disk, const std::string& why_not_to_commit = "") {
    const std::vector<ThrowawayDisk> disks = {std::move(disk)};
    const Status done = finish_throwaway(disks, why_not_to_commit,
                                         [this](const std::string& text) { told_.push_back(text); });
    return done ? "" : done.error().message();
  }

  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.file(""))) {
      names.push_back(entry.path().filename());
    }
    std::ranges::sort(names);
    return names;
  }

  block::TemporaryFolder folder_;
  block::Loop loop_;
  std::string base_ = folder_.file("base.img");
  std::vector<std::byte> bytes_;
  std::vector<std::string> told_;
};

TEST_F(ThrowawayEnd, IsThrownAwayAndItIsSaidHowMuchThatWas) {
  EXPECT_EQ(finish(written_disk({})), "");
  EXPECT_THAT(told_, ElementsAre(MatchesRegex("what the guest wrote is thrown away: [0-9.]* MiB of vda")));
  EXPECT_THAT(files(), ElementsAre("base.img"));
}

TEST_F(ThrowawayEnd, KeptWhereTheNameIsTakenMeanwhileItGetsAnother) {
  ThrowawayDisk disk = written_disk({.folder = folder_.file(""), .may_be_kept = true});
  disk.kept_as = folder_.file("kept.qcow2");
  const auto mine = pattern_bytes(10, 9);
  write_file(disk.kept_as, mine);
  EXPECT_THAT(
      finish(disk),
      MatchesRegex(
          ".*kept.qcow2: File exists; what the guest wrote to vda is kept in .*/kept.qcow2.vda-[0-9]*"));
  EXPECT_TRUE(read_file(disk.kept_as) == mine);
  ASSERT_EQ(files().size(), 3U);
  const auto kept =
      block::open_disk(*loop_, {.path = folder_.file(files().back()), .format = block::Format::kQcow2});
  ASSERT_TRUE(kept) << kept.error().message();
  std::vector<std::byte> read(kImageBytes);
  ASSERT_EQ(read_disk(loop_, **kept, 0, read), IoStatus::kOk);
  EXPECT_TRUE(read == bytes_);
}

TEST_F(ThrowawayEnd, CommittedItIsInTheBaseAndNothingIsLeft) {
  EXPECT_EQ(finish(committed_disk()), "");
  EXPECT_THAT(told_, ElementsAre(HasSubstr("what the guest wrote to vda is committed to " + base_)));
  EXPECT_TRUE(read_file(base_) == bytes_);
  EXPECT_THAT(files(), ElementsAre("base.img"));
}

TEST_F(ThrowawayEnd, NothingIsCommittedWithoutACleanEnd) {
  const auto before = read_file(base_);
  EXPECT_EQ(finish(committed_disk(), "it reported status 3"), "");
  EXPECT_THAT(told_, ElementsAre(HasSubstr("of vda (it reported status 3, so that nothing is committed)")));
  EXPECT_TRUE(read_file(base_) == before);
  EXPECT_THAT(files(), ElementsAre("base.img"));
}

TEST_F(ThrowawayEnd, ABaseThatHasChangedMeanwhileIsNotCommittedToAndNothingIsLost) {
  ThrowawayDisk disk = committed_disk();
  const auto changed = pattern_bytes(kImageBytes + 512, 5);
  write_file(base_, changed);
  EXPECT_THAT(
      finish(disk),
      HasSubstr(
          "base.img has been changed by somebody else meanwhile; what the guest wrote to vda is kept in " +
          base_ + ".uncommitted-"));
  EXPECT_THAT(told_, IsEmpty());
  EXPECT_TRUE(read_file(base_) == changed);
  EXPECT_EQ(files().size(), 2U);
}

TEST_F(ThrowawayEnd, ABaseThatIsReadByOthersIsNotCommittedTo) {
  const ThrowawayDisk disk = committed_disk();
  const auto before = read_file(base_);
  const auto reader = block::open_disk(*loop_, {.path = base_, .read_only = true});
  ASSERT_TRUE(reader);
  EXPECT_THAT(finish(disk), StartsWith(base_ + " is in use by"));
  EXPECT_TRUE(read_file(base_) == before);
  EXPECT_EQ(files().size(), 2U);
}

}  // namespace
}  // namespace vmm
