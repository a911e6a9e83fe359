// Tables that lie over each other, each over each: the image is refused, or marked as corrupt, before any of
// them is changed.
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/unit/block/qcow2/crafted.h"
#include "tests/unit/block/qcow2/qcow2_world.h"

namespace vmm::block::qcow2 {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20U;
constexpr uint64_t kOverlapClusterBytes = 4096;  // so an L2 table is for 2 MiB

// What refers to a table, by the place where the reference lies.
struct Reference {
  std::string name;
  uint64_t field = 0;
  uint64_t flags = 0;  // of the entry
};

class Qcow2Overlaps : public testing::Test {
 protected:
  Qcow2Overlaps() {
    options_.create.cluster_bits = 12;
    options_.create.size_bytes = 4 * kMiB;
    disk_ = make_disk(options_);
    {
      OpenImage image(disk_, options_, false);
      EXPECT_EQ(image.write_value(0, 64 << 10U, 7), IoStatus::kOk);
      EXPECT_EQ(image.write_value(2 * kMiB, 4096, 8), IoStatus::kOk);
    }
    Crafter crafter(*disk_);
    crafter.add_snapshot();
    crafter.finish();
    {
      OpenImage image(disk_, options_, false);  // so that the tables are its own again
      EXPECT_EQ(image.write_value(0, 512, 9), IoStatus::kOk);
      EXPECT_EQ(image.write_value(2 * kMiB, 512, 9), IoStatus::kOk);
    }
    const Header header = read_header(*disk_).value();
    references_ = {{.name = "L1 table", .field = 40},
                   {.name = "refcount table", .field = 48},
                   {.name = "L2 table", .field = header.l1_offset, .flags = kEntryCopied},
                   {.name = "second L2 table", .field = header.l1_offset + 8, .flags = kEntryCopied},
                   {.name = "refcount block", .field = header.refcount_table_offset}};
    // The L2 tables of a snapshot are only known to a check.
    targets_ = references_;
    targets_.push_back({.name = "snapshot table", .field = 64});
    targets_.push_back({.name = "L1 table of a snapshot", .field = header.snapshots_offset});
  }

  uint64_t at(uint64_t field) const {
    return load_be<uint64_t>(disk_->content().data() + field) & kEntryOffsetMask;
  }

  // What an opener for writing says: nothing, where it opens.
  Status refusal(const std::shared_ptr<CrashDisk>& disk) const {
    Image::Files files;
    files.sync = std::make_unique<SharedSyncFile>(disk);
    files.image =
        std::make_unique<HostFile>(disk, HostFile::Files{}, HostFile::Geometry{}, options_.cache, true);
    VMM_ASSIGN_OR_RETURN(Header header, read_header(*files.sync));
    VMM_TRY(prepare_for_writing(*files.sync, header));
    VMM_ASSIGN_OR_RETURN(const auto image,
                         Image::open(std::move(files), std::move(header), {.read_only = false}));
    return note_metadata(image->sync_file(), image->state());
  }

  // Opens a copy that is damaged so, and does that to it, as its first change.
  using Use = std::function<void(OpenImage&)>;
  void expect_nothing_is_changed(uint64_t field, uint64_t value, const Use& use) const {
    auto copy = std::make_shared<CrashDisk>(disk_->content());
    std::array<std::byte, 8> bytes{};
    store_be<uint64_t>(bytes.data(), value);
    ASSERT_TRUE(copy->write(FileOffset(field), bytes));
    ASSERT_TRUE(copy->sync());
    const std::vector<std::byte> before = copy->content();
    const bool is_refused = !refusal(copy);
    if (!is_refused) {
      OpenImage image(copy, options_, false);
      use(image);
    }
    std::vector<std::byte> after = copy->content();
    std::byte& features = after[kIncompatibleFieldOffset + 7];
    EXPECT_TRUE(is_refused || (features & std::byte{kIncompatibleCorrupt}) != std::byte{0})
        << "neither refused nor marked";
    features &= ~std::byte{kIncompatibleCorrupt};
    ASSERT_GE(after.size(), before.size());
    for (size_t i = 0; i < before.size(); ++i) {
      ASSERT_EQ(after[i], before[i]) << "byte " << i << " has changed";
    }
  }

  WorldOptions options_;
  std::shared_ptr<CrashDisk> disk_;
  std::vector<Reference> references_;
  std::vector<Reference> targets_;
};

TEST_F(Qcow2Overlaps, AreRefusedOrMarkedBeforeAnythingIsWritten) {
  const std::vector<std::pair<std::string, Use>> uses = {
      {"a write to new clusters",
       [](OpenImage& image) { static_cast<void>(image.write_value(kMiB, 4096, 0xdead)); }},
      {"a write through the second L2 table",
       [](OpenImage& image) { static_cast<void>(image.write_value(3 * kMiB, 4096, 0xdead)); }},
      {"a write and a flush",
       [](OpenImage& image) {
         static_cast<void>(image.write_value(kMiB, 4096, 0xdead));
         static_cast<void>(image.write_value(3 * kMiB, 4096, 0xdead));
         static_cast<void>(image.change(BlockOp::kFlush, 0, 0));
       }},
  };
  for (const Reference& reference : references_) {
    for (const Reference& target : targets_) {
      for (const auto& [use_name, use] : uses) {
        const bool is_second_l2 = reference.name == "second L2 table";
        // Another table is damaged than the one that is used.
        const bool is_apart =
            (use_name == "a write to new clusters" && is_second_l2) ||
            (use_name == "a write through the second L2 table" && reference.name == "L2 table");
        // Where L1 or refcount table lie elsewhere, nothing refers to what the old one did.
        const bool is_alone = (reference.field == 40 && target.flags != 0) ||
                              (reference.field == 48 && target.name == "refcount block");
        if (reference.field == target.field || is_apart || is_alone) {
          continue;
        }
        SCOPED_TRACE(fmt::format("{} in the place of the {}, {}", reference.name, target.name, use_name));
        expect_nothing_is_changed(reference.field, at(target.field) | reference.flags, use);
      }
    }
  }
}

TEST_F(Qcow2Overlaps, WithTheHeaderAreRefusedOrMarkedToo) {
  for (const Reference& reference : references_) {
    if (reference.flags == 0) {  // an L2 table at 0 is none
      SCOPED_TRACE(reference.name);
      expect_nothing_is_changed(reference.field, 0, [](OpenImage& image) {
        static_cast<void>(image.write_value(kMiB, kOverlapClusterBytes, 0xdead));
      });
    }
  }
}

}  // namespace
}  // namespace vmm::block::qcow2
