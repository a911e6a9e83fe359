// What an NBD client sends and gets, for tests: messages made and taken apart.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "block/nbd/protocol.h"

namespace vmm::block::nbd {

class Message {
 public:
  template <typename T>
  Message& put(T value) {
    append_be(bytes_, static_cast<std::make_unsigned_t<T>>(value));
    return *this;
  }
  Message& text(std::string_view value) {
    append_text(bytes_, value);
    return *this;
  }
  // Behind its length.
  Message& string(std::string_view value) { return put(static_cast<uint32_t>(value.size())).text(value); }
  Message& data(std::span<const std::byte> value) {
    bytes_.insert(bytes_.end(), value.begin(), value.end());
    return *this;
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

inline Message client_flags(uint32_t flags = kFixedNewstyle | kNoZeroes) { return Message().put(flags); }

inline Message option_message(uint32_t option, const Message& data = {}) {
  return Message()
      .put(kOptionMagic)
      .put(option)
      .put(static_cast<uint32_t>(data.bytes().size()))
      .data(data.bytes());
}
inline Message option_message(Option option, const Message& data = {}) {
  return option_message(static_cast<uint32_t>(option), data);
}

inline Message go_data(std::string_view name, std::initializer_list<Info> wanted = {}) {
  Message data;
  data.string(name).put(static_cast<uint16_t>(wanted.size()));
  for (const Info info : wanted) {
    data.put(static_cast<uint16_t>(info));
  }
  return data;
}

inline Message context_data(std::string_view name, std::initializer_list<std::string_view> queries) {
  Message data;
  data.string(name).put(static_cast<uint32_t>(queries.size()));
  for (const std::string_view query : queries) {
    data.string(query);
  }
  return data;
}

inline Message request_message(uint16_t command, uint64_t cookie, uint64_t offset, uint32_t length,
                               uint16_t flags = 0) {
  return Message().put(kRequestMagic).put(flags).put(command).put(cookie).put(offset).put(length);
}
inline Message request_message(Command command, uint64_t cookie, uint64_t offset, uint32_t length,
                               uint16_t flags = 0) {
  return request_message(static_cast<uint16_t>(command), cookie, offset, length, flags);
}

// What came, from front to back.
class Answer {
 public:
  explicit Answer(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}

  template <typename T>
  T take() {
    const auto value = read_be_at<T>(std::span<const std::byte>(bytes_), position_);
    EXPECT_TRUE(value.has_value()) << "the answer ends too early";
    position_ += sizeof(T);
    return value.value_or(0);
  }
  std::vector<std::byte> take_bytes(size_t count) {
    EXPECT_LE(count, bytes_.size() - position_) << "the answer ends too early";
    const auto begin = bytes_.begin() + static_cast<ptrdiff_t>(position_);
    count = std::min(count, bytes_.size() - position_);
    position_ += count;
    return {begin, begin + static_cast<ptrdiff_t>(count)};
  }
  std::string take_text(size_t count) {
    const auto bytes = take_bytes(count);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  size_t left() const { return bytes_.size() - position_; }
  bool is_empty() const { return left() == 0; }

  void expect_greeting() {
    EXPECT_EQ(take<uint64_t>(), kNbdMagic);
    EXPECT_EQ(take<uint64_t>(), kOptionMagic);
    EXPECT_EQ(take<uint16_t>(), kFixedNewstyle | kNoZeroes);
  }
  // Gives the length of what follows.
  uint32_t expect_option_reply(uint32_t option, OptionReply type) {
    EXPECT_EQ(take<uint64_t>(), kOptionReplyMagic);
    EXPECT_EQ(take<uint32_t>(), option);
    EXPECT_EQ(take<uint32_t>(), static_cast<uint32_t>(type));
    return take<uint32_t>();
  }
  uint32_t expect_option_reply(Option option, OptionReply type) {
    return expect_option_reply(static_cast<uint32_t>(option), type);
  }
  // An error and its text.
  void expect_refusal(Option option, OptionReply type) { take_text(expect_option_reply(option, type)); }
  void expect_ack(Option option) { EXPECT_EQ(expect_option_reply(option, OptionReply::kAck), 0U); }
  void expect_simple(uint64_t cookie, Error error = Error::kNone) {
    EXPECT_EQ(take<uint32_t>(), kSimpleReplyMagic);
    EXPECT_EQ(take<uint32_t>(), static_cast<uint32_t>(error));
    EXPECT_EQ(take<uint64_t>(), cookie);
  }
  // Gives the length of what follows.
  uint32_t expect_chunk(Chunk type, uint64_t cookie) {
    EXPECT_EQ(take<uint32_t>(), kStructuredReplyMagic);
    EXPECT_EQ(take<uint16_t>(), kChunkIsLast);
    EXPECT_EQ(take<uint16_t>(), static_cast<uint16_t>(type));
    EXPECT_EQ(take<uint64_t>(), cookie);
    return take<uint32_t>();
  }
  void expect_error_chunk(uint64_t cookie, Error error) {
    EXPECT_EQ(expect_chunk(Chunk::kError, cookie), 6U);
    EXPECT_EQ(take<uint32_t>(), static_cast<uint32_t>(error));
    EXPECT_EQ(take<uint16_t>(), 0);
  }

 private:
  std::vector<std::byte> bytes_;
  size_t position_ = 0;
};

}  // namespace vmm::block::nbd
