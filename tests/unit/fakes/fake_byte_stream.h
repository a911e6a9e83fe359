// Both ends of a byte stream, for tests of the other end.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>

#include "vmm/core/byte_sink.h"

namespace vmm {

class FakeByteSink final : public ByteSink {
 public:
  size_t write(std::span<const std::byte> bytes) override {
    const size_t count = std::min(bytes.size(), room);
    room -= count;
    for (const std::byte byte : bytes.first(count)) {
      text.push_back(std::to_integer<char>(byte));
    }
    return count;
  }
  void input_room() override { ++input_room_calls; }

  std::string text;
  size_t room = SIZE_MAX;
  int input_room_calls = 0;
};

class FakeByteReceiver final : public ByteReceiver {
 public:
  size_t receive(std::span<const std::byte> bytes) override {
    const size_t count = std::min(bytes.size(), room);
    room -= count;
    for (const std::byte byte : bytes.first(count)) {
      text.push_back(std::to_integer<char>(byte));
    }
    return count;
  }
  void receive_break() override { ++breaks; }
  void output_room() override { ++output_room_calls; }

  std::string text;
  size_t room = SIZE_MAX;
  int breaks = 0;
  int output_room_calls = 0;
};

}  // namespace vmm
