// External data files: the image's own name for one opens nothing.
#include "block/data_file.h"

#include <gmock/gmock.h>

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
  EXPECT_THAT(refusal(folder_.file("missing")), HasSubstr(other_));
  EXPECT_THAT(refusal(""), HasSubstr("does not name it"));
  EXPECT_THAT(refusal("nbd://host/x"), HasSubstr("protocol"));
}

}  // namespace
}  // namespace vmm::block
