// External data files: the image's own name for one opens nothing.
#include "block/data_file.h"

#include <gmock/gmock.h>

#include "block/image_file.h"
#include "block/qcow2/create.h"
#include "block/sync_file.h"
#include "tests/unit/block/disk_harness.h"

namespace vmm::block {
namespace {

using testing::HasSubstr;

class DataFiles : public testing::Test {
 protected:
  DataFiles() {
    write_file(data_, pattern_bytes(4096, 1));
    write_file(other_, pattern_bytes(4096, 2));
    options_.path = folder_.file("image");
    options_.format = Format::kQcow2;
  }

  std::string refusal(const std::string& in_header) {
    const auto found = named_data_file(in_header, options_);
    EXPECT_FALSE(found);
    return found ? "" : found.error().message();
  }

  TemporaryFolder folder_;
  std::string data_ = folder_.file("data");
  std::string other_ = folder_.file("other");
  DiskOptions options_;
};

TEST_F(DataFiles, TheNameInTheHeaderAloneOpensNothingAndIsTold) {
  const std::string for_guest = refusal(data_);
  EXPECT_THAT(for_guest, HasSubstr(data_));
  EXPECT_THAT(for_guest, HasSubstr("<dataStore>"));
  options_.for_guest = false;
  EXPECT_THAT(refusal(data_), HasSubstr("--data-file " + data_));
}

TEST_F(DataFiles, TheFileThatIsNamedIsOpenedByTheNameGiven) {
  const std::string link = folder_.file("link");
  ASSERT_EQ(::symlink("data", link.c_str()), 0);
  options_.data_files = {other_, link};
  EXPECT_EQ(named_data_file(data_, options_).value(), link);
  EXPECT_EQ(named_data_file("data", options_).value(), link) << "relative names start at the image";
}

TEST_F(DataFiles, AnotherFileThanTheHeaderNamesIsRefused) {
  options_.data_files = {other_};
  EXPECT_THAT(refusal(data_), testing::AllOf(HasSubstr(data_), HasSubstr(other_)));
  EXPECT_THAT(refusal(folder_.file("missing")), HasSubstr("is not there"));
  EXPECT_THAT(refusal(""), HasSubstr("does not name it"));
  EXPECT_THAT(refusal("nbd://host/x"), HasSubstr("protocol"));
}

TEST_F(DataFiles, WhatIsDiscardedIsGivenBackToTheHost) {
  constexpr uint64_t kBytes = uint64_t{1} << 20U;
  write_file(options_.path, {});
  write_file(data_, {});
  {
    const auto image = open_image_file({.path = options_.path, .for_guest = false}).value();
    const auto file = make_sync_file(image.files.main, options_.path);
    ASSERT_TRUE(qcow2::create(*file, {.size_bytes = kBytes, .data_file = data_}));
  }
  options_.data_files = {data_};
  options_.discard = DiscardMode::kUnmap;
  Loop loop;
  const auto contents = pattern_bytes(kBytes, 3);
  {
    const auto disk = open_disk(*loop, options_).value();
    ASSERT_EQ(write_disk(loop, *disk, 0, contents), IoStatus::kOk);
    ASSERT_EQ(flush_disk(loop, *disk), IoStatus::kOk);
    EXPECT_GE(allocated_bytes(data_), kBytes);
    ASSERT_EQ(change_disk(loop, *disk, BlockOp::kDiscard, kBytes / 2, kBytes / 4), IoStatus::kOk);
    ASSERT_EQ(change_disk(loop, *disk, BlockOp::kWriteZeroes, kBytes / 4 * 3, kBytes / 4, true),
              IoStatus::kOk);
    ASSERT_EQ(flush_disk(loop, *disk), IoStatus::kOk);
    EXPECT_LE(allocated_bytes(data_), kBytes / 2 + 65536);
    // The same place again.
    ASSERT_EQ(write_disk(loop, *disk, kBytes / 2, std::span(contents).first(4096)), IoStatus::kOk);
    std::vector<std::byte> bytes(kBytes);
    ASSERT_EQ(read_disk(loop, *disk, 0, bytes), IoStatus::kOk);
    auto expected = contents;
    std::ranges::fill(std::span(expected).subspan(kBytes / 2), std::byte{0});
    std::ranges::copy(std::span(contents).first(4096), expected.begin() + kBytes / 2);
    EXPECT_EQ(bytes, expected);
  }
}

}  // namespace
}  // namespace vmm::block
