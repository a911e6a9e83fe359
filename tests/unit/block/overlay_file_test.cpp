// Throwaway disks: what is written goes to a file without a name, and the base stays as it is.
#include "block/overlay_file.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "block/crypto/secret.h"
#include "block/image_lock.h"
#include "tests/unit/block/disk_harness.h"
#include "tests/unit/block/qemu_tools.h"

namespace vmm::block {
namespace {

namespace fs = std::filesystem;

using testing::HasSubstr;
using testing::StartsWith;

constexpr size_t kDiskBytes = size_t{4} << 20U;

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
  DiskOptions make_base(const std::string& format, const std::vector<std::string>& more = {}) {
    const std::string raw = folder_.file("source.raw");
    write_file(raw, bytes_);
    DiskOptions options{.path = folder_.file("base." + format)};
    options.format = format == "raw" ? Format::kRaw : Format::kQcow2;
    std::vector<std::string> command = {"qemu-img", "convert", "-f", "raw", "-O", format};
    command.insert(command.end(), more.begin(), more.end());
    command.insert(command.end(), {raw, options.path});
    must_run(command);
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

TEST_F(Throwaway, AnEncryptedBaseNeedsItsPassphraseAndIsReadThrough) {
  const std::string passphrase = folder_.file("passphrase");
  const std::string text = "correct horse";
  write_file(passphrase, std::as_bytes(std::span(text)));
  DiskOptions base = make_base("qcow2", {"--object", "secret,id=s,file=" + passphrase, "-o",
                                         "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"});
  base.passphrases = {std::make_shared<const Secret>(Secret::copy_of(text))};
  const auto disk = open(base, overlay_of(base));
  change(*disk);
  expect_contents(*disk);
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
