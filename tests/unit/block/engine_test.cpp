// Engines by themselves: the loop that sleeps in one, the choice between them, what they make of answers.
#include "block/engine/engine.h"
#include "block/engine/lone_operations.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/block/disk_harness.h"

namespace vmm::block {
namespace {

using std::chrono::milliseconds;

class Engines : public testing::TestWithParam<EngineKind> {
 protected:
  Engines() { write_file(path_, content_); }

  std::shared_ptr<Engine> engine() { return Engine::for_loop(*loop_, GetParam()).value(); }

  TemporaryFolder folder_;
  std::string path_ = folder_.file("file");
  std::vector<std::byte> content_ = pattern_bytes(65536, 1);
  Loop loop_;
};

std::string engine_name(const testing::TestParamInfo<EngineKind>& tested) {
  return tested.param == EngineKind::kIoUring ? "IoUring" : "Threads";
}

INSTANTIATE_TEST_SUITE_P(Both, Engines, testing::Values(EngineKind::kIoUring, EngineKind::kThreads),
                         engine_name);

struct Read : FileOperation {
  std::vector<std::byte> bytes;
  iovec buffer{};
  std::optional<IoStatus> end;

  void prepare(const OpenFile& from, uint64_t at, size_t length) {
    bytes.assign(length, std::byte{0xee});
    buffer = {.iov_base = bytes.data(), .iov_len = length};
    file = &from;
    op = FileOp::kRead;
    offset = FileOffset(at);
    length_bytes = length;
    buffers = std::span<const iovec>(&buffer, 1);
    done = [](FileOperation& operation, IoStatus result) { static_cast<Read&>(operation).end = result; };
  }
};

TEST_P(Engines, TakeMoreOperationsThanTheyHavePlacesFor) {
  const auto engine = this->engine();
  OpenFile file;
  file.fd = UniqueFd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  std::vector<Read> reads(2000);
  for (size_t i = 0; i < reads.size(); ++i) {
    reads[i].prepare(file, i * 32, 32);
    engine->submit(reads[i]);
  }
  EXPECT_EQ(engine->in_flight(), reads.size());
  loop_.run_until([&] { return engine->in_flight() == 0; });
  for (size_t i = 0; i < reads.size(); ++i) {
    ASSERT_EQ(reads[i].end, IoStatus::kOk);
    ASSERT_TRUE(std::ranges::equal(reads[i].bytes, std::span(content_).subspan(i * 32, 32)));
  }
}

// Where the kernel's threads of the calling thread's io_uring may run, each as proc(5) tells it.
std::vector<std::string> places_of_workers() {
  const std::string name = "iou-wrk-" + std::to_string(::gettid());
  std::vector<std::string> places;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string comm;
    std::getline(std::ifstream(task.path() / "comm"), comm);
    if (comm != name) {
      continue;
    }
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("Cpus_allowed_list:")) {
        places.push_back(line.substr(line.find_first_not_of("\t ", line.find(':') + 1)));
      }
    }
  }
  return places;
}

TEST(Engine, TheKernelsThreadsRunWhereTheLoopDoes) {
  TemporaryFolder folder;
  const std::string path = folder.file("file");
  write_file(path, pattern_bytes(4096, 1));
  std::thread([&] {
    cpu_set_t cpus;
    ASSERT_EQ(::sched_getaffinity(0, sizeof(cpus), &cpus), 0);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &cpus)) {
      ++cpu;
    }
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    ASSERT_EQ(::sched_setaffinity(0, sizeof(cpus), &cpus), 0);
    Loop loop;
    const auto engine = Engine::for_loop(*loop, EngineKind::kIoUring).value();
    OpenFile file;
    file.fd = UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    Read sync;  // the kernel always gives these to a thread of its own
    sync.file = &file;
    sync.op = FileOp::kSync;
    sync.done = [](FileOperation& operation, IoStatus result) { static_cast<Read&>(operation).end = result; };
    engine->submit(sync);
    loop.run_until([&] { return sync.end.has_value(); });
    for (const std::string& place : places_of_workers()) {
      EXPECT_EQ(place, std::to_string(cpu));
    }
    RecordProperty("workers", static_cast<int>(places_of_workers().size()));
  }).join();
}

// Some of them are handed over while others are queued.
TEST_P(Engines, TakeManyReadsPastThePageCache) {
  constexpr size_t kBytes = 512;
  const auto engine = this->engine();
  loop_->run_once(milliseconds(0));
  OpenFile file;
  file.fd = UniqueFd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  file.direct_alignment_bytes = kBytes;
  struct Twice : Read {
    Engine* engine = nullptr;
    int ends = 0;
  };
  std::vector<Twice> reads(1000);
  for (size_t i = 0; i < reads.size(); ++i) {
    Twice& read = reads[i];
    read.prepare(file, i * kBytes % content_.size(), kBytes);
    read.engine = engine.get();
    read.done = [](FileOperation& operation, IoStatus result) {
      auto& self = static_cast<Twice&>(operation);
      self.end = result;
      if (++self.ends == 1) {
        self.engine->submit(self);
      }
    };
    engine->submit(read);
    EXPECT_EQ(read.ends, 0) << "completed from within submit()";
  }
  EXPECT_EQ(engine->in_flight(), reads.size());
  loop_.run_until([&] { return engine->in_flight() == 0; });
  for (const Twice& read : reads) {
    ASSERT_EQ(read.end, IoStatus::kOk);
    ASSERT_EQ(read.ends, 2);
    ASSERT_TRUE(std::ranges::equal(read.bytes, std::span(content_).subspan(read.offset.bytes(), kBytes)));
  }
}

TEST_P(Engines, ReadZeroesPastTheEndOfAFile) {
  const auto engine = this->engine();
  OpenFile file;
  file.fd = UniqueFd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<Read, 2> reads;
  reads[0].prepare(file, content_.size() - 10, 100);
  reads[1].prepare(file, content_.size() + 4096, 100);
  for (Read& read : reads) {
    engine->submit(read);
  }
  loop_.run_until([&] { return engine->in_flight() == 0; });
  std::vector<std::byte> expected(100);
  EXPECT_EQ(reads[1].bytes, expected);
  std::ranges::copy(std::span(content_).last(10), expected.begin());
  EXPECT_EQ(reads[0].bytes, expected);
}

TEST_P(Engines, ReportWhatTheKernelRefuses) {
  const auto engine = this->engine();
  OpenFile file;
  file.fd = UniqueFd(::open(path_.c_str(), O_WRONLY | O_CLOEXEC));
  Read read;
  read.prepare(file, 0, 100);
  engine->submit(read);
  loop_.run_until([&] { return read.end.has_value(); });
  EXPECT_EQ(read.end, IoStatus::kReadOnly);  // EBADF: not open for that
}

// A disk that completes at once would make the front end's completion and submit() call each other without
// end.
TEST_P(Engines, NeverCompleteFromWithinSubmit) {
  const auto engine = this->engine();
  Read read;
  OpenFile file;
  read.prepare(file, 0, 100);
  engine->finish_later(read, IoStatus::kReadOnly);
  EXPECT_FALSE(read.end.has_value());
  loop_->run_once(milliseconds(0));
  EXPECT_EQ(read.end, IoStatus::kReadOnly);
}

// Always one alone, the next from within the end of the one before: done by the loop's thread itself.
TEST_P(Engines, TheLoopStillHearsOthersBetweenLoneOperations) {
  const auto engine = this->engine();
  OpenFile file;
  file.fd = UniqueFd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  struct Endless : Read {
    Engine* engine = nullptr;
    bool goes_on = true;
    uint32_t ends = 0;
  } read;
  read.prepare(file, 100, 5000);
  read.engine = engine.get();
  read.done = [](FileOperation& operation, IoStatus result) {
    auto& self = static_cast<Endless&>(operation);
    EXPECT_EQ(result, IoStatus::kOk);
    ++self.ends;
    if (self.goes_on) {
      self.engine->submit(self);
    }
  };
  engine->submit(read);
  int fired = 0;
  auto timer = loop_->make_timer([&] { ++fired; });
  timer->arm(milliseconds(1));
  loop_.run_until([&] { return fired > 0; });
  std::atomic<int> ran = 0;
  std::thread other([&] { loop_->post([&] { ++ran; }); });
  loop_.run_until([&] { return ran == 1; });
  other.join();
  read.goes_on = false;
  loop_.run_until([&] { return engine->in_flight() == 0; });
  EXPECT_GT(read.ends, 0U);
  EXPECT_TRUE(std::ranges::equal(read.bytes, std::span(content_).subspan(100, 5000)));
}

TEST(LoneOperations, AreHandedOverAfterOneThatOthersHadToWaitFor) {
  LoneOperations lone;
  for (uint32_t pause = LoneOperations::kFirstPause; pause <= LoneOperations::kLongestPause; pause *= 4) {
    ASSERT_TRUE(lone.may_be_done_here());
    lone.was_done_here(milliseconds(0), true);
    for (uint32_t i = 0; i < pause; ++i) {
      ASSERT_FALSE(lone.may_be_done_here()) << pause;
    }
  }
  ASSERT_TRUE(lone.may_be_done_here());
  lone.was_done_here(LoneOperations::kLongest + milliseconds(1), false);
  for (uint32_t i = 0; i < LoneOperations::kLongestPause; ++i) {
    ASSERT_FALSE(lone.may_be_done_here())
        << "no longer than that, and a long call counts like others that wait";
  }
  ASSERT_TRUE(lone.may_be_done_here());
}

TEST(LoneOperations, OneThatWasGoodEndsThePause) {
  LoneOperations lone;
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(lone.may_be_done_here());
    lone.was_done_here(LoneOperations::kLongest, false);
  }
  lone.was_done_here(milliseconds(0), true);
  for (uint32_t i = 0; i < LoneOperations::kFirstPause; ++i) {
    ASSERT_FALSE(lone.may_be_done_here());
  }
  ASSERT_TRUE(lone.may_be_done_here());
  lone.was_done_here(milliseconds(0), false);
  lone.was_done_here(milliseconds(0), true);
  for (uint32_t i = 0; i < LoneOperations::kFirstPause; ++i) {
    ASSERT_FALSE(lone.may_be_done_here()) << "from the beginning again";
  }
  EXPECT_TRUE(lone.may_be_done_here());
}

// --- The loop, which sleeps in the ring where there is one ---

TEST_P(Engines, TheLoopStillHearsTimers) {
  const auto engine = this->engine();
  int fired = 0;
  auto timer = loop_->make_timer([&] { ++fired; });
  timer->arm(milliseconds(1));
  loop_.run_until([&] { return fired > 0; });
  timer->arm(milliseconds(1));
  loop_.run_until([&] { return fired > 1; });
  EXPECT_EQ(fired, 2);
}

TEST_P(Engines, TheLoopStillHearsOtherThreads) {
  const auto engine = this->engine();
  std::atomic<int> ran = 0;
  for (int i = 1; i <= 100; ++i) {
    std::thread other([&] { loop_->post([&] { ++ran; }); });
    loop_.run_until([&] { return ran == i; });
    other.join();
  }
}

TEST_P(Engines, AWatchedDescriptorIsReportedUntilItIsDrained) {
  const auto engine = this->engine();
  const EventFd event = EventFd::create().value();
  int seen = 0;
  const auto watch = loop_->watch(event.fd(), EPOLLIN, [&](uint32_t) {
    if (++seen == 3) {
      event.drain();
    }
  });
  event.signal();
  loop_.run_until([&] { return seen == 3; });
  loop_->run_once(milliseconds(0));
  loop_->run_once(milliseconds(0));
  EXPECT_EQ(seen, 3);
}

TEST_P(Engines, AnEdgeTriggeredDescriptorIsReportedOncePerSignal) {
  const EventFd early = EventFd::create().value();
  const EventFd late = EventFd::create().value();
  int early_seen = 0;
  int late_seen = 0;
  const auto early_watch = loop_->watch(early.fd(), EPOLLIN | EPOLLET, [&](uint32_t) { ++early_seen; });
  {
    const auto engine = this->engine();
    const auto late_watch = loop_->watch(late.fd(), EPOLLIN | EPOLLET, [&](uint32_t) { ++late_seen; });
    for (int i = 1; i <= 20; ++i) {
      early.signal();
      late.signal();
      loop_.run_until([&] { return early_seen == i && late_seen == i; });
      loop_->run_once(milliseconds(0));
      ASSERT_EQ(early_seen, i);
      ASSERT_EQ(late_seen, i);
    }
  }
  // The engine is gone, the watch is not.
  const int before = early_seen;
  loop_->run_once(milliseconds(0));
  early_seen = before;
  early.signal();
  loop_.run_until([&] { return early_seen > before; });
}

TEST_P(Engines, AWatchThatIsTakenAwayIsNotReported) {
  const auto engine = this->engine();
  for (const uint32_t edge : {0U, static_cast<uint32_t>(EPOLLET)}) {
    const EventFd event = EventFd::create().value();
    int seen = 0;
    auto watch = loop_->watch(event.fd(), EPOLLIN | edge, [&](uint32_t) { ++seen; });
    loop_->run_once(milliseconds(0));
    event.signal();
    watch->reset();
    for (int i = 0; i < 4; ++i) {
      loop_->run_once(milliseconds(1));
    }
    EXPECT_EQ(seen, 0);
  }
}

TEST_P(Engines, AnIdleLoopMayMoveToAnotherThread) {
  const auto engine = this->engine();
  OpenFile file;
  file.fd = UniqueFd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  const EventFd event = EventFd::create().value();
  int seen = 0;
  const auto watch = loop_->watch(event.fd(), EPOLLIN | EPOLLET, [&](uint32_t) { ++seen; });
  const auto read_one = [&] {
    Read read;
    read.prepare(file, 0, 100);
    engine->submit(read);
    loop_.run_until([&] { return read.end.has_value(); });
    EXPECT_EQ(read.end, IoStatus::kOk);
    const int before = seen;
    event.signal();
    loop_.run_until([&] { return seen > before; });
  };
  read_one();
  std::thread(read_one).join();
  read_one();
}

// --- The choice ---

// From now on io_uring_setup fails, as under a container's seccomp filter or with kernel.io_uring_disabled.
void forbid_io_uring(int error_number) {
  const std::array<sock_filter, 4> program = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error_number)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog filter{.len = program.size(), .filter = const_cast<sock_filter*>(program.data())};
  ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

class WithoutIoUring : public testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Errors, WithoutIoUring, testing::Values(ENOSYS, EPERM, ENOMEM));

TEST_P(WithoutIoUring, DisksUseThreadsAfterOneWarning) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TemporaryFolder folder;
  const std::string path = folder.file("disk");
  const auto content = pattern_bytes(65536, 1);
  write_file(path, content);
  const auto use_two_disks = [&] {
    forbid_io_uring(GetParam());
    for (int i = 0; i < 2; ++i) {
      Loop loop;
      auto disk = open_disk(*loop, {.path = path, .read_only = true}).value();
      std::vector<std::byte> bytes(4096);
      const bool is_right =
          read_disk(loop, *disk, 0, bytes) == IoStatus::kOk &&
          std::ranges::equal(bytes, std::span(content).first(4096)) &&
          Engine::for_loop(*loop, EngineKind::kIoUring).value()->kind() == EngineKind::kThreads;
      if (!is_right) {
        std::_Exit(1);
      }
    }
    std::filesystem::remove_all(folder.file(""));  // this process leaves without destructors
    std::_Exit(0);
  };
  EXPECT_EXIT(use_two_disks(), testing::ExitedWithCode(0),
              "^[^\n]*does not give io_uring[^\n]*threads[^\n]*\n$");
}

// --- What the kernel answers ---

TEST(FileOperations, ErrnosAreSortedIntoWhatAGuestCanBeTold) {
  EXPECT_EQ(io_status_of_errno(ENOSPC), IoStatus::kNoSpace);
  EXPECT_EQ(io_status_of_errno(EDQUOT), IoStatus::kNoSpace);
  EXPECT_EQ(io_status_of_errno(EIO), IoStatus::kIoError);
  EXPECT_EQ(io_status_of_errno(EREMOTEIO), IoStatus::kIoError);
  EXPECT_EQ(io_status_of_errno(EINVAL), IoStatus::kIoError);
  EXPECT_EQ(io_status_of_errno(EOPNOTSUPP), IoStatus::kUnsupported);
  EXPECT_EQ(io_status_of_errno(EROFS), IoStatus::kReadOnly);
}

}  // namespace
}  // namespace vmm::block
