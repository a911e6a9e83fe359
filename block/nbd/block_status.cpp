#include "block/nbd/block_status.h"

#include "block/nbd/protocol.h"

namespace vmm::block::nbd {
namespace {

// Of the map, for one answer: it may be shorter than what was asked for, and the client asks again.
constexpr uint32_t kMaxQuestions = 2048;

}  // namespace

BlockStatus::Step BlockStatus::go_on(BlockMap* map, Waiter& waiter) {
  store_be(to_, kAllocationContextId);
  while (left_ > 0 && questions_ < kMaxQuestions) {
    BlockRun run{.kind = BlockRun::Kind::kKnown, .length = left_, .is_data = true};
    if (map != nullptr) {
      run = map->map(DiskOffset(offset_), left_, waiter);
    }
    if (run.kind == BlockRun::Kind::kWait) {
      return Step::kWait;
    }
    if (run.kind == BlockRun::Kind::kError) {
      status_ = run.status;
      return extents_ == 0 ? Step::kError : Step::kDone;
    }
    ++questions_;
    const auto length = static_cast<uint32_t>(run.length);
    if (!add(length, (run.is_data ? 0 : kStateHole) | (run.is_zero ? kStateZero : 0))) {
      break;
    }
    offset_ += length;
    left_ -= length;
  }
  return Step::kDone;
}

// Neighbours of one kind are one extent. False: there is no room for another one.
bool BlockStatus::add(uint32_t length, uint32_t state) {
  if (extents_ > 0 && state == last_state_) {
    last_length_ += length;
  } else {
    if (extents_ == (is_one_extent_ ? 1 : kMaxExtents)) {
      return false;
    }
    ++extents_;
    last_length_ = length;
    last_state_ = state;
  }
  std::byte* const place = to_ + bytes() - 2 * sizeof(uint32_t);
  store_be(place, last_length_);
  store_be(place + sizeof(uint32_t), last_state_);
  return true;
}

}  // namespace vmm::block::nbd
