// Throwaway disks: what is written goes to a file without a name, and the base stays as it is.
#include "block/overlay_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "block/crypto/luks.h"
#include "block/crypto/secret.h"
#include "block/image_lock.h"
#include "block/qcow2/create.h"
#include "block/space_budget.h"
#include "block/sync_file.h"
#include "tests/unit/block/disk_harness.h"
#include "tests/unit/block/encrypted_image.h"
#include "tests/unit/block/qemu_tools.h"

namespace vmm::block {
namespace {

namespace fs = std::filesystem;

using testing::HasSubstr;
using testing::StartsWith;

constexpr size_t kMiB = size_t{1} << 20U;
constexpr size_t kDiskBytes = 4 * kMiB;
constexpr size_t kPage = 4096;
// Of an overlay that holds little.
constexpr uint64_t kTablesBytes = 512 * 1024;
constexpr std::string_view kMarker = "what nobody else may read ";
constexpr size_t kMarkerBytes = 100'352;

// What a user could see of a change.
std::string trace_of(const std::string& path) {
  struct stat info{};
  EXPECT_EQ(::stat(path.c_str(), &info), 0);
  const auto time = [](const timespec& at) { return fmt::format("{}.{}", at.tv_sec, at.tv_nsec); };
  return fmt::format("{} {} {} {} {}", info.st_size, info.st_blocks, time(info.st_atim), time(info.st_mtim),
                     time(info.st_ctim));
}

// A variable of the environment, for as long as this lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    const char* const before = ::getenv(name);
    before_ = before == nullptr ? "" : before;
    ::setenv(name, value.c_str(), 1);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { before_.empty() ? ::unsetenv(name_) : ::setenv(name_, before_.c_str(), 1); }

 private:
  const char* name_;
  std::string before_;
};

class Throwaway : public testing::Test {
 protected:
  Throwaway() : bytes_(pattern_bytes(kDiskBytes, 7)) {}

  // The same disk, in each format.
  DiskOptions make_base(const std::string& format) {
    const std::string raw = folder_.file("source.raw");
    write_file(raw, bytes_);
    DiskOptions options{.path = folder_.file("base." + format)};
    options.format = format == "raw" ? Format::kRaw : Format::kQcow2;
    must_run({"qemu-img", "convert", "-f", "raw", "-O", format, raw, options.path});
    fs::remove(raw);
    return options;
  }

  std::shared_ptr<OverlayFile> overlay_of(const DiskOptions& base, const OverlayFile::Options& options = {}) {
    auto made = OverlayFile::create(base.path, options);
    EXPECT_TRUE(made) << made.error().message();
    return made ? *made : nullptr;
  }

  std::unique_ptr<BlockDevice> open(DiskOptions base, const std::shared_ptr<const OverlayFile>& overlay) {
    base.overlay = overlay;
    auto disk = open_disk(*loop_, base);
    EXPECT_TRUE(disk) << disk.error().message();
    return disk ? *std::move(disk) : nullptr;
  }

  // Writes that begin and end anywhere, zeroes, a discard; `bytes_` follows.
  void change(BlockDevice& disk) {
    for (const auto& [offset, length] :
         {std::pair<size_t, size_t>{0, 512}, {70'144, 9'728}, {1 << 20, 300'032}}) {
      const auto written = pattern_bytes(length, static_cast<uint32_t>(offset + 1));
      ASSERT_EQ(write_disk(loop_, disk, offset, written), IoStatus::kOk);
      std::ranges::copy(written, bytes_.begin() + static_cast<ptrdiff_t>(offset));
    }
    constexpr size_t kZeroesAt = size_t{2} << 20U;
    constexpr size_t kZeroes = 132'608;
    ASSERT_EQ(change_disk(loop_, disk, BlockOp::kWriteZeroes, kZeroesAt, kZeroes, true), IoStatus::kOk);
    std::fill_n(bytes_.begin() + kZeroesAt, kZeroes, std::byte{0});
  }

  void expect_contents(BlockDevice& disk) {
    std::vector<std::byte> read(kDiskBytes);
    ASSERT_EQ(read_disk(loop_, disk, 0, read), IoStatus::kOk);
    EXPECT_TRUE(read == bytes_);
  }

  DiskOptions make_encrypted_base(const std::string& method) {
    const DiskOptions base =
        make_encrypted_image(folder_.file("base.qcow2"), kDiskBytes,
                             method == "luks" ? qcow2::CryptMethod::kLuks : qcow2::CryptMethod::kAes);
    const auto disk = open_disk(*loop_, base);
    EXPECT_TRUE(disk) << disk.error().message();
    EXPECT_EQ(write_disk(loop_, **disk, 0, bytes_), IoStatus::kOk);
    EXPECT_TRUE(drain(*loop_, **disk, std::chrono::seconds(10)));
    return base;
  }

  void write_marker(BlockDevice& disk) {
    std::vector<std::byte> text(kMarkerBytes);
    for (size_t i = 0; i < text.size(); ++i) {
      text[i] = static_cast<std::byte>(kMarker[i % kMarker.size()]);
    }
    constexpr size_t kMarkerAt = size_t{3} << 20U;
    ASSERT_EQ(write_disk(loop_, disk, kMarkerAt, text), IoStatus::kOk);
    std::ranges::copy(text, bytes_.begin() + kMarkerAt);
  }

  // As it lies on the host's disk.
  static bool holds_marker(const OverlayFile& overlay) {
    const auto fd = overlay.open_again();
    std::string stored(static_cast<size_t>(::lseek(fd->get(), 0, SEEK_END)), '\0');
    EXPECT_EQ(::pread(fd->get(), stored.data(), stored.size(), 0), static_cast<ssize_t>(stored.size()));
    return stored.find(kMarker) != std::string::npos;
  }

  struct Limited {
    std::unique_ptr<BlockDevice> disk;
    std::shared_ptr<OverlayFile> overlay;
  };
  Limited open_limited(DiskOptions base, const std::shared_ptr<SpaceBudget>& budget) {
    auto overlay = overlay_of(base);
    budget->add(overlay);
    base.budget = budget;
    auto disk = open(base, overlay);
    return {.disk = std::move(disk), .overlay = std::move(overlay)};
  }

  void change_at(BlockDevice& disk, uint64_t offset) {
    const auto page = pattern_bytes(kPage, static_cast<uint32_t>(offset + 17));
    ASSERT_EQ(write_disk(loop_, disk, offset, page), IoStatus::kOk);
    std::ranges::copy(page, bytes_.begin() + static_cast<ptrdiff_t>(offset));
  }

  // Pages from `offset` on. Where it ended.
  uint64_t write_until_full(BlockDevice& disk, uint64_t offset = 0) {
    for (; offset < kDiskBytes; offset += kPage) {
      const auto page = pattern_bytes(kPage, static_cast<uint32_t>(offset));
      const IoStatus status = write_disk(loop_, disk, offset, page);
      if (status != IoStatus::kOk) {
        EXPECT_EQ(status, IoStatus::kNoSpace);
        return offset;
      }
      std::ranges::copy(page, bytes_.begin() + static_cast<ptrdiff_t>(offset));
    }
    ADD_FAILURE() << "it never was full";
    return offset;
  }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.file(""))) {
      names.push_back(entry.path().filename());
    }
    std::ranges::sort(names);
    return names;
  }

  TemporaryFolder folder_;
  Loop loop_;
  std::vector<std::byte> bytes_;
};

TEST_F(Throwaway, LeavesNoTraceOfWhatIsWritten) {
  for (const std::string format : {"raw", "qcow2"}) {
    const DiskOptions base = make_base(format);
    const std::string before = trace_of(base.path);
    const auto files = names();
    {
      const auto overlay = overlay_of(base);
      const auto disk = open(base, overlay);
      change(*disk);
      ASSERT_EQ(flush_disk(loop_, *disk), IoStatus::kOk);
      expect_contents(*disk);
      EXPECT_EQ(names(), files);
      EXPECT_GE(overlay->allocated_bytes(), 300'032U);
      ASSERT_TRUE(drain(*loop_, *disk, std::chrono::seconds(10)));
    }
    EXPECT_EQ(trace_of(base.path), before) << format;
    EXPECT_EQ(names(), files);
    bytes_ = pattern_bytes(kDiskBytes, 7);
    EXPECT_TRUE(format != "raw" || read_file(base.path) == bytes_);
  }
}

TEST_F(Throwaway, SmallWritesTakeLittleSpaceAndCopyNothing) {
  const DiskOptions base = make_base("qcow2");
  const auto overlay = overlay_of(base);
  const auto disk = open(base, overlay);
  const uint64_t before = overlay->allocated_bytes();
  const auto page = pattern_bytes(4096, 3);
  for (size_t offset = 0; offset < kDiskBytes; offset += size_t{128} << 10U) {
    ASSERT_EQ(write_disk(loop_, *disk, offset, page), IoStatus::kOk);
  }
  constexpr uint64_t kTables = uint64_t{160} << 10U;
  EXPECT_LE(overlay->allocated_bytes() - before, 32 * 4096U + kTables);
}

TEST_F(Throwaway, KeptItIsAnImageThatStandsOnTheBase) {
  DiskOptions base = make_base("qcow2");
  const std::string kept = folder_.file("kept.qcow2");
  const auto overlay = overlay_of(base, {.folder = folder_.file(""), .may_be_kept = true});
  {
    const auto disk = open(base, overlay);
    change(*disk);
    ASSERT_TRUE(drain(*loop_, *disk, std::chrono::seconds(10)));
  }
  EXPECT_FALSE(fs::exists(kept));
  ASSERT_TRUE(overlay->keep(kept));
  must_run({"qemu-img", "check", "-f", "qcow2", kept});
  const std::string expected = folder_.file("expected.raw");
  write_file(expected, bytes_);
  must_run({"qemu-img", "compare", "-f", "raw", "-F", "qcow2", expected, kept});
  const auto disk = open_disk(*loop_, {.path = kept, .format = Format::kQcow2});
  ASSERT_TRUE(disk) << disk.error().message();
  expect_contents(**disk);
  // Never over what is there.
  const auto status = overlay->keep(expected);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message(), HasSubstr("expected.raw: File exists"));
}

TEST_F(Throwaway, ManyStandOnOneBaseAndNobodyWritesToIt) {
  const DiskOptions base = make_base("raw");
  const auto first = open(base, overlay_of(base));
  const auto second = open(base, overlay_of(base));
  change(*first);
  expect_contents(*first);
  bytes_ = pattern_bytes(kDiskBytes, 7);
  expect_contents(*second);
  const auto writer = open_disk(*loop_, base);
  ASSERT_FALSE(writer);
  EXPECT_THAT(writer.error().message(), HasSubstr("is in use by"));
}

TEST_F(Throwaway, ABaseThatIsBeingWrittenIsRefused) {
  DiskOptions base = make_base("raw");
  const auto writer = open_disk(*loop_, base);
  ASSERT_TRUE(writer);
  base.overlay = overlay_of(base);
  const auto disk = open_disk(*loop_, base);
  ASSERT_FALSE(disk);
  EXPECT_THAT(disk.error().message(), HasSubstr("is in use by"));
}

TEST_F(Throwaway, EncryptedItHoldsNothingOfTheGuestInClear) {
  const DiskOptions base = make_base("raw");
  for (const bool is_encrypted : {true, false}) {
    bytes_ = pattern_bytes(kDiskBytes, 7);
    const auto overlay = overlay_of(base, {.is_encrypted = is_encrypted});
    const auto disk = open(base, overlay);
    write_marker(*disk);
    expect_contents(*disk);
    EXPECT_EQ(holds_marker(*overlay), !is_encrypted);
    // In place, and a part of it.
    change(*disk);
    expect_contents(*disk);
  }
}

TEST_F(Throwaway, AnEncryptedBaseIsReadThroughAndItsOverlayIsEncryptedToo) {
  for (const std::string method : {"luks", "aes"}) {
    const DiskOptions base = make_encrypted_base(method);
    const auto overlay = overlay_of(base);
    const auto disk = open(base, overlay);
    write_marker(*disk);
    change(*disk);
    expect_contents(*disk);
    EXPECT_FALSE(holds_marker(*overlay)) << method;
    fs::remove(base.path);
    bytes_ = pattern_bytes(kDiskBytes, 7);
  }
}

TEST_F(Throwaway, KeptOnAnEncryptedBaseItHasTheSamePassphrase) {
  for (const std::string method : {"luks", "aes"}) {
    const DiskOptions base = make_encrypted_base(method);
    const auto overlay = overlay_of(base, {.folder = folder_.file(""), .may_be_kept = true});
    {
      const auto disk = open(base, overlay);
      write_marker(*disk);
      change(*disk);
      ASSERT_TRUE(drain(*loop_, *disk, std::chrono::seconds(10)));
    }
    EXPECT_FALSE(holds_marker(*overlay)) << method;
    const std::string kept = folder_.file("kept.qcow2");
    ASSERT_TRUE(overlay->keep(kept));
    const std::string secret = "secret,id=s,file=" + folder_.file("base.qcow2.key");
    const std::string image =
        "driver=qcow2,encrypt.key-secret=s,file.filename=" + kept +
        ",backing.encrypt.key-secret=s,backing.driver=qcow2,backing.file.filename=" + base.path;
    must_run({"qemu-img", "check", "--object", secret, "--image-opts", image});
    const std::string expected = folder_.file("expected.raw");
    write_file(expected, bytes_);
    must_run({"qemu-img", "compare", "--object", secret, "--image-opts",
              "driver=raw,file.filename=" + expected, image});
    const auto disk =
        open_disk(*loop_, {.path = kept, .format = Format::kQcow2, .passphrases = base.passphrases});
    ASSERT_TRUE(disk) << disk.error().message();
    expect_contents(**disk);
    fs::remove(base.path);
    fs::remove(kept);
    bytes_ = pattern_bytes(kDiskBytes, 7);
  }
}

TEST_F(Throwaway, PastItsLimitNothingNewIsWrittenButWhatIsThereIsWrittenAgain) {
  const auto budget = std::make_shared<SpaceBudget>(kTablesBytes + kMiB);
  const auto [disk, overlay] = open_limited(make_base("qcow2"), budget);
  const uint64_t written = write_until_full(*disk);
  EXPECT_LE(written, kMiB + kTablesBytes);
  EXPECT_GE(written, kMiB / 2);
  EXPECT_LE(overlay->allocated_bytes(), budget->limit_bytes());
  EXPECT_TRUE(budget->is_limit_reached());
  change_at(*disk, 0);
  expect_contents(*disk);
}

TEST_F(Throwaway, GoesOnWhenTheLimitIsRaisedOrSomethingIsDiscarded) {
  const auto budget = std::make_shared<SpaceBudget>(kTablesBytes + kMiB);
  DiskOptions base = make_base("qcow2");
  base.discard = DiscardMode::kUnmap;
  const auto [disk, overlay] = open_limited(base, budget);
  const uint64_t written = write_until_full(*disk);
  const auto page = pattern_bytes(kPage, 99);
  budget->set_limit(budget->limit_bytes() + kMiB / 4);
  EXPECT_EQ(write_disk(loop_, *disk, written, page), IoStatus::kOk);
  EXPECT_GE(write_until_full(*disk, written), written + kMiB / 8);
  ASSERT_EQ(change_disk(loop_, *disk, BlockOp::kDiscard, 0, kMiB / 2), IoStatus::kOk);
  ASSERT_EQ(flush_disk(loop_, *disk), IoStatus::kOk);
  ASSERT_TRUE(drain(*loop_, *disk, std::chrono::seconds(10)));
  EXPECT_EQ(write_disk(loop_, *disk, kDiskBytes - kPage, page), IoStatus::kOk);
}

TEST_F(Throwaway, AllDisksOfAGuestShareItsLimit) {
  const auto budget = std::make_shared<SpaceBudget>(2 * kTablesBytes + kMiB);
  const DiskOptions base = make_base("qcow2");
  const auto [first, first_file] = open_limited(base, budget);
  const auto [second, second_file] = open_limited(base, budget);
  write_until_full(*first);
  EXPECT_EQ(write_disk(loop_, *second, 0, pattern_bytes(kPage, 1)), IoStatus::kNoSpace);
  // The tables of each are not refused.
  EXPECT_LE(first_file->allocated_bytes() + second_file->allocated_bytes(),
            budget->limit_bytes() + kTablesBytes);
}

TEST_F(Throwaway, GoesIntoMemoryWhereThatIsAskedFor) {
  const DiskOptions base = make_base("raw");
  const auto overlay = overlay_of(base, {.in_memory = true});
  EXPECT_THAT(overlay->name(), HasSubstr("in memory"));
  const auto disk = open(base, overlay);
  change(*disk);
  expect_contents(*disk);
}

TEST_F(Throwaway, NeverSilentlyIntoMemory) {
  if (!fs::exists("/dev/shm")) {
    GTEST_SKIP() << "there is no tmpfs at /dev/shm";
  }
  const auto refused = OverlayFile::create(folder_.file("base.raw"), {.folder = "/dev/shm"});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), StartsWith("/dev/shm: "));
  EXPECT_THAT(refused.error().message(), HasSubstr("--ephemeral=memory"));
  // A base that lies in memory has its overlay elsewhere.
  const Variable cache("XDG_CACHE_HOME", folder_.file("cache"));
  const auto elsewhere = OverlayFile::create("/dev/shm/base.raw", {});
  ASSERT_TRUE(elsewhere) << elsewhere.error().message();
  EXPECT_THAT((*elsewhere)->name(), HasSubstr(folder_.file("cache") + "/vmm"));
}

TEST_F(Throwaway, WhereNoFolderTakesItBothAreNamed) {
  const Variable cache("XDG_CACHE_HOME", "/proc/none");
  const auto refused = OverlayFile::create("/proc/base.raw", {});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("/proc "));
  EXPECT_THAT(refused.error().message(), HasSubstr("/proc/none/vmm"));
  EXPECT_THAT(refused.error().message(), HasSubstr("--ephemeral-dir"));
  const auto missing = OverlayFile::create("base.raw", {.folder = folder_.file("missing")});
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message(), StartsWith(folder_.file("missing") + ": "));
}

}  // namespace
}  // namespace vmm::block
