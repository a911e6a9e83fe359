// Secret: key material, which leaves no copy behind; and where passphrases come from.
//
// A passphrase is never an argument on a command line, where every user of the host can read it, and never in
// a message or a log. Threads: values, free to move between threads.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "block/crypto/locked_memory.h"
#include "vmm/base/error.h"

namespace vmm::block {

// A fixed number of bytes in LockedMemory, wiped when they are let go of.
class Secret {
 public:
  Secret() = default;
  // Zeroes.
  explicit Secret(size_t bytes);
  static Secret copy_of(std::span<const std::byte> bytes);
  static Secret copy_of(std::string_view text);

  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() = default;

  size_t size() const { return size_; }
  std::span<std::byte> bytes() { return {data_.get(), size_}; }
  std::span<const std::byte> bytes() const { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* bytes) const { LockedMemory::free(bytes); }
  };

  std::unique_ptr<std::byte[], Free> data_;
  size_t size_ = 0;
};

inline constexpr size_t kMaxPassphraseBytes = size_t{64} << 10U;

// The whole file is the passphrase, with every line feed in it, as for qemu-img's secret objects and
// cryptsetup's --key-file. A pipe with a writer is waited for until the writer closes it, and read once.
// Errors: none there, not readable, empty, longer than kMaxPassphraseBytes.
Result<Secret> passphrase_from_file(const std::string& path);

// Errors: not set, empty, longer than kMaxPassphraseBytes.
Result<Secret> passphrase_from_environment(const std::string& name);

}  // namespace vmm::block
