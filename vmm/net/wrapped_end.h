// WrappedEnd: another end of a network, through which everything passes; what is derived from it steps in
// where it has something to do.
//
// Threads: as for every NetEnd.
#pragma once

#include <memory>
#include <utility>

#include "vmm/core/net_end.h"

namespace vmm::net {

class WrappedEnd : public NetEnd {
 public:
  uint16_t pairs() const override { return end_->pairs(); }
  PacketOffloads takes() const override { return end_->takes(); }
  PacketOffloads can_give() const override { return end_->can_give(); }
  void connect(NetReceiver& receiver) override { end_->connect(receiver); }
  void set_use(uint16_t pairs, const PacketOffloads& gives) override { end_->set_use(pairs, gives); }
  Sent send(uint16_t pair, const PacketHeader& header, std::span<const iovec> frame,
            size_t frame_bytes) override {
    return end_->send(pair, header, frame, frame_bytes);
  }
  void want_packets(uint16_t pair, bool is_wanted) override { end_->want_packets(pair, is_wanted); }
  size_t receive(uint16_t pair, std::span<const iovec> room) override { return end_->receive(pair, room); }

 protected:
  // REQUIRES: there is one.
  explicit WrappedEnd(std::unique_ptr<NetEnd> end) : end_(std::move(end)) {}

 private:
  const std::unique_ptr<NetEnd> end_;
};

}  // namespace vmm::net
