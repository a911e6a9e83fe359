// The cipher of an encrypted image, found with the passphrases that the user gave.
//
// LUKS tells which passphrase is right, so that all may be tried; the old AES encryption does not. Blocks: a
// passphrase costs up to three minutes of PBKDF2 (see crypto/luks.h), most often two seconds. Threads: any.
// Errors name the file.
#pragma once

#include <cstdint>
#include <memory>

#include "block/disk_options.h"
#include "block/sector_cipher.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block {

// A LUKS1 header of header_bytes at `header_offset` of the file.
Result<std::unique_ptr<SectorCipher>> find_luks_cipher(SyncFile& file, FileOffset header_offset,
                                                       uint64_t header_bytes, const Passphrases& passphrases);

// crypt_method 1 of qcow and qcow2.
Result<std::unique_ptr<SectorCipher>> find_aes_cipher(const SyncFile& file, const Passphrases& passphrases);

}  // namespace vmm::block
