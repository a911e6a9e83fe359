// Image locks, with QEMU's own tools on the other side.
#include "block/image_lock.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "block/open.h"
#include "tests/unit/block/disk_harness.h"

extern char** environ;

namespace vmm::block {
namespace {

using testing::HasSubstr;
using testing::Not;

// A program that reads commands and holds an image until it is told to end.
class Holder {
 public:
  explicit Holder(std::vector<std::string> command) {
    std::array<int, 2> in{};
    std::array<int, 2> out{};
    EXPECT_EQ(::pipe2(in.data(), O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(out.data(), O_CLOEXEC), 0);
    const UniqueFd theirs_in(in[0]);
    const UniqueFd theirs_out(out[1]);
    to_ = UniqueFd(in[1]);
    from_ = UniqueFd(out[0]);
    std::vector<char*> arguments;
    for (std::string& word : command) {
      arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions{};
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, theirs_in.get(), STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, theirs_out.get(), STDOUT_FILENO);
    EXPECT_EQ(::posix_spawnp(&pid_, arguments[0], &actions, nullptr, arguments.data(), environ), 0)
        << command[0] << " is needed (package qemu-utils)";
    ::posix_spawn_file_actions_destroy(&actions);
  }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;
  ~Holder() {
    to_.reset();
    ::waitpid(pid_, nullptr, 0);
  }

  pid_t pid() const { return pid_; }

  // Says something, and waits for the answer: the image is open by then.
  void wait_until_open() {
    const std::string_view command = "length\n";
    ASSERT_EQ(::write(to_.get(), command.data(), command.size()), static_cast<ssize_t>(command.size()));
    std::string answer;
    std::array<char, 256> buffer{};
    while (answer.find("MiB") == std::string::npos) {
      const ssize_t count = ::read(from_.get(), buffer.data(), buffer.size());
      ASSERT_GT(count, 0) << answer;
      answer.append(buffer.data(), static_cast<size_t>(count));
    }
  }

 private:
  UniqueFd to_;
  UniqueFd from_;
  pid_t pid_ = -1;
};

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "re");
  EXPECT_NE(pipe, nullptr);
  std::array<char, 512> buffer{};
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) {
    text += buffer.data();
  }
  ::pclose(pipe);
  return text;
}

// A second descriptor of the open file that this process has of that name.
UniqueFd another_hold_on(const std::string& path) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    if (std::filesystem::read_symlink(entry.path(), error) == path) {
      return UniqueFd(::dup(std::stoi(entry.path().filename())));
    }
  }
  return {};
}

// unix(7), SCM_RIGHTS.
void send_descriptor(const UniqueFd& socket, const UniqueFd& sent) {
  char byte = 0;
  iovec data{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = sent.get();
  std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  ASSERT_EQ(::sendmsg(socket.get(), &message, 0), 1);
}

class ImageLock : public testing::Test {
 protected:
  ImageLock() { write_file(path_, std::vector<std::byte>(1 << 20)); }

  UniqueFd open_image() const { return UniqueFd(::open(path_.c_str(), O_RDWR | O_CLOEXEC)); }
  std::string lock(const UniqueFd& image, ImageUse use) const {
    const auto result = lock_image(image, path_, use);
    return result ? "locked" : result.error().message();
  }

  TemporaryFolder folder_;
  std::string path_ = folder_.file("disk.raw");
};

// proc(5): "lock: 1: OFDLCK ADVISORY READ -1 fe:00:123 100 101".
std::set<int> locked_bytes(pid_t pid, int fd) {
  std::set<int> bytes;
  std::ifstream file("/proc/" + std::to_string(pid) + "/fdinfo/" + std::to_string(fd));
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with("lock:")) {
      continue;
    }
    std::istringstream words(line);
    std::vector<std::string> fields(std::istream_iterator<std::string>(words), {});
    EXPECT_EQ(fields.at(4), "READ") << line;
    for (int byte = std::stoi(fields.at(7)); byte <= std::stoi(fields.at(8)); ++byte) {
      bytes.insert(byte);
    }
  }
  return bytes;
}

// What QEMU 7.2's virtio-blk puts on a raw image, read from /proc/locks.
TEST_F(ImageLock, TakesTheBytesThatQemuTakes) {
  const std::array<std::pair<ImageUse, std::set<int>>, 4> expected = {{
      {ImageUse::kWrite, {100, 101, 201}},
      {ImageUse::kRead, {100, 201}},
      {ImageUse::kWriteShared, {100, 101}},
      {ImageUse::kReadShared, {100}},
  }};
  for (const auto& [use, bytes] : expected) {
    const UniqueFd image = open_image();
    ASSERT_EQ(lock(image, use), "locked");
    EXPECT_EQ(locked_bytes(::getpid(), image.get()), bytes);
  }
}

TEST_F(ImageLock, QemuRefusesToWriteWhatWeWrite) {
  const UniqueFd image = open_image();
  ASSERT_EQ(lock(image, ImageUse::kWrite), "locked");
  const std::string output = output_of("qemu-io -f raw -c 'write -P 7 0 512' " + path_);
  EXPECT_THAT(output, HasSubstr("Failed to get \"write\" lock"));
  EXPECT_EQ(read_file(path_)[0], std::byte{0});
}

TEST_F(ImageLock, QemuRefusesToWriteWhatWeRead) {
  const UniqueFd image = open_image();
  ASSERT_EQ(lock(image, ImageUse::kRead), "locked");
  EXPECT_THAT(output_of("qemu-img resize -f raw " + path_ + " 2M"), HasSubstr("lock"));
  EXPECT_EQ(read_file(path_).size(), 1U << 20);
  EXPECT_THAT(output_of("qemu-io -r -f raw -c 'read 0 512' " + path_), HasSubstr("read 512/512"));
}

TEST_F(ImageLock, QemuWritesWhatWeShare) {
  const UniqueFd image = open_image();
  ASSERT_EQ(lock(image, ImageUse::kWriteShared), "locked");
  EXPECT_THAT(output_of("qemu-io -f raw -c 'write -P 7 0 512' " + path_), HasSubstr("wrote 512/512"));
}

TEST_F(ImageLock, QemuWritesOnceWeAreGone) {
  {
    const UniqueFd image = open_image();
    ASSERT_EQ(lock(image, ImageUse::kWrite), "locked");
  }
  EXPECT_THAT(output_of("qemu-io -f raw -c 'write -P 7 0 512' " + path_), HasSubstr("wrote 512/512"));
}

TEST_F(ImageLock, WeRefuseWhatQemuWritesAndNameIt) {
  Holder qemu({"qemu-io", "-f", "raw", path_});
  qemu.wait_until_open();
  for (const auto use : {ImageUse::kWrite, ImageUse::kRead}) {
    const std::string message = lock(open_image(), use);
    EXPECT_THAT(message, HasSubstr("disk.raw is in use by another process (pid " +
                                   std::to_string(qemu.pid()) + ", qemu-io); stop it"));
  }
  EXPECT_EQ(lock(open_image(), ImageUse::kReadShared), "locked");
  EXPECT_EQ(lock(open_image(), ImageUse::kWriteShared), "locked");
}

TEST_F(ImageLock, WeReadWhatQemuReads) {
  Holder qemu({"qemu-io", "-r", "-f", "raw", path_});
  qemu.wait_until_open();
  EXPECT_EQ(lock(open_image(), ImageUse::kRead), "locked");
}

// What a request of io_uring does: the open file outlives its descriptor.
TEST_F(ImageLock, WhatIsGivenBackIsFreeWhileTheFileIsStillHeld) {
  UniqueFd image = open_image();
  const UniqueFd other_hold(::dup(image.get()));
  ASSERT_EQ(lock(image, ImageUse::kWrite), "locked");
  unlock_image(image);
  EXPECT_EQ(locked_bytes(::getpid(), other_hold.get()), std::set<int>{});
  EXPECT_EQ(lock(open_image(), ImageUse::kWrite), "locked");
}

TEST_F(ImageLock, ADiskThatIsClosedHoldsNothing) {
  Loop loop;
  const UniqueFd other_hold = [&] {
    auto disk = open_disk(*loop, {.path = path_});
    EXPECT_TRUE(disk);
    return another_hold_on(path_);
  }();
  ASSERT_TRUE(other_hold);
  EXPECT_EQ(locked_bytes(::getpid(), other_hold.get()), std::set<int>{});
}

TEST_F(ImageLock, WhoIsRefusedHoldsNothing) {
  const UniqueFd first = open_image();
  ASSERT_EQ(lock(first, ImageUse::kRead), "locked");
  const UniqueFd second = open_image();
  EXPECT_THAT(lock(second, ImageUse::kWrite), HasSubstr("in use"));
  EXPECT_EQ(locked_bytes(::getpid(), second.get()), std::set<int>{});
}

// Nobody shows a descriptor that is on its way in a message.
TEST_F(ImageLock, AHolderThatNoProcessShowsIsWaitedFor) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const UniqueFd near(ends[0]);
  UniqueFd far(ends[1]);
  {
    const UniqueFd image = open_image();
    ASSERT_EQ(lock(image, ImageUse::kWrite), "locked");
    send_descriptor(near, image);
  }
  EXPECT_THAT(lock(open_image(), ImageUse::kWrite), HasSubstr("in use by another process; stop"));
  std::thread closer([&far] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    far.reset();
  });
  EXPECT_EQ(lock(open_image(), ImageUse::kWrite), "locked");
  closer.join();
}

TEST_F(ImageLock, OfTwoWritersTheSecondGivesWay) {
  const UniqueFd first = open_image();
  ASSERT_EQ(lock(first, ImageUse::kWrite), "locked");
  EXPECT_THAT(lock(open_image(), ImageUse::kWrite),
              HasSubstr("in use by another disk of this process; make"));
  EXPECT_THAT(lock(open_image(), ImageUse::kWriteShared), HasSubstr("in use"));
  EXPECT_EQ(lock(open_image(), ImageUse::kReadShared), "locked");
}

}  // namespace
}  // namespace vmm::block
