// Snapshots, commits, streams, backups and other sizes, of a disk whose guest writes meanwhile.
#include "block/live/live_job.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/commit.h"
#include "block/image_mark.h"
#include "block/live/backup_job.h"
#include "block/live/commit_job.h"
#include "block/live/snapshot.h"
#include "block/live/stream_job.h"
#include "tests/unit/block/encrypted_image.h"
#include "tests/unit/block/live/live_guest.h"

namespace vmm::block {
namespace {

using testing::HasSubstr;

constexpr size_t kBytes = size_t{8} << 20U;

class LiveJobs : public testing::Test {
 protected:
  LiveJobs() : bytes_(pattern_bytes(kBytes, 11)) {}
  ~LiveJobs() override {
    if (disk_ != nullptr) {
      guest_->rest();
      loop_.run_until([this] { return disk_->in_flight() == 0; });
    }
  }

  std::string make_base(const std::string& format) {
    const std::string raw = folder_.file("source.raw");
    write_file(raw, bytes_);
    const std::string base = folder_.file("base." + format);
    must_run({"qemu-img", "convert", "-f", "raw", "-O", format, raw, base});
    return base;
  }
  std::string overlay(const std::string& name, const std::string& base, const std::string& format) {
    const std::string path = folder_.file(name);
    must_run({"qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", format, path});
    return path;
  }

  void open(const std::string& path, Format format, CacheMode cache = CacheMode::kWriteback) {
    DiskOptions options{.path = path, .format = format, .cache = cache, .discard = DiscardMode::kUnmap};
    auto opened = open_disk(*loop_, options);
    ASSERT_TRUE(opened) << opened.error().message();
    disk_ = std::make_unique<LiveDisk>(*loop_, *std::move(opened), options);
    guest_ = std::make_unique<LiveGuest>(loop_, *disk_, bytes_, 5);
  }

  LiveJob::OnState on_state() {
    return [this](LiveJob::State state, const std::string& error) {
      states_.push_back(state);
      error_ = error;
    };
  }
  bool is_in(LiveJob::State state) const { return !states_.empty() && states_.back() == state; }
  template <typename Job>
  void begin(Result<std::unique_ptr<Job>> job) {
    ASSERT_TRUE(job) << job.error().message();
    states_.clear();
    job_ = *std::move(job);
  }
  void work_till(LiveJob::State state) {
    guest_->work_until([&] { return is_in(state) || job_->has_ended(); });
    ASSERT_TRUE(is_in(state)) << error_;
  }
  // What the guest sees, and the chain's files by qemu-img.
  void expect_whole(const std::string& top, const std::string& format) {
    guest_->rest();
    std::vector<std::byte> seen(bytes_.size());
    ASSERT_EQ(read_disk(loop_, *disk_, 0, seen), IoStatus::kOk);
    EXPECT_TRUE(seen == bytes_);
    close();
    expect_on_host(top, format, bytes_);
  }
  void expect_on_host(const std::string& top, const std::string& format,
                      const std::vector<std::byte>& bytes) {
    const std::string expected = folder_.file("expected.raw");
    write_file(expected, bytes);
    must_run({"qemu-img", "compare", "-f", "raw", "-F", format, expected, top});
    if (format == "qcow2") {
      must_run({"qemu-img", "check", "-q", "-f", "qcow2", top});
    }
  }
  void close() {
    guest_->rest();
    job_.reset();
    loop_.run_until([this] { return disk_->in_flight() == 0; });
    guest_.reset();
    disk_.reset();
  }
  Status when_quiet(const std::function<Status()>& change) {
    std::optional<Status> done;
    disk_->when_quiet([&](IoStatus flushed) {
      EXPECT_EQ(flushed, IoStatus::kOk);
      done = change();
    });
    guest_->work_until([&] { return done.has_value(); });
    return *done;
  }
  void snapshot(const std::string& path) {
    ASSERT_TRUE(make_snapshot_file(path, disk_->options(), disk_->size_bytes()));
    const Status put = when_quiet([&] { return put_on_snapshot(*disk_, path); });
    ASSERT_TRUE(put) << put.error().message();
  }
  void work_a_while(size_t requests = 200) {
    const size_t until = guest_->done() + requests;
    guest_->work_until([&] { return guest_->done() >= until; });
  }

  TemporaryFolder folder_;
  Loop loop_;
  std::vector<std::byte> bytes_;
  std::unique_ptr<LiveDisk> disk_;
  std::unique_ptr<LiveGuest> guest_;
  std::unique_ptr<LiveJob> job_;
  std::vector<LiveJob::State> states_;
  std::string error_;
};

TEST_F(LiveJobs, ASnapshotKeepsWhatTheDiskHeld) {
  for (const std::string format : {"raw", "qcow2"}) {
    bytes_ = pattern_bytes(kBytes, 11);
    const std::string base = make_base(format);
    open(base, format == "raw" ? Format::kRaw : Format::kQcow2);
    work_a_while();
    guest_->rest();
    const std::vector<std::byte> held = bytes_;
    const std::string top = folder_.file("snap-of-" + format);
    snapshot(top);
    work_a_while();
    expect_whole(top, "qcow2");
    expect_on_host(base, format, held);
  }
}

TEST_F(LiveJobs, ACommitOfTheDisksImageMakesTheBaseTheImageAndEmptiesTheOther) {
  for (const std::string format : {"raw", "qcow2"}) {
    for (const CacheMode cache : {CacheMode::kWriteback, CacheMode::kNone}) {
      bytes_ = pattern_bytes(kBytes, 11);
      const std::string base = make_base(format);
      const std::string top = overlay("top.qcow2", base, format);
      open(top, Format::kQcow2, cache);
      work_a_while();
      begin(CommitJob::create(*disk_, {.top = 0, .base = 1}, on_state()));
      work_till(LiveJob::State::kReady);
      work_a_while();
      ASSERT_TRUE(job_->complete());
      work_till(LiveJob::State::kDone);
      EXPECT_EQ(disk_->options().path, base);
      work_a_while();
      guest_->rest();
      const std::vector<std::byte> now = bytes_;
      expect_whole(base, format);
      // Whoever opens the other one, as the domain file still says, sees the same.
      expect_on_host(top, "qcow2", now);
    }
  }
}

TEST_F(LiveJobs, ACommitOfSeveralImagesFromTheMiddle) {
  const std::string base = make_base("qcow2");
  open(base, Format::kQcow2);
  for (const char* name : {"one", "two", "three"}) {
    work_a_while();
    snapshot(folder_.file(name));
  }
  work_a_while();
  begin(CommitJob::create(*disk_, {.top = 1, .base = 3}, on_state()));
  work_till(LiveJob::State::kDone);
  ASSERT_EQ(disk_->layers().size(), 2U);
  EXPECT_EQ(disk_->layers()[1].path, base);
  work_a_while();
  expect_whole(folder_.file("three"), "qcow2");
}

TEST_F(LiveJobs, AShortImageInTheMiddleHidesWhatTheBaseHolds) {
  const std::string base = make_base("raw");
  const std::string middle = folder_.file("middle.qcow2");
  must_run({"qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", middle, "2M"});
  const std::string top = folder_.file("top.qcow2");
  must_run({"qemu-img", "create", "-q", "-f", "qcow2", "-b", middle, "-F", "qcow2", top, "8M"});
  std::fill(bytes_.begin() + (2 << 20), bytes_.end(), std::byte{0});
  open(top, Format::kQcow2);
  const auto held = bytes_;
  begin(CommitJob::create(*disk_, {.top = 0, .base = 2}, on_state()));
  work_till(LiveJob::State::kReady);
  ASSERT_TRUE(job_->complete());
  work_till(LiveJob::State::kDone);
  expect_whole(base, "raw");
}

TEST_F(LiveJobs, AStreamLeavesTheImageStandingOnNothing) {
  const std::string base = make_base("raw");
  open(base, Format::kRaw);
  snapshot(folder_.file("one"));
  work_a_while();
  snapshot(folder_.file("two"));
  work_a_while(50);
  begin(StreamJob::create(*disk_, {}, on_state()));
  work_till(LiveJob::State::kDone);
  EXPECT_EQ(disk_->layers().size(), 1U);
  work_a_while();
  guest_->rest();
  // Nothing of them is needed any more.
  std::filesystem::remove(base);
  std::filesystem::remove(folder_.file("one"));
  expect_whole(folder_.file("two"), "qcow2");
}

TEST_F(LiveJobs, AStreamDownToABase) {
  const std::string base = make_base("raw");
  open(base, Format::kRaw);
  for (const char* name : {"one", "two", "three"}) {
    snapshot(folder_.file(name));
    work_a_while();
  }
  begin(StreamJob::create(*disk_, {.base = 3}, on_state()));
  work_till(LiveJob::State::kDone);
  ASSERT_EQ(disk_->layers().size(), 2U);
  EXPECT_EQ(disk_->layers()[1].path, base);
  guest_->rest();
  std::filesystem::remove(folder_.file("one"));
  std::filesystem::remove(folder_.file("two"));
  expect_whole(folder_.file("three"), "qcow2");
}

TEST_F(LiveJobs, ABackupHoldsWhatTheDiskHeldWhenItBegan) {
  for (const std::string format : {"raw", "qcow2"}) {
    bytes_ = pattern_bytes(kBytes, 11);
    const std::string base = make_base("qcow2");
    open(base, Format::kQcow2);
    work_a_while();
    guest_->rest();
    const std::vector<std::byte> held = bytes_;
    const std::string copy = folder_.file("backup-" + format);
    begin(BackupJob::create(*disk_, {.path = copy, .format = format == "raw" ? Format::kRaw : Format::kQcow2},
                            on_state()));
    EXPECT_FALSE(std::filesystem::exists(copy));
    work_till(LiveJob::State::kDone);
    work_a_while();
    expect_whole(base, "qcow2");
    expect_on_host(copy, format, held);
  }
}

TEST_F(LiveJobs, ABackupOfTheTopStandsOnWhatTheDiskStandsOn) {
  const std::string base = make_base("raw");
  const std::string top = overlay("top.qcow2", base, "raw");
  open(top, Format::kQcow2);
  work_a_while();
  guest_->rest();
  const std::vector<std::byte> held = bytes_;
  const std::string copy = folder_.file("copy.qcow2");
  begin(BackupJob::create(*disk_, {.path = copy, .is_of_top = true}, on_state()));
  work_till(LiveJob::State::kDone);
  expect_whole(top, "qcow2");
  expect_on_host(copy, "qcow2", held);
}

TEST_F(LiveJobs, ABackupOfTheTopIntoWhatStandsElsewhereIsRefused) {
  const std::string base = make_base("qcow2");
  open(overlay("top.qcow2", base, "qcow2"), Format::kQcow2);
  const std::string alone = folder_.file("alone.qcow2");
  must_run({"qemu-img", "create", "-q", "-f", "qcow2", alone, std::to_string(kBytes)});
  const std::string elsewhere = overlay("elsewhere.qcow2", alone, "qcow2");
  for (const std::string& path : {alone, elsewhere}) {
    const auto job = BackupJob::create(
        *disk_, {.path = path, .format = Format::kQcow2, .is_of_top = true, .is_existing = true}, on_state());
    ASSERT_FALSE(job);
    EXPECT_THAT(job.error().message(), HasSubstr("has to stand on " + base));
  }
  const std::string right = overlay("right.qcow2", base, "qcow2");
  begin(BackupJob::create(
      *disk_, {.path = right, .format = Format::kQcow2, .is_of_top = true, .is_existing = true}, on_state()));
  work_till(LiveJob::State::kDone);
  close();
}

TEST_F(LiveJobs, CancelledJobsLeaveTheDiskAsItWas) {
  const std::string base = make_base("qcow2");
  const std::string top = overlay("top.qcow2", base, "qcow2");
  open(top, Format::kQcow2);
  work_a_while();
  const std::string copy = folder_.file("copy");
  for (int round = 0; round < 4; ++round) {
    const bool is_late = round % 2 == 1;
    if (round < 2) {
      begin(CommitJob::create(*disk_, {.top = 0, .base = 1}, on_state()));
    } else {
      begin(BackupJob::create(*disk_, {.path = copy}, on_state()));
    }
    job_->set_speed(1 << 20);
    if (is_late) {
      work_a_while(3);
    }
    job_->cancel();
    guest_->work_until([&] { return job_->has_ended() && is_in(LiveJob::State::kCancelled); });
    EXPECT_EQ(disk_->options().path, top);
    EXPECT_FALSE(std::filesystem::exists(copy));
    work_a_while();
  }
  expect_whole(top, "qcow2");
}

TEST_F(LiveJobs, ADiskGrowsAndDoesNotShrink) {
  for (const std::string format : {"raw", "qcow2"}) {
    bytes_ = pattern_bytes(kBytes, 11);
    const std::string base = make_base(format);
    open(base, format == "raw" ? Format::kRaw : Format::kQcow2);
    work_a_while();
    const Status shrunk = when_quiet([&] { return resize_live(*disk_, kBytes - 512); });
    ASSERT_FALSE(shrunk);
    EXPECT_THAT(shrunk.error().message(), HasSubstr("cannot become shorter"));
    ASSERT_TRUE(when_quiet([&] { return resize_live(*disk_, kBytes * 2); }));
    EXPECT_EQ(disk_->size_bytes(), kBytes * 2);
    guest_->rest();
    bytes_.resize(kBytes * 2);
    work_a_while();
    expect_whole(base, format);
  }
}

// What was emptied is another name of the disk, and stays as long as that is.
TEST_F(LiveJobs, WhatWasEmptiedGrowsWithTheDisk) {
  for (const std::string format : {"raw", "qcow2"}) {
    bytes_ = pattern_bytes(kBytes, 11);
    const std::string base = make_base(format);
    open(base, format == "raw" ? Format::kRaw : Format::kQcow2);
    std::vector<std::string> overlays;
    for (const char* name : {"one", "two"}) {
      overlays.push_back(folder_.file(format + name));
      snapshot(overlays.back());
      work_a_while(50);
      if (overlays.size() == 2) {
        // The base grows when this is committed.
        ASSERT_TRUE(when_quiet([&] { return resize_live(*disk_, kBytes + kBytes / 2); }));
        guest_->rest();
        bytes_.resize(kBytes + kBytes / 2);
        work_a_while(50);
      }
      begin(CommitJob::create(*disk_, {.top = 0, .base = 1}, on_state()));
      work_till(LiveJob::State::kReady);
      ASSERT_TRUE(job_->complete());
      work_till(LiveJob::State::kDone);
    }
    ASSERT_TRUE(when_quiet([&] { return resize_live(*disk_, kBytes * 2); }));
    guest_->rest();
    bytes_.resize(kBytes * 2);
    work_a_while();
    guest_->rest();
    const std::vector<std::byte> now = bytes_;
    expect_whole(base, format);
    for (const std::string& overlay : overlays) {
      expect_on_host(overlay, "qcow2", now);
    }
  }
}

TEST_F(LiveJobs, WhatStandsInTheWayIsSaid) {
  const std::string base = make_base("qcow2");
  const std::string top = overlay("top.qcow2", base, "qcow2");
  open(top, Format::kQcow2);
  const auto no_layer = CommitJob::create(*disk_, {.top = 0, .base = 2}, on_state());
  ASSERT_FALSE(no_layer);
  EXPECT_THAT(no_layer.error().message(), HasSubstr("stands on no such image"));
  const auto taken = BackupJob::create(*disk_, {.path = base}, on_state());
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error().message(), HasSubstr("there is such a file already"));
  const std::string alien = folder_.file("alien.qcow2");
  must_run({"qemu-img", "create", "-q", "-f", "qcow2", alien, "8M"});
  const Status put = when_quiet([&] { return put_on_snapshot(*disk_, alien); });
  ASSERT_FALSE(put);
  EXPECT_THAT(put.error().message(), HasSubstr("stands on nothing"));
  work_a_while();
  expect_whole(top, "qcow2");
}

TEST_F(LiveJobs, WhatIsEncryptedDoesNotComeToLieInClear) {
  const std::string path = folder_.file("secret.qcow2");
  const DiskOptions options = make_encrypted_image(path, kBytes, qcow2::CryptMethod::kLuks);
  auto opened = open_disk(*loop_, options);
  ASSERT_TRUE(opened) << opened.error().message();
  bytes_.assign(kBytes, std::byte{0});
  disk_ = std::make_unique<LiveDisk>(*loop_, *std::move(opened), options);
  guest_ = std::make_unique<LiveGuest>(loop_, *disk_, bytes_, 5);
  work_a_while(50);
  const std::string clear = folder_.file("clear.raw");
  must_run({"qemu-img", "create", "-q", "-f", "raw", clear, "8M"});
  const std::string overlay = folder_.file("clear.qcow2");
  must_run({"qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", path, "-F", "qcow2", overlay, "8M"});
  for (const auto& backup :
       {BackupJob::Options{.path = folder_.file("new")},
        BackupJob::Options{.path = clear, .format = Format::kRaw, .is_existing = true}}) {
    const auto job = BackupJob::create(*disk_, backup, on_state());
    ASSERT_FALSE(job);
    EXPECT_THAT(job.error().message(), HasSubstr("in clear"));
  }
  EXPECT_FALSE(make_snapshot_file(folder_.file("new"), disk_->options(), kBytes));
  const Status put = when_quiet([&] { return put_on_snapshot(*disk_, overlay); });
  ASSERT_FALSE(put);
  EXPECT_THAT(put.error().message(), HasSubstr("in clear"));
  work_a_while(50);
}

TEST_F(LiveJobs, WhatStandsOnNothingHasNothingToCommit) {
  const std::string base = make_base("qcow2");
  open(base, Format::kQcow2);
  const auto job = CommitJob::create(*disk_, {.top = 0, .base = 0}, on_state());
  ASSERT_FALSE(job);
  EXPECT_THAT(job.error().message(), HasSubstr("stands on no other image"));
  expect_whole(base, "qcow2");
}

// Another program that stands on the base, as it reads, is in the way of a commit.
TEST_F(LiveJobs, ABaseThatSomebodyUsesIsNotCommittedTo) {
  const std::string base = make_base("qcow2");
  const std::string top = overlay("top.qcow2", base, "qcow2");
  const std::string other = overlay("other.qcow2", base, "qcow2");
  open(top, Format::kQcow2);
  {
    const auto reader = open_disk(*loop_, {.path = other, .format = Format::kQcow2});
    ASSERT_TRUE(reader);
    begin(CommitJob::create(*disk_, {.top = 0, .base = 1}, on_state()));
    work_till(LiveJob::State::kFailed);
    EXPECT_THAT(error_, HasSubstr("base.qcow2"));
    loop_.run_until([&] { return (*reader)->in_flight() == 0; });
  }
  work_a_while();
  expect_whole(top, "qcow2");
}

// --- What a start finds that names an image which is the guest's no more ---

class LiveMarks : public LiveJobs {
 protected:
  // A start with `path` as the disk, of which `below` are the rest.
  static std::string refusal(const std::string& path, const std::vector<std::string>& below = {},
                             bool is_written = true) {
    std::vector<DiskLayer> layers{{.path = path}};
    for (const std::string& each : below) {
      layers.push_back({.path = each});
    }
    const Status status = check_marks(layers, is_written);
    return status ? "" : status.error().message();
  }
};

TEST_F(LiveJobs, NewImagesAreAsPrivateAsTheDisksOwnAndTheirOwnerMayWriteThem) {
  using std::filesystem::perms;
  const std::string base = make_base("raw");
  const std::string snap = folder_.file("snap");
  const std::string copy = folder_.file("copy");
  open(base, Format::kRaw);
  std::filesystem::permissions(base, perms::owner_read | perms::group_read);
  begin(BackupJob::create(*disk_, {.path = copy}, on_state()));
  work_till(LiveJob::State::kDone);
  snapshot(snap);
  for (const std::string& path : {snap, copy}) {
    EXPECT_EQ(std::filesystem::status(path).permissions(),
              perms::owner_read | perms::owner_write | perms::group_read);
  }
}

TEST_F(LiveMarks, TheImageUnderASnapshotNamesTheNewest) {
  const std::string base = make_base("raw");
  const std::string one = folder_.file("one");
  const std::string two = folder_.file("two");
  open(base, Format::kRaw);
  EXPECT_EQ(refusal(base), "");
  snapshot(one);
  EXPECT_THAT(refusal(base), HasSubstr("is in " + one));
  snapshot(two);
  work_a_while(20);
  close();
  EXPECT_THAT(refusal(base), HasSubstr("is in " + two));
  EXPECT_THAT(refusal(one, {base}), HasSubstr("is in " + two));
  EXPECT_EQ(refusal(two, {one, base}), "");
  // Others may read what was, and stand on it.
  EXPECT_EQ(refusal(base, {}, /*is_written=*/false), "");
  EXPECT_EQ(refusal(folder_.file("another"), {base}), "");
  // The newest has another name now: the one below it is not called the newest.
  std::filesystem::rename(two, folder_.file("renamed"));
  for (const std::string& old : {base, one}) {
    EXPECT_THAT(refusal(old), HasSubstr("was in " + two + ", which is not there"));
  }
  // What has that name by chance is another.
  must_run({"qemu-img", "create", "-q", "-f", "qcow2", "-b", one, "-F", "qcow2", two});
  EXPECT_THAT(refusal(base), HasSubstr("was in " + two + ", which is not there, or another image now"));
  // Back to what was before.
  ASSERT_TRUE(remove_mark(base, ImageMark::kNewer));
  EXPECT_EQ(refusal(base), "");
}

TEST_F(LiveMarks, TheyGoWithImagesToAnotherFolder) {
  const std::string base = make_base("raw");
  open(base, Format::kRaw);
  snapshot(folder_.file("one"));
  close();
  const std::string there = folder_.file("there");
  std::filesystem::create_directory(there);
  must_run({"cp", "-a", base, there + "/base"});
  must_run({"cp", "-a", folder_.file("one"), there + "/one"});
  EXPECT_THAT(refusal(there + "/base"), HasSubstr("is in " + there + "/one"));
  std::filesystem::remove(there + "/one");
  EXPECT_THAT(refusal(there + "/base"), HasSubstr("is in " + folder_.file("one")));
}

TEST_F(LiveMarks, SomebodyElsesOverlayIsNotCommitted) {
  const std::string base = make_base("raw");
  const std::string other = overlay("other", base, "raw");
  open(base, Format::kRaw);
  snapshot(folder_.file("one"));
  close();
  const Status offline = commit(std::shared_ptr<EventLoop>(EventLoop::create().value()),
                                {.path = other, .format = Format::kQcow2}, {.path = base});
  ASSERT_FALSE(offline);
  EXPECT_THAT(offline.error().message(), HasSubstr("would be spoiled"));
  open(other, Format::kQcow2);
  const auto live = CommitJob::create(*disk_, {.top = 0, .base = 1}, on_state());
  ASSERT_FALSE(live);
  EXPECT_THAT(live.error().message(), HasSubstr("is in " + folder_.file("one")));
  close();
  const Status own = commit(std::shared_ptr<EventLoop>(EventLoop::create().value()),
                            {.path = folder_.file("one"), .format = Format::kQcow2}, {.path = base});
  EXPECT_TRUE(own) << own.error().message();
  EXPECT_EQ(refusal(base), "");
  // Nor into what holds a part of another.
  ASSERT_TRUE(set_mark(base, ImageMark::kMerging, folder_.file("one")));
  const Status over = commit(std::shared_ptr<EventLoop>(EventLoop::create().value()),
                             {.path = other, .format = Format::kQcow2}, {.path = base});
  ASSERT_FALSE(over);
  EXPECT_THAT(over.error().message(), HasSubstr("holds a part of " + folder_.file("one")));
}

TEST_F(LiveMarks, WhatACommitIsMergedIntoSaysSoUntilItIsWhole) {
  const std::string base = make_base("raw");
  const std::string top = folder_.file("one");
  open(base, Format::kRaw);
  snapshot(top);
  work_a_while();
  begin(CommitJob::create(*disk_, {.top = 0, .base = 1}, on_state()));
  work_till(LiveJob::State::kReady);
  EXPECT_THAT(refusal(base), HasSubstr("a commit of " + top));
  EXPECT_THAT(refusal(base, {}, /*is_written=*/false), HasSubstr("name " + top));
  EXPECT_THAT(refusal(folder_.file("another"), {base}), HasSubstr("a commit of " + top));
  EXPECT_EQ(refusal(top, {base}), "");
  // By whatever name it is now.
  std::filesystem::rename(top, folder_.file("renamed"));
  EXPECT_THAT(refusal(base), HasSubstr("that image is not there"));
  EXPECT_EQ(refusal(folder_.file("renamed"), {base}), "");
  std::filesystem::rename(folder_.file("renamed"), top);
  ASSERT_TRUE(job_->complete());
  work_till(LiveJob::State::kDone);
  // Both show the same. The one that is written to first is the newer one then.
  EXPECT_EQ(refusal(base), "");
  EXPECT_EQ(refusal(top, {base}), "");
  // The next snapshot is of the base, and what was emptied is not the newest then.
  const std::string next = folder_.file("next");
  snapshot(next);
  EXPECT_THAT(refusal(base), HasSubstr("is in " + next));
  EXPECT_THAT(refusal(top, {base}), HasSubstr("is in " + next));
  work_a_while();
  expect_whole(next, "qcow2");
}

// A commit is what makes room on a disk that is full.
TEST_F(LiveMarks, WhatCannotBeEmptiedIsCommittedAllTheSame) {
  const std::string base = make_base("raw");
  const std::string top = overlay("top", base, "raw");
  must_run({"qemu-io", "-f", "qcow2", "-c", "write -P 0x77 0 8M", top});
  std::ranges::fill(bytes_, std::byte{0x77});
  open(top, Format::kQcow2);
  begin(CommitJob::create(*disk_, {.top = 0, .base = 1}, on_state()));
  loop_.run_until([&] { return is_in(LiveJob::State::kReady); });
  // No cluster is free, and the file is as long as it can be.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit full{.rlim_cur = std::filesystem::file_size(top), .rlim_max = before.rlim_max};
  ASSERT_NE(::signal(SIGXFSZ, SIG_IGN), SIG_ERR);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &full), 0);
  const Status completed = job_->complete();
  loop_.run_until([&] { return job_->has_ended() && is_in(LiveJob::State::kDone); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_TRUE(completed && is_in(LiveJob::State::kDone)) << error_;
  EXPECT_EQ(disk_->options().path, base);
  EXPECT_EQ(refusal(base), "");
  EXPECT_THAT(refusal(top, {base}), HasSubstr("is in " + base));
  work_a_while();
  expect_whole(base, "raw");
  EXPECT_THAT(refusal(top, {base}), HasSubstr("is in " + base));
}

TEST_F(LiveMarks, ACommitThatIsGivenUpWhenItIsReadyLeavesTheBaseWhole) {
  const std::string base = make_base("qcow2");
  const std::string top = overlay("top", base, "qcow2");
  open(top, Format::kQcow2);
  work_a_while();
  for (const bool is_ready : {false, true}) {
    begin(CommitJob::create(*disk_, {.top = 0, .base = 1}, on_state()));
    if (is_ready) {
      work_till(LiveJob::State::kReady);
    } else {
      job_->set_paused(true);
      ASSERT_TRUE(guest_->work_until([&] { return !refusal(base).empty(); }));
    }
    job_->cancel();
    work_till(LiveJob::State::kCancelled);
    EXPECT_EQ(refusal(base).empty(), is_ready);
    EXPECT_EQ(refusal(top, {base}), "");
  }
}

TEST_F(LiveMarks, APartOfAnImageFurtherUpIsLeftByACommitFromTheMiddle) {
  const std::string base = make_base("raw");
  const std::string middle = overlay("middle", base, "raw");
  const std::string top = overlay("top", middle, "qcow2");
  ASSERT_TRUE(set_mark(base, ImageMark::kMerging, top));
  open(top, Format::kQcow2);
  work_a_while(30);
  begin(CommitJob::create(*disk_, {.top = 1, .base = 2}, on_state()));
  work_till(LiveJob::State::kDone);
  EXPECT_THAT(refusal(base), HasSubstr("a commit of " + top));
  EXPECT_EQ(refusal(top, {base}), "");
  begin(CommitJob::create(*disk_, {.top = 0, .base = 1}, on_state()));
  work_till(LiveJob::State::kReady);
  ASSERT_TRUE(job_->complete());
  work_till(LiveJob::State::kDone);
  EXPECT_EQ(refusal(base), "");
  expect_whole(base, "raw");
}

TEST_F(LiveMarks, WhatIsSkippedNamesTheImageThatStays) {
  for (const bool is_commit : {true, false}) {
    bytes_ = pattern_bytes(kBytes, 11);
    const std::string base = make_base("raw");
    std::vector<std::string> snaps;
    open(base, Format::kRaw);
    for (const int i : {1, 2, 3}) {
      snaps.push_back(folder_.file(fmt::format("{}-{}", is_commit, i)));
      snapshot(snaps.back());
      work_a_while(30);
    }
    if (is_commit) {
      begin(CommitJob::create(*disk_, {.top = 1, .base = 3}, on_state()));
    } else {
      begin(StreamJob::create(*disk_, {.base = 3}, on_state()));
    }
    work_till(LiveJob::State::kDone);
    close();
    for (const std::string& old : {base, snaps[0], snaps[1]}) {
      EXPECT_THAT(refusal(old), HasSubstr("is in " + snaps[2])) << old;
    }
    std::filesystem::remove(snaps[0]);
    std::filesystem::remove(snaps[1]);
    EXPECT_THAT(refusal(base), HasSubstr("is in " + snaps[2]));
    EXPECT_EQ(refusal(snaps[2], {base}), "");
  }
}

TEST_F(LiveMarks, AnImageThatStandsOnNothingAnyMoreIsStillTheNewest) {
  const std::string base = make_base("raw");
  const std::string top = folder_.file("top");
  open(base, Format::kRaw);
  snapshot(top);
  begin(StreamJob::create(*disk_, {}, on_state()));
  work_till(LiveJob::State::kDone);
  close();
  EXPECT_THAT(refusal(base), HasSubstr("is in " + top));
  EXPECT_EQ(refusal(top), "");
}

TEST_F(LiveMarks, WhatWasEmptiedIsTheNewestWhenItIsWrittenTo) {
  const std::string base = make_base("raw");
  const std::string top = folder_.file("one");
  open(base, Format::kRaw);
  snapshot(top);
  begin(CommitJob::create(*disk_, {.top = 0, .base = 1}, on_state()));
  work_till(LiveJob::State::kReady);
  ASSERT_TRUE(job_->complete());
  work_till(LiveJob::State::kDone);
  close();
  const std::vector<DiskLayer> layers{{.path = top}, {.path = base}};
  ASSERT_TRUE(mark_use(layers));
  EXPECT_THAT(refusal(base), HasSubstr("is in " + top));
  EXPECT_EQ(refusal(top, {base}), "");
  ASSERT_TRUE(mark_use(layers));
  EXPECT_EQ(refusal(top, {base}), "");
}

// As a kill leaves them at the end of a commit, from step to step.
TEST_F(LiveMarks, AtEachStepOfACommitsEndOneIsTaken) {
  const std::string base = make_base("raw");
  const std::string top = overlay("top", base, "raw");
  ASSERT_TRUE(set_mark(base, ImageMark::kNewer, top));
  ASSERT_TRUE(set_mark(base, ImageMark::kMerging, top));
  EXPECT_NE(refusal(base), "");
  EXPECT_EQ(refusal(top, {base}), "");
  ASSERT_TRUE(set_mark(top, ImageMark::kNewer, base));
  EXPECT_EQ(refusal(base), "");
  EXPECT_THAT(refusal(top, {base}), HasSubstr("is in " + base));
  ASSERT_TRUE(mark_use({{.path = base}}));
  EXPECT_FALSE(mark_of(base, ImageMark::kMerging));
  EXPECT_FALSE(mark_of(base, ImageMark::kNewer));
  EXPECT_EQ(refusal(base), "");
  EXPECT_THAT(refusal(top, {base}), HasSubstr("is in " + base));
}

// Marks come from files that others may have written.
TEST_F(LiveMarks, MarksThatMakeNoSenseAreToldAndEndNowhere) {
  const std::string base = make_base("raw");
  const std::string other = overlay("other", base, "raw");
  for (const std::string& named : {base, std::string("/dev/zero"), std::string("/")}) {
    ASSERT_TRUE(set_mark(base, ImageMark::kNewer, named));
    EXPECT_THAT(refusal(base), HasSubstr("vmm-img unmark"));
  }
  // Round and round.
  ASSERT_TRUE(set_mark(base, ImageMark::kNewer, other));
  ASSERT_TRUE(set_mark(other, ImageMark::kNewer, base));
  EXPECT_THAT(refusal(base), HasSubstr("is in "));
  ASSERT_TRUE(set_mark(base, ImageMark::kNewer, "/a\nb\x1b[2J"));
  EXPECT_THAT(refusal(base), HasSubstr("/a?b?[2J"));
  EXPECT_TRUE(remove_mark(base, ImageMark::kNewer).value());
  EXPECT_FALSE(remove_mark(base, ImageMark::kNewer).value());
  EXPECT_EQ(refusal(base), "");
  EXPECT_FALSE(set_mark("/dev/null", ImageMark::kNewer, other));
  EXPECT_FALSE(set_mark(folder_.file("none"), ImageMark::kNewer, other));
}

TEST_F(LiveJobs, AnImageThatHoldsDataIsPutOnNoDisk) {
  const std::string base = make_base("raw");
  open(base, Format::kRaw);
  const std::string full = overlay("full", base, "raw");
  must_run({"qemu-io", "-f", "qcow2", "-c", "write -P 9 1M 64k", full});
  const Status put = when_quiet([&] { return put_on_snapshot(*disk_, full); });
  ASSERT_FALSE(put);
  EXPECT_THAT(put.error().message(), HasSubstr("has data of its own"));
  EXPECT_EQ(disk_->options().path, base);
  work_a_while(20);
  expect_whole(base, "raw");
  const std::string top = overlay("top", base, "raw");
  open(top, Format::kQcow2);
  const auto backup =
      BackupJob::create(*disk_, {.path = full, .is_of_top = true, .is_existing = true}, on_state());
  ASSERT_FALSE(backup);
  EXPECT_THAT(backup.error().message(), HasSubstr("has data of its own"));
}

}  // namespace
}  // namespace vmm::block
