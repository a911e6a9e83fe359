#include "vmm/net/stream_socket_end.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"
#include "vmm/base/log.h"
#include "vmm/net/checksum.h"
#include "vmm/net/tcp_cutter.h"
#include "vmm/net/tcp_frame.h"

namespace vmm::net {
namespace {

constexpr size_t kReadBytes = size_t{128} * 1024;  // more than the longest frame
constexpr size_t kPayloadOfCut = size_t{32} * 1024;
static_assert(kReadBytes > StreamSocketEnd::kLengthBytes + kMaxFrameBytes);

}  // namespace

StreamSocketEnd::StreamSocketEnd(EventLoop& loop, UniqueFd socket, std::string name)
    : loop_(loop),
      socket_(std::move(socket)),
      name_(std::move(name)),
      sent_(kMaxFrameBytes),
      in_(kReadBytes) {}

Result<std::unique_ptr<StreamSocketEnd>> StreamSocketEnd::create(EventLoop& loop, UniqueFd socket,
                                                                 std::string name) {
  std::unique_ptr<StreamSocketEnd> end(new StreamSocketEnd(loop, std::move(socket), std::move(name)));
  StreamSocketEnd* const raw = end.get();
  VMM_ASSIGN_OR_RETURN(raw->watch_, loop.watch(raw->socket_.get(), raw->events_,
                                               [raw](uint32_t events) { raw->on_events(events); }));
  loop.add_poller(*raw);
  return end;
}

StreamSocketEnd::~StreamSocketEnd() { loop_.remove_poller(*this); }

void StreamSocketEnd::close(const char* reason) {
  watch_.reset();
  socket_.reset();
  out_.clear();
  sent_at_ = 0;
  in_bytes_ = 0;
  log::warning("{} {}: the guest's network is cut off", name_, reason);
}

void StreamSocketEnd::update_watch() {
  const bool may_read = queue_.bytes() <= kQueueBytes / 2;
  const uint32_t events = (may_read ? EPOLLIN : 0U) | (out_.empty() ? 0U : EPOLLOUT);
  if (socket_ && events != events_) {
    events_ = events;
    watch_.set_events(events);
  }
}

void StreamSocketEnd::on_events(uint32_t events) {
  if ((events & EPOLLOUT) != 0) {
    flush();
  }
  // What was sent before it closed is read before its end.
  if (socket_ && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    read();
  }
  update_watch();
  if (out_.empty() && std::exchange(waits_for_room_, false)) {
    receiver_->has_room(0);
  }
}

void StreamSocketEnd::set_use(uint16_t pairs, const PacketOffloads& gives) {
  is_used_ = pairs > 0;
  waits_for_room_ = waits_for_room_ && is_used_;
  coalescer_.set_use(gives);
  // What waits may be of a kind that is not taken any more.
  queue_.clear();
  update_watch();
}

// --- For the guest ---

void StreamSocketEnd::read() {
  const ssize_t bytes = ::recv(socket_.get(), in_.data() + in_bytes_, in_.size() - in_bytes_, MSG_DONTWAIT);
  if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) {
    return;
  }
  if (bytes <= 0) {
    close("has ended");
    return;
  }
  in_bytes_ += static_cast<size_t>(bytes);
  if (!take_frames()) {
    close("sends what are no frames");
  }
}

// False: there is no telling where the next one begins.
bool StreamSocketEnd::take_frames() {
  size_t at = 0;
  while (in_bytes_ - at >= kLengthBytes) {
    const size_t frame_bytes = load_be<uint32_t>(&in_[at]);
    if (frame_bytes > kMaxFrameBytes) {
      return false;
    }
    if (in_bytes_ - at - kLengthBytes < frame_bytes) {
      break;
    }
    const auto frame = std::span(in_).subspan(at + kLengthBytes, frame_bytes);
    at += kLengthBytes + frame_bytes;
    if (is_used_ && frame_bytes >= kEthernetHeaderBytes) {
      coalescer_.add(frame);  // dropped where there is no room
    }
  }
  in_bytes_ -= at;
  std::memmove(in_.data(), in_.data() + at, in_bytes_);
  return true;
}

void StreamSocketEnd::want_packets(uint16_t /*pair*/, bool is_wanted) { is_wanted_ = is_wanted; }

bool StreamSocketEnd::poll() {
  const bool are_waiting = is_wanted_ && !queue_.is_empty() && receiver_ != nullptr;
  if (are_waiting) {
    receiver_->packets_wait(0);
  }
  return are_waiting;
}

size_t StreamSocketEnd::receive(uint16_t /*pair*/, std::span<const iovec> room) {
  coalescer_.complete();
  const size_t bytes = queue_.receive(room);
  update_watch();
  return bytes;
}

// --- From the guest ---

NetEnd::Sent StreamSocketEnd::send(uint16_t /*pair*/, const PacketHeader& header,
                                   std::span<const iovec> frame, size_t frame_bytes) {
  VMM_CHECK(frame_bytes >= kEthernetHeaderBytes && frame_bytes <= kMaxFrameBytes,
            "a frame of no valid length");
  if (!socket_) {
    return Sent::kDropped;
  }
  if (!out_.empty()) {
    waits_for_room_ = true;
    return Sent::kFull;
  }
  const auto copy = std::span(sent_).first(gather(frame, std::span(sent_).first(frame_bytes)));
  if (copy.size() < kEthernetHeaderBytes || !add(header, copy)) {
    out_.clear();
    return Sent::kDropped;
  }
  flush();
  update_watch();
  return Sent::kDone;
}

bool StreamSocketEnd::add(const PacketHeader& header, std::span<std::byte> frame) {
  if (header.segments != PacketHeader::kNone) {
    return add_large(frame);
  }
  const bool is_sum_partial = (header.flags & PacketHeader::kNeedsChecksum) != 0;
  return (!is_sum_partial || complete_checksum(frame, header.checksum_start, header.checksum_offset)) &&
         append(frame);
}

bool StreamSocketEnd::add_large(std::span<std::byte> frame) {
  const auto at = TcpFrame::parse(frame, TcpFrame::Length::kOfFrame);
  if (!at || frame.size() - TcpFrame::kIpAt > kMaxIpBytes) {
    return false;
  }
  // Drivers differ in what they leave in the headers of a large packet.
  set_lengths(frame, *at);
  if (frame.size() <= kMostSentBytes) {
    return complete_checksum(frame, at->tcp_at, kTcpChecksumAt) && append(frame);
  }
  TcpCutter cutter(frame, *at, kPayloadOfCut);
  for (auto segment = cutter.next(); !segment.empty(); segment = cutter.next()) {
    append(segment);
  }
  return true;
}

bool StreamSocketEnd::append(std::span<const std::byte> frame) {
  if (frame.size() > kMostSentBytes) {
    return false;
  }
  const size_t at = out_.size();
  out_.resize(at + kLengthBytes);
  store_be<uint32_t>(&out_[at], static_cast<uint32_t>(frame.size()));
  out_.insert(out_.end(), frame.begin(), frame.end());
  return true;
}

void StreamSocketEnd::flush() {
  const auto left = std::span(out_).subspan(sent_at_);
  const ssize_t bytes = ::send(socket_.get(), left.data(), left.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (bytes < 0 && errno != EAGAIN && errno != EINTR) {
    close("has ended");
    return;
  }
  sent_at_ += bytes > 0 ? static_cast<size_t>(bytes) : 0;
  if (sent_at_ == out_.size()) {
    out_.clear();
    sent_at_ = 0;
  }
}

}  // namespace vmm::net
