#include "devices/virtio/byte_stream.h"

#include <gtest/gtest.h>

#include <array>
#include <numeric>
#include <vector>

namespace vmm::virtio {
namespace {

class ByteStreams : public testing::Test {
 protected:
  // The memory in pieces of these lengths.
  ByteStream stream(std::initializer_list<size_t> lengths) {
    size_t offset = 0;
    buffers_.clear();
    for (const size_t length : lengths) {
      buffers_.push_back({&memory_[offset], length});
      offset += length;
    }
    return ByteStream(buffers_);
  }
  ByteStreams() {
    for (size_t i = 0; i < memory_.size(); ++i) {
      memory_[i] = static_cast<std::byte>(i);
    }
  }

  std::array<std::byte, 32> memory_{};
  std::vector<iovec> buffers_;
};

TEST_F(ByteStreams, ReadsAcrossBoundaries) {
  ByteStream bytes = stream({1, 1, 3, 10});
  std::array<std::byte, 4> first{};
  ASSERT_TRUE(bytes.read(first));
  EXPECT_EQ(first, (std::array{std::byte{0}, std::byte{1}, std::byte{2}, std::byte{3}}));
  EXPECT_EQ(bytes.size(), 11U);
  ASSERT_EQ(bytes.buffers().size(), 2U);
  EXPECT_EQ(bytes.buffers()[0].iov_base, &memory_[4]);
  EXPECT_EQ(bytes.buffers()[0].iov_len, 1U);
}

TEST_F(ByteStreams, AReadBeyondTheEndTakesNothing) {
  ByteStream bytes = stream({2, 1});
  std::array<std::byte, 4> too_many{};
  EXPECT_FALSE(bytes.read(too_many));
  EXPECT_EQ(bytes.size(), 3U);
}

TEST_F(ByteStreams, WritesAcrossBoundaries) {
  ByteStream bytes = stream({2, 5});
  const std::array<std::byte, 3> values = {std::byte{0xa}, std::byte{0xb}, std::byte{0xc}};
  ASSERT_TRUE(bytes.write(values));
  EXPECT_EQ(memory_[0], std::byte{0xa});
  EXPECT_EQ(memory_[2], std::byte{0xc});
  EXPECT_EQ(memory_[3], std::byte{3});
  const std::array<std::byte, 5> too_many{};
  EXPECT_FALSE(bytes.write(too_many));
  EXPECT_EQ(memory_[3], std::byte{3});
}

TEST_F(ByteStreams, TheLastByteComesOffTheEnd) {
  ByteStream bytes = stream({4, 1});
  const std::optional<iovec> last = bytes.take_last_byte();
  ASSERT_TRUE(last);
  EXPECT_EQ(last->iov_base, &memory_[4]);
  EXPECT_EQ(bytes.size(), 4U);
  EXPECT_EQ(bytes.buffers().size(), 1U);
  EXPECT_EQ(bytes.take_last_byte()->iov_base, &memory_[3]);
  EXPECT_EQ(bytes.buffers()[0].iov_len, 3U);
}

TEST_F(ByteStreams, AnEmptyStreamHasNoLastByte) {
  ByteStream bytes;
  EXPECT_FALSE(bytes.take_last_byte());
  EXPECT_TRUE(bytes.read({}));
}

}  // namespace
}  // namespace vmm::virtio
