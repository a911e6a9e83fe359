#include "vmm/net/route_link.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "vmm/base/bytes.h"
#include "vmm/base/unique_fd.h"

namespace vmm::net {
namespace {

constexpr timeval kMostWait = {.tv_sec = 10, .tv_usec = 0};
constexpr int kMostAnswers = 16;

template <typename T>
void append(std::vector<std::byte>& to, const T& value) {
  const auto* const bytes = reinterpret_cast<const std::byte*>(&value);
  to.insert(to.end(), bytes, bytes + sizeof value);
}

void pad(std::vector<std::byte>& message) { message.resize(NLMSG_ALIGN(message.size())); }

// Nothing of the kernel's answer yet: -1.
int status_in(std::span<const std::byte> answer) {
  nlmsghdr header{};
  nlmsgerr error{};
  if (answer.size() < sizeof header + sizeof error) {
    return -1;
  }
  std::memcpy(&header, answer.data(), sizeof header);
  std::memcpy(&error, answer.data() + NLMSG_HDRLEN, sizeof error);
  return header.nlmsg_type == NLMSG_ERROR ? -error.error : -1;
}

}  // namespace

LinkRequest::LinkRequest(uint16_t type, uint16_t flags, int index) {
  append(message_, nlmsghdr{.nlmsg_len = 0,
                            .nlmsg_type = type,
                            .nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags),
                            .nlmsg_seq = 1,
                            .nlmsg_pid = 0});
  ifinfomsg link{};
  link.ifi_family = AF_UNSPEC;
  link.ifi_index = index;
  append(message_, link);
}

size_t LinkRequest::begin(uint16_t attribute) {
  pad(message_);
  const size_t at = message_.size();
  append(message_, rtattr{.rta_len = 0, .rta_type = attribute});
  return at;
}

void LinkRequest::end(size_t begun) {
  const auto length = static_cast<uint16_t>(message_.size() - begun);
  std::memcpy(&message_[begun], &length, sizeof length);
}

void LinkRequest::add(uint16_t attribute, std::span<const std::byte> value) {
  const size_t at = begin(attribute);
  message_.insert(message_.end(), value.begin(), value.end());
  end(at);
}

void LinkRequest::add_number(uint16_t attribute, uint32_t value) {
  add(attribute, std::as_bytes(std::span(&value, 1)));
}

void LinkRequest::add_text(uint16_t attribute, std::string_view text) {
  const std::string with_zero(text);
  add(attribute, std::as_bytes(std::span(with_zero.c_str(), with_zero.size() + 1)));
}

int LinkRequest::send() {
  const UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kMostWait, sizeof kMostWait) != 0) {
    return errno;
  }
  pad(message_);
  const auto length = static_cast<uint32_t>(message_.size());
  std::memcpy(message_.data(), &length, sizeof length);
  if (::send(socket.get(), message_.data(), message_.size(), 0) < 0) {
    return errno;
  }
  std::array<std::byte, 8192> answer{};
  for (int i = 0; i < kMostAnswers; ++i) {
    const ssize_t bytes = ::recv(socket.get(), answer.data(), answer.size(), 0);
    if (bytes < 0 && errno != EINTR) {
      return errno;
    }
    const int status = bytes < 0 ? -1 : status_in(std::span(answer).first(static_cast<size_t>(bytes)));
    if (status >= 0) {
      return status;
    }
  }
  return EPROTO;
}

bool delete_link(int index) { return LinkRequest(RTM_DELLINK, 0, index).send() == 0; }

MadeLink::~MadeLink() {
  if (index_ != 0) {
    delete_link(index_);
  }
}

}  // namespace vmm::net
