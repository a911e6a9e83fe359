// Memory for keys: locked, out of core dumps, and wiped.
#include "block/crypto/locked_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "block/crypto/openssl.h"
#include "block/crypto/secret.h"

namespace vmm::block {
namespace {

// What the kernel says of the mapping that `address` lies in, as the line of /proc/self/smaps.
std::string smaps_line(const void* address, const std::string& name) {
  std::ifstream maps("/proc/self/smaps");
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  std::string line;
  bool is_inside = false;
  while (std::getline(maps, line)) {
    uintptr_t begin = 0;
    uintptr_t end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      is_inside = begin <= wanted && wanted < end;
    } else if (is_inside && line.starts_with(name)) {
      return line;
    }
  }
  return {};
}

// The sanitizers' mlock(2) does nothing.
#if defined(__has_feature)
constexpr bool kIsLockable = !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer);
#else
constexpr bool kIsLockable = true;
#endif

bool is_kept_out_of_swap_and_dumps(const void* address) {
  const std::string flags = smaps_line(address, "VmFlags:");
  return (!kIsLockable || flags.find(" lo") != std::string::npos) && flags.find(" dd") != std::string::npos;
}

TEST(LockedMemory, IsInNoSwapAndNoCoreDump) {
  for (const size_t bytes : {size_t{1}, size_t{64}, size_t{4096}, size_t{300'000}}) {
    void* const memory = LockedMemory::allocate(bytes);
    ASSERT_NE(memory, nullptr);
    EXPECT_TRUE(is_kept_out_of_swap_and_dumps(memory)) << smaps_line(memory, "VmFlags:");
    LockedMemory::free(memory);
  }
  EXPECT_TRUE(LockedMemory::is_all_locked());
}

TEST(LockedMemory, PiecesAreAlignedAndDoNotOverlap) {
  std::vector<std::byte*> pieces;
  for (size_t bytes = 1; bytes < 2000; bytes += 37) {
    auto* const piece = static_cast<std::byte*>(LockedMemory::allocate(bytes));
    ASSERT_EQ(reinterpret_cast<uintptr_t>(piece) % alignof(std::max_align_t), 0U);
    std::memset(piece, static_cast<int>(pieces.size()), bytes);
    pieces.push_back(piece);
  }
  size_t number = 0;
  for (size_t bytes = 1; bytes < 2000; bytes += 37, ++number) {
    const std::vector<std::byte> expected(bytes, static_cast<std::byte>(number));
    EXPECT_EQ(std::memcmp(pieces[number], expected.data(), bytes), 0);
    LockedMemory::free(pieces[number]);
  }
}

TEST(LockedMemory, IsWipedWhenItIsGivenBack) {
  constexpr size_t kBytes = 200;
  auto* const first = static_cast<std::byte*>(LockedMemory::allocate(kBytes));
  std::memset(first, 0x5a, kBytes);
  LockedMemory::free(first);
  auto* const second = static_cast<std::byte*>(LockedMemory::allocate(kBytes));
  // The pool hands out the piece that it got last.
  ASSERT_EQ(second, first);
  for (size_t i = sizeof(void*) * 2; i < kBytes; ++i) {
    ASSERT_NE(second[i], std::byte{0x5a});
  }
  LockedMemory::free(second);
}

TEST(LockedMemory, GrowsAndShrinksWithItsContents) {
  auto* memory = static_cast<char*>(LockedMemory::reallocate(nullptr, 6));
  std::strcpy(memory, "sword");
  memory = static_cast<char*>(LockedMemory::reallocate(memory, 100'000));
  EXPECT_STREQ(memory, "sword");
  memory = static_cast<char*>(LockedMemory::reallocate(memory, 8));
  EXPECT_STREQ(memory, "sword");
  LockedMemory::free(memory);
  LockedMemory::free(nullptr);
}

TEST(LockedMemory, WhatCannotBeHadIsNotThere) { EXPECT_EQ(LockedMemory::allocate(SIZE_MAX - 4), nullptr); }

TEST(LockedMemory, PassphrasesAndOpenSslsKeysAreThere) {
  const Secret secret = Secret::copy_of("swordfish");
  EXPECT_TRUE(is_kept_out_of_swap_and_dumps(secret.bytes().data()));
  const auto ssl = OpenSsl::load();
  ASSERT_TRUE(ssl) << ssl.error().message();
  EVP_CIPHER_CTX* const context = (*ssl)->EVP_CIPHER_CTX_new();
  EXPECT_TRUE(is_kept_out_of_swap_and_dumps(context));
  (*ssl)->EVP_CIPHER_CTX_free(context);
}

}  // namespace
}  // namespace vmm::block
