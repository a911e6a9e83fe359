#include "devices/virtio/console.h"

#include <algorithm>
#include <utility>

#include "vmm/base/check.h"

namespace vmm::virtio {

void VirtioConsole::read_config(uint32_t /*offset*/, std::span<std::byte> data) const {
  // Each field belongs to a feature that is not offered (section 5.3.4).
  std::ranges::fill(data, std::byte{0});
}

void VirtioConsole::start(ChainReturn& chains, uint64_t /*features*/,
                          std::span<const uint16_t> /*queue_sizes*/) {
  chains_ = &chains;
}

bool VirtioConsole::can_accept(uint16_t queue) const {
  if (queue == kTransmitQueue) {
    return sending_ == nullptr;
  }
  const MutexLock lock(mutex_);
  return input_count_ > 0;
}

VirtioDevice::Handled VirtioConsole::handle(uint16_t queue, Chain& chain) {
  if (chain.has_bad_buffer) {
    chains_->give_back(queue, chain.head, 0);
  } else if (queue == kReceiveQueue) {
    chains_->give_back(queue, chain.head, give_input(chain));
  } else {
    sending_ = &chain;
    send();
  }
  return Handled::kTaken;
}

uint32_t VirtioConsole::give_input(Chain& chain) {
  bool has_room_again = false;
  uint32_t given = 0;
  {
    const MutexLock lock(mutex_);
    while (input_count_ > 0 && chain.writable.size() > 0) {
      const size_t count =
          std::min({uint64_t{input_count_}, uint64_t{kInputBytes - input_first_}, chain.writable.size()});
      VMM_CHECK(chain.writable.write(std::span(input_).subspan(input_first_, count)),
                "less room than the chain said");
      input_first_ = (input_first_ + count) % kInputBytes;
      input_count_ -= count;
      given += static_cast<uint32_t>(count);
    }
    // Not for each byte: half of it, so that the host's end has something to do.
    has_room_again = owes_room_ && input_count_ <= kInputBytes / 2;
    owes_room_ = owes_room_ && !has_room_again;
  }
  if (has_room_again) {
    sink_.input_room();
  }
  return given;
}

// False: the host's end has no room.
bool VirtioConsole::send_piece() {
  if (piece_left_.empty()) {
    const size_t count = std::min<uint64_t>(sending_->readable.size(), kPieceBytes);
    VMM_CHECK(sending_->readable.read(std::span(piece_).first(count)), "fewer bytes than the chain said");
    piece_left_ = std::span(piece_).first(count);
  }
  piece_left_ = piece_left_.subspan(sink_.write(piece_left_));
  return piece_left_.empty();
}

void VirtioConsole::send() {
  for (size_t pieces = 0; sending_->readable.size() > 0 || !piece_left_.empty(); ++pieces) {
    if (pieces == kPiecesOfTurn) {
      return wake();
    }
    if (!send_piece()) {
      return;
    }
  }
  chains_->give_back(kTransmitQueue, std::exchange(sending_, nullptr)->head, 0);
}

void VirtioConsole::let_go() {
  if (sending_ != nullptr) {
    piece_left_ = {};
    chains_->give_back(kTransmitQueue, std::exchange(sending_, nullptr)->head, 0);
  }
}

size_t VirtioConsole::receive(std::span<const std::byte> bytes) {
  size_t taken = 0;
  {
    const MutexLock lock(mutex_);
    while (taken < bytes.size() && input_count_ < kInputBytes) {
      const size_t place = (input_first_ + input_count_) % kInputBytes;
      const size_t count = std::min({bytes.size() - taken, kInputBytes - input_count_, kInputBytes - place});
      std::ranges::copy(bytes.subspan(taken, count), std::span(input_).subspan(place).begin());
      input_count_ += count;
      taken += count;
    }
    owes_room_ = taken < bytes.size();
  }
  wake();
  return taken;
}

void VirtioConsole::output_room() { wake(); }

void VirtioConsole::wake() {
  if (!is_waking_.exchange(true)) {
    loop_.post([this] { on_wake(); });
  }
}

// Input is given by the turn of the loop that this is.
void VirtioConsole::on_wake() {
  is_waking_ = false;
  if (sending_ != nullptr) {
    send();
  }
}

}  // namespace vmm::virtio
