// The gate through which disks are opened: what it refuses, in which words, and that it leaves no trace.
#include "block/open.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "tests/unit/block/disk_harness.h"

namespace vmm::block {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class OpenDisk : public testing::Test {
 protected:
  std::string make(const std::string& name, size_t size) {
    const std::string path = folder_.file(name);
    write_file(path, std::vector<std::byte>(size));
    return path;
  }
  std::string refusal(const DiskOptions& options) {
    const auto disk = open_disk(*loop_, options);
    return disk ? "opened" : disk.error().message();
  }

  TemporaryFolder folder_;
  Loop loop_;
};

TEST_F(OpenDisk, AMissingFileIsNamedAndNotMade) {
  const std::string path = folder_.file("missing.raw");
  EXPECT_THAT(refusal({.path = path}), StartsWith(path + ": there is no such file"));
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(OpenDisk, AFolderIsRefused) {
  EXPECT_THAT(refusal({.path = folder_.file("")}), HasSubstr(" is a folder; a disk needs an image file"));
}

TEST_F(OpenDisk, APipeIsRefusedAndNotWaitedFor) {
  const std::string path = folder_.file("pipe");
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_THAT(refusal({.path = path}), StartsWith(path + " is neither a file nor a block device"));
}

TEST_F(OpenDisk, ACharacterDeviceIsRefused) {
  EXPECT_THAT(refusal({.path = "/dev/null"}), StartsWith("/dev/null is neither a file nor a block device"));
}

TEST_F(OpenDisk, ASizeThatIsNoMultipleOf512IsRefusedForAGuest) {
  const std::string path = make("odd.raw", 1000);
  EXPECT_THAT(refusal({.path = path}), StartsWith(path + " is 1000 bytes long, not a multiple of 512"));
  EXPECT_EQ(std::filesystem::file_size(path), 1000U);
}

TEST_F(OpenDisk, AnEmptyFileIsRefusedForAGuest) {
  const std::string path = make("empty.raw", 0);
  EXPECT_THAT(refusal({.path = path}), StartsWith(path + " is empty"));
}

TEST_F(OpenDisk, ToolsTakeAnySize) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{1000}}) {
    const std::string path = make("odd.raw", size);
    const auto disk = open_disk(*loop_, {.path = path, .for_guest = false});
    ASSERT_TRUE(disk) << disk.error().message();
    EXPECT_EQ((*disk)->size_bytes(), size);
  }
}

// As a user whom permissions bind.
class Unprivileged {
 public:
  Unprivileged() : uid_(::geteuid()) {
    if (uid_ == 0) {
      EXPECT_EQ(::seteuid(65534), 0);
    }
  }
  Unprivileged(const Unprivileged&) = delete;
  Unprivileged& operator=(const Unprivileged&) = delete;
  ~Unprivileged() { EXPECT_EQ(::seteuid(uid_), 0); }

 private:
  uid_t uid_;
};

TEST_F(OpenDisk, AFileThatMayNotBeWrittenIsRefusedButMayBeRead) {
  const std::string path = make("fixed.raw", 4096);
  ASSERT_EQ(::chmod(path.c_str(), 0444), 0);
  ASSERT_EQ(::chmod(folder_.file("").c_str(), 0755), 0);
  const Unprivileged unprivileged;
  const std::string message = refusal({.path = path});
  EXPECT_THAT(message, StartsWith(path + " cannot be opened for writing (Permission denied)"));
  EXPECT_THAT(message, HasSubstr("<readonly/>"));
  EXPECT_EQ(refusal({.path = path, .read_only = true}), "opened");
}

TEST_F(OpenDisk, AFileSystemWithoutODirectIsNamedAsSuch) {
  const std::string path = "/proc/self/stat";
  EXPECT_THAT(refusal({.path = path, .read_only = true, .cache = CacheMode::kNone}), HasSubstr("O_DIRECT"));
}

TEST_F(OpenDisk, ASecondWriterIsRefusedUntilTheFirstIsGone) {
  const std::string path = make("disk.raw", 4096);
  auto first = open_disk(*loop_, {.path = path});
  ASSERT_TRUE(first);
  EXPECT_THAT(refusal({.path = path}), StartsWith(path + " is in use by another disk of this process"));
  EXPECT_THAT(refusal({.path = path, .read_only = true}),
              StartsWith(path + " is in use by another disk of this process"));
  first->reset();
  EXPECT_EQ(refusal({.path = path}), "opened");
}

TEST_F(OpenDisk, ReadersShareAndShareableDisksDoToo) {
  const std::string path = make("disk.raw", 4096);
  {
    const auto one = open_disk(*loop_, {.path = path, .read_only = true});
    ASSERT_TRUE(one);
    EXPECT_EQ(refusal({.path = path, .read_only = true}), "opened");
    EXPECT_THAT(refusal({.path = path}), HasSubstr("in use"));
  }
  const auto one = open_disk(*loop_, {.path = path, .shareable = true});
  ASSERT_TRUE(one);
  EXPECT_EQ(refusal({.path = path, .shareable = true}), "opened");
  EXPECT_THAT(refusal({.path = path}), HasSubstr("in use"));
}

TEST_F(OpenDisk, ARefusedDiskLeavesNoLock) {
  const std::string path = make("odd.raw", 1000);
  EXPECT_THAT(refusal({.path = path}), HasSubstr("512"));
  ASSERT_EQ(::truncate(path.c_str(), 1024), 0);
  EXPECT_EQ(refusal({.path = path}), "opened");
}

TEST_F(OpenDisk, ATrialIsRefusedForWhatAnOpeningIsRefused) {
  const std::string path = make("disk.raw", 4096);
  EXPECT_EQ(refusal({.path = path, .is_trial = true}), "opened");
  EXPECT_THAT(refusal({.path = make("odd.raw", 1000), .is_trial = true}), HasSubstr("512"));
  EXPECT_THAT(refusal({.path = folder_.file("missing.raw"), .is_trial = true}), HasSubstr("no such file"));
  EXPECT_THAT(refusal({.path = path, .format = Format::kQcow2, .is_trial = true}), HasSubstr("qcow2"));
  {
    const auto reader = open_disk(*loop_, {.path = path, .read_only = true});
    EXPECT_THAT(refusal({.path = path, .is_trial = true}), HasSubstr("in use"));
    EXPECT_EQ(refusal({.path = path, .read_only = true, .is_trial = true}), "opened");
  }
  const auto writer = open_disk(*loop_, {.path = path});
  EXPECT_THAT(refusal({.path = path, .read_only = true, .is_trial = true}), HasSubstr("in use"));
}

TEST_F(OpenDisk, ATrialHoldsNoLockAndLeavesEvenTheTimes) {
  const std::string path = make("disk.raw", 4096);
  const timespec long_ago[2] = {{.tv_sec = 1000, .tv_nsec = 0}, {.tv_sec = 1000, .tv_nsec = 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), long_ago, 0), 0);
  const auto trial = open_disk(*loop_, {.path = path, .is_trial = true});
  ASSERT_TRUE(trial) << trial.error().message();
  EXPECT_TRUE((*trial)->is_read_only());
  struct stat info{};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_atim.tv_sec, 1000);
  EXPECT_EQ(info.st_mtim.tv_sec, 1000);
  EXPECT_EQ(refusal({.path = path}), "opened");
}

TEST_F(OpenDisk, DiscardIsOfferedOnlyWhereItDoesSomething) {
  const std::string path = make("disk.raw", 4096);
  EXPECT_EQ(open_disk(*loop_, {.path = path}).value()->limits().discard_alignment_bytes, 0U);
  EXPECT_GT(open_disk(*loop_, {.path = path, .discard = DiscardMode::kUnmap})
                .value()
                ->limits()
                .discard_alignment_bytes,
            0U);
}

TEST_F(OpenDisk, DisksOfOneLoopShareTheirEngine) {
  const auto one = Engine::for_loop(*loop_, EngineKind::kIoUring).value();
  const auto two = Engine::for_loop(*loop_, EngineKind::kIoUring).value();
  EXPECT_EQ(one, two);
  EXPECT_NE(one, Engine::for_loop(*loop_, EngineKind::kThreads).value());
}

}  // namespace
}  // namespace vmm::block
