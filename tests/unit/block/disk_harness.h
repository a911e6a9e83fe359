// What the tests of the disk stack share: a temporary image, a loop, and requests that are waited for.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "block/block_device.h"
#include "block/disk_options.h"
#include "block/open.h"
#include "vmm/base/event_loop.h"

namespace vmm::block {

// A folder in the build directory, which has O_DIRECT (/tmp may be a tmpfs, which has not).
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = std::filesystem::current_path() / "block-test-XXXXXX";
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }

  std::string file(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::string& path, std::span<const std::byte> bytes) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  ASSERT_TRUE(fd);
  ASSERT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
}

inline std::vector<std::byte> read_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(fd);
  struct stat info{};
  EXPECT_EQ(::fstat(fd.get(), &info), 0);
  std::vector<std::byte> bytes(static_cast<size_t>(info.st_size));
  EXPECT_EQ(::pread(fd.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  return bytes;
}

inline uint64_t allocated_bytes(const std::string& path) {
  struct stat info{};
  EXPECT_EQ(::stat(path.c_str(), &info), 0);
  return static_cast<uint64_t>(info.st_blocks) * 512;
}

inline std::vector<std::byte> pattern_bytes(size_t length, uint32_t seed) {
  std::vector<std::byte> bytes(length);
  uint32_t state = seed * 2654435761U + 1;
  for (std::byte& byte : bytes) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<std::byte>(state >> 24U);
  }
  return bytes;
}

// One request and its end.
class Pending {
 public:
  Completion completion() { return {&Pending::done, this, 0}; }
  bool is_done() const { return status_.has_value(); }
  IoStatus status() const { return status_.value(); }

 private:
  static void done(void* context, uint64_t /*cookie*/, IoStatus status) {
    auto& self = *static_cast<Pending*>(context);
    EXPECT_FALSE(self.status_.has_value()) << "completed twice";
    self.status_ = status;
  }
  std::optional<IoStatus> status_;
};

class Loop {
 public:
  Loop() : loop_(std::move(EventLoop::create().value())) {}
  EventLoop& operator*() { return *loop_; }
  EventLoop* operator->() { return loop_.get(); }

  // A disk that never completes fails the test instead of hanging it.
  bool run_until(const auto& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) {
        ADD_FAILURE() << "the disk did not complete its requests";
        return false;
      }
      loop_->run_once(std::chrono::milliseconds(100));
    }
    return true;
  }

 private:
  std::unique_ptr<EventLoop> loop_;
};

inline IoStatus run_request(Loop& loop, BlockDevice& disk, BlockRequest request) {
  Pending pending;
  request.completion = pending.completion();
  disk.submit(std::move(request));
  loop.run_until([&] { return pending.is_done(); });
  return pending.status();
}

inline IoStatus read_disk(Loop& loop, BlockDevice& disk, uint64_t offset, std::span<std::byte> to) {
  const iovec buffer{.iov_base = to.data(), .iov_len = to.size()};
  BlockRequest request;
  request.op = BlockOp::kRead;
  request.offset = DiskOffset(offset);
  request.length_bytes = to.size();
  request.buffers = std::span(&buffer, 1);
  return run_request(loop, disk, std::move(request));
}

inline IoStatus write_disk(Loop& loop, BlockDevice& disk, uint64_t offset, std::span<const std::byte> from) {
  const iovec buffer{.iov_base = const_cast<std::byte*>(from.data()), .iov_len = from.size()};
  BlockRequest request;
  request.op = BlockOp::kWrite;
  request.offset = DiskOffset(offset);
  request.length_bytes = from.size();
  request.buffers = std::span(&buffer, 1);
  return run_request(loop, disk, std::move(request));
}

inline IoStatus change_disk(Loop& loop, BlockDevice& disk, BlockOp op, uint64_t offset, uint64_t length,
                            bool may_unmap = false) {
  BlockRequest request;
  request.op = op;
  request.offset = DiskOffset(offset);
  request.length_bytes = length;
  request.may_unmap = may_unmap;
  return run_request(loop, disk, std::move(request));
}

inline IoStatus flush_disk(Loop& loop, BlockDevice& disk) {
  return change_disk(loop, disk, BlockOp::kFlush, 0, 0);
}

}  // namespace vmm::block
