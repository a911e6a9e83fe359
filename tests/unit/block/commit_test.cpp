// What an overlay holds gets into its base, and nothing else does.
#include "block/commit.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "block/image_mark.h"
#include "tests/unit/block/disk_harness.h"
#include "tests/unit/block/qemu_tools.h"

namespace vmm::block {
namespace {

using testing::HasSubstr;

constexpr size_t kCommittedBytes = size_t{4} << 20U;

class Commit : public testing::Test {
 protected:
  Commit() : bytes_(pattern_bytes(kCommittedBytes, 7)), loop_(std::move(*EventLoop::create())) {}

  std::string make_base(const std::string& format) {
    const std::string raw = folder_.file("source.raw");
    write_file(raw, bytes_);
    const std::string base = folder_.file("base." + format);
    must_run({"qemu-img", "convert", "-f", "raw", "-O", format, raw, base});
    return base;
  }

  std::string make_overlay(const std::string& base, const std::string& format, const std::string& options) {
    const std::string overlay = folder_.file("overlay.qcow2");
    must_run({"qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", format, "-o", options, overlay});
    return overlay;
  }

  // Data, zeroes over data, and a part of a cluster, by qemu-io; `bytes_` follows.
  void change(const std::string& overlay) {
    must_run({"qemu-io", "-f", "qcow2", "-c", "write -P 0x5a 4096 65536", "-c", "write -z 1M 300k", "-c",
              "write -P 0xa5 3145728 512", overlay});
    const auto fill = [this](size_t offset, size_t length, uint8_t value) {
      std::fill_n(bytes_.begin() + static_cast<ptrdiff_t>(offset), length, std::byte{value});
    };
    fill(4096, 65536, 0x5a);
    fill(size_t{1} << 20U, size_t{300} << 10U, 0);
    fill(3145728, 512, 0xa5);
  }

  void expect_committed(const std::string& overlay, const std::string& base, const std::string& format) {
    const Format base_format = format == "raw" ? Format::kRaw : Format::kQcow2;
    const auto done =
        commit(loop_, {.path = overlay, .format = Format::kQcow2}, {.path = base, .format = base_format});
    ASSERT_TRUE(done) << done.error().message();
    const std::string expected = folder_.file("expected.raw");
    write_file(expected, bytes_);
    must_run({"qemu-img", "compare", "-f", "raw", "-F", format, expected, base});
    if (format == "qcow2") {
      must_run({"qemu-img", "check", "-f", "qcow2", base});
    }
  }

  TemporaryFolder folder_;
  std::vector<std::byte> bytes_;
  std::shared_ptr<EventLoop> loop_;
};

TEST_F(Commit, DataZeroesAndPartsOfClustersGetIntoTheBase) {
  for (const std::string format : {"raw", "qcow2"}) {
    for (const std::string options :
         {"extended_l2=on,cluster_size=128k", "cluster_size=64k", "cluster_size=512"}) {
      bytes_ = pattern_bytes(kCommittedBytes, 7);
      const std::string base = make_base(format);
      const std::string overlay = make_overlay(base, format, options);
      change(overlay);
      expect_committed(overlay, base, format);
    }
  }
}

TEST_F(Commit, OnlyTheNextImageOfAChainIsChanged) {
  const std::string first = make_base("raw");
  const std::string base = folder_.file("base.qcow2");
  must_run({"qemu-img", "create", "-q", "-f", "qcow2", "-b", first, "-F", "raw", base});
  const std::string overlay = make_overlay(base, "qcow2", "cluster_size=64k");
  const auto before = read_file(first);
  change(overlay);
  expect_committed(overlay, base, "qcow2");
  EXPECT_TRUE(read_file(first) == before);
  // What the overlay does not hold is not in the image either.
  EXPECT_LT(allocated_bytes(base), size_t{1} << 20U);
}

TEST_F(Commit, OfSeveralImagesWhatTheTopmostShows) {
  const std::string base = make_base("raw");
  const std::string middle = folder_.file("middle.qcow2");
  const std::string overlay = folder_.file("overlay.qcow2");
  // It ends before the others, and hides what lies below behind its end.
  must_run({"qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", middle, "2M"});
  must_run({"qemu-io", "-f", "qcow2", "-c", "write -P 7 100k 200k", middle});
  must_run({"qemu-img", "create", "-q", "-f", "qcow2", "-b", middle, "-F", "qcow2", overlay, "4M"});
  const auto fill = [this](size_t begin, size_t end, uint8_t value) {
    std::fill(bytes_.begin() + static_cast<ptrdiff_t>(begin), bytes_.begin() + static_cast<ptrdiff_t>(end),
              std::byte{value});
  };
  fill(size_t{100} << 10U, size_t{300} << 10U, 7);
  fill(size_t{2} << 20U, size_t{4} << 20U, 0);
  change(overlay);
  const auto done = commit(loop_, {.path = overlay, .format = Format::kQcow2, .layers = 2}, {.path = base});
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_TRUE(read_file(base) == bytes_);
}

TEST_F(Commit, MayBeDoneAgain) {
  const std::string base = make_base("qcow2");
  const std::string overlay = make_overlay(base, "qcow2", "cluster_size=64k");
  change(overlay);
  expect_committed(overlay, base, "qcow2");
  expect_committed(overlay, base, "qcow2");
}

// Whoever finds the base after a kill.
TEST_F(Commit, ABaseThatHoldsAPartOnlySaysSoUntilItIsWhole) {
  const std::string base = make_base("raw");
  const std::string overlay = make_overlay(base, "raw", "compat=1.1");
  change(overlay);
  ASSERT_TRUE(set_mark(base, ImageMark::kNewer, overlay));
  std::string refusal;
  const Status done = commit(loop_, {.path = overlay, .format = Format::kQcow2}, {.path = base},
                             [&](uint64_t /*done*/, uint64_t /*all*/) {
                               const Status status = check_marks({{.path = base}}, /*is_written=*/false);
                               refusal = status ? "" : status.error().message();
                             });
  ASSERT_TRUE(done);
  EXPECT_THAT(refusal, HasSubstr("name " + overlay));
  EXPECT_TRUE(check_marks({{.path = base}}, /*is_written=*/true));
}

TEST_F(Commit, ABaseThatSomebodyUsesIsNotTouched) {
  const std::string base = make_base("raw");
  const std::string overlay = make_overlay(base, "raw", "cluster_size=64k");
  const auto before = read_file(base);
  change(overlay);
  const auto reader = open_disk(*loop_, {.path = base, .read_only = true});
  ASSERT_TRUE(reader) << reader.error().message();
  const auto done = commit(loop_, {.path = overlay, .format = Format::kQcow2}, {.path = base});
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message(), HasSubstr("base.raw is in use by"));
  EXPECT_TRUE(read_file(base) == before);
}

TEST_F(Commit, ABaseThatIsTooShortIsRefused) {
  const std::string base = make_base("raw");
  const std::string overlay = make_overlay(base, "raw", "cluster_size=64k");
  must_run({"qemu-img", "resize", "-q", "-f", "raw", "--shrink", base, "1M"});
  const auto done = commit(loop_, {.path = overlay, .format = Format::kQcow2}, {.path = base});
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message(), HasSubstr("base.raw: its disk has 1048576 bytes, fewer than"));
}

}  // namespace
}  // namespace vmm::block
