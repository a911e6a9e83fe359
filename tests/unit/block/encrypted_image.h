// Encrypted images for tests.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "block/crypto/luks.h"
#include "block/crypto/secret.h"
#include "block/disk_options.h"
#include "block/qcow2/create.h"
#include "block/sync_file.h"
#include "tests/unit/block/qemu_tools.h"

namespace vmm::block {

// A new qcow2 image, and how to open it. The passphrase is in a file beside it too: FILE.key.
// Not by qemu-img, which measures how fast the host is at PBKDF2 and now and then fails at it.
inline DiskOptions make_encrypted_image(const std::string& path, uint64_t size_bytes,
                                        qcow2::CryptMethod method) {
  const std::string text = "correct horse";
  write_file(path + ".key", std::as_bytes(std::span(text)));
  const auto passphrase = std::make_shared<const Secret>(Secret::copy_of(text));
  qcow2::CreateOptions options{.size_bytes = size_bytes, .crypt = method};
  if (method == qcow2::CryptMethod::kLuks) {
    auto made = format_luks({.slot_iterations = 1000, .digest_iterations = 1000}, *passphrase);
    EXPECT_TRUE(made) << made.error().message();
    options.crypto_header = made->bytes;
  }
  const OpenFile file{.fd = UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600))};
  EXPECT_TRUE(qcow2::create(*make_sync_file(file, path), options));
  return {.path = path, .format = Format::kQcow2, .passphrases = {passphrase}};
}

}  // namespace vmm::block
