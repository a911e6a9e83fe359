// New images over what was there before: nothing of it shows.
#include "block/qcow2/create.h"

#include <gmock/gmock.h>

#include <array>
#include <random>

#include "block/qcow2/check.h"
#include "block/qcow2/image.h"
#include "tests/unit/block/memory_file.h"

namespace vmm::block::qcow2 {
namespace {

MemoryFile file_of_random_bytes(size_t size) {
  std::vector<std::byte> bytes(size);
  std::mt19937 chance(1);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(chance());
  }
  return MemoryFile(std::move(bytes));
}

CheckResult check_of_file(MemoryFile& file) {
  const auto header = read_header(file);
  EXPECT_TRUE(header) << header.error().message();
  return header ? check(file, *header).value() : CheckResult{.corruptions = 1};
}

TEST(Qcow2Create, OverOldDataMakesACleanImage) {
  for (const uint32_t cluster_bits : {9U, 12U, 16U}) {
    for (const bool is_extended : {false, true}) {
      for (const Preallocation preallocation :
           {Preallocation::kOff, Preallocation::kMetadata, Preallocation::kFull}) {
        MemoryFile file = file_of_random_bytes(4 << 20);
        const CreateOptions options{.size_bytes = 1 << 20,
                                    .cluster_bits = is_extended ? cluster_bits + 5 : cluster_bits,
                                    .extended_l2 = is_extended,
                                    .preallocation = preallocation};
        ASSERT_TRUE(create(file, options));
        EXPECT_TRUE(check_of_file(file).is_clean()) << options.cluster_bits << " " << is_extended;
      }
    }
  }
}

TEST(Qcow2Create, TheTablesAreZeroesToTheEndOfTheirLastCluster) {
  MemoryFile file = file_of_random_bytes(1 << 20);
  ASSERT_TRUE(create(file, {.size_bytes = 1 << 20}));
  const Header header = read_header(file).value();
  const auto l1 = read_table(file, header.l1_offset, header.cluster_bytes()).value();
  EXPECT_THAT(l1, testing::Each(0U));
  auto refcounts = read_table(file, header.refcount_table_offset, header.cluster_bytes()).value();
  refcounts.erase(refcounts.begin());
  EXPECT_THAT(refcounts, testing::Each(0U));
}

TEST(Qcow2Create, PreallocatedMetadataOverOldDataReadAsZeroes) {
  MemoryFile file = file_of_random_bytes(1 << 20);
  ASSERT_TRUE(create(file, {.size_bytes = 65536, .preallocation = Preallocation::kMetadata}));
  const Header header = read_header(file).value();
  const uint64_t table = read_table(file, header.l1_offset, 8).value()[0] & kEntryOffsetMask;
  const L2Entry entry{.descriptor = read_table(file, table, 8).value()[0]};
  EXPECT_EQ(kind_of(header.entry_format(), entry), ClusterKind::kZeroesAllocated);
}

TEST(Qcow2Create, Version2CannotHideOldDataInWhatIsPreallocated) {
  MemoryFile file = file_of_random_bytes(1 << 20);
  const auto before = file.bytes;
  const Status made =
      create(file, {.size_bytes = 65536, .version = 2, .preallocation = Preallocation::kMetadata});
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message(), testing::HasSubstr("preallocation=full"));
  EXPECT_EQ(file.bytes, before);
}

// Fails its writes from some one on.
class FailingFile final : public SyncFile {
 public:
  FailingFile(MemoryFile& file, int writes) : file_(file), writes_(writes) {}

  const std::string& path() const override { return file_.path(); }
  Result<uint64_t> size() override { return file_.size(); }
  Status read(FileOffset offset, std::span<std::byte> to) override { return file_.read(offset, to); }
  Status write(FileOffset offset, std::span<const std::byte> from) override {
    return writes_-- > 0 ? file_.write(offset, from) : Status(fail("no more"));
  }
  Status sync() override { return {}; }
  Status resize(uint64_t /*bytes*/) override { return {}; }
  void discard(FileOffset /*offset*/, uint64_t /*bytes*/) override {}

 private:
  MemoryFile& file_;
  int writes_;
};

TEST(Qcow2Create, OverAnOldImageHalfMadeIsNoImage) {
  for (int writes = 1;; ++writes) {
    MemoryFile file;
    ASSERT_TRUE(create(file, {.size_bytes = 1 << 20}));
    FailingFile failing(file, writes);
    if (create(failing, {.size_bytes = 1 << 30, .cluster_bits = 12})) {
      EXPECT_GT(writes, 4);
      break;
    }
    EXPECT_FALSE(read_header(file)) << "after " << writes << " writes";
  }
}

}  // namespace
}  // namespace vmm::block::qcow2
