// Another backing file: the name and the format change together, and nothing else does.
#include "block/qcow2/change_backing.h"

#include <gmock/gmock.h>

#include "tests/unit/block/qcow2/offline.h"

namespace vmm::block::qcow2 {
namespace {

using testing::HasSubstr;

std::string name_of_length(size_t length, char letter) { return std::string(length, letter); }

class Qcow2ChangeBacking : public testing::Test {
 protected:
  void start(uint32_t version, uint32_t cluster_bits, const Backing& backing = {}) {
    CreateOptions options{.size_bytes = 1 << 16U, .version = version, .cluster_bits = cluster_bits};
    options.backing_file = backing.file;
    options.backing_format = backing.format;
    disk_ = std::make_shared<CrashDisk>(std::vector<std::byte>());
    const Status created = create(*disk_, options);
    ASSERT_TRUE(created) << created.error().message();
    now_ = backing;
  }

  static bool has(SyncFile& file, const Backing& backing) {
    const auto header = read_header(file);
    EXPECT_TRUE(header) << header.error().message();
    return header && header->backing_file == backing.file && header->backing_format == backing.format;
  }

  static Change changes(const Backing& backing) {
    return [backing](SyncFile& file, Header& header) -> Status {
      VMM_TRY(check_backing(file, header, backing));
      return change_backing(file, header, backing);
    };
  }

  // With a crash at every step.
  void change(const Backing& backing, uint64_t seed) {
    std::mt19937_64 random(seed);
    WatchedFile file(disk_);
    file.after_call = [&] {
      for (int i = 0; i < 8; ++i) {
        CrashDisk left(disk_->crash(random));
        ASSERT_EQ(check_of(left).corruptions, 0U);
        ASSERT_TRUE(has(left, now_) || has(left, backing)) << "neither the old name nor the new one";
      }
    };
    const Status done = change_image(file, changes(backing));
    ASSERT_TRUE(done) << done.error().message();
    ASSERT_TRUE(has(*disk_, backing));
    ASSERT_TRUE(check_of(*disk_).is_clean());
    now_ = backing;
  }

  std::shared_ptr<CrashDisk> disk_;
  Backing now_;
};

TEST_F(Qcow2ChangeBacking, OldAndNewNamesOfEveryLength) {
  for (const uint32_t version : {2U, 3U}) {
    for (const uint32_t cluster_bits : {9U, 10U, 12U, 16U}) {
      SCOPED_TRACE(fmt::format("version {}, {} bits", version, cluster_bits));
      start(version, cluster_bits);
      std::mt19937_64 random(cluster_bits);
      for (int i = 0; i < 60 && !HasFailure(); ++i) {
        const size_t longest = cluster_bits == 9 ? 300 : cluster_bits == 10 ? 370 : 1023;
        const std::string name =
            name_of_length(random() % longest, static_cast<char>('a' + static_cast<char>(i % 26)));
        const std::optional<std::string> format =
            name.empty() || random() % 4 == 0
                ? std::nullopt
                : std::optional<std::string>(random() % 2 == 0 ? "raw" : "host_device");
        change({.file = name, .format = format}, random());
      }
    }
  }
}

TEST_F(Qcow2ChangeBacking, WhatElseTheHeaderSaysStays) {
  start(3, 16, {.file = "base", .format = "raw"});
  Header before = read_header(*disk_).value();
  before.unknown_extensions.push_back(
      {.type = 0x12345678, .bytes = std::vector<std::byte>(700, std::byte{7})});
  ASSERT_TRUE(write_header(*disk_, before));
  ASSERT_TRUE(disk_->sync());
  change({.file = "another/base.qcow2", .format = "qcow2"}, 1);
  change({.file = std::string(1000, 'x'), .format = "raw"}, 2);
  change({.file = "third", .format = "qcow"}, 3);
  const Header after = read_header(*disk_).value();
  EXPECT_EQ(after.unknown_extensions.size(), 1U);
  EXPECT_EQ(after.unknown_extensions.front().bytes, before.unknown_extensions.front().bytes);
  EXPECT_EQ(after.size_bytes, before.size_bytes);
  EXPECT_EQ(after.l1_offset, before.l1_offset);
}

// As QEMU before 5.1 made them: without the field of the compression type.
TEST_F(Qcow2ChangeBacking, AShorterHeaderBecomesALongerOne) {
  const Backing old{.file = "base.raw", .format = "raw"};
  start(3, 16, old);
  std::vector<std::byte> area(1024);
  ASSERT_TRUE(disk_->read(FileOffset(0), area));
  store_be<uint32_t>(area.data() + 100, 104);
  store_be<uint64_t>(area.data() + 8, load_be<uint64_t>(area.data() + 8) - 8);
  std::copy(area.begin() + 112, area.end(), area.begin() + 104);
  ASSERT_TRUE(disk_->write(FileOffset(0), area));
  ASSERT_TRUE(disk_->sync());
  ASSERT_TRUE(has(*disk_, old));
  ASSERT_EQ(read_header(*disk_)->header_bytes, 104U);
  change({.file = "another.qcow2", .format = "qcow2"}, 4);
  change(old, 5);
}

TEST_F(Qcow2ChangeBacking, AFailureAtAnyStepLeavesTheOldNameOrTheNewOne) {
  const Backing old{.file = "base.raw", .format = "raw"};
  const Backing next{.file = "another.qcow2", .format = "qcow2"};
  for (uint64_t step = 0; step < 4; ++step) {
    start(3, 12, old);
    WatchedFile file(disk_);
    file.fail_from = step;
    file.fail_until = step + 1;
    EXPECT_FALSE(change_image(file, changes(next))) << "at step " << step;
    EXPECT_TRUE(has(*disk_, old) || has(*disk_, next));
    change(next, step);
  }
}

TEST_F(Qcow2ChangeBacking, WhatCannotBeIsRefusedAndNothingChanges) {
  const auto refusal = [this](const Backing& backing) {
    const auto before = disk_->content();
    const Status done = change_image(*disk_, changes(backing));
    EXPECT_EQ(disk_->content(), before);
    return done ? "done" : done.error().message();
  };
  start(3, 10, {.file = name_of_length(480, 'a'), .format = "raw"});
  EXPECT_THAT(refusal({.file = name_of_length(600, 'b'), .format = "raw"}),
              HasSubstr("no room for the name 'bbb"));
  EXPECT_THAT(refusal({.file = name_of_length(1024, 'b'), .format = "raw"}), HasSubstr("1024 bytes long"));
  start(3, 9);
  EXPECT_THAT(refusal({.file = name_of_length(500, 'b'), .format = "raw"}), HasSubstr("no room"));
  start(3, 16, {.file = "base", .format = "raw"});
  Header large = read_header(*disk_).value();
  large.unknown_extensions.push_back(
      {.type = 0x12345678, .bytes = std::vector<std::byte>(700, std::byte{7})});
  ASSERT_TRUE(write_header(*disk_, large));
  EXPECT_THAT(refusal({}), HasSubstr("other extensions would have to move"));
  start(3, 16);
  Header raw_data = read_header(*disk_).value();
  raw_data.incompatible |= kIncompatibleDataFile;
  raw_data.data_file = "data";
  raw_data.autoclear |= kAutoclearRawDataFile;
  ASSERT_TRUE(write_header(*disk_, raw_data));
  EXPECT_THAT(refusal({.file = "base", .format = "raw"}), HasSubstr("data_file_raw"));
  EXPECT_EQ(refusal({}), "done");
}

}  // namespace
}  // namespace vmm::block::qcow2
