// The encrypt.* words of -o: what a new image's encryption is to be.
//
// Threads: values. Errors name the option.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "block/qcow2/header.h"
#include "block/tool/create_options.h"
#include "block/tool/secrets.h"
#include "vmm/base/error.h"

namespace vmm::block::tool {

struct NewEncryption {
  qcow2::CryptMethod method = qcow2::CryptMethod::kNone;
  std::vector<std::byte> header;  // with kLuks: as it is to lie in the image
};

// Takes encrypt.format, encrypt.key-secret and the rest of them, with qemu-img's defaults. Blocks for
// encrypt.iter-time.
Result<NewEncryption> make_encryption(CreateWords& words, const Secrets& secrets);

// The same words, for an image that is not made: how long its encryption header would be; 0 without LUKS. No
// passphrase is needed, and nothing blocks.
Result<uint64_t> encryption_header_bytes(CreateWords& words);

}  // namespace vmm::block::tool
