// CrashDisk: a file in memory that forgets. Writes and changes of its size are there for good only after a
// flush that began after they were done; before that a crash keeps any of their sectors, or none, in any
// order.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "block/engine/engine.h"
#include "block/io_vector.h"
#include "block/sync_file.h"

namespace vmm::block {

class CrashDisk final : public Engine, public SyncFile {
 public:
  static constexpr size_t kSectorBytes = 512;

  explicit CrashDisk(std::vector<std::byte> content)
      : visible_(content), visible_bytes_(content.size()), stable_(std::move(content)) {}

  // --- Done by the test ---

  size_t waiting() const { return waiting_.size(); }
  void answer(size_t index) {
    FileOperation& operation = *waiting_[index].operation;
    const Waiting item = waiting_[index];
    const auto status =
        item.is_finished ? std::optional(operation.status) : accept_result(operation, call_kernel(item));
    if (status) {
      waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(index));
      operation.done(operation, *status);
    }
  }
  void answer_all() {
    while (!waiting_.empty()) {
      answer(0);
    }
  }
  // Kernel calls from then on fail so often; -1: for ever.
  void fail_calls(uint64_t from, int64_t times, int error_number) {
    fail_from_ = from;
    fail_times_ = times;
    fail_errno_ = error_number;
  }
  uint64_t calls() const { return calls_; }
  // Only calls of this kind count and fail; nothing: all do.
  void set_failing(std::optional<FileOp> op) { failing_op_ = op; }

  // What a crash at this moment leaves. Of a long hole at the end there is a part only, here and in
  // content().
  std::vector<std::byte> crash(std::mt19937_64& random) const {
    std::vector<std::byte> left = stable_;
    struct Piece {
      const Write* write = nullptr;
      size_t begin = 0;
      size_t end = 0;
    };
    std::vector<Piece> pieces;
    const uint64_t kind = random() % 4;  // nothing, all, whole writes, sectors
    for (const Write& write : volatile_) {
      const bool whole = random() % 2 == 0;
      if (write.new_size) {
        if (kind == 1 || (kind != 0 && whole)) {
          pieces.push_back({.write = &write});
        }
        continue;
      }
      size_t begin = 0;
      while (begin < write.bytes.size()) {
        const size_t to_sector_end = kSectorBytes - (write.offset + begin) % kSectorBytes;
        const size_t end = std::min(write.bytes.size(), begin + to_sector_end);
        const bool is_kept = kind == 1 || (kind == 2 && whole) || (kind == 3 && random() % 2 == 0);
        if (is_kept) {
          pieces.push_back({.write = &write, .begin = begin, .end = end});
        }
        begin = end;
      }
    }
    if (kind != 1) {
      std::ranges::shuffle(pieces, random);
    }
    for (const Piece& piece : pieces) {
      if (piece.write->new_size) {
        set_size(left, *piece.write);
        continue;
      }
      put(left, piece.write->offset + piece.begin,
          std::span(piece.write->bytes).subspan(piece.begin, piece.end - piece.begin));
    }
    return left;
  }
  const std::vector<std::byte>& content() const { return visible_; }

  // --- Engine ---

  EngineKind kind() const override { return EngineKind::kThreads; }
  uint32_t in_flight() const override { return static_cast<uint32_t>(waiting_.size()); }
  void submit(FileOperation& operation) override {
    start_operation(operation);
    Waiting item{.operation = &operation};
    if (operation.op == FileOp::kSync) {
      item.mark = done_count_;
    } else if (operation.op != FileOp::kRead) {
      item.write = add_write(operation);
    }
    waiting_.push_back(item);
  }
  void finish_later(FileOperation& operation, IoStatus status) override {
    operation.status = status;
    waiting_.push_back({.operation = &operation, .is_finished = true});
  }

  // --- SyncFile ---

  const std::string& path() const override { return path_; }
  Result<uint64_t> size() override { return visible_bytes_; }
  Status read(FileOffset offset, std::span<std::byte> to) override {
    std::ranges::fill(to, std::byte{0});
    if (offset.bytes() < visible_.size()) {
      const auto from = std::span(visible_).subspan(offset.bytes());
      std::ranges::copy(from.first(std::min(from.size(), to.size())), to.begin());
    }
    return {};
  }
  Status write(FileOffset offset, std::span<const std::byte> from) override {
    volatile_.push_back({.offset = offset.bytes(), .bytes = {from.begin(), from.end()}});
    finish_write(std::prev(volatile_.end()));
    return {};
  }
  Status sync() override {
    make_stable(done_count_);
    return {};
  }
  Status resize(uint64_t bytes) override {
    Write change{.done = ++done_count_, .new_size = bytes, .is_longer = bytes > visible_bytes_};
    set_size(visible_, change);
    visible_bytes_ = bytes;
    volatile_.push_back(std::move(change));
    return {};
  }
  void discard(FileOffset offset, uint64_t bytes) override {
    const std::vector<std::byte> zeroes(bytes);
    const Status written = write(offset, zeroes);
    EXPECT_TRUE(written);
  }

 private:
  struct Write {
    uint64_t offset = 0;
    std::vector<std::byte> bytes;
    uint64_t done = 0;  // its number among those done; 0: not done
    bool is_failed = false;
    std::optional<uint64_t> new_size;  // it is no write, but gives the file this size
    bool is_longer = false;
  };
  using WriteRef = std::list<Write>::iterator;
  struct Waiting {
    FileOperation* operation = nullptr;
    bool is_finished = false;
    uint64_t mark = 0;  // syncs: what it covers
    WriteRef write;
  };

  static void put(std::vector<std::byte>& to, uint64_t offset, std::span<const std::byte> bytes) {
    if (to.size() < offset + bytes.size()) {
      to.resize(offset + bytes.size());
    }
    std::ranges::copy(bytes, to.begin() + static_cast<std::ptrdiff_t>(offset));
  }

  static void set_size(std::vector<std::byte>& file, const Write& change) {
    constexpr uint64_t kKeptHoleBytes = uint64_t{4} << 20U;
    if (!change.is_longer) {
      file.resize(std::min<uint64_t>(*change.new_size, file.size()));
    } else if (file.size() < *change.new_size) {
      file.resize(std::min(*change.new_size, file.size() + kKeptHoleBytes));
    }
  }

  // From the moment that it is submitted a crash may find it on the disk.
  WriteRef add_write(const FileOperation& operation) {
    Write write{.offset = operation.offset.bytes(), .bytes = std::vector<std::byte>(operation.length_bytes)};
    if (operation.op == FileOp::kWrite) {
      copy_from_buffers(operation.buffers, 0, write.bytes);
    } else if (write.offset + write.bytes.size() > visible_bytes_) {
      write.bytes.resize(write.offset < visible_bytes_ ? visible_bytes_ - write.offset : 0);
    }
    volatile_.push_back(std::move(write));
    return std::prev(volatile_.end());
  }

  void finish_write(WriteRef write) {
    put(visible_, write->offset, write->bytes);
    visible_bytes_ = std::max<uint64_t>(visible_bytes_, visible_.size());
    write->done = ++done_count_;
  }

  // Those done up to then, in the order in which they were.
  void make_stable(uint64_t mark) {
    std::vector<WriteRef> ready;
    for (auto write = volatile_.begin(); write != volatile_.end(); ++write) {
      if (write->done != 0 && write->done <= mark) {
        ready.push_back(write);
      }
    }
    std::ranges::sort(ready, {}, [](WriteRef write) { return write->done; });
    for (const WriteRef write : ready) {
      if (write->new_size) {
        set_size(stable_, *write);
      } else {
        supersede_failed(*write);
        put(stable_, write->offset, write->bytes);
      }
      volatile_.erase(write);
    }
  }

  // A write with force_unit_access is on the disk when it is done, and nothing older comes after it.
  void make_stable_alone(WriteRef write) {
    for (Write& other : volatile_) {
      if (&other != &*write && (other.done != 0 || other.is_failed)) {
        supersede(other, *write);
        if (other.new_size && !other.is_longer) {
          other.new_size = std::max<uint64_t>(*other.new_size, write->offset + write->bytes.size());
        }
      }
    }
    put(stable_, write->offset, write->bytes);
    volatile_.erase(write);
  }

  void supersede_failed(const Write& write) {
    for (Write& other : volatile_) {
      if (other.is_failed) {
        supersede(other, write);
      }
    }
  }

  static void supersede(Write& older, const Write& newer) {
    const uint64_t begin = std::max(older.offset, newer.offset);
    const uint64_t end = std::min(older.offset + older.bytes.size(), newer.offset + newer.bytes.size());
    if (begin < end) {
      std::ranges::copy(std::span(newer.bytes).subspan(begin - newer.offset, end - begin),
                        older.bytes.begin() + static_cast<std::ptrdiff_t>(begin - older.offset));
    }
  }

  int64_t call_kernel(const Waiting& item) {
    FileOperation& operation = *item.operation;
    if (!failing_op_ || *failing_op_ == operation.op) {
      if (calls_++ >= fail_from_ && fail_times_ != 0) {
        fail_times_ -= fail_times_ > 0 ? 1 : 0;
        if (operation.op != FileOp::kRead && operation.op != FileOp::kSync) {
          item.write->is_failed = true;  // and may be on the disk in part all the same
        }
        return -fail_errno_;
      }
    }
    switch (operation.op) {
      case FileOp::kRead:
        return read_part(operation);
      case FileOp::kSync:
        make_stable(item.mark);
        return 0;
      case FileOp::kWrite:
        finish_write(item.write);
        if (operation.force_unit_access) {
          make_stable_alone(item.write);
        }
        return static_cast<int64_t>(operation.length_bytes);
      case FileOp::kPunchHole:
      case FileOp::kZeroRange:
        finish_write(item.write);
        return 0;
      case FileOp::kDiscardBlocks:
        return -EOPNOTSUPP;
    }
    return -EINVAL;
  }

  int64_t read_part(FileOperation& operation) const {
    const FilePart part = next_part(operation);
    uint64_t length = 0;
    for (const iovec& buffer : part.buffers) {
      length += buffer.iov_len;
    }
    const uint64_t offset = std::min<uint64_t>(part.offset.bytes(), visible_.size());
    length = std::min<uint64_t>(length, visible_.size() - offset);
    copy_to_buffers(part.buffers, 0, std::span(visible_).subspan(offset, length));
    return static_cast<int64_t>(length);
  }

  std::string path_ = "crash.qcow2";
  std::vector<std::byte> visible_;
  uint64_t visible_bytes_ = 0;  // more than there: a hole
  std::vector<std::byte> stable_;
  std::list<Write> volatile_;  // in the order of submission
  std::vector<Waiting> waiting_;
  uint64_t done_count_ = 0;
  uint64_t calls_ = 0;
  std::optional<FileOp> failing_op_;
  uint64_t fail_from_ = UINT64_MAX;
  int64_t fail_times_ = 0;
  int fail_errno_ = 0;
};

// A SyncFile on a disk that others own.
class SharedSyncFile final : public SyncFile {
 public:
  explicit SharedSyncFile(std::shared_ptr<CrashDisk> disk) : disk_(std::move(disk)) {}
  const std::string& path() const override { return disk_->path(); }
  Result<uint64_t> size() override { return disk_->size(); }
  Status read(FileOffset offset, std::span<std::byte> to) override { return disk_->read(offset, to); }
  Status write(FileOffset offset, std::span<const std::byte> from) override {
    return disk_->write(offset, from);
  }
  Status sync() override { return disk_->sync(); }
  Status resize(uint64_t bytes) override { return disk_->resize(bytes); }
  void discard(FileOffset offset, uint64_t bytes) override { disk_->discard(offset, bytes); }

 private:
  std::shared_ptr<CrashDisk> disk_;
};

}  // namespace vmm::block
