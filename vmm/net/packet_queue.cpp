#include "vmm/net/packet_queue.h"

#include <algorithm>
#include <cstring>

namespace vmm::net {

size_t scatter(std::span<const std::byte> from, std::span<const iovec> to, size_t skip) {
  size_t copied = 0;
  for (const iovec& buffer : to) {
    if (copied == from.size()) {
      break;
    }
    if (skip >= buffer.iov_len) {
      skip -= buffer.iov_len;
      continue;
    }
    const size_t count = std::min(buffer.iov_len - skip, from.size() - copied);
    std::memcpy(static_cast<std::byte*>(buffer.iov_base) + skip, from.data() + copied, count);
    copied += count;
    skip = 0;
  }
  return copied;
}

size_t gather(std::span<const iovec> from, std::span<std::byte> to) {
  size_t copied = 0;
  for (const iovec& buffer : from) {
    const size_t count = std::min(buffer.iov_len, to.size() - copied);
    if (count > 0) {
      std::memcpy(to.data() + copied, buffer.iov_base, count);
      copied += count;
    }
  }
  return copied;
}

PacketQueue::PacketQueue(size_t capacity_bytes)
    : capacity_(capacity_bytes), ring_(std::make_unique_for_overwrite<std::byte[]>(capacity_bytes)) {}

void PacketQueue::clear() {
  packets_.clear();
  bytes_ = 0;
}

bool PacketQueue::push(const PacketHeader& header, std::span<const std::byte> frame) {
  if (bytes_ + kPacketHeaderBytes + frame.size() > capacity_) {
    return false;
  }
  size_t at = 0;
  if (!packets_.empty()) {
    at = packets_.back().at + packets_.back().frame_bytes;
    const size_t end = is_wrapped() ? packets_.front().at : capacity_;
    if (end - at < frame.size()) {
      if (is_wrapped() || packets_.front().at < frame.size()) {
        return false;
      }
      at = 0;
    }
  }
  std::memcpy(&ring_[at], frame.data(), frame.size());
  packets_.push_back({.header = header, .at = at, .frame_bytes = frame.size()});
  bytes_ += kPacketHeaderBytes + frame.size();
  return true;
}

std::span<std::byte> PacketQueue::last_frame() {
  return {&ring_[packets_.back().at], packets_.back().frame_bytes};
}

bool PacketQueue::extend_last(std::span<const std::byte> bytes) {
  Packet& last = packets_.back();
  const size_t at = last.at + last.frame_bytes;
  const size_t end = is_wrapped() ? packets_.front().at : capacity_;
  if (end - at < bytes.size() || bytes_ + bytes.size() > capacity_) {
    return false;
  }
  std::memcpy(&ring_[at], bytes.data(), bytes.size());
  last.frame_bytes += bytes.size();
  bytes_ += bytes.size();
  return true;
}

void PacketQueue::pop() {
  bytes_ -= kPacketHeaderBytes + packets_.front().frame_bytes;
  packets_.pop_front();
}

size_t PacketQueue::receive(std::span<const iovec> room) {
  size_t room_bytes = 0;
  for (const iovec& buffer : room) {
    room_bytes += buffer.iov_len;
  }
  while (!packets_.empty()) {
    const Packet& packet = packets_.front();
    const size_t packet_bytes = kPacketHeaderBytes + packet.frame_bytes;
    const bool fits = packet_bytes <= room_bytes;
    if (fits) {
      scatter(packet.header.bytes(), room, 0);
      scatter({&ring_[packet.at], packet.frame_bytes}, room, kPacketHeaderBytes);
    }
    pop();
    if (fits) {
      return packet_bytes;
    }
  }
  return 0;
}

}  // namespace vmm::net
