// The cipher of an encrypted image, found with the passphrases that the user gave.
//
// LUKS tells which passphrase is right, so that all may be tried; the old AES encryption does not. Blocks: a
// passphrase costs up to three minutes of PBKDF2 (see crypto/luks.h), most often two seconds. Threads: any.
// Errors name the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "block/disk_options.h"
#include "block/sector_cipher.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block {

// A LUKS1 header of header_bytes at `header_offset` of the file.
Result<std::unique_ptr<SectorCipher>> find_luks_cipher(SyncFile& file, FileOffset header_offset,
                                                       uint64_t header_bytes, const Passphrases& passphrases);

// AES-256-XTS under a key that nobody knows. Errors: the host does not let it be kept out of swap space.
Result<std::unique_ptr<SectorCipher>> make_random_cipher();

// The header of a new image that is encrypted as this one is, and its cipher: with a key of its own, behind
// the same passphrase. `other`: the first bytes of a LUKS header; empty: AES-256-XTS, as qemu-img makes it.
struct NewCipher {
  std::vector<std::byte> luks_header;
  std::unique_ptr<SectorCipher> cipher;
};
Result<NewCipher> make_luks_cipher(std::span<const std::byte> other, const Secret& passphrase);

// crypt_method 1 of qcow and qcow2.
Result<std::unique_ptr<SectorCipher>> find_aes_cipher(const SyncFile& file, const Passphrases& passphrases);

}  // namespace vmm::block
