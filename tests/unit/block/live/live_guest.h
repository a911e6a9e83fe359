// A guest of a LiveDisk that writes all the time, and remembers what it wrote.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "block/live/live_disk.h"
#include "tests/unit/block/disk_harness.h"
#include "tests/unit/block/qemu_tools.h"

namespace vmm::block {

class LiveGuest {
 public:
  static constexpr size_t kDepth = 16;

  LiveGuest(Loop& loop, LiveDisk& disk, std::vector<std::byte>& bytes, uint32_t seed)
      : loop_(loop), disk_(disk), bytes_(bytes), random_(seed) {}

  // Keeps kDepth requests under way, on ranges of their own.
  void work() {
    for (Request& request : requests_) {
      if (!request.is_under_way && disk_.can_accept()) {
        begin(request);
      }
    }
  }
  bool is_idle() const {
    return std::ranges::none_of(requests_, [](const Request& request) { return request.is_under_way; });
  }
  void rest() {
    loop_.run_until([this] { return is_idle(); });
  }
  // Works until it is so.
  bool work_until(const auto& condition) {
    return loop_.run_until([&] {
      work();
      return condition();
    });
  }
  size_t done() const { return done_; }

 private:
  struct Request {
    LiveGuest* guest = nullptr;
    bool is_under_way = false;
    BlockOp op = BlockOp::kWrite;
    uint64_t offset = 0;
    uint64_t length = 0;
    std::vector<std::byte> data;
    iovec vector{};
  };

  uint64_t pick(uint64_t from, uint64_t to) {
    return std::uniform_int_distribution<uint64_t>(from, to)(random_);
  }

  void begin(Request& request) {
    const uint64_t sectors = bytes_.size() / kSectorBytes;
    const uint64_t count = pick(1, 4) == 1 ? pick(1, std::min<uint64_t>(sectors, 1200)) : pick(1, 24);
    const uint64_t first = pick(0, sectors - count);
    request.offset = first * kSectorBytes;
    request.length = count * kSectorBytes;
    const bool is_taken = std::ranges::any_of(requests_, [&](const Request& other) {
      return other.is_under_way && other.offset < request.offset + request.length &&
             request.offset < other.offset + other.length;
    });
    if (is_taken) {
      return;
    }
    const uint64_t kind = pick(1, 10);
    request.op = kind == 1   ? BlockOp::kWriteZeroes
                 : kind == 2 ? BlockOp::kDiscard
                 : kind == 3 ? BlockOp::kRead
                             : BlockOp::kWrite;
    request.guest = this;
    request.is_under_way = true;
    request.data = pattern_bytes(request.length, static_cast<uint32_t>(random_()));
    request.vector = {.iov_base = request.data.data(), .iov_len = request.data.size()};
    BlockRequest wanted{.op = request.op,
                        .offset = DiskOffset(request.offset),
                        .length_bytes = request.length,
                        .may_unmap = pick(0, 1) == 1};
    if (request.op == BlockOp::kRead || request.op == BlockOp::kWrite) {
      wanted.buffers = std::span(&request.vector, 1);
    }
    wanted.completion = Completion(done, &request, 0);
    disk_.submit(std::move(wanted));
  }

  static void done(void* context, uint64_t /*cookie*/, IoStatus status) {
    auto& request = *static_cast<Request*>(context);
    LiveGuest& guest = *request.guest;
    ASSERT_EQ(status, IoStatus::kOk);
    ++guest.done_;
    const auto place = guest.bytes_.begin() + static_cast<ptrdiff_t>(request.offset);
    if (request.op == BlockOp::kRead) {
      EXPECT_TRUE(std::equal(request.data.begin(), request.data.end(), place)) << "at " << request.offset;
    } else if (request.op == BlockOp::kWrite) {
      std::ranges::copy(request.data, place);
    } else if (request.op == BlockOp::kWriteZeroes) {
      std::fill_n(place, request.length, std::byte{0});
    } else {
      guest.look_what_a_discard_left(request);
      return;
    }
    request.is_under_way = false;
  }

  // Zeroes or what was there: sector by sector.
  void look_what_a_discard_left(Request& request) {
    request.vector = {.iov_base = request.data.data(), .iov_len = request.data.size()};
    disk_.submit({.op = BlockOp::kRead,
                  .offset = DiskOffset(request.offset),
                  .length_bytes = request.length,
                  .buffers = std::span(&request.vector, 1),
                  .completion = Completion(looked, &request, 0)});
  }
  static void looked(void* context, uint64_t /*cookie*/, IoStatus status) {
    auto& request = *static_cast<Request*>(context);
    ASSERT_EQ(status, IoStatus::kOk);
    const auto place = request.guest->bytes_.begin() + static_cast<ptrdiff_t>(request.offset);
    for (size_t at = 0; at < request.length; at += kSectorBytes) {
      const auto sector = std::span(request.data).subspan(at, kSectorBytes);
      const bool is_as_before =
          std::ranges::equal(sector, std::span(place + static_cast<ptrdiff_t>(at), kSectorBytes));
      EXPECT_TRUE(is_as_before ||
                  std::ranges::all_of(sector, [](std::byte byte) { return byte == std::byte{0}; }))
          << "at " << request.offset + at;
    }
    std::ranges::copy(request.data, place);
    request.is_under_way = false;
  }

  Loop& loop_;
  LiveDisk& disk_;
  std::vector<std::byte>& bytes_;
  std::mt19937 random_;
  std::array<Request, kDepth> requests_;
  size_t done_ = 0;
};

}  // namespace vmm::block
